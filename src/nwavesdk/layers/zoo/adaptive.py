"""Neurons with linear adaptation: ALIF, adLIF, SE-adLIF and SiLIF."""

# mypy: disable-error-code="no-untyped-def, arg-type"
from typing import Annotated

import torch

from nwavesdk.dynamics import Bounded, Positive, Real, TimeConstant, decay, held, spike
from nwavesdk.layers.equation import neuron

__all__ = ["ALIFLayer", "AdLIFLayer", "SEAdLIFLayer", "SiLIFLayer"]


@neuron
def ALIFLayer(
    x,
    v,
    a,
    *,
    tau: TimeConstant = 20e-3,
    tau_a: TimeConstant = 200e-3,
    threshold: Positive = 1.0,
    beta: Real = 1.6,
):
    """Adaptive LIF neurons (LSNN): each spike raises the threshold, which relaxes slowly.

    Args:
        x: Input current of a step [membrane]: the membrane moves towards a constant x.
        v: Membrane after reset, by subtraction of the threshold of the step [membrane].
        a: Spikes, averaged over tau_a [spikes per step].
        tau: Membrane time constant [s].
        tau_a: Time constant of the threshold [s].
        threshold: Firing threshold at rest [membrane].
        beta: Rise of the threshold for a rate of one spike per step [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 1.5)
        >>> spk, mem = ALIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        4

    References:
        Bellec et al. 2018, "Long short-term memory and learning-to-learn in networks of spiking
        neurons", doi:10.48550/arXiv.1803.09574. There, the reset acts one step later.
    """
    B = threshold + beta * a
    u = decay(tau) * v + (1.0 - decay(tau)) * x
    s = spike(u - B)
    return s, u - B * held(s), decay(tau_a) * a + (1.0 - decay(tau_a)) * s


@neuron
def AdLIFLayer(
    x,
    v,
    w,
    *,
    tau: TimeConstant = 15e-3,
    tau_w: TimeConstant = 60e-3,
    a: Annotated[float, Bounded(-1.0, 1.0)] = 0.02,
    b: Annotated[float, Bounded(0.0, 2.0)] = 0.2,
    threshold: Positive = 1.0,
):
    """Adaptive LIF neurons: the adaptation current follows the membrane and the spikes.

    Args:
        x: Input current of a step [membrane].
        v: Membrane after reset, by subtraction [membrane].
        w: Adaptation current [membrane].
        tau: Membrane time constant [s].
        tau_w: Time constant of the adaptation [s].
        a: Adaptation to the membrane per step; large values make the membrane oscillate.
        b: Adaptation to a spike [membrane].
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 2.0)
        >>> spk, mem = AdLIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        4

    References:
        Bittar and Garner 2022, "A surrogate gradient spiking baseline for speech command
        recognition", doi:10.3389/fnins.2022.865897.
    """
    u = decay(tau) * v + (1.0 - decay(tau)) * (x - w)
    s = spike(u - threshold)
    return s, u - threshold * held(s), decay(tau_w) * w + a * u + b * s


@neuron
def SEAdLIFLayer(
    x,
    v,
    w,
    *,
    tau: TimeConstant = 20e-3,
    tau_w: TimeConstant = 100e-3,
    a: Annotated[float, Bounded(0.0, 1.0)] = 0.05,
    b: Annotated[float, Bounded(0.0, 2.0)] = 0.2,
    q: Positive = 60.0,
    threshold: Positive = 1.0,
):
    """AdLIF neurons discretized by the symplectic Euler method, which keeps oscillations stable.

    The adaptation follows the membrane of the same step, after its reset.

    Args:
        x: Input current of a step [membrane].
        v: Membrane after reset, to 0 [membrane].
        w: Adaptation current [membrane].
        tau: Membrane time constant [s].
        tau_w: Time constant of the adaptation [s].
        a: Adaptation to the membrane.
        b: Adaptation to spikes.
        q: Scale of both.
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 5.0)
        >>> spk, mem = SEAdLIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        15

    References:
        Baronig, Ferrand, Sabathiel and Legenstein 2025, "Advancing spatio-temporal processing
        through adaptation in spiking neural networks", doi:10.1038/s41467-025-60878-z.
    """
    u = decay(tau) * v + (1.0 - decay(tau)) * (x - w)
    s = spike(u - threshold)
    after = u * (1.0 - held(s))
    return s, after, decay(tau_w) * w + (1.0 - decay(tau_w)) * q * (a * after + b * s)


@neuron
def SiLIFLayer(
    x,
    v,
    w,
    *,
    tau: TimeConstant = 20e-3,
    tau_w: TimeConstant = 200e-3,
    step: TimeConstant = 1e-3,
    a: Annotated[float, Bounded(0.0, 1.0)] = 0.01,
    b: Annotated[float, Bounded(0.0, 2.0)] = 0.2,
    threshold: Positive = 1.0,
):
    """AdLIF neurons with the parameters of a state space model: time constants and step by log.

    Meant for `learn=("tau", "tau_w", "step", "a", "b")`: a learned step scales time as a whole.

    Args:
        x: Input current of a step [membrane].
        v: Membrane after reset, by subtraction [membrane].
        w: Adaptation current [membrane].
        tau: Membrane time constant [s].
        tau_w: Time constant of the adaptation [s].
        step: Step of the neuron's own clock [s], in place of dt; the source starts at 4 ms.
        a: Adaptation to the membrane per step.
        b: Adaptation to a spike [membrane].
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 2.0)
        >>> spk, mem = SiLIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        3

    References:
        Fabre, Dudchenko, Bouhadjar and Neftci 2025, "SiLIF: Structured state space model dynamics
        and parametrization for spiking neural networks", doi:10.48550/arXiv.2506.06374.
    """
    alpha = torch.exp(-step / tau)
    u = alpha * v + (1.0 - alpha) * (x - w)
    s = spike(u - threshold)
    return s, u - threshold * held(s), torch.exp(-step / tau_w) * w + a * u + b * s
