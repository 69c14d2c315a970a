"""What a solver is given and what it gives, in the shapes that all solvers share: [B, T, N], [B, N] and [N]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron, bind
from nwavesdk.surrogate import Surrogate, heaviside

__all__ = [
    "Problem",
    "Solution",
    "Spec",
    "Trace",
    "TraceGradient",
    "argument",
    "before",
    "freed_graph",
    "membrane",
    "torch_page",
]


@dataclass(frozen=True)
class Spec:
    """The neuron, its surrogate, and whether the gradient through the reset is cut."""

    neuron: Neuron
    surrogate: Surrogate
    detach_reset: bool = True


@dataclass(frozen=True)
class Problem:
    """A sequence to be run.

    Attributes:
        spec: neuron, surrogate, `detach_reset`.
        x: input charge [B, T, N], float32 or float64.
        states: the states before the first step, each [B, N], dtype and device of `x`.
        constants: the neuron's constants, each [N].
        recurrent: weights [N, N] (from, to) by which s[t-1] adds to x[t], or None.
        spikes: s before the first step [B, N]; needed with `recurrent`.
    """

    spec: Spec
    x: Tensor
    states: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    recurrent: Tensor | None = None
    spikes: Tensor | None = None


@dataclass(frozen=True)
class Solution:
    """What came out.

    Attributes:
        spikes: [B, T, N].
        trajectories: the states after each step, each [B, T, N]; the first one carries gradients.
        last: the states after the last step, each [B, N], with gradients.
        current: what each neuron received in all [B, T, N], the input and what came by recurrence.
    """

    spikes: Tensor
    trajectories: tuple[Tensor, ...]
    last: tuple[Tensor, ...]
    current: Tensor


class Trace(NamedTuple):
    """What a forward pass leaves, all [B, T, N] and without a graph: spikes, states after each step, total input."""

    spikes: Tensor
    trajectories: tuple[Tensor, ...]
    total: Tensor


class TraceGradient(NamedTuple):
    """∂L/∂ spikes [B, T, N], first trajectory [B, T, N], states after the last step [B, N]; None where it is zero."""

    spikes: Tensor | None
    mem: Tensor | None
    last: Sequence[Tensor | None]


def before(states: Sequence[Tensor], trajectories: Sequence[Tensor]) -> list[Tensor]:
    """The states before each step, each [B, T, N]."""
    return [torch.cat([s[:, None], t], 1)[:, : t.shape[1]] for s, t in zip(states, trajectories, strict=True)]


def membrane(problem: Problem, trace: Trace) -> Tensor:
    """The membrane before reset `u` at all steps at once [B, T, N], from the trajectories; no gradient."""
    return _replay(problem, trace)[0]


def argument(problem: Problem, trace: Trace) -> Tensor:
    """What the neuron hands to its spike function, at all steps at once [B, T, N]; no gradient."""
    return _replay(problem, trace)[1]


@torch.no_grad()
def _replay(problem: Problem, trace: Trace) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []

    def spike(z: Tensor) -> Tensor:
        seen.append(z)
        return heaviside(z)

    step = torch_page(problem.spec.neuron, "step", spike=spike, held=torch.detach)
    _, u, *_ = step(trace.total, *before(problem.states, trace.trajectories), *problem.constants)
    return u, seen[0]


def torch_page(neuron: Neuron, name: str, **names: Any) -> Any:
    """The neuron's page `"step"` or `"adjoint"` bound to torch and to `names`."""
    pages = {key: bind(page, m=torch) for key, page in neuron.pages.items()}
    return bind(getattr(neuron, name), m=torch, **pages, **names)


def freed_graph(error: RuntimeError) -> RuntimeError:
    """The clear form of autograd's complaint about a graph that an earlier backward pass has freed."""
    if "modified by an inplace operation" in str(error):
        return RuntimeError(
            "what an earlier part of the sequence was computed from has been written to since (a loaded checkpoint, an "
            "optimizer step, a changed input): call prepare_net(model) or detach_state(model) before the next part. "
            f"torch says: {error}"
        )
    if "second time" not in str(error):
        return error
    return RuntimeError(
        "backward() reached a sequence whose graph it has already freed: when a layer carries its state over, call "
        "prepare_net(model) to start anew, or detach_state(model) to go on from the state without its past (truncated "
        "backpropagation through time); for two passes through one sequence, backward(retain_graph=True)."
    )
