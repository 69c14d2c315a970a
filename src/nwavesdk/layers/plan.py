"""Plans of neuron layers: the decisions of a call, reused while nothing has changed.

A layer keeps the plans of its last calls, one for each kind of input. A plan holds the passes of
the serial solver on the CPU; a call without a plan makes new passes. A plan is valid while the
settings of the layer, its page, and the values of its constants are unchanged. A call that cannot
have a plan runs `SolvedNeurons._solve`, which returns the same results and raises all errors.

Gradients reach the learned constants by the chain rule. The stored constants are inputs of the
call's node in the graph, and `ParameterChain` has the derivatives of the solver's constants with
respect to them.

Where a change belongs:
    - A new setting that a call reads: `CALL_SETTINGS` in `solved`, which `is_valid` compares.
    - A new reason against plans: `_can_be_planned` if it depends on the layer, `accepts` if it
      depends on the state.
    - A new input of the kernels: `_make_passes`.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import Page
from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.checks import check_input
from nwavesdk.layers.layout import Layout
from nwavesdk.layers.prepare import as_trainable
from nwavesdk.layers.solved import SolvedNeurons
from nwavesdk.solvers import PassResult
from nwavesdk.solvers.cpu.parameters import ParameterChain, ParameterValues
from nwavesdk.solvers.cpu.serial import SerialPasses
from nwavesdk.solvers.sweep import run_passes
from nwavesdk.surrogate import Foreign

__all__ = ["LayerPlan", "attach_spike_count", "run_planned"]

MAX_PLANS = 8


class LayerPlan:
    """The decisions of a call, and the values on which they depend.

    Args:
        layer: The layer, which is prepared.
        cur: Input charge.
        layout: The order in which the neurons are run.
        stored: The stored constants of the layer.

    Attributes:
        passes: The passes that run; None if the call has to run `SolvedNeurons._solve`.
        learned: Positions of the learned constants among the stored constants.
    """

    __slots__ = (
        "_page",
        "_settings",
        "_values",
        "layout",
        "learned",
        "passes",
        "state_shape",
        "unsqueezes",
    )

    def __init__(
        self, layer: SolvedNeurons, cur: Tensor, layout: Layout, stored: list[Tensor]
    ) -> None:
        self._page: Page = layer.page
        self._settings = layer.read_settings(layer)
        self.layout = layout
        # An input [*features] is a batch of one.
        self.unsqueezes = cur.ndim == len(layer.features)

        self.learned: tuple[int, ...] = ()
        if torch.is_grad_enabled():
            self.learned = tuple(i for i, t in enumerate(stored) if t.requires_grad)

        self.passes: SerialPasses | None = None
        # None if settings, constants or an overridden method of the layer rule out a plan.
        self._values: ParameterValues | None = None
        if not _can_be_planned(layer, stored):
            return
        self._values = ParameterValues(stored)

        # Later calls reuse the tensors, whatever the modes and hooks of this call are.
        with torch.inference_mode(False), torch.no_grad(), _hidden_from_hooks():
            self.passes = _make_passes(layer, cur, layout, stored, self.learned)
        if self.passes is not None:
            self.state_shape = torch.Size((self.passes.sizes[0], *layer.features))

    def is_valid(self, layer: SolvedNeurons, stored: list[Tensor]) -> bool:
        """Whether page, settings and constants of the layer are unchanged."""
        if layer.page is not self._page or layer.read_settings(layer) != self._settings:
            return False
        if self._values is not None:
            return self._values.are_unchanged(stored)

        # Without values, the layer ruled out a plan. This stays valid while it still does.
        return not _can_be_planned(layer, stored)

    def accepts(
        self, states: Sequence[Tensor] | None, recurrence: Sequence[Tensor], has_grad: bool
    ) -> bool:
        """Whether the kernels can start from this state; `_solve` converts or rejects others.

        Args:
            states: The states, each [B, *features]; None for the initial states.
            recurrence: Of a recurrent layer, weights [N, N] and spikes [B, N].
            has_grad: Whether gradients are enabled, for which inference mode must not have made
                the states.
        """
        passes = self.passes
        assert passes is not None

        if states is not None and len(states) != passes.n_states:
            return False
        for state in states or ():
            if state.shape != self.state_shape or state.dtype is not passes.dtype:
                return False
            if not state.is_cpu or (has_grad and state.is_inference()):
                return False

        if not recurrence:
            return True
        weights, spikes = recurrence
        N = passes.sizes[2]
        return (
            weights.shape == (N, N)
            and spikes.shape == passes.silence.shape
            and weights.dtype is spikes.dtype is passes.dtype
            and weights.is_cpu
            and spikes.is_cpu
        )


# Functions of torch under module names, because attribute look-ups take time in every step.
_is_grad_enabled = torch.is_grad_enabled
_thread_count = torch.get_num_threads
# The number of the backward pass that is running in this thread; -1 outside of all.
_running_backward = torch._C._current_graph_task_id


def run_planned(layer: SolvedNeurons, cur: Tensor, *, needs_membrane: bool) -> PassResult | None:
    """Run a call with the passes of a plan, and store the state after it.

    The call finds or makes its plan, checks that the kernels can start from the layer's state,
    brings charge and state into the kernels' shape, runs the passes, and stores the new state.
    `NeuronLayer` runs `_solve` in place of a call that cannot have a plan.

    Every step of a stream runs this function. So attributes of the instance are read from and
    written to `vars(layer)`, without `nn.Module.__setattr__`, which takes ten times as long.
    Attributes with a default in the class, such as `on_call`, are read from the layer.

    Args:
        layer: The layer, which is prepared.
        cur: Input charge [B, T, *features], [B, *features] or [*features].
        needs_membrane: Whether the membrane is returned, unless the layer is a read-out.

    Returns:
        The result with spikes and membrane in the user's shape, or None if the call must run
        `SolvedNeurons._solve`.
    """
    # Kernels read memory directly, which tracers and subclasses of Tensor would not notice. And
    # only `_solve` calls `on_call`.
    if not is_plain(cur) or layer.on_call is not None:
        return None

    # A parametrized constant is a new tensor in each call, so its memory cannot be compared.
    stored = layer._stored_tensors()
    if stored is None:
        return None

    # A plan per shape and dtype of the input, gradient mode, number of threads and layout.
    attributes = vars(layer)
    has_grad = _is_grad_enabled()
    is_flat = len(attributes["features"]) == 1
    # Flat neurons have one layout only. It is not computed, because this takes time.
    layout = None if is_flat else layer.layout_of(cur)
    key = cur.shape, cur.dtype, has_grad, _thread_count(), layout
    plan: LayerPlan | None = attributes["_plans"].get(key)
    if plan is None or not plan.is_valid(layer, stored):
        plan = LayerPlan(layer, cur, layout or layer.layout_of(cur), stored)
        _store_plan(attributes["_plans"], key, plan)
    passes = plan.passes
    if passes is None:
        return None

    # The state before the call. Within backward, as with checkpoints, a state that the forward pass
    # left is an error.
    before = attributes["_states"]
    if before is not None and _running_backward() != -1:
        layer._require_own_state()
    recurrence = _recurrence(layer, passes) if passes.is_recurrent else ()
    if not plan.accepts(before, recurrence, has_grad):
        return None

    # The kernels take a charge [B, N] or [B, T, N] and states [B, N] in the order of the layout.
    if plan.unsqueezes:
        cur = cur[None]
    states = passes.initial_states if before is None else before
    layout = plan.layout
    if not is_flat:
        cur = layout.flatten(cur)
        states = states if before is None else tuple(map(layout.flatten, before))

    # A node in the graph takes time, so it is made only where a gradient is wanted.
    needs_membrane = needs_membrane and not passes.is_readout
    needs_graph = has_grad and (
        cur.requires_grad or plan.learned or _need_gradients(*states, *recurrence)
    )
    if needs_graph:
        learned = [stored[i] for i in plan.learned]
        result = run_passes(passes, cur, states, recurrence, learned, needs_membrane=needs_membrane)
    else:
        result = passes.forward(cur, states, recurrence, needs_membrane, needs_saved=False)

    # Back in the user's shape; the layer stores its states in this shape, too.
    if not is_flat:
        result = result._replace(
            spikes=layout.unflatten(result.spikes),
            mem=None if result.mem is None else layout.unflatten(result.mem),
            last=tuple(map(layout.unflatten, result.last)),
        )
    attributes["_states"] = result.last
    attributes["_last_spikes"] = result.recent
    attributes["last_solver"] = "serial"
    if result.spike_count is not None:
        attach_spike_count(result.spikes, result.spike_count)
    return result


def attach_spike_count(spikes: Tensor, count: int | Tensor) -> None:
    """Attach a number of spikes to their tensor, where a sparse product that follows reads it."""
    if type(count) is int:  # reading a count on a GPU would wait for the device
        spikes.nonzeros = count  # type: ignore[attr-defined]  # tensors take attributes, their types do not say so


def _need_gradients(*tensors: Tensor) -> bool:
    return any(t.requires_grad for t in tensors)


def _recurrence(layer: SolvedNeurons, passes: SerialPasses) -> tuple[Tensor, Tensor]:
    """Effective recurrent weights, and the spikes before the call."""
    weights = layer.effective_recurrent_weights()
    assert weights is not None
    spikes = vars(layer)["_last_spikes"]
    if spikes is None:
        spikes = passes.silence
    elif spikes.is_inference():
        spikes = as_trainable(spikes)
    return weights, spikes


def _store_plan(plans: dict[Any, LayerPlan], key: Any, plan: LayerPlan) -> None:
    """Add a plan as the newest; remove the oldest if there are too many."""
    plans.pop(key, None)
    plans[key] = plan
    while len(plans) > MAX_PLANS:
        # From a list, because another thread may add a plan meanwhile.
        plans.pop(next(iter(list(plans))), None)


def _make_passes(
    layer: SolvedNeurons,
    cur: Tensor,
    layout: Layout,
    stored: list[Tensor],
    learned: tuple[int, ...],
) -> SerialPasses | None:
    """The passes of the serial solver; None if the layer chooses a different solver."""
    check_input(type(layer).__name__, cur, layer.features)
    sizes = layer._sizes(cur)
    if layer._choose_solver(cur.detach().reshape(sizes)) != "serial":
        return None

    # Derivatives and parameters in the order of the layout, in which the kernels run.
    chain = None
    if learned:
        derivatives = layout.arrange(layer._derivatives(learned, cur.dtype))
        parameters = [_arranged(stored[i], layout) for i in learned]
        shared_counts = [_shared_count(stored[i], layout) for i in learned]
        chain = ParameterChain(derivatives, parameters, shared_counts, cur.dtype)

    return SerialPasses(
        layer._spec(),
        "learning" if learned else "gradient",
        [layout.arrange(constant) for constant in layer.constants(cur.dtype)],
        sizes=sizes,
        chain=chain,
        dtype=cur.dtype,
        is_recurrent=layer.layer_topology == "RC",
    )


def _hidden_from_hooks() -> AbstractContextManager[object]:
    """Hide the saved tensors of a plan from hooks, such as the hooks of `torch.utils.checkpoint`.

    Checkpoints compare the saved tensors of two runs, and only the first run makes the plan.
    """
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is None:
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_identity, _identity)


def _identity(tensor: Tensor) -> Tensor:
    return tensor


def _can_be_planned(layer: SolvedNeurons, stored: list[Tensor]) -> bool:
    """Whether settings, constants and methods of the layer allow a plan."""
    if layer.saved_dtype is not None:
        return False
    if isinstance(layer.spike_grad, Foreign) and torch.is_grad_enabled():
        return False  # only a call can detect whether the surrogate has parameters to train

    if not all(is_plain(t.detach()) and t.is_contiguous() for t in stored):
        return False
    if not all(_has_usual_shape(t, layer.features) for t in stored):
        return False
    if not isinstance(layer.dt, float | int):
        return False  # a tensor may change in place

    # A method that a user has overridden may read more values than a plan compares.
    methods: tuple[Callable[..., Any], ...] = (
        layer.constants,
        layer.effective_constants,
        layer.effective_recurrent_weights,
        layer._evaluate_constants,
        layer._initial_state,
    )
    return all(method.__module__.startswith("nwavesdk.") for method in methods)


def _has_usual_shape(stored: Tensor, features: tuple[int, ...]) -> bool:
    """Whether there is one value, one per neuron, or one per channel [C, 1, ...].

    `ParameterChain` needs values in the order of the neurons in memory. Others, such as [1, W] of
    neurons [H, W], belong to neurons that are not consecutive.
    """
    return tuple(stored.shape) in ((), features, (features[0],) + (1,) * (len(features) - 1))


def _shared_count(stored: Tensor, layout: Layout) -> int:
    """The number of consecutive neurons in memory that share a stored value."""
    is_by_channel = stored.ndim > 0 and stored.shape != layout.features
    if is_by_channel and layout.is_channels_last:
        return 1
    return math.prod(layout.features) // stored.numel()


def _arranged(stored: Tensor, layout: Layout) -> Tensor:
    """A parameter whose values are in memory in the order of the layout; its shape is unchanged."""
    # Fewer values than neurons are in this order already; see `_has_usual_shape`.
    if stored.shape != layout.features:
        return stored
    # `flatten` brings the values into this order, with a copy if needed; `unflatten` is a view.
    return layout.unflatten(layout.flatten(stored))
