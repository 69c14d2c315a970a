"""`bind`: one page of maths, run by many machines.

A page is a plain Python function of scalars or tensors. Its free names are left open: `m` (the maths module: abs, exp,
log, sqrt, floor, cos, where), `spike` and `surrogate` (functions of z), `held` (how much of the gradient through the
reset counts), `reset` and `reset_adjoint`. Binding gives them a meaning: torch functions for the reference solver,
compiled scalar functions for the kernels, `triton.language` for GPUs.


The contract of a neuron: one step forward, one step of the adjoint, any number of states and constants.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Neuron", "bind", "held", "reset", "reset_adjoint", "spike", "surrogate"]


def bind(page: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """A copy of `page` that sees `names` as its globals; the page itself stays as it was.

    Example:
        >>> bind(lambda z: spike(z), spike=abs)(-2)
        2
    """
    assert isinstance(page, types.FunctionType)
    scope = {**page.__globals__, **names}
    return types.FunctionType(
        page.__code__, scope, page.__name__, page.__defaults__, page.__closure__
    )


def _open(name: str) -> Callable[..., Any]:
    def unbound(*_: Any) -> Any:
        raise RuntimeError(f"{name} is an open name of a page: bind the page before it is called.")

    unbound.__name__ = name
    return unbound


spike = _open("spike")
surrogate = _open("surrogate")
held = _open("held")
reset = _open("reset")
reset_adjoint = _open("reset_adjoint")


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
