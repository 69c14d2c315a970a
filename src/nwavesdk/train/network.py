"""The network of a run: synapses and LIF layers, read out by a population of neurons for each class."""

from itertools import pairwise

from torch import nn

from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.surrogate import parse
from nwavesdk.train.config import NetConfig

__all__ = ["build_network"]


def build_network(config: NetConfig, n_inputs: int, n_classes: int) -> SpikingSequential:
    """Synapse, neurons and dropout for each hidden size; synapse and neurons for the populations.

    Args:
        config: Sizes and constants.
        n_inputs: Features of a frame.
        n_classes: Populations.

    Returns:
        A net of which the output spikes have the shape `[B, T, n_classes * population]`.
    """
    sizes = (n_inputs, *config.hidden, n_classes * config.population)
    modules: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        if modules and config.dropout:
            modules.append(Dropout(config.dropout))
        neurons = LIFLayer(
            n_out, config.tau, thresholds=config.threshold, dt=config.dt, spike_grad=parse(config.surrogate)
        )
        modules += [LIFSynapse(n_in, n_out), neurons]
    return SpikingSequential(*modules)
