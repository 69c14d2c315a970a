"""What a solver is given and what it gives, in the shapes that all solvers share: [B, T, N], [B, N] and [N]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron, bind
from nwavesdk.surrogate import Surrogate, heaviside

__all__ = ["Problem", "Solution", "Spec", "argument", "before", "freed_graph", "membrane"]


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


def before(states: Sequence[Tensor], trajectories: Sequence[Tensor]) -> list[Tensor]:
    """The states before each step, each [B, T, N]."""
    return [torch.cat([s[:, None], t], 1)[:, : t.shape[1]] for s, t in zip(states, trajectories, strict=True)]


def membrane(
    neuron: Neuron, x: Tensor, states: Sequence[Tensor], trajectories: Sequence[Tensor], constants: Sequence[Tensor]
) -> Tensor:
    """The membrane before reset `u` at all steps at once [B, T, N], from the trajectories."""
    u: Tensor = _step(neuron, heaviside, x, before(states, trajectories), constants)[1]
    return u


def argument(
    neuron: Neuron, x: Tensor, states: Sequence[Tensor], trajectories: Sequence[Tensor], constants: Sequence[Tensor]
) -> Tensor:
    """What the neuron hands to its spike function at all steps at once [B, T, N]: membrane minus threshold."""
    seen: list[Tensor] = []

    def spike(z: Tensor) -> Tensor:
        seen.append(z)
        return heaviside(z)

    _step(neuron, spike, x, before(states, trajectories), constants)
    return seen[0]


def _step(neuron: Neuron, spike: Any, x: Tensor, states: Sequence[Tensor], constants: Sequence[Tensor]) -> Any:
    pages = {name: bind(page, m=torch) for name, page in neuron.pages.items()}
    step = bind(neuron.step, m=torch, spike=spike, held=torch.detach, **pages)
    return step(x, *states, *constants)


def freed_graph(error: RuntimeError) -> RuntimeError:
    """The clear form of autograd's complaint about a graph that an earlier backward pass has freed."""
    if "second time" not in str(error):
        return error
    return RuntimeError(
        "the state that a layer carries over belongs to a sequence whose graph backward() has already freed: call "
        "prepare_net(model) to start anew, detach_state(model) to go on from the state without its past (truncated "
        "backpropagation through time), or backward(retain_graph=True)."
    )
