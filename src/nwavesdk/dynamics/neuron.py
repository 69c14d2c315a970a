"""The contract of a neuron: one step forward, one step of the adjoint, any number of states and constants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Neuron"]


@dataclass(frozen=True)
class Neuron:
    """A neuron as three pages (see `bind`), which say everything that a solver must know of it.

    A step is `integrate`, then `fire`; between them stands `w`, the one value of a step that a solver keeps for
    backward. From it, and from the states other than the membrane, everything else is evaluated anew.

    `integrate(x, *states, *constants) -> w`: the membrane with the step's input charge, from the states before it.

    `fire(w, *others, *constants) -> (s, u, *states)`: the spike, the membrane before reset and the states after the
    step. `others` are the states before the step but the first: w tells all that fire needs of the membrane.

    `adjoint(w, *states, *constants, grad_s, *grad_states) -> (grad_x, *grad_states, *grad_constants)`: from what a step
    has read and ∂L/∂(what it gave) to ∂L/∂(what it has read).

    `carry(x, s, *constants) -> (a, b, c)`, for neurons with one state: the step with its spike fixed, as the map
    v -> max(a v + b, c); such maps compose associatively. None where there is no such map: no parallel solver then.

    `forgets(w, s) -> mask`: the steps after which the state no longer depends, if the spike is held fixed, on the state
    before. None where no step is of that kind.

    Attributes:
        name: unique in the library, a Python identifier; with `pages` it names the compiled kernels.
        states: names of the states in order; the first is the membrane that a layer returns as `mem`.
        constants: names of the per-neuron constants in order.
        pages: functions bound to the open names `reset` and `reset_adjoint`.
    """

    name: str
    states: tuple[str, ...]
    constants: tuple[str, ...]
    integrate: Callable[..., Any]
    fire: Callable[..., Any]
    adjoint: Callable[..., Any]
    carry: Callable[..., Any] | None = field(default=None, compare=False)
    forgets: Callable[..., Any] | None = field(default=None, compare=False)
    pages: Mapping[str, Callable[..., Any]] = field(default_factory=dict, compare=False)
