"""Pages of the neurons of NIR that `nwavesdk.layers` does not have.

A membrane is measured from its rest: from `v_leak`, or from `v_reset` where there is no leak. It
starts at 0 there. `gain` is the response to an input of 1 after one step. A neuron without a leak
has a time constant of `NO_LEAK`, whose decay is 1. See `docs/nir.md`.
"""

# mypy: disable-error-code="no-untyped-def, arg-type"
from nwavesdk.layers import Real, TimeConstant, decay, held, neuron, spike

__all__ = [
    "NO_LEAK",
    "NIRCubaLIFLayer",
    "NIRCubaLILayer",
    "NIRCubaSubtractLayer",
    "NIRLIFLayer",
    "NIRLILayer",
    "NIRSubtractLayer",
    "NIRThresholdLayer",
]

NO_LEAK = 1e30
"""A time constant [s] whose decay is 1 for every step."""


@neuron
def NIRThresholdLayer(x, v, *, threshold: Real = 1.0):
    """Spikes wherever the input is above a threshold: the node Threshold.

    Args:
        x: Input.
        v: The input of the last step.
        threshold: Threshold [input].
    """
    u = x + 0.0 * v
    s = spike(u - threshold)
    return s, u


@neuron
def NIRLILayer(x, y, v, *, tau: TimeConstant, gain: Real = 1.0, rest: Real = 0.0):
    """Leaky integrators without spikes, with a gain and a rest: the node LI.

    Args:
        x: Input.
        y: Output: `rest` + v.
        v: Membrane minus `rest`.
        tau: Time constant with the decay of the node [s].
        gain: Response to an input of 1 after one step.
        rest: `v_leak`.
    """
    u = decay(tau) * v + gain * x + 0.0 * y
    return rest + u, u


@neuron
def NIRLIFLayer(
    x, v, *, tau: TimeConstant, gain: Real = 1.0, threshold: Real = 1.0, reset: Real = 0.0
):
    """LIF neurons with a gain and a reset to a value: the node LIF.

    Args:
        x: Input.
        v: Membrane after reset, minus `v_leak`.
        tau: Time constant with the decay of the node [s].
        gain: Response to an input of 1 after one step.
        threshold: `v_threshold` - `v_leak`.
        reset: `v_reset` - `v_leak`.
    """
    u = decay(tau) * v + gain * x
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)) + reset * held(s)


@neuron
def NIRSubtractLayer(
    x, v, *, tau: TimeConstant, gain: Real = 1.0, threshold: Real = 1.0, amount: Real = 1.0
):
    """LIF neurons that subtract an amount at each spike, which NIR itself does not have.

    Args:
        x: Input.
        v: Membrane after reset, minus `v_leak`.
        tau: Time constant with the decay of the node [s].
        gain: Response to an input of 1 after one step.
        threshold: `v_threshold` - `v_leak`.
        amount: The part that a spike subtracts.
    """
    u = decay(tau) * v + gain * x
    s = spike(u - threshold)
    return s, u - amount * held(s)


@neuron
def NIRCubaLILayer(
    x,
    y,
    v,
    i,
    *,
    tau: TimeConstant,
    tau_syn: TimeConstant,
    gain: Real = 1.0,
    gain_syn: Real = 1.0,
    rest: Real = 0.0,
):
    """Current-based leaky integrators without spikes: the node CubaLI.

    Args:
        x: Input.
        y: Output: `rest` + v.
        v: Membrane minus `rest`.
        i: Synaptic current.
        tau: Time constant of the membrane [s].
        tau_syn: Time constant of the current [s].
        gain: Response of the membrane to a current of 1 after one step.
        gain_syn: Response of the current to an input of 1 after one step.
        rest: `v_leak`.
    """
    current = decay(tau_syn) * i + gain_syn * x
    u = decay(tau) * v + gain * current + 0.0 * y
    return rest + u, u, current


@neuron
def NIRCubaLIFLayer(
    x,
    v,
    i,
    *,
    tau: TimeConstant,
    tau_syn: TimeConstant,
    gain: Real = 1.0,
    gain_syn: Real = 1.0,
    threshold: Real = 1.0,
    reset: Real = 0.0,
):
    """Current-based LIF neurons with a reset to a value: the node CubaLIF.

    Args:
        x: Input.
        v: Membrane after reset, minus `v_leak`.
        i: Synaptic current.
        tau: Time constant of the membrane [s].
        tau_syn: Time constant of the current [s].
        gain: Response of the membrane to a current of 1 after one step.
        gain_syn: Response of the current to an input of 1 after one step.
        threshold: `v_threshold` - `v_leak`.
        reset: `v_reset` - `v_leak`.
    """
    current = decay(tau_syn) * i + gain_syn * x
    u = decay(tau) * v + gain * current
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)) + reset * held(s), current


@neuron
def NIRCubaSubtractLayer(
    x,
    v,
    i,
    *,
    tau: TimeConstant,
    tau_syn: TimeConstant,
    gain: Real = 1.0,
    gain_syn: Real = 1.0,
    threshold: Real = 1.0,
    amount: Real = 1.0,
):
    """Current-based LIF neurons that subtract an amount at each spike.

    Args:
        x: Input.
        v: Membrane after reset, minus `v_leak`.
        i: Synaptic current.
        tau: Time constant of the membrane [s].
        tau_syn: Time constant of the current [s].
        gain: Response of the membrane to a current of 1 after one step.
        gain_syn: Response of the current to an input of 1 after one step.
        threshold: `v_threshold` - `v_leak`.
        amount: The part that a spike subtracts.
    """
    current = decay(tau_syn) * i + gain_syn * x
    u = decay(tau) * v + gain * current
    s = spike(u - threshold)
    return s, u - amount * held(s), current
