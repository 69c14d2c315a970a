"""Neurons that integrate their input: IF, LI, CUBA-LIF, alpha, refractory LIF and KLIF."""

# mypy: disable-error-code="no-untyped-def, arg-type"
import torch

from nwavesdk.dynamics import Positive, TimeConstant, decay, held, spike
from nwavesdk.layers.equation import neuron

__all__ = [
    "AlphaLayer",
    "CubaLIFLayer",
    "IFLayer",
    "KLIFLayer",
    "LILayer",
    "RefractoryLIFLayer",
]


@neuron
def IFLayer(x, v, *, threshold: Positive = 1.0):
    """Integrate-and-fire neurons: no leak, and a reset by subtraction, which loses no charge.

    Args:
        x: Input charge of a step [membrane].
        v: Membrane after reset [membrane].
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 0.05)
        >>> spk, mem = IFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        5

    References:
        Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient
        event-driven networks for image classification", doi:10.3389/fnins.2017.00682.
    """
    u = v + x
    s = spike(u - threshold)
    return s, u - threshold * held(s)


@neuron
def LILayer(x, v, *, tau: TimeConstant = 20e-3):
    """Leaky integrators, which do not spike: a read-out.

    Args:
        x: Input charge of a step [membrane].
        v: Membrane [membrane].
        tau: Membrane time constant [s].

    Example:
        >>> import torch
        >>> _, mem = LILayer(1, tau=10e-3, solver="reference")(torch.ones(1, 3, 1))
        >>> mem.flatten()
        tensor([1.0000, 1.9048, 2.7236])

    References:
        Gerstner, Kistler, Naud and Paninski 2014, Neuronal Dynamics, section 1.3,
        doi:10.1017/CBO9781107447615.
    """
    return decay(tau) * v + x


@neuron
def CubaLIFLayer(
    x, v, i, *, tau: TimeConstant = 20e-3, tau_syn: TimeConstant = 5e-3, threshold: Positive = 1.0
):
    """Current-based LIF neurons: input charges a synaptic current, which charges the membrane.

    Args:
        x: Input to the current of a step [membrane per step].
        v: Membrane after reset, by subtraction [membrane].
        i: Synaptic current [membrane per step].
        tau: Membrane time constant [s].
        tau_syn: Time constant of the synaptic current [s].
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 0.05)
        >>> spk, mem = CubaLIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        23

    References:
        Neftci, Mostafa and Zenke 2019, "Surrogate gradient learning in spiking neural networks",
        doi:10.1109/MSP.2019.2931595. There, the current and the reset act one step later.
        Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep
        learning", doi:10.1109/JPROC.2023.3308088.
    """
    current = decay(tau_syn) * i + x
    u = decay(tau) * v + current
    s = spike(u - threshold)
    return s, u - threshold * held(s), current


@neuron
def AlphaLayer(
    x, v, i, *, tau: TimeConstant = 20e-3, tau_rise: TimeConstant = 5e-3, threshold: Positive = 1.0
):
    """Spike response neurons: the response to a charge rises and decays as a double exponential.

    The response to a charge of 1 is tau / (tau - tau_rise) · (exp(-t/tau) - exp(-t/tau_rise)); it
    is 0 in the step of the charge. A spike clears membrane and current.

    Args:
        x: Input charge of a step [membrane].
        v: Membrane after reset [membrane].
        i: Charge that decays with tau [membrane].
        tau: Time constant of the decay of the response [s].
        tau_rise: Time constant of its rise [s], which must differ from tau.
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 0.1)
        >>> spk, mem = AlphaLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        5

    References:
        Gerstner and Kistler 2002, Spiking Neuron Models, section 4.2,
        doi:10.1017/CBO9780511815706.
        Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep
        learning", doi:10.1109/JPROC.2023.3308088.
    """
    gain = tau / (tau - tau_rise) * (decay(tau) - decay(tau_rise))
    u = decay(tau_rise) * v + gain * i
    s = spike(u - threshold)
    silent = 1.0 - held(s)
    return s, silent * u, silent * (decay(tau) * i + x)


@neuron
def RefractoryLIFLayer(
    x,
    v,
    r,
    *,
    tau: TimeConstant = 20e-3,
    refractory: TimeConstant = 5e-3,
    threshold: Positive = 1.0,
    dt,
):
    """LIF neurons with an absolute refractory period after each spike, in which input is lost.

    Args:
        x: Input charge of a step [membrane].
        v: Membrane after reset [membrane], to 0; it stays there during the refractory period.
        r: Remaining refractory period [steps].
        tau: Membrane time constant [s].
        refractory: Length of the refractory period [s], rounded to steps; it cannot be learned.
        threshold: Firing threshold [membrane].
        dt: Length of a step [s], set by the layer.

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 0.1)
        >>> spk, mem = RefractoryLIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        5

    References:
        Gerstner, Kistler, Naud and Paninski 2014, Neuronal Dynamics, section 1.3,
        doi:10.1017/CBO9781107447615.
    """
    u = torch.where(r < 0.5, decay(tau) * v + x, v)
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)), torch.maximum(r - 1.0, 0.0) + refractory / dt * s


@neuron
def KLIFLayer(x, v, *, tau: TimeConstant = 20e-3, k: Positive = 1.0, threshold: Positive = 1.0):
    """LIF neurons with a scaled and rectified membrane; k is meant to be learned.

    The slope and the width of the surrogate, as seen from the input, follow k.

    Args:
        x: Input current of a step [membrane]: a constant x below 1/k moves the membrane to k · x.
        v: Membrane after reset, to 0 [membrane].
        tau: Membrane time constant [s].
        k: Scale of the membrane.
        threshold: Firing threshold [membrane].

    Example:
        >>> import torch
        >>> x = torch.full((1, 100, 1), 1.5)
        >>> spk, mem = KLIFLayer(1, solver="reference")(x)
        >>> int(spk.sum())
        4

    References:
        Jiang and Zhang 2023, "KLIF: An optimized spiking neuron unit for tuning surrogate gradient
        slope and membrane potential", doi:10.48550/arXiv.2302.09238.
    """
    u = torch.maximum(k * (decay(tau) * v + (1.0 - decay(tau)) * x), 0.0)
    s = spike(u - threshold)
    return s, u * (1.0 - held(s))
