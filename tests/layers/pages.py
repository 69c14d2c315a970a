"""Layers from equations, for tests; the annotations of this module are strings."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Annotated

import torch

from nwavesdk.layers import Bounded, Positive, Real, TimeConstant, decay, held, neuron, spike

__all__ = ["AdaptiveLayer", "ChargedLayer", "LILayer", "NoHeldLayer"]


@neuron
def AdaptiveLayer(
    x,
    v,
    a,
    *,
    tau: TimeConstant = 20e-3,
    tau_a: TimeConstant = 0.1,
    threshold: Positive = 1.0,
    kappa: Real = 0.3,
):
    """A leaky neuron whose threshold rises with its spikes."""
    u = decay(tau) * v + x
    s = spike(u - threshold - kappa * a)
    return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s


@neuron
def ChargedLayer(
    x,
    v=-0.5,
    i=0.25,
    *,
    dt,
    rate: Annotated[float, Bounded(0.0, 200.0)] = 50.0,
    tau: TimeConstant,
):
    """A neuron that starts charged, uses dt, and has a constant without a default."""
    # The current decays by Euler's method.
    j = i - dt * rate * i + x
    w = torch.maximum(decay(tau) * v + j, -1.0)
    s = spike(w - 1.0)
    return s, w - held(s), j


@neuron
def LILayer(x, v, *, tau: TimeConstant = 20e-3):
    """A leaky integrator."""
    return decay(tau) * v + x


@neuron
def NoHeldLayer(x, v, *, threshold: Positive = 1.0):
    s = spike(v + x - threshold)
    return s, v + x
