"""Planned calls of neuron layers: what is fixed between two calls is computed when it changes.

A layer keeps the plans of its last calls, one for each kind of input. A plan is used again only if
all that a call reads is as it was: the settings of the layer, its page, and the values of its
constants. Every other call goes the general way (`NeuronLayer._solve`), which gives the same
results and makes all errors.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nwavesdk.dynamics import Page
from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.prepare import as_trainable
from nwavesdk.solvers import Plan
from nwavesdk.solvers.cpu.parameters import ParameterValues
from nwavesdk.surrogate import Foreign

if TYPE_CHECKING:
    from nwavesdk.layers.neuron import NeuronLayer

__all__ = ["LayerPlan", "run_planned"]

MOST_PLANS = 8
# Methods of layers in whose place a plan is.
_METHODS = (
    *("constants", "effective_constants", "effective_recurrent_weights"),
    *("_evaluate_constants", "_initial_state"),
)


class LayerPlan:
    """A plan with what it was made from.

    Args:
        layer: The layer, which is prepared.
        cur: Input charge.
        stored: The stored constants of the layer.
    """

    __slots__ = (
        *("_can_be_planned", "_page", "_settings", "_values"),
        *("learned", "plan", "state_shape", "unsqueezes"),
    )

    def __init__(self, layer: "NeuronLayer", cur: Tensor, stored: list[Tensor]) -> None:
        self._page: Page = layer.page
        self._settings = layer.read_settings(layer)
        self.plan: Plan | None = None
        self.unsqueezes = cur.ndim == len(layer.features)
        # Positions of the constants that learn among the stored ones.
        self.learned: tuple[int, ...] = ()
        if torch.is_grad_enabled():
            self.learned = tuple(i for i, t in enumerate(stored) if t.requires_grad)
        self._can_be_planned = _can_be_planned(layer, stored)
        if not self._can_be_planned:
            return
        self._values = ParameterValues(stored)
        with torch.inference_mode(False), torch.no_grad(), _hidden_from_hooks():
            self.plan = _plan(layer, cur, stored, self.learned)
        if self.plan is not None:
            self.state_shape = self.plan.rest[0].shape

    def fits(self, layer: "NeuronLayer", stored: list[Tensor]) -> bool:
        """Whether a call of the layer still reads what the plan was made from."""
        if layer.page is not self._page or layer.read_settings(layer) != self._settings:
            return False
        if self._can_be_planned:
            return self._values.are_unchanged(stored)
        return not _can_be_planned(layer, stored)

    def accepts(
        self, states: Sequence[Tensor], recurrence: Sequence[Tensor], has_grad: bool
    ) -> bool:
        """Whether the kernels can start from these states; other ones make an error, or change.

        Args:
            states: The states, each [B, N].
            recurrence: Of a recurrent layer, weights [N, N] and spikes [B, N].
            has_grad: Whether gradients are enabled, for which inference mode must not have made
                the states.
        """
        plan = self.plan
        assert plan is not None
        if len(states) != len(plan.rest):
            return False
        for state in states:
            if state.shape != self.state_shape or state.dtype is not plan.dtype:
                return False
            if not state.is_cpu or (has_grad and state.is_inference()):
                return False
        if not recurrence:
            return True
        weights, spikes = recurrence
        N = plan.sizes[2]
        return (
            weights.shape == (N, N)
            and spikes.shape == self.state_shape
            and weights.dtype is spikes.dtype is plan.dtype
            and weights.is_cpu
            and spikes.is_cpu
        )


def run_planned(
    layer: "NeuronLayer", cur: Tensor, *, needs_membrane: bool
) -> tuple[Tensor, Tensor | None] | None:
    """Run a call by its plan.

    Args:
        layer: The layer.
        cur: Input charge.
        needs_membrane: Whether the membrane is returned.

    Returns:
        Spikes (of a read-out, its first state) and membrane in the user's shape, or None if the
        call must go the general way.
    """
    if not is_plain(cur):
        return None
    own = vars(layer)
    # `watch_calls` replaces `_solve` to see every call.
    if not own["_is_prepared"] or "_solve" in own:
        return None
    stored = layer._stored_tensors()
    if stored is None:
        return None
    has_grad = torch.is_grad_enabled()
    key = cur.shape, cur.dtype, has_grad, torch.get_num_threads()
    found: LayerPlan | None = own["_plans"].get(key)
    if found is None or not found.fits(layer, stored):
        found = LayerPlan(layer, cur, stored)
        _keep_plan(own["_plans"], key, found)
    plan = found.plan
    if plan is None:
        return None
    states = plan.rest if own["_states"] is None else own["_states"]
    recurrence = _recurrence(layer, plan) if plan.is_recurrent else ()
    if not found.accepts(states, recurrence, has_grad):
        return None
    if found.unsqueezes:
        cur = cur[None]
    if has_grad and (found.learned or _need_gradients(cur, *states, *recurrence)):
        learned = [stored[i] for i in found.learned]
        spikes, mem, last, count, last_spikes = plan.run(
            cur, states, recurrence, learned, needs_membrane
        )
    else:
        spikes, mem, last, _, count = plan.forward.run(
            cur, states, plan.constants, recurrence, needs_membrane, False
        )
        last_spikes = plan.last_spikes(spikes, recurrence[1]) if recurrence else None
    own["_states"] = last
    own["_last_spikes"] = last_spikes
    own["last_solver"] = "serial"
    if count is not None:
        spikes.nonzeros = count  # type: ignore[attr-defined]  # tensors take attributes, their types do not say so
    return spikes, mem


def _need_gradients(*tensors: Tensor) -> bool:
    return any(t.requires_grad for t in tensors)


def _recurrence(layer: "NeuronLayer", plan: Plan) -> tuple[Tensor, Tensor]:
    """Effective recurrent weights, and the spikes before the call."""
    weights = layer.effective_recurrent_weights()
    assert weights is not None
    spikes = vars(layer)["_last_spikes"]
    if spikes is None:
        spikes = plan.silence
    elif spikes.is_inference():
        spikes = as_trainable(spikes)
    return weights.contiguous(), spikes.contiguous()


def _keep_plan(plans: dict[Any, LayerPlan], key: Any, plan: LayerPlan) -> None:
    """Add a plan, in place of the one that was made first if there are too many."""
    plans.pop(key, None)
    plans[key] = plan
    while len(plans) > MOST_PLANS:
        # The list, because another thread may add a plan meanwhile.
        plans.pop(next(iter(list(plans))), None)


def _plan(
    layer: "NeuronLayer", cur: Tensor, stored: list[Tensor], learned: tuple[int, ...]
) -> Plan | None:
    """The solvers' plan; None if the layer chooses another solver, or the input does not fit."""
    sizes = layer._sizes(cur)
    if sizes is None or layer._choose_solver(cur.detach().reshape(sizes)) != "serial":
        return None
    derivatives = layer._derivatives(learned, cur.dtype) if learned else None
    return Plan(
        layer._spec(),
        sizes,
        layer.constants(cur.dtype),
        derivatives,
        [stored[i] for i in learned],
        cur.dtype,
        is_recurrent=layer.layer_topology == "RC",
    )


def _hidden_from_hooks() -> AbstractContextManager[object]:
    """Hide saved tensors from hooks that wait for those of a call, as `torch.utils.checkpoint` has.

    They must not see what only the first call computes.
    """
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is None:
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_identity, _identity)


def _identity(tensor: Tensor) -> Tensor:
    return tensor


def _can_be_planned(layer: "NeuronLayer", stored: list[Tensor]) -> bool:
    if layer.saved_dtype is not None:
        return False
    if isinstance(layer.spike_grad, Foreign) and torch.is_grad_enabled():
        return False  # only a call finds out whether there is something to train in it
    if not all(is_plain(t.detach()) and t.is_contiguous() for t in stored):
        return False
    if not all(_is_in_order_of_neurons(t, layer.features) for t in stored):
        return False
    if not isinstance(layer.dt, float | int):
        return False  # a tensor may change in place
    # Methods of a user may read more than what a plan compares.
    methods = (getattr(layer, name) for name in _METHODS)
    return all(method.__module__.startswith("nwavesdk.") for method in methods)


def _is_in_order_of_neurons(stored: Tensor, features: tuple[int, ...]) -> bool:
    """Whether each stored value is of neurons that follow one another, as `ParameterChain` needs.

    A shape such as [1, W] of neurons [H, W] is not: its gradients add up over columns.
    """
    leading = stored.ndim
    while leading and stored.shape[leading - 1] == 1:
        leading -= 1
    is_of_all_dimensions = leading == 0 or stored.ndim == len(features)
    return is_of_all_dimensions and tuple(stored.shape[:leading]) == features[:leading]
