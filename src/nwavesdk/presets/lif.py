"""`nwave train --net lif`: layers of neurons, each with a synapse in front, chosen by options.

The hidden neurons are LIF neurons or the neurons of `--neuron`. For a class per recording, the last
layer has a population of LIF neurons per class; for outputs of each step, it is a read-out.
"""

import math
from typing import Any

from torch import nn

from nwavesdk.init.drive import charge_gain
from nwavesdk.layers import (
    Dropout,
    LIFLayer,
    LIFSynapse,
    LILayer,
    NeuronLayer,
    SpikingSequential,
)
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.presets.blocks import NetFacts, flat, has_target_per_step
from nwavesdk.surrogate import parse

__all__ = ["build", "hidden_gain", "hidden_layer"]

# Factor of the initial weights to a read-out. Weights as large as for neurons that spike would make
# outputs far outside of the range of the targets, and training would need many steps to undo that.
READOUT_GAIN = 0.1


def build(inputs: tuple[int, ...], classes: int, config: NetFacts) -> SpikingSequential:
    """Build a net: synapse, neurons and dropout per hidden size, then the output layer.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run.

    Returns:
        A net whose outputs have the shape `[B, T, classes * population]`, or `[B, T, classes]` for
        a read-out.
    """
    net: Any = config.net
    topology = "RC" if net.recurrent else "FF"

    layers: list[NeuronLayer] = [hidden_layer(net, size, topology) for size in net.hidden]
    gains = [hidden_gain(net)] * len(layers)
    if has_target_per_step(config):
        layers.append(LILayer(classes, tau=net.tau, dt=net.dt))
        gains.append(READOUT_GAIN)
    else:
        population = LIFLayer(
            classes * net.population,
            net.tau,
            net.threshold,
            net.reset,
            dt=net.dt,
            spike_grad=parse(net.surrogate),
        )
        layers.append(population)
        gains.append(1.0)

    modules: list[nn.Module] = flat(inputs)
    n_inputs = math.prod(inputs)

    for depth, (layer, gain) in enumerate(zip(layers, gains, strict=True)):
        synapse = LIFSynapse(n_inputs, layer.features[0])
        synapse.weight.data *= gain
        if depth and net.dropout:
            modules.append(Dropout(net.dropout))
        modules += [synapse, layer]
        n_inputs = layer.features[0]
    return SpikingSequential(*modules)


def hidden_layer(net: Any, size: int, topology: str = "FF") -> NeuronLayer:
    """Build a hidden layer: the neuron of the config, with its constants.

    Args:
        net: The section `net` of the config.
        size: Number of neurons.
        topology: `"FF"`, or `"RC"` for recurrent weights.

    Raises:
        TypeError: If the neuron takes no such constant.
        ValueError: If a constant is out of its range.
    """
    is_lif_zero = (net.neuron, net.reset) == ("lif", "zero")
    neuron = find_neuron("lif_zero" if is_lif_zero else net.neuron)

    # `tau` and `threshold` of the net, if the neuron has such constants.
    shared = {"tau": net.tau, "threshold": net.threshold}
    constants = {name: value for name, value in shared.items() if name in neuron.constants}
    return neuron.build(
        size,
        {**constants, **net.constants},
        net.learn,
        dt=net.dt,
        spike_grad=parse(net.surrogate),
        layer_topology=topology,
    )


def hidden_gain(net: Any) -> float:
    """The factor of the charges of hidden neurons: from the config, or measured.

    A factor is measured for neurons other than LIF, which take charges in other units, such as mV.
    """
    if net.charge_gain is None and net.neuron != "lif":
        return charge_gain(lambda size: hidden_layer(net, size))
    return float(net.charge_gain or 1.0)
