"""`nwave train --net lif`: layers of neurons, each with a synapse in front, chosen by options.

The neurons are LIF neurons or those of `--neuron`. For a class per recording, the last layer is a
population of LIF neurons per class; for outputs of each step, it is a read-out.
"""

from itertools import pairwise

import torch
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
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig

__all__ = ["build", "hidden_gain", "hidden_layer"]

# Factor of the initial weights to a read-out. Those of neurons that must spike would give outputs
# far outside of the targets, which it would take many steps to unlearn.
READOUT_GAIN = 0.1


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> SpikingSequential:
    """Build a net: synapse, neurons and dropout per hidden size, then the output layer.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run.

    Returns:
        A net whose outputs have the shape `[B, T, classes * population]`, or `[B, T, classes]` for
        a read-out.
    """
    net = config.net
    task = config.facts.task if config.facts is not None else "classification"
    is_recurrent = task == "pattern" if net.recurrent is None else net.recurrent
    topology = "RC" if is_recurrent else "FF"
    gain = hidden_gain(config)
    hidden = [hidden_layer(config, size, topology) for size in net.hidden]
    output: NeuronLayer
    if task == "classification":
        output = LIFLayer(
            classes * net.population,
            net.tau,
            thresholds=net.threshold,
            reset_mechanism=net.reset,
            dt=net.dt,
            spike_grad=parse(net.surrogate),
        )
    else:
        output = LILayer(classes, tau=net.tau, dt=net.dt)
    (n_features,) = inputs if len(inputs) == 1 else (torch.Size(inputs).numel(),)
    modules: list[nn.Module] = [nn.Flatten()] if len(inputs) > 1 else []
    sizes = pairwise((n_features, *net.hidden, output.features[0]))
    for depth, (n_in, n_out) in enumerate(sizes):
        if depth and net.dropout:
            modules.append(Dropout(net.dropout))
        neurons = [*hidden, output][depth]
        synapse = LIFSynapse(n_in, n_out)
        with torch.no_grad():
            if neurons is not output:
                synapse.weight.mul_(gain)
            elif task != "classification":
                synapse.weight.mul_(READOUT_GAIN)
        modules += [synapse, neurons]
    return SpikingSequential(*modules)


def hidden_layer(config: RunConfig, size: int, topology: str = "FF") -> NeuronLayer:
    """Build a hidden layer: the neuron of the config, with its constants.

    Args:
        config: The config of the run.
        size: Number of neurons.
        topology: `"FF"`, or `"RC"` for recurrent weights.

    Raises:
        TypeError: If the neuron takes no such constant.
        ValueError: If a constant is out of its range.
    """
    net = config.net
    is_lif_zero = (net.neuron, net.reset) == ("lif", "zero")
    neuron = find_neuron("lif_zero" if is_lif_zero else net.neuron)
    shared = {"tau": net.tau, "threshold": net.threshold}
    constants = {name: value for name, value in shared.items() if name in neuron.constants}
    return neuron.build(
        size,
        {**constants, **net.neuron_constants},
        net.learned_constants,
        dt=net.dt,
        spike_grad=parse(net.surrogate),
        layer_topology=topology,
    )


def hidden_gain(config: RunConfig) -> float:
    """The factor of the charges of hidden neurons: that of the config, or a measured one.

    Neurons other than LIF take charges in other units, such as mV.
    """
    if config.net.charge_gain is not None:
        return config.net.charge_gain
    if config.net.neuron == "lif":
        return 1.0
    return charge_gain(lambda size: hidden_layer(config, size))
