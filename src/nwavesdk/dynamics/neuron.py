"""The contract of a neuron: one step forward, one step of the adjoint, any number of states and constants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Neuron"]


@dataclass(frozen=True)
class Neuron:
    """A neuron as two pages (see `bind`), which say everything that a solver must know of it.

    `step(x, *states, *constants) -> (s, u, *states)`: from the input charge and the states before the step to the
    spike, the membrane before reset and the states after the step.

    `adjoint(x, *states, *constants, grad_s, *grad_states) -> (grad_x, *grad_states, *grad_constants)`: from what a
    step has read and ∂L/∂(what it gave) to ∂L/∂(what it has read). It evaluates u anew from x and the states before
    the step, so that a solver keeps nothing but trajectories.

    `carry(x, s, *constants) -> (a, b, c)`, for neurons with one state: the step with its spike fixed, as the map
    v -> max(a v + b, c); such maps compose associatively. None where there is no such map: no parallel solver then.

    Attributes:
        name: unique in the library, a Python identifier; with `pages` it names the compiled kernels.
        states: names of the states in order; the first is the membrane that a layer returns as `mem`.
        constants: names of the per-neuron constants in order.
        pages: functions bound to the open names `reset` and `reset_adjoint`.
    """

    name: str
    states: tuple[str, ...]
    constants: tuple[str, ...]
    step: Callable[..., Any]
    adjoint: Callable[..., Any]
    carry: Callable[..., Any] | None = field(default=None, compare=False)
    pages: Mapping[str, Callable[..., Any]] = field(default_factory=dict, compare=False)
