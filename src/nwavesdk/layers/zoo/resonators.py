"""Neurons that answer best to an input at their own frequency: resonate-and-fire and balanced."""

# mypy: disable-error-code="no-untyped-def, arg-type"
import torch

from nwavesdk.dynamics import Positive, TimeConstant, decay, held, spike
from nwavesdk.layers.equation import neuron

__all__ = ["BalancedResonateAndFireLayer", "ResonateAndFireLayer"]


@neuron
def ResonateAndFireLayer(
    x,
    v,
    u,
    *,
    tau: TimeConstant = 50e-3,
    omega: Positive = 60.0,
    threshold: Positive = 1.0,
    dt,
):
    """Resonate-and-fire neurons: a damped oscillation, integrated exactly.

    z = u + i v turns by omega · dt per step; the neuron fires when v, its imaginary part, passes
    the threshold, and z is then set to i · threshold.

    Args:
        x: Input charge of a step, added to u [membrane].
        v: Membrane: the imaginary part of z [membrane].
        u: Current: the real part of z [membrane].
        tau: Time constant of the damping [s]; the source's b is -1/tau.
        omega: Angular frequency [rad/s].
        threshold: Firing threshold [membrane].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 0.1)
        >>> spk, mem = ResonateAndFireLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        5

    References:
        Izhikevich 2001, "Resonate-and-fire neurons", doi:10.1016/S0893-6080(01)00078-8.
    """
    cos = decay(tau) * torch.cos(omega * dt)
    sin = decay(tau) * torch.sin(omega * dt)
    turned = sin * u + cos * v
    s = spike(turned - threshold)
    silent = 1.0 - held(s)
    return s, turned * silent + threshold * held(s), (cos * u - sin * v + x) * silent


@neuron
def BalancedResonateAndFireLayer(
    x,
    v,
    w,
    q,
    *,
    omega: Positive = 10.0,
    damping: Positive = 1.0,
    tau_q: TimeConstant = 95e-3,
    threshold: Positive = 1.0,
    dt,
):
    """Balanced resonate-and-fire neurons: no reset; a spike raises threshold and damping instead.

    The damping is counted from the boundary at which the explicit Euler method diverges.

    Args:
        x: Input current [membrane/s].
        v: Membrane: the real part of the oscillation [membrane].
        w: The imaginary part of the oscillation [membrane].
        q: Refractory variable: 1 more after each spike.
        omega: Angular frequency [rad/s]; the membrane is NaN if omega · dt is above 1.
        damping: Distance from the boundary [1/s].
        tau_q: Time constant of q [s]; the source's factor of 0.9 at 10 ms is 95 ms.
        threshold: Firing threshold [membrane].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 50.0)
        >>> spk, mem = BalancedResonateAndFireLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        5

    References:
        Higuchi, Kairat, Bohté and Otte 2024, "Balanced resonate-and-fire neurons",
        doi:10.48550/arXiv.2402.14603.
    """
    boundary = (torch.sqrt(1.0 - (omega * dt) ** 2) - 1.0) / dt
    growth = 1.0 + dt * (boundary - damping) - dt * q
    turn = dt * omega
    u = growth * v - turn * w + dt * x
    s = spike(u - threshold - q)
    return s, u, growth * w + turn * v, decay(tau_q) * q + s
