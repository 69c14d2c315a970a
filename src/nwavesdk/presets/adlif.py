"""`nwave train --net adlif`: dense layers of adaptive LIF neurons, without connections over time.

A layer is a synapse, batch norm, and neurons with time constants from 10 to 100 ms; the adaptation
is three times slower. The state of the neurons is the only memory of the net.
"""

import math
from typing import Any

import torch
from torch import nn

from nwavesdk.layers import AdLIFLayer, LIFSynapse, SpikingSequential, TimeBatchNorm
from nwavesdk.presets.blocks import NORM_SCALE, NetFacts, dropout, flat, mixed_taus, read_out
from nwavesdk.surrogate import parse

__all__ = ["build"]

SLOWER = 3.0  # time constant of the adaptation, in time constants of the membrane
TO_MEMBRANE, TO_SPIKES = 0.02, 0.2  # initial strengths of the adaptation, learned per neuron


def build(
    inputs: tuple[int, ...], classes: int, config: NetFacts, topology: str = "FF"
) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run; it has a layer for each size in `config.net.hidden`.
        topology: `"FF"`; or `"RC"` to connect the neurons of each layer in a loop.
    """
    net: Any = config.net
    modules = flat(inputs)
    n_inputs = math.prod(inputs)
    for size in net.hidden:
        modules += [LIFSynapse(n_inputs, size), *adaptive(size, net, topology)]
        n_inputs = size
    return SpikingSequential(*modules, *read_out(n_inputs, classes, config))


def adaptive(size: int, net: Any, topology: str) -> list[nn.Module]:
    """Batch norm, and adaptive LIF neurons with mixed time constants."""
    taus = mixed_taus((size,))
    neurons = AdLIFLayer(
        size,
        tau=taus,
        tau_w=SLOWER * mixed_taus((size,)),
        threshold=net.threshold,
        a=torch.full((size,), TO_MEMBRANE),
        b=torch.full((size,), TO_SPIKES),
        learn=("a", "b"),
        dt=net.dt,
        spike_grad=parse(net.surrogate),
        layer_topology=topology,
    )

    # These neurons multiply their input by 1 - exp(-dt/tau), which LIF neurons do not: the scale of
    # the norm makes up for it.
    norm = TimeBatchNorm(size)
    norm.weight.data = NORM_SCALE / -torch.expm1(-net.dt / taus)
    return [norm, neurons, *dropout(net)]
