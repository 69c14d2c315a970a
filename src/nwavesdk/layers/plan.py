"""Planned calls of neuron layers: what is fixed between two calls is computed when it changes.

A layer keeps the plans of its last calls, one for each kind of input. A plan is used again only if
all that a call reads is as it was: the settings of the layer, its page, and the values of its
constants. Every other call goes the general way (`NeuronLayer._solve`), which gives the same
results and makes all errors.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nwavesdk.dynamics import Page
from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.layout import Layout
from nwavesdk.layers.prepare import as_trainable
from nwavesdk.solvers import Plan
from nwavesdk.solvers.cpu.parameters import ParameterChain, ParameterValues
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
        layout: The order in which the neurons are run.
        stored: The stored constants of the layer.
    """

    __slots__ = (
        *("_can_be_planned", "_page", "_settings", "_values"),
        *("layout", "learned", "plan", "state_shape", "unsqueezes"),
    )

    def __init__(
        self, layer: "NeuronLayer", cur: Tensor, layout: Layout, stored: list[Tensor]
    ) -> None:
        self._page: Page = layer.page
        self.layout = layout
        self._settings = layer.read_settings(layer)
        self.plan: Plan | None = None
        self.unsqueezes = cur.ndim == len(layer.features)
        # Positions of the constants that learn among the stored ones.
        self.learned: tuple[int, ...] = ()
        if torch.is_grad_enabled():
            self.learned = tuple(i for i, t in enumerate(stored) if t.requires_grad)
        self._can_be_planned = self._can_plan(layer, stored)
        if not self._can_be_planned:
            return
        self._values = ParameterValues(stored)
        with torch.inference_mode(False), torch.no_grad(), _hidden_from_hooks():
            self.plan = _plan(layer, cur, layout, stored, self.learned)
        if self.plan is not None:
            self.state_shape = torch.Size((self.plan.sizes[0], *layer.features))

    def fits(self, layer: "NeuronLayer", stored: list[Tensor]) -> bool:
        """Whether a call of the layer still reads what the plan was made from."""
        if layer.page is not self._page or layer.read_settings(layer) != self._settings:
            return False
        if self._can_be_planned:
            return self._values.are_unchanged(stored)
        return not self._can_plan(layer, stored)

    def _can_plan(self, layer: "NeuronLayer", stored: list[Tensor]) -> bool:
        return _can_be_planned(layer, stored, self.layout)

    def accepts(
        self, states: Sequence[Tensor] | None, recurrence: Sequence[Tensor], has_grad: bool
    ) -> bool:
        """Whether the kernels can start from these states; other ones make an error, or change.

        Args:
            states: The states, each [B, *features]; None for the initial ones.
            recurrence: Of a recurrent layer, weights [N, N] and spikes [B, N].
            has_grad: Whether gradients are enabled, for which inference mode must not have made
                the states.
        """
        plan = self.plan
        assert plan is not None
        if states is not None and len(states) != len(plan.rest):
            return False
        for state in states or ():
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
            and spikes.shape == plan.silence.shape
            and weights.dtype is spikes.dtype is plan.dtype
            and weights.is_cpu
            and spikes.is_cpu
        )


# The number of the backward pass that is running in this thread; -1 outside of all.
_running_backward = torch._C._current_graph_task_id


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
    if "_solve" in own:
        return None
    stored = layer._stored_tensors()
    if stored is None:
        return None
    has_grad = torch.is_grad_enabled()
    is_flat = len(own["features"]) == 1
    # Of flat neurons, no layout is looked for, because this takes time.
    layout = None if is_flat else layer.layout_of(cur)
    key = cur.shape, cur.dtype, has_grad, torch.get_num_threads(), layout
    found: LayerPlan | None = own["_plans"].get(key)
    if found is None or not found.fits(layer, stored):
        found = LayerPlan(layer, cur, layout or layer.layout_of(cur), stored)
        _keep_plan(own["_plans"], key, found)
    plan = found.plan
    if plan is None:
        return None
    before = own["_states"]
    if before is not None and _running_backward() != -1:
        layer._require_own_state()
    recurrence = _recurrence(layer, plan) if plan.is_recurrent else ()
    if not found.accepts(before, recurrence, has_grad):
        return None
    if found.unsqueezes:
        cur = cur[None]
    layout = found.layout
    states = plan.rest if before is None else before
    if not is_flat:
        cur = layout.flatten(cur)
        states = states if before is None else tuple(map(layout.flatten, before))
    needs_graph = has_grad and (
        cur.requires_grad or found.learned or _need_gradients(*states, *recurrence)
    )
    if needs_graph:
        learned = [stored[i] for i in found.learned]
        spikes, mem, last, count, last_spikes = plan.run(
            cur, states, recurrence, learned, needs_membrane
        )
    else:
        spikes, mem, last, _, count = plan.forward.run(
            cur, states, plan.constants, recurrence, needs_membrane, False
        )
        last_spikes = plan.last_spikes(spikes, recurrence[1]) if recurrence else None
    if not is_flat:
        spikes = layout.unflatten(spikes)
        mem = None if mem is None else layout.unflatten(mem)
        last = tuple(map(layout.unflatten, last))
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
    layer: "NeuronLayer",
    cur: Tensor,
    layout: Layout,
    stored: list[Tensor],
    learned: tuple[int, ...],
) -> Plan | None:
    """The solvers' plan; None if the layer chooses another solver, or the input does not fit."""
    sizes = layer._sizes(cur)
    if sizes is None or layer._choose_solver(cur.detach().reshape(sizes)) != "serial":
        return None
    chain = None
    if learned:
        derivatives = layout.arrange(layer._derivatives(learned, cur.dtype))
        parameters = [_arranged(stored[i], layout) for i in learned]
        runs = [_run(stored[i], layout) for i in learned]
        chain = ParameterChain(derivatives, parameters, runs, cur.dtype)
    return Plan(
        layer._spec(),
        sizes,
        [layout.arrange(constant) for constant in layer.constants(cur.dtype)],
        chain,
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


def _can_be_planned(layer: "NeuronLayer", stored: list[Tensor], layout: Layout) -> bool:
    if layer.saved_dtype is not None:
        return False
    if isinstance(layer.spike_grad, Foreign) and torch.is_grad_enabled():
        return False  # only a call finds out whether there is something to train in it
    if not all(is_plain(t.detach()) and t.is_contiguous() for t in stored):
        return False
    if not all(_is_in_order_of_neurons(t, layout) for t in stored):
        return False
    if not isinstance(layer.dt, float | int):
        return False  # a tensor may change in place
    # Methods of a user may read more than what a plan compares.
    methods = (getattr(layer, name) for name in _METHODS)
    return all(method.__module__.startswith("nwavesdk.") for method in methods)


def _is_in_order_of_neurons(stored: Tensor, layout: Layout) -> bool:
    """Whether values and neurons lie in one order, as `ParameterChain` needs.

    A shape such as [1, W] of neurons [H, W] does not: its gradients add up over columns.
    """
    leading = _leading_dimensions(stored)
    features = layout.features
    is_of_all_dimensions = leading == 0 or stored.ndim == len(features)
    if layout.is_channels_last and leading > 1 and stored.shape != features:
        return False
    return is_of_all_dimensions and tuple(stored.shape[:leading]) == features[:leading]


def _leading_dimensions(stored: Tensor) -> int:
    """How many dimensions are before those of size 1 at the end."""
    leading = stored.ndim
    while leading and stored.shape[leading - 1] == 1:
        leading -= 1
    return leading


def _run(stored: Tensor, layout: Layout) -> int:
    """How many neurons that follow one another in memory share a stored value."""
    is_by_channel = _leading_dimensions(stored) == 1
    if is_by_channel and layout.is_channels_last:
        return 1
    return math.prod(layout.features) // stored.numel()


def _arranged(stored: Tensor, layout: Layout) -> Tensor:
    """A parameter with its values in the order of memory; one of all neurons may have another."""
    if stored.shape != layout.features:
        return stored
    return layout.unflatten(layout.flatten(stored))
