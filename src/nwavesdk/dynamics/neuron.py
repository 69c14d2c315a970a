"""The contract of a neuron, how its pages are bound to a machine, and the reset mechanisms.

A *page* is a plain Python function of scalars or tensors, written once and run by many machines.
Its free names are open: `m` (the maths module: abs, exp, log, sqrt, floor, cos, where), `spike` and
`surrogate` (functions of z), `held` (how much of the gradient through the reset counts), `reset`
and `reset_adjoint`. `bind` gives them a meaning: torch functions for the reference solver, compiled
scalar functions for the CPU kernels, `triton.language` for GPUs.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch as m  # the maths of a page; numba and Triton bind their own

__all__ = [
    "RESETS",
    "Neuron",
    "Reset",
    "bind",
    "held",
    "reset",
    "reset_adjoint",
    "spike",
    "surrogate",
]


def bind(page: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """A copy of `page` that sees `names` as its globals; the page itself does not change.

    Example:
        >>> bind(lambda z: spike(z), spike=abs)(-2)
        2
    """
    assert isinstance(page, types.FunctionType)
    scope = {**page.__globals__, **names}
    return types.FunctionType(
        page.__code__, scope, page.__name__, page.__defaults__, page.__closure__
    )


def _open_name(name: str) -> Callable[..., Any]:
    def unbound(*_: Any) -> Any:
        raise RuntimeError(f"{name} is an open name of a page: bind the page before calling it.")

    unbound.__name__ = name
    return unbound


spike = _open_name("spike")
surrogate = _open_name("surrogate")
held = _open_name("held")
reset = _open_name("reset")
reset_adjoint = _open_name("reset_adjoint")


@dataclass(frozen=True)
class Neuron:
    """A neuron as three pages (see `bind`), with everything that a solver must know about it.

    A step is `integrate` followed by `fire`. Between them is `w`, the only value of a step that a
    solver saves for backward. Everything else is recomputed from `w` and the states other than the
    membrane.

    `integrate(x, *states, *constants) -> w`: the membrane with the step's input charge, from the
    states before the step.

    `fire(w, *others, *constants) -> (s, u, *states)`: the spike, the membrane before reset, and the
    states after the step. `others` are the states before the step without the first: w contains
    all that `fire` needs of the membrane.

    `adjoint(w, *states, *constants, grad_s, *grad_states) -> (grad_x, *grad_states,
    *grad_constants)`: from the inputs of a step and ∂L/∂(its results) to ∂L/∂(its inputs).

    `carry(x, s, *constants) -> (a, b, c)`, for neurons with one state: the step with its spike
    fixed, as the map v -> max(a v + b, c). Such maps compose associatively. None if there is no
    such map; the neuron then has no parallel solver.

    `forgets(w, s) -> mask`: the steps after which the state, with the spike held fixed, no longer
    depends on the state before. None if there is no such step.

    Attributes:
        name: A Python identifier, unique in the library. Together with the pages, it names the
            compiled kernels.
        states: Names of the states in order; the first is the membrane, which a layer returns as
            `mem`.
        constants: Names of the per-neuron constants in order.
        pages: Functions for the open names `reset` and `reset_adjoint`.
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


@dataclass(frozen=True)
class Reset:
    """A reset mechanism: what a spike does to the membrane.

    `reset(u, s, threshold) -> v` and `reset_adjoint(u, s, threshold, grad_v) -> (grad_u, grad_s,
    grad_threshold)` are pages; the spike s is an independent variable.

    `carry(a, b, c, s, threshold)` composes the map v -> max(a v + b, c) with the reset.

    Attributes:
        name: Public name.
        forgets: Whether the membrane after a spike does not depend on the membrane before it.
    """

    name: str
    reset: Callable[..., Any]
    reset_adjoint: Callable[..., Any]
    carry: Callable[..., Any]
    forgets: bool

    @property
    def pages(self) -> dict[str, Callable[..., Any]]:
        """`Neuron.pages` of a neuron with this reset."""
        return {"reset": self.reset, "reset_adjoint": self.reset_adjoint}


def _no_reset(u: Any, s: Any, threshold: Any) -> Any:
    return u


def _no_reset_adjoint(u: Any, s: Any, threshold: Any, grad_v: Any) -> Any:
    return grad_v, 0.0, 0.0


def _no_reset_carry(a: Any, b: Any, c: Any, s: Any, threshold: Any) -> Any:
    return a, b, c


def _subtract(u: Any, s: Any, threshold: Any) -> Any:
    return u - threshold * s


def _subtract_adjoint(u: Any, s: Any, threshold: Any, grad_v: Any) -> Any:
    return grad_v, -(threshold * grad_v), -(s * grad_v)


def _subtract_carry(a: Any, b: Any, c: Any, s: Any, threshold: Any) -> Any:
    return a, b - threshold * s, c - threshold * s


def _zero(u: Any, s: Any, threshold: Any) -> Any:
    return u - s * u


def _zero_adjoint(u: Any, s: Any, threshold: Any, grad_v: Any) -> Any:
    return grad_v - s * grad_v, -(u * grad_v), 0.0


def _zero_carry(a: Any, b: Any, c: Any, s: Any, threshold: Any) -> Any:
    return m.where(s > 0.0, 0.0, a), m.where(s > 0.0, 0.0, b), m.where(s > 0.0, 0.0, c)


RESETS = {
    "none": Reset("none", _no_reset, _no_reset_adjoint, _no_reset_carry, False),
    "subtraction": Reset("subtraction", _subtract, _subtract_adjoint, _subtract_carry, False),
    "zero": Reset("zero", _zero, _zero_adjoint, _zero_carry, True),
}
