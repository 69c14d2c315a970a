"""What a spike does to the membrane: nothing, subtract the threshold, or set it to zero.

`reset(u, s, threshold) -> v` and `reset_adjoint(u, s, threshold, grad_v) -> (grad_u, grad_s, grad_threshold)`, with the
spike s taken as an independent variable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch as m

__all__ = ["RESETS", "Reset"]


@dataclass(frozen=True)
class Reset:
    """A reset mechanism: its public name, its page, the adjoint of it, and the carry (see `Neuron`) with s fixed.

    `carry(a, b, c, s, threshold)` composes the map v -> max(a v + b, c) with the reset. `forgets` says whether a spike
    makes the membrane forget what it was.
    """

    name: str
    reset: Callable[..., Any]
    reset_adjoint: Callable[..., Any]
    carry: Callable[..., Any]
    forgets: bool


def _keep(u: Any, s: Any, threshold: Any) -> Any:
    return u


def _keep_adjoint(u: Any, s: Any, threshold: Any, grad_v: Any) -> Any:
    return grad_v, 0.0, 0.0


def _keep_carry(a: Any, b: Any, c: Any, s: Any, threshold: Any) -> Any:
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
    "none": Reset("none", _keep, _keep_adjoint, _keep_carry, False),
    "subtraction": Reset("subtraction", _subtract, _subtract_adjoint, _subtract_carry, False),
    "zero": Reset("zero", _zero, _zero_adjoint, _zero_carry, True),
}
