"""Problems and results of solvers, and how a forward pass is saved for backward.

All solvers share the shapes: sequences [B, T, N], states [B, N], constants [N].
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.dynamics import SAVES, Neuron, Program, QueryText, program_of, torch_function
from nwavesdk.surrogate import Formula, Surrogate, heaviside

__all__ = [
    "PassResult",
    "Problem",
    "ProblemGradient",
    "ResultGradient",
    "Spec",
    "delay_one_step",
    "from_saved_dtype",
    "load_saved_tensors",
    "named_value",
    "new_result",
    "program_of_spec",
    "query_saved",
    "recent_spikes",
    "spec_name",
    "specs_by_name",
    "spike_argument",
    "state_trajectories",
    "states_before",
    "to_saved_dtype",
]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The neuron, the surrogate and the options for which a kernel is compiled.

    Attributes:
        neuron: The neuron.
        surrogate: The surrogate whose derivative backward uses.
        detach_reset: Whether no gradient flows through the reset.
        saved_dtype: If None, saves the values unchanged; `"bfloat16"` saves them in half the
            memory (see `to_saved_dtype`).
        max_loop_gain: The largest loop gain of the gradient through recurrent weights; see
            `nwavesdk.solvers.feedback`. If None, the gain is not bounded.

    Example:
        >>> from dataclasses import replace
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.surrogate import atan, triangle
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> replace(spec, surrogate=triangle(alpha=0.3)).surrogate
        triangle(alpha=0.3, k=1.0)
    """

    neuron: Neuron
    surrogate: Surrogate
    detach_reset: bool = True
    saved_dtype: str | None = None
    max_loop_gain: float | None = None


specs_by_name: dict[str, Spec] = {}  # the specs for which `spec_name` was called


@cache
def spec_name(spec: Spec) -> str:
    """The text by which torch operators know `spec`; torch compiles again when it changes.

    torch keeps compiled code on disk, where another process may find it. So the text contains a
    hash of the page and everything that shapes and dtypes depend on.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.surrogate import atan
        >>> neuron = LIF_PAGES["subtraction"].neuron
        >>> name = spec_name(Spec(neuron=neuron, surrogate=atan(alpha=2.0)))
        >>> name.split(", ")[1:3]
        ['ATan(alpha=2.0)', 'detach_reset=True']
    """
    saved = [len(program_of_spec(spec, saves).saved) for saves in SAVES]
    is_formula = isinstance(spec.surrogate, Formula)
    # Only this process knows a surrogate that is a user's function. Shapes do not depend on it.
    surrogate = repr(spec.surrogate) if is_formula else f"function {len(specs_by_name)}"
    name = (
        f"{spec.neuron.name} {spec.neuron.identity}, {surrogate}, "
        f"detach_reset={spec.detach_reset}, saves {saved} {spec.saved_dtype}, "
        f"max_loop_gain={spec.max_loop_gain}"
    )

    specs_by_name[name] = spec
    return name


def program_of_spec(spec: Spec, saves: str) -> Program:
    """The neuron of a spec, with its saved values for `saves`, one of `nwavesdk.dynamics.SAVES`."""
    return program_of(
        spec.neuron,
        detach_reset=spec.detach_reset,
        saves=saves,
        keeps_z=spec.saved_dtype is not None,
    )


@dataclass(frozen=True)
class Problem:
    """A sequence to run.

    Attributes:
        spec: Neuron, surrogate and options of backward.
        x: Input charge [B, T, N], float32 or float64; on GPUs also bfloat16 and float16.
        states: States before the first step, each [B, N].
        constants: Constants of the neuron, each [N].
        recurrent: Weights [N, N] (from, to) by which s[t-1] adds to x[t], or None. Weights
            [K·N, N] read s[t-1], …, s[t-K], in this order; only the reference solver runs them.
        spikes: s before the first step [B, N], or [B, K·N] in this order; required with
            `recurrent`.
        saves: Purpose of the saved values, one of `nwavesdk.dynamics.SAVES`.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import solve
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> decay, threshold = torch.full((1,), 0.5), torch.ones(1)
        >>> problem = Problem(spec, x, states=(torch.zeros(1, 1),), constants=(decay, threshold))
        >>> solve(problem).spikes.flatten()
        tensor([0., 0., 1., 0.])
    """

    spec: Spec
    x: Tensor
    states: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    _: KW_ONLY
    recurrent: Tensor | None = None
    spikes: Tensor | None = None
    saves: str = "gradient"

    @property
    def program(self) -> Program:
        """The neuron with its saved values."""
        return program_of_spec(self.spec, self.saves)

    @property
    def recurrence(self) -> tuple[Tensor, ...]:
        """The recurrent weights and the spikes before the first step; empty without recurrence."""
        return tuple(t for t in (self.recurrent, self.spikes) if t is not None)


class PassResult(NamedTuple):
    """The result of a forward pass: of every solver, with a graph or without, planned or not.

    Attributes:
        spikes: Spikes [B, T, N]; of a read-out, the first state after each step.
        mem: First state after each step [B, T, N]; None if it was not requested.
        last: States after the last step, each [B, N].
        saved: Inputs of backward, without gradients: the values that `Program.saved` names, each
            [B, T, N]; empty if it was not requested.
        spike_count: Number of spikes, from a GPU a tensor whose sum is the number; None if not
            counted.
        recent: Of a recurrent problem, the spikes that the next step reads; else None.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import solve
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> problem = Problem(spec, torch.full((1, 4, 1), 0.6), (torch.zeros(1, 1),), constants)
        >>> solution = solve(problem)
        >>> solution.mem.flatten(), solution.last, solution.spike_count
        (tensor([0.6000, 0.9000, 0.0500, 0.6250]), (tensor([[0.6250]]),), 1)
    """

    spikes: Tensor
    mem: Tensor | None
    last: tuple[Tensor, ...]
    saved: tuple[Tensor, ...]
    spike_count: int | Tensor | None = None
    recent: Tensor | None = None


# `PassResult(*values)` takes twice as long, which is a thirtieth of a step.
new_result: Callable[[tuple[Any, ...]], PassResult] = partial(tuple.__new__, PassResult)


@dataclass(slots=True, eq=False)
class ResultGradient:
    """The gradients of a `PassResult`, from which backward starts; None where they are zero.

    Attributes:
        spikes: ∂L/∂spikes [B, T, N].
        mem: ∂L/∂mem [B, T, N].
        last: ∂L/∂last, each [B, N].
    """

    spikes: Tensor | None
    mem: Tensor | None
    last: Sequence[Tensor | None]


@dataclass(slots=True, eq=False, kw_only=True)
class ProblemGradient:
    """The gradients of a `Problem`: the result of a backward pass.

    Attributes:
        x: ∂L/∂x [B, T, N].
        states: ∂L/∂states, each [B, N].
        constants: ∂L/∂constants of each batch element [C, B, N]; None if they do not learn.
        recurrent: ∂L/∂recurrent [N, N]; None without recurrence, like `spikes`.
        spikes: The gradient of the spikes before the first step [B, N].
    """

    x: Tensor
    states: Sequence[Tensor]
    constants: Tensor | None
    recurrent: Tensor | None = None
    spikes: Tensor | None = None


# Quantities that follow from the saved values of a forward pass


def recent_spikes(spikes: Tensor, before: Tensor) -> Tensor:
    """A copy of the spikes that the next step reads: [B, K·N], the most recent step first.

    Args:
        spikes: Spikes [B, T, N], or of one step [B, N].
        before: Spikes of the K steps before the first step, [B, K·N], in the same order.

    Example:
        >>> spikes = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> recent_spikes(spikes, torch.zeros(1, 4))
        tensor([[0., 1., 1., 0.]])
    """
    if spikes.shape == before.shape:
        return spikes.clone()

    T, N = spikes.shape[1:]
    K = before.shape[1] // N
    if K == 1:
        return spikes[:, -1].clone() if T else before.clone()

    latest = spikes[:, -K:].flip(1).flatten(1)
    return torch.cat([latest, before[:, : K * N - latest.shape[1]]], 1)


def delay_one_step(initial: Sequence[Tensor], sequences: Sequence[Tensor]) -> list[Tensor]:
    """Values before each step, from those before the first step and after each step."""
    return [
        torch.cat([first[:, None], sequence[:, :-1]], 1)[:, : sequence.shape[1]]
        for first, sequence in zip(initial, sequences, strict=True)
    ]


def query_saved(
    problem: Problem, saved: tuple[Tensor, ...], query: QueryText
) -> tuple[Tensor, ...]:
    """The results of a query for all steps, each [B, T, N], without gradient and without a loop."""
    with torch.no_grad():
        dtype = saved[0].dtype
        run = torch_function(query.query, "query", dtype, spike=heaviside)
        before = states_before(problem, saved, query)
        return run(*saved, *before, *problem.constants)


def states_before(problem: Problem, saved: tuple[Tensor, ...], query: QueryText) -> list[Tensor]:
    """The recalled states before each step, each [B, T, N], without gradient."""
    if not query.recalled:
        return []
    with torch.no_grad():
        recall = torch_function(query.recall, "recall", saved[0].dtype, spike=heaviside)
        after = [t.expand_as(saved[0]) for t in recall(*saved, *problem.constants)]
        return delay_one_step([problem.states[k] for k in query.recalled], after)


def spike_argument(problem: Problem, saved: tuple[Tensor, ...]) -> Tensor:
    """The argument z of the spike function in all steps [B, T, N], without gradient.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import solve
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> problem = Problem(spec, x, (torch.zeros(1, 1),), constants, saves="record")
        >>> saved = solve(problem).saved
        >>> spike_argument(problem, saved).flatten()
        tensor([-0.4000, -0.1000,  0.0500, -0.3750])
    """
    return query_saved(problem, saved, problem.program.spike_argument)[0]


def state_trajectories(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The states after each step, each [B, T, N]; only if the problem was saved for a record.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import solve
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> problem = Problem(spec, x, (torch.zeros(1, 1),), constants, saves="record")
        >>> saved = solve(problem).saved
        >>> state_trajectories(problem, saved)[0].flatten()
        tensor([0.6000, 0.9000, 0.0500, 0.6250])
    """
    return query_saved(problem, saved, problem.program.states_after)


def named_value(problem: Problem, saved: tuple[Tensor, ...], name: str) -> Tensor:
    """The value `name` of the page, in all steps; only if the problem was saved for a record.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import solve
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> problem = Problem(spec, x, (torch.zeros(1, 1),), constants, saves="record")
        >>> saved = solve(problem).saved
        >>> named_value(problem, saved, "u").flatten()
        tensor([0.6000, 0.9000, 1.0500, 0.6250])
    """
    return query_saved(problem, saved, problem.program.named_value(name))[0]


# Saving a forward pass for backward


def to_saved_dtype(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """`saved` in the dtype of the spec: with `"bfloat16"`, rounded to half the memory.

    Surrogates are smooth in the logarithm of z. So z is rounded in place of the first saved value,
    which differs from z by a constant; σ' then changes by about 1 % at most. Rounding keeps the
    sign of z, which is the spike, and the sign of the value, on which neurons with a clamp depend.
    """
    if problem.spec.saved_dtype is None:
        return saved
    first, *others = (value.detach() for value in saved)
    return _round_near_threshold(problem, first), *(value.bfloat16() for value in others)


def _round_near_threshold(problem: Problem, value: Tensor) -> Tensor:
    """The first saved value in bfloat16; minus its anchor, if it has one, which gives z."""
    anchor = _anchor(problem)
    if anchor is None:
        rounded = value.bfloat16()
        smallest = torch.finfo(rounded.dtype).tiny
        return torch.where((value > 0) & (rounded <= 0), smallest, rounded)
    distance = (value - anchor).bfloat16()
    # A negative value next to 0 would be rounded to the distance of 0. It takes the next smaller
    # number, so that `from_saved_dtype` restores a negative value.
    zero = (-anchor).bfloat16()
    below_zero = zero.nextafter(zero.new_tensor(-torch.inf))
    return torch.where((value < 0) & (distance >= zero), below_zero, distance)


def from_saved_dtype(problem: Problem, stored: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inverse of `to_saved_dtype`, except for the rounding; does not read `problem.x`."""
    if problem.spec.saved_dtype is None:
        return stored
    first, *others = stored
    dtype = problem.states[0].dtype
    widened = [value.to(dtype) for value in others]

    anchor = _anchor(problem)
    if anchor is None:
        return first.to(dtype), *widened

    value = first.to(dtype) + anchor
    # The sum may round to the threshold: a spike stays above it.
    above_threshold = anchor.nextafter(value.new_tensor(torch.inf))
    value = torch.where(first > 0, value.maximum(above_threshold), value)
    return torch.where(first == (-anchor).bfloat16(), 0.0, value), *widened


def _anchor(problem: Problem) -> Tensor | None:
    """The constant c if z is the first saved value minus c, else None; see `Program.anchor`."""
    position = problem.program.anchor
    return None if position is None else problem.constants[position].detach()


def load_saved_tensors(ctx: Any) -> tuple[Tensor, ...]:
    """`ctx.saved_tensors`; raises a clear error if an earlier backward pass has freed the graph."""
    try:
        tensors: tuple[Tensor, ...] = ctx.saved_tensors
    except RuntimeError as error:
        if "modified by an inplace operation" in str(error):
            raise RuntimeError(
                "a tensor that an earlier part of the sequence was computed from has been modified "
                "since (a loaded checkpoint, an optimizer step, a changed input): call "
                "prepare_net(model) or detach_state(model) before the next part. "
                f"torch reports: {error}"
            ) from None

        if "second time" in str(error):
            raise RuntimeError(
                "backward() reached a sequence whose graph it has already freed: when a layer "
                "carries its state over, call prepare_net(model) to start again, or "
                "detach_state(model) to continue from the state without its past (truncated "
                "backpropagation through time); for two passes through one sequence, use "
                "backward(retain_graph=True)."
            ) from None

        raise
    return tensors
