"""The leaky integrate-and-fire neuron.

    u[t] = decay · v[t-1] + x[t]
    s[t] = H(u[t] - threshold)
    v[t] = reset(u[t], s[t], threshold)

The reset acts in the step of its spike. `held` is the part of the gradient through the reset that
counts: nothing if the reset is detached, all of it otherwise.
"""

from functools import cache, partial
from typing import Any

import torch as m  # the maths of a page; numba and Triton bind their own

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

__all__ = ["integrate", "lif"]


def integrate(x: Any, v: Any, decay: Any, threshold: Any) -> Any:
    """The membrane with the charge of the step."""
    return decay * v + x


def fire(u: Any, decay: Any, threshold: Any) -> Any:
    """Spike and reset."""
    s = spike(u - threshold)
    return s, u, reset(u, held(s), threshold)


def adjoint(u: Any, v: Any, decay: Any, threshold: Any, grad_s: Any, grad_v: Any) -> Any:
    """The adjoint of the step."""
    z = u - threshold
    grad_u, grad_reset, grad_threshold = reset_adjoint(u, spike(z), threshold, grad_v)
    grad_z = (grad_s + held(grad_reset)) * surrogate(z)
    grad_u = grad_u + grad_z
    return grad_u, decay * grad_u, v * grad_u, grad_threshold - grad_z


def carry(r: Reset, x: Any, s: Any, decay: Any, threshold: Any) -> Any:
    """The step with its spike fixed, as the map v -> max(a v + b, c)."""
    return r.carry(decay.expand_as(x), x, m.full_like(x, float("-inf")), s, threshold)


def forgets(u: Any, s: Any) -> Any:
    """Spikes with a reset to zero."""
    return s > 0.0


@cache
def lif(mechanism: str = "subtraction") -> Neuron:
    """The LIF neuron with the reset `"subtraction"`, `"zero"` or `"none"`.

    References:
        W. Gerstner et al., "Neuronal Dynamics", 2014, section 1.3; surrogate training as in
        doi:10.1109/MSP.2019.2931595.
    """
    r = RESETS[mechanism]
    return Neuron(
        name=f"lif_{mechanism}",
        states=("v",),
        constants=("decay", "threshold"),
        integrate=integrate,
        fire=fire,
        adjoint=adjoint,
        carry=partial(carry, r),
        forgets=forgets if r.forgets else None,
        pages=r.pages,
    )
