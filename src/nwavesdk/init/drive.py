"""How strongly a neuron must be driven: the scale of its input, found by trying."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.layers import LIFLayer, NeuronLayer, prepare_net
from nwavesdk.layers.constants import without_step_warnings

__all__ = ["charge_gain", "smallest_scale"]

# Scales that are tried; currents in pA are at one end, charges of a neuron without leak at the
# other. Each search has two rounds, so the result is within 3 % of the smallest scale.
LOWEST = 1e-4
HIGHEST = 1e6
TRIES = 41

# The noise of `charge_gain`: steps, neurons for each scale, and the standard deviation of the
# charges that synapses with initial weights give at an input rate of 5 %.
STEPS = 300
NEURONS = 32
DEVIATION = 0.45
LIF_TAU = 10e-3


def smallest_scale(is_enough: Callable[[Tensor], Tensor]) -> float | None:
    """The smallest scale that is enough, on a geometric scale; None if none is.

    Args:
        is_enough: A function from scales [K] to booleans [K].

    Example:
        >>> 2.0 < smallest_scale(lambda scales: scales > 2.0) < 2.1
        True
    """
    low, high = LOWEST, HIGHEST
    for _ in range(2):
        scales = _geometric(low, high)
        enough = is_enough(scales).nonzero()
        if not len(enough):
            return None
        first = int(enough[0])
        low, high = scales[max(first - 1, 0)].item(), scales[first].item()
    return high


@without_step_warnings()
def charge_gain(build: Callable[[int], NeuronLayer]) -> float:
    """The factor of charges with which a neuron fires as often as a LIF neuron without it.

    Neurons take charges in different units: a current that is scaled by the step, or mV. Weights
    that suit LIF neurons, such as the first weights of synapses, suit them times this factor. Both
    get the same noise, the LIF neuron with a time constant of 10 ms. If the neuron cannot fire as
    often, half of its highest rate counts.

    Args:
        build: Builds a layer of n neurons that spike: `build(n)`, such as the class of the layer.

    Returns:
        The factor, with three digits; 1 if no noise makes the neuron fire.

    Raises:
        TypeError: If `build` does not build such a layer.

    Example:
        >>> from nwavesdk.layers import AdLIFLayer, LIFSynapse
        >>> synapse = LIFSynapse(4, 20)
        >>> gain = charge_gain(lambda n: AdLIFLayer(n, tau=50e-3, tau_w=0.2))
        >>> synapse.weight.data *= gain
        >>> round(gain)
        50
    """
    lif = LIFLayer(NEURONS, LIF_TAU, dt=_built(build).dt)
    highest = _rates(build, _geometric(LOWEST, HIGHEST)).max().item()
    wanted = min(_rates(lambda _: lif, torch.ones(1)).item(), highest / 2)
    scale = smallest_scale(lambda scales: _rates(build, scales) >= wanted) if wanted else None
    return 1.0 if scale is None else float(f"{scale:.3g}")


def _built(build: Callable[[int], NeuronLayer]) -> NeuronLayer:
    """A layer of one neuron."""
    try:
        layer = build(1)
        got = type(layer).__name__
    except TypeError as error:
        layer, got = None, str(error)
    if not isinstance(layer, NeuronLayer) or layer.neuron.is_readout:
        raise TypeError(
            f"charge_gain: build(n) must build a layer of n neurons that spike, got {got}: give "
            "a function, as in lambda n: LIFLayer(n, taus=20e-3)."
        )
    return layer


def _geometric(low: float, high: float) -> Tensor:
    return torch.logspace(math.log10(low), math.log10(high), TRIES)


@torch.no_grad()
def _rates(build: Callable[[int], NeuronLayer], scales: Tensor) -> Tensor:
    """Spikes per step under noise of each scale, [K]."""
    noise = torch.randn(STEPS, NEURONS, generator=torch.Generator().manual_seed(0))
    x = DEVIATION * noise[:, None, :] * scales[:, None]
    layer = build(x[0].numel())
    layer.solver = "reference"  # which compiles nothing
    prepare_net(layer)
    spikes = layer.spikes(x.reshape(1, STEPS, -1))
    return spikes.reshape(x.shape).mean((0, 2))
