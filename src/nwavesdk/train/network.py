"""The network of a run: synapses and neurons, read out by a population of neurons for each class."""

from itertools import pairwise
from typing import Any

from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential, family_of
from nwavesdk.surrogate import parse
from nwavesdk.train.config import NetConfig

__all__ = ["build_chip_network", "build_network"]


def build_network(config: NetConfig, n_inputs: int, n_classes: int) -> SpikingSequential:
    """Synapse, neurons and dropout for each hidden size; synapse and neurons for the populations.

    Args:
        config: Sizes and constants.
        n_inputs: Features of a frame.
        n_classes: Populations.

    Returns:
        A net of which the output spikes have the shape `[B, T, n_classes * population]`.
    """
    modules: list[nn.Module] = []
    for n_in, n_out in pairwise((n_inputs, *config.hidden, n_classes * config.population)):
        if modules and config.dropout:
            modules.append(Dropout(config.dropout))
        neurons = LIFLayer(
            n_out, config.tau, thresholds=config.threshold, dt=config.dt, spike_grad=parse(config.surrogate)
        )
        modules += [LIFSynapse(n_in, n_out), neurons]
    return SpikingSequential(*modules)


def build_chip_network(
    config: NetConfig, n_inputs: int, n_classes: int, profile: Profile, bits: int | None, mismatch: bool
) -> SpikingSequential:
    """The same for a chip: behind the filter bank a front end with a neuron for each channel, then as above.

    Args:
        config: Sizes and constants; the threshold is the chip's.
        n_inputs: Channels of the filter bank.
        n_classes: Populations.
        profile: The chip.
        bits: Bits of each weight, or None for weights as they are trained.
        mismatch: Whether `prepare_net` draws how one chip differs from the next.

    Returns:
        A net of which the output spikes have the shape `[B, T, n_classes * population]`.
    """
    family = family_of(profile)
    weights: dict[str, Any] = {"quantization_bits": bits, "profile": profile}
    if mismatch and profile.number("synapse_mismatch"):
        weights["stddev"] = profile.number("synapse_mismatch")

    def neurons(count: int) -> nn.Module:
        layer: nn.Module = family.layer(
            count, config.tau, config.dt, parse(config.surrogate), ileak_mismatch=mismatch, profile=profile
        )
        return layer

    modules: list[nn.Module] = [family.frontend(n_inputs, **weights), neurons(n_inputs)]
    for n_in, n_out in pairwise((n_inputs, *config.hidden, n_classes * config.population)):
        if config.dropout:
            modules.append(Dropout(config.dropout))
        modules += [family.synapse(n_in, n_out, **weights), neurons(n_out)]
    return SpikingSequential(*modules)
