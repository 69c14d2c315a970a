"""What a solver gets and returns, and how a forward pass is saved for backward.

All solvers share the shapes: sequences [B, T, N], states [B, N], constants [N].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron
from nwavesdk.dynamics.neuron import bind
from nwavesdk.surrogate import Surrogate, heaviside

__all__ = [
    "Problem",
    "Solution",
    "SolutionGradient",
    "Spec",
    "delay_one_step",
    "flatten_call",
    "from_saved_dtype",
    "load_saved_tensors",
    "membrane_before_reset",
    "spec_name",
    "specs_by_name",
    "spike_argument",
    "state_trajectories",
    "to_saved_dtype",
    "torch_page",
    "unflatten_call",
]


@dataclass(frozen=True)
class Spec:
    """What a kernel is compiled for.

    Attributes:
        neuron: The neuron.
        surrogate: The surrogate whose derivative backward uses.
        detach_reset: Whether no gradient flows through the reset.
        saved_dtype: None saves `w` unchanged for backward; `"bfloat16"` saves w - threshold in half
            the memory (see `to_saved_dtype`).
    """

    neuron: Neuron
    surrogate: Surrogate
    detach_reset: bool = True
    saved_dtype: str | None = None


specs_by_name: dict[str, Spec] = {}  # those that `spec_name` has named


@cache
def spec_name(spec: Spec) -> str:
    """The text by which torch operators know `spec`; torch compiles again when it changes.

    The text contains everything that shapes and dtypes depend on: torch keeps compiled code on
    disk, where another process that numbers its specs differently may find it.
    """
    name = f"{spec.neuron.name}, saves {spec.saved_dtype} #{len(specs_by_name)}"
    specs_by_name[name] = spec
    return name


@dataclass(frozen=True)
class Problem:
    """A sequence to run.

    Attributes:
        spec: Neuron, surrogate and options of backward.
        x: Input charge [B, T, N], float32 or float64. GPU kernels also accept bfloat16 and float16,
            with float32 states and constants; they return spikes, `mem` and ∂L/∂x in the dtype
            of x.
        states: States before the first step, each [B, N], on the device of `x` and (except for half
            `x`) in its dtype.
        constants: Constants of the neuron, each [N].
        recurrent: Weights [N, N] (from, to) by which s[t-1] adds to x[t], or None.
        spikes: s before the first step [B, N]; required with `recurrent`.
    """

    spec: Spec
    x: Tensor
    states: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    recurrent: Tensor | None = None
    spikes: Tensor | None = None

    @property
    def recurrence(self) -> tuple[Tensor, ...]:
        """The recurrent weights and the spikes before the first step; empty without recurrence."""
        return tuple(t for t in (self.recurrent, self.spikes) if t is not None)


class Solution(NamedTuple):
    """What a solver returns: `solve` under autograd, forward passes without a graph.

    Attributes:
        spikes: Spikes [B, T, N].
        mem: First state after each step [B, T, N]; None if it was not requested.
        last: States after the last step, each [B, N].
        saved: What backward needs, without gradients: `w` of each step, and every state but the
            first after each step, each [B, T, N]; empty if it was not requested.
        spike_count: Number of spikes, or None if they were not counted. From a GPU this is a tensor
            whose sum is the number, because reading it would wait for the device.
    """

    spikes: Tensor
    mem: Tensor | None
    last: tuple[Tensor, ...]
    saved: tuple[Tensor, ...]
    spike_count: int | Tensor | None = None


class SolutionGradient(NamedTuple):
    """Gradients of the spikes, of `mem`, and of each state in `last`; None where one is zero."""

    spikes: Tensor | None
    mem: Tensor | None
    last: Sequence[Tensor | None]


# Quantities that follow from what a forward pass has saved


def delay_one_step(initial: Sequence[Tensor], sequences: Sequence[Tensor]) -> list[Tensor]:
    """Values before each step, from those before the first step and after each step."""
    return [
        torch.cat([first[:, None], sequence], 1)[:, : sequence.shape[1]]
        for first, sequence in zip(initial, sequences, strict=True)
    ]


def membrane_before_reset(problem: Problem, saved: tuple[Tensor, ...]) -> Tensor:
    """The membrane before reset `u` of all steps [B, T, N], without gradient."""
    return _repeat_fire(problem, saved)[0]


def spike_argument(problem: Problem, saved: tuple[Tensor, ...]) -> Tensor:
    """The argument z of the spike function in all steps [B, T, N], without gradient."""
    return _repeat_fire(problem, saved)[2]


def state_trajectories(problem: Problem, saved: tuple[Tensor, ...]) -> list[Tensor]:
    """The states after each step, each [B, T, N], without gradient."""
    return [_repeat_fire(problem, saved)[1], *saved[1:]]


@torch.no_grad()
def _repeat_fire(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """u, v and z of all steps. No loop: `fire` needs `w` and the other states, which are saved."""
    arguments: list[Tensor] = []

    def spike(z: Tensor) -> Tensor:
        arguments.append(z)
        return heaviside(z)

    fire = torch_page(problem.spec.neuron, "fire", spike=spike, held=torch.detach)
    others = delay_one_step(problem.states[1:], saved[1:])
    _, u, v, *_ = fire(saved[0], *others, *problem.constants)
    return u, v, arguments[0]


# Saving a forward pass for backward


def to_saved_dtype(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """`saved` as the spec wants it: with `"bfloat16"`, `w` becomes its distance from the threshold.

    Surrogates are smooth in the logarithm of this distance, so σ' changes by about 1 % at most.
    Rounding keeps the sign of the distance, which is the spike, and the sign of `w`, on which
    neurons with a clamp depend.
    """
    if problem.spec.saved_dtype is None:
        return saved
    w = saved[0].detach()
    threshold = _threshold(problem)
    distance = (w - threshold).bfloat16()
    # A negative w next to 0 rounds to the distance of w = 0: take the next smaller number.
    zero = (-threshold).bfloat16()
    below_zero = zero.nextafter(zero.new_tensor(-torch.inf))
    return torch.where((w < 0) & (distance >= zero), below_zero, distance), *saved[1:]


def from_saved_dtype(problem: Problem, stored: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inverse of `to_saved_dtype`, except for the rounding; does not read `problem.x`."""
    if problem.spec.saved_dtype is None:
        return stored
    threshold = _threshold(problem)
    distance = stored[0]
    w = distance.to(threshold.dtype) + threshold
    # The sum may round to the threshold: a spike stays above it.
    above_threshold = threshold.nextafter(w.new_tensor(torch.inf))
    w = torch.where(distance > 0, w.maximum(above_threshold), w)
    return torch.where(distance == (-threshold).bfloat16(), 0.0, w), *stored[1:]


def _threshold(problem: Problem) -> Tensor:
    constants = dict(zip(problem.spec.neuron.constants, problem.constants, strict=True))
    return constants.get("threshold", torch.zeros_like(problem.constants[0])).detach()


def flatten_call(problem: Problem, solution: Solution) -> list[Tensor]:
    """A forward pass as the flat list of tensors that autograd saves.

    Layout, for K states and C constants: states before the first step (K), constants (C),
    `Solution.saved` in the saved dtype (K); then, for a recurrent problem, its weights, the spikes
    before the first step, and the spikes.
    """
    return [
        *problem.states,
        *problem.constants,
        *to_saved_dtype(problem, solution.saved),
        *problem.recurrence,
        *([solution.spikes] if problem.recurrence else []),
    ]


def unflatten_call(spec: Spec, tensors: Sequence[Tensor]) -> tuple[Problem, Solution]:
    """The inverse of `flatten_call`, as far as backward reads it.

    `Problem.x` is the stored `w`; without recurrence, so is `Solution.spikes`.
    """
    K, C = len(spec.neuron.states), len(spec.neuron.constants)
    states = tuple(tensors[:K])
    constants = tuple(tensors[K : K + C])
    stored = tuple(tensors[K + C : K + C + K])
    recurrence = tensors[K + C + K :]
    problem = Problem(spec, stored[0], states, constants, *recurrence[:2])
    saved = from_saved_dtype(problem, stored)
    return problem, Solution(recurrence[2] if recurrence else saved[0], None, (), saved)


def torch_page(neuron: Neuron, name: str, **names: Any) -> Any:
    """The neuron's page called `name`, bound to torch and to `names`."""
    pages = {key: bind(page, m=torch) for key, page in neuron.pages.items()}
    return bind(getattr(neuron, name), m=torch, **pages, **names)


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
