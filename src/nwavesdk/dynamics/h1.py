"""The neurons of Neuronova's H1 chips: leaky, with a membrane that is never negative.

    u[t] = max(decay · v[t-1] + x[t], 0)
    s[t] = H(u[t] - threshold)
    v[t] = reset(u[t], s[t], threshold)      zero (H1v1) or subtraction (H1v2)

The clamp has derivative 1 at exactly 0, so that an unstimulated neuron still learns.
"""

from functools import cache, partial
from typing import Any

import torch as m  # the maths of a page; numba and Triton bind their own

from nwavesdk.dynamics.lif import integrate
from nwavesdk.dynamics.neuron import (
    RESETS,
    Neuron,
    Reset,
    held,
    reset,
    reset_adjoint,
    spike,
    surrogate,
)

__all__ = ["h1"]


def fire(w: Any, decay: Any, threshold: Any) -> Any:
    """Clamp, spike and reset."""
    u = m.where(w < 0.0, 0.0, w)
    s = spike(u - threshold)
    return s, u, reset(u, held(s), threshold)


def adjoint(w: Any, v: Any, decay: Any, threshold: Any, grad_s: Any, grad_v: Any) -> Any:
    """The adjoint of the step."""
    u = m.where(w < 0.0, 0.0, w)
    z = u - threshold
    grad_u, grad_reset, grad_threshold = reset_adjoint(u, spike(z), threshold, grad_v)
    grad_z = (grad_s + held(grad_reset)) * surrogate(z)
    grad_w = m.where(w < 0.0, 0.0, grad_u + grad_z)
    return grad_w, decay * grad_w, v * grad_w, grad_threshold - grad_z


def carry(r: Reset, x: Any, s: Any, decay: Any, threshold: Any) -> Any:
    """The step with its spike fixed, as the map v -> max(a v + b, c)."""
    return r.carry(decay.expand_as(x), x, m.zeros_like(x), s, threshold)


def forgets(r: Reset, w: Any, s: Any) -> Any:
    """Steps that meet the clamp, and spikes with a reset to zero."""
    return (w < 0.0) | (s > 0.0) if r.forgets else w < 0.0


@cache
def h1(version: int = 1) -> Neuron:
    """The H1v1 neuron (zero reset) or the H1v2 neuron (subtraction)."""
    r = RESETS[{1: "zero", 2: "subtraction"}[version]]
    return Neuron(
        name=f"h1v{version}",
        states=("v",),
        constants=("decay", "threshold"),
        integrate=integrate,
        fire=fire,
        adjoint=adjoint,
        carry=partial(carry, r),
        forgets=partial(forgets, r),
        pages=r.pages,
    )
