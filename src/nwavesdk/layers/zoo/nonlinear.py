"""Neurons that make their own upstroke, in mV: QIF, EIF, AdEx and Izhikevich's.

All are integrated by the explicit Euler method. With a parabola, it overshoots far below rest: in
steps of 1 ms, a membrane below -125 mV (Izhikevich) or -260 mV (QIF) rebounds into a false spike.
"""

# mypy: disable-error-code="no-untyped-def, arg-type"
import torch

from nwavesdk.dynamics import Positive, Real, TimeConstant, held, spike
from nwavesdk.layers.equation import neuron

__all__ = ["AdExLayer", "EIFLayer", "IzhikevichLayer", "QIFLayer"]

# The exponent of an upstroke ends here, where a step of 1 ms adds 1,000 mV and more: the neuron
# spikes in any case, and neither the membrane nor its gradient overflows.
LARGEST_EXPONENT = 10.0


@neuron
def QIFLayer(
    x,
    v=-65.0,
    *,
    tau: TimeConstant = 10e-3,
    v_rest: Real = -65.0,
    v_critical: Real = -50.0,
    threshold: Real = 20.0,
    v_reset: Real = -80.0,
    dt,
):
    """Quadratic integrate-and-fire neurons: above the critical membrane they fire by themselves.

    Args:
        x: Input current times the resistance of the membrane [mV].
        v: Membrane [mV].
        tau: Membrane time constant at rest [s].
        v_rest: Rest [mV].
        v_critical: Membrane above which an undriven neuron fires [mV].
        threshold: Membrane at which the upstroke ends and a spike is counted [mV].
        v_reset: Membrane after a spike [mV].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 20.0)
        >>> spk, mem = QIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        4

    References:
        Latham, Richmond, Nelson and Nirenberg 2000, "Intrinsic dynamics in neuronal networks. I.
        Theory", doi:10.1152/jn.2000.83.2.808.
    """
    curvature = 1.0 / (v_critical - v_rest)
    u = v + dt / tau * (curvature * (v - v_rest) * (v - v_critical) + x)
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)) + v_reset * held(s)


@neuron
def EIFLayer(
    x,
    v=-65.0,
    *,
    tau: TimeConstant = 10e-3,
    v_leak: Real = -65.0,
    v_rheobase: Real = -59.9,
    sharpness: Positive = 3.48,
    threshold: Real = 20.0,
    v_reset: Real = -68.0,
    dt,
):
    """Exponential integrate-and-fire neurons: a leak, and an upstroke that is exponential.

    Args:
        x: Input current times the resistance of the membrane [mV].
        v: Membrane [mV].
        tau: Membrane time constant [s].
        v_leak: Reversal potential of the leak [mV].
        v_rheobase: Membrane at which the upstroke begins for a slow input [mV].
        sharpness: Slope factor of the exponential [mV].
        threshold: Membrane at which the upstroke ends and a spike is counted [mV].
        v_reset: Membrane after a spike [mV].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 5.0)
        >>> spk, mem = EIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        3

    References:
        Fourcaud-Trocmé, Hansel, van Vreeswijk and Brunel 2003, "How spike generation mechanisms
        determine the neuronal response to fluctuating inputs",
        doi:10.1523/JNEUROSCI.23-37-11628.2003. It has a refractory period as well.
    """
    exponent = torch.minimum((v - v_rheobase) / sharpness, LARGEST_EXPONENT)
    u = v + dt / tau * (v_leak - v + sharpness * torch.exp(exponent) + x)
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)) + v_reset * held(s)


@neuron
def AdExLayer(
    x,
    v=-70.6,
    w=0.0,
    *,
    tau: TimeConstant = 281 / 30 * 1e-3,
    v_leak: Real = -70.6,
    v_rheobase: Real = -50.4,
    sharpness: Positive = 2.0,
    tau_w: TimeConstant = 144e-3,
    a: Real = 4 / 30,
    b: Real = 80.5 / 30,
    threshold: Real = 20.0,
    v_reset: Real = -70.6,
    dt,
):
    """Adaptive exponential integrate-and-fire neurons; currents are over the leak of 30 nS, in mV.

    Args:
        x: Input current [mV], as w; 1 mV is 30 pA.
        v: Membrane [mV].
        w: Adaptation current [mV].
        tau: Membrane time constant [s].
        v_leak: Reversal potential of the leak [mV].
        v_rheobase: Membrane at which the upstroke begins for a slow input [mV].
        sharpness: Slope factor of the exponential [mV].
        tau_w: Time constant of the adaptation [s].
        a: Adaptation to the membrane.
        b: Adaptation to a spike [mV].
        threshold: Membrane at which the upstroke ends and a spike is counted [mV].
        v_reset: Membrane after a spike [mV].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 50.0)
        >>> spk, mem = AdExLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        9

    References:
        Brette and Gerstner 2005, "Adaptive exponential integrate-and-fire model as an effective
        description of neuronal activity", doi:10.1152/jn.00686.2005.
    """
    exponent = torch.minimum((v - v_rheobase) / sharpness, LARGEST_EXPONENT)
    u = v + dt / tau * (v_leak - v + sharpness * torch.exp(exponent) + x - w)
    s = spike(u - threshold)
    adapted = w + dt / tau_w * (a * (v - v_leak) - w)
    return s, u * (1.0 - held(s)) + v_reset * held(s), adapted + b * s


@neuron
def IzhikevichLayer(
    x,
    v=-65.0,
    w=-13.0,
    *,
    a: Positive = 0.02,
    b: Real = 0.2,
    c: Real = -65.0,
    d: Real = 8.0,
    threshold: Real = 30.0,
    dt,
):
    """Izhikevich's neurons, regular spiking by default; a, b, c and d select other kinds.

    Args:
        x: Input current, as I of the source.
        v: Membrane [mV].
        w: Recovery, the source's u.
        a: Rate of the recovery [1/ms].
        b: Sensitivity of the recovery to the membrane.
        c: Membrane after a spike [mV].
        d: Rise of the recovery after a spike.
        threshold: Membrane at which the upstroke ends and a spike is counted [mV].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 10.0)
        >>> spk, mem = IzhikevichLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        3

    References:
        Izhikevich 2003, "Simple model of spiking neurons", equations (1) to (3),
        doi:10.1109/TNN.2003.820440. As in its program, the recovery follows the new membrane; the
        program halves the steps of the membrane.
    """
    ms = dt / 1e-3
    u = v + ms * (0.04 * v**2 + 5.0 * v + 140.0 - w + x)
    s = spike(u - threshold)
    recovered = w + ms * a * (b * u - w)
    return s, u * (1.0 - held(s)) + c * held(s), recovered + d * s
