"""The network of a run, and the seeds of its random numbers.

The net is a stack of synapses and neuron layers, read out by a population of neurons per class.
Each use of random numbers has its own seed, a function of the run's seed and of the use. No state
of a generator is carried from one epoch to the next, so a resumed run draws the same numbers.
"""

from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.init.drive import charge_gain
from nwavesdk.layers import (
    Dropout,
    LIFLayer,
    LIFSynapse,
    NeuronLayer,
    SpikingSequential,
    family_of,
)
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.surrogate import parse
from nwavesdk.train.neuron_choice import DEFAULT_NEURON, SHARED
from nwavesdk.train.sections import ChipConfig, Facts, NetConfig

__all__ = [
    "build_chip_network",
    "build_network",
    "build_run_network",
    "chip_seed",
    "hidden_gain",
    "hidden_layer",
    "stream_seed",
]


def stream_seed(seed: int, use: str, *place: int) -> int:
    """The seed of a stream of random numbers.

    Args:
        seed: The run's seed.
        use: What the numbers are for.
        place: Where they are used, for example the epoch and the process.

    Returns:
        An integer below 2^32.

    Example:
        >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 1)
        True
        >>> stream_seed(0, "order", 1) == stream_seed(1, "order", 0)
        False
    """
    entropy = [seed, crc32(use.encode()), len(place), *place]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def chip_seed(seed: int, use: str, *place: int, drawn: bool) -> int:
    """The seed of one chip of the series.

    Seeds are even for training and selection and odd for testing. So a net is never tested on a
    chip that it was trained on, whatever the seeds.

    Args:
        seed: The run's seed, or the seed of the test.
        use: What the chip is for.
        place: Which of the chips for this use it is.
        drawn: Whether the chip is drawn for testing.

    Example:
        >>> chip_seed(0, "mismatch", 1, 2, drawn=False) % 2
        0
        >>> chip_seed(0, "chips", 7, drawn=True) % 2
        1
    """
    return 2 * stream_seed(seed, use, *place) + drawn


def build_run_network(
    config: NetConfig,
    chip: ChipConfig | None,
    facts: Facts,
    *,
    deployed: bool = False,
    mismatch: bool = False,
) -> SpikingSequential:
    """Build the net of a run with random weights.

    Args:
        config: Sizes and constants.
        chip: The chip of the run, if it has one.
        facts: What the run's data decide: inputs, classes, and the numbers of the chip.
        deployed: Whether to build the net as it is used after training. For a chip its weights
            then have the chip's bits, also if training ignores them.
        mismatch: Whether `prepare_net` draws the mismatch of a chip.
    """
    n_classes = len(facts.classes)
    if chip is None:
        return build_network(config, facts.n_features, n_classes)
    assert facts.chip is not None
    bits = chip.bits if deployed or chip.training != "plain" else None
    return build_chip_network(config, facts.n_features, n_classes, facts.chip, bits, mismatch)


def build_network(config: NetConfig, n_inputs: int, n_classes: int) -> SpikingSequential:
    """Build a net: synapse, neurons and dropout per hidden size, then the populations.

    Args:
        config: Sizes and constants.
        n_inputs: Features of a frame.
        n_classes: Number of populations.

    Returns:
        A net whose output spikes have the shape `[B, T, n_classes * population]`.
    """
    n_outputs = n_classes * config.population
    output = LIFLayer(
        n_outputs,
        config.tau,
        thresholds=config.threshold,
        dt=config.dt,
        spike_grad=parse(config.surrogate),
    )
    gain = hidden_gain(config)
    layers = [*(hidden_layer(config, size) for size in config.hidden), output]
    modules: list[nn.Module] = []
    sizes = pairwise(_layer_sizes(config, n_inputs, n_classes))
    for (n_in, n_out), neurons in zip(sizes, layers, strict=True):
        if modules and config.dropout:
            modules.append(Dropout(config.dropout))
        synapse = LIFSynapse(n_in, n_out)
        if neurons is not output and gain != 1:
            with torch.no_grad():
                synapse.weight.mul_(gain)
        modules += [synapse, neurons]
    return SpikingSequential(*modules)


def hidden_gain(config: NetConfig) -> float:
    """The factor of the charges of hidden neurons: that of the config, or a measured one.

    Neurons other than LIF take charges in other units, such as mV.
    """
    if config.charge_gain is not None:
        return config.charge_gain
    if config.neuron == DEFAULT_NEURON:
        return 1.0
    return charge_gain(lambda size: hidden_layer(config, size))


def hidden_layer(config: NetConfig, size: int) -> NeuronLayer:
    """Build a hidden layer: the neuron of the config, with its constants.

    Raises:
        TypeError: If the neuron takes no such constant.
        ValueError: If a constant is out of its range.
    """
    neuron = find_neuron(config.neuron)
    shared = {name: getattr(config, name) for name in SHARED if name in neuron.constants}
    return neuron.build(
        size,
        {**shared, **config.neuron_constants},
        config.learned_constants,
        dt=config.dt,
        spike_grad=parse(config.surrogate),
    )


def build_chip_network(
    config: NetConfig,
    n_inputs: int,
    n_classes: int,
    profile: Profile,
    bits: int | None,
    mismatch: bool,
) -> SpikingSequential:
    """Build a net for a chip: a front end with one neuron per channel, then as `build_network`.

    Args:
        config: Sizes and constants; the threshold is the chip's.
        n_inputs: Channels of the filter bank.
        n_classes: Number of populations.
        profile: The chip.
        bits: Bits of each weight; None leaves weights as they are trained.
        mismatch: Whether `prepare_net` draws the mismatch of a chip.

    Returns:
        A net whose output spikes have the shape `[B, T, n_classes * population]`.
    """
    family = family_of(profile)
    weights: dict[str, Any] = {"quantization_bits": bits, "profile": profile}
    if mismatch and profile.number("synapse_mismatch"):
        weights["stddev"] = profile.number("synapse_mismatch")

    def neurons(count: int) -> nn.Module:
        layer: nn.Module = family.layer(
            count,
            config.tau,
            config.dt,
            parse(config.surrogate),
            ileak_mismatch=mismatch,
            profile=profile,
        )
        return layer

    modules: list[nn.Module] = [family.frontend(n_inputs, **weights), neurons(n_inputs)]
    for n_in, n_out in pairwise(_layer_sizes(config, n_inputs, n_classes)):
        if config.dropout:
            modules.append(Dropout(config.dropout))
        modules += [family.synapse(n_in, n_out, **weights), neurons(n_out)]
    return SpikingSequential(*modules)


def _layer_sizes(config: NetConfig, n_inputs: int, n_classes: int) -> tuple[int, ...]:
    return (n_inputs, *config.hidden, n_classes * config.population)
