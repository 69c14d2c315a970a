"""A neuron with two states and four constants: a new neuron needs three pages and one table row.

    u = decay · v + x                    v' = u - threshold · s
    s = H(u - threshold - strength · b)  b' = recovery · b + (1 - recovery) · s

The adaptive threshold of G. Bellec et al., "Long short-term memory in networks of spiking neurons",
2018, section 2.
"""

from functools import cache

from nwavesdk.dynamics import Neuron
from nwavesdk.dynamics.neuron import held, spike, surrogate


def integrate(x, v, b, decay, threshold, recovery, strength):
    return decay * v + x


def fire(u, b, decay, threshold, recovery, strength):
    s = spike(u - threshold - strength * b)
    return s, u, u - threshold * held(s), recovery * b + (1.0 - recovery) * s


def adjoint(u, v, b, decay, threshold, recovery, strength, grad_s, grad_v, grad_b):
    z = u - threshold - strength * b
    s = spike(z)
    grad_z = (grad_s - held(threshold * grad_v) + (1.0 - recovery) * grad_b) * surrogate(z)
    grad_u = grad_v + grad_z
    grad_states = decay * grad_u, recovery * grad_b - strength * grad_z
    return (
        grad_u, grad_states[0], grad_states[1],
        v * grad_u, -grad_z - s * grad_v, (b - s) * grad_b, -(b * grad_z),
    )  # fmt: skip


@cache
def adaptive() -> Neuron:
    return Neuron(
        name="adaptive",
        states=("v", "b"),
        constants=("decay", "threshold", "recovery", "strength"),
        integrate=integrate,
        fire=fire,
        adjoint=adjoint,
    )
