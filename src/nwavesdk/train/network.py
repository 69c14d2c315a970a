"""The network of a run, and the seeds of its random numbers.

The net is a stack of synapses and neuron layers. Its output layer is that of the task: a population
of neurons per output, or a read-out.
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
    LILayer,
    NeuronLayer,
    SpikingSequential,
    family_of,
)
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.surrogate import parse
from nwavesdk.train.facts import Facts
from nwavesdk.train.neuron_choice import DEFAULT_NEURON, SHARED
from nwavesdk.train.sections import ChipConfig, NetConfig
from nwavesdk.train.tasks import TASKS

__all__ = [
    "build_chip_network",
    "build_network",
    "build_run_network",
    "chip_seed",
    "has_recurrence",
    "hidden_gain",
    "hidden_layer",
    "stream_seed",
]

# Factor of the initial weights to a read-out. Those of neurons that must spike would give outputs
# far outside of the targets, which it would take many steps to unlearn.
READOUT_GAIN = 0.1


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
    output = TASKS[facts.task].output_layer(config, chip, facts)
    is_recurrent = has_recurrence(config, facts)
    if chip is None:
        return build_network(
            config,
            facts.n_features,
            output.n_outputs,
            is_readout=output.is_readout,
            is_recurrent=is_recurrent,
        )
    assert facts.chip is not None
    bits = chip.bits if deployed or chip.training != "plain" else None
    return build_chip_network(
        config,
        facts.n_features,
        output.n_outputs,
        facts.chip,
        bits,
        mismatch,
        is_recurrent=is_recurrent,
    )


def has_recurrence(config: NetConfig, facts: Facts) -> bool:
    """Whether the hidden layers of a run are recurrent: as chosen, or as its task needs it."""
    return TASKS[facts.task].is_recurrent if config.recurrent is None else config.recurrent


def build_network(
    config: NetConfig,
    n_inputs: int,
    n_outputs: int,
    *,
    is_readout: bool = False,
    is_recurrent: bool = False,
) -> SpikingSequential:
    """Build a net: synapse, neurons and dropout per hidden size, then the output layer.

    Args:
        config: Sizes and constants.
        n_inputs: Features of a frame.
        n_outputs: Number of populations, or of neurons of a read-out.
        is_readout: Whether the last layer is one leaky integrator per output, which does not spike,
            instead of a population of LIF neurons.
        is_recurrent: Whether the neurons of each hidden layer are connected with each other.

    Returns:
        A net whose outputs have the shape `[B, T, n_outputs * population]`, or `[B, T, n_outputs]`
        for a read-out.
    """
    gain = hidden_gain(config)
    readout_gain = READOUT_GAIN if is_readout else 1.0
    topology = "RC" if is_recurrent else "FF"
    hidden = [hidden_layer(config, size, layer_topology=topology) for size in config.hidden]
    output = _output_layer(config, n_outputs, is_readout)
    layers = [*hidden, output]
    modules: list[nn.Module] = []
    sizes = pairwise((n_inputs, *config.hidden, output.features[0]))
    for (n_in, n_out), neurons in zip(sizes, layers, strict=True):
        if modules and config.dropout:
            modules.append(Dropout(config.dropout))
        synapse = LIFSynapse(n_in, n_out)
        factor = readout_gain if neurons is output else gain
        if factor != 1:
            with torch.no_grad():
                synapse.weight.mul_(factor)
        modules += [synapse, neurons]
    return SpikingSequential(*modules)


def _output_layer(config: NetConfig, n_outputs: int, is_readout: bool) -> NeuronLayer:
    if is_readout:
        readout: NeuronLayer = LILayer(n_outputs, tau=config.tau, dt=config.dt)
        return readout
    return LIFLayer(
        n_outputs * config.population,
        config.tau,
        thresholds=config.threshold,
        dt=config.dt,
        spike_grad=parse(config.surrogate),
    )


def hidden_gain(config: NetConfig) -> float:
    """The factor of the charges of hidden neurons: that of the config, or a measured one.

    Neurons other than LIF take charges in other units, such as mV.
    """
    if config.charge_gain is not None:
        return config.charge_gain
    if config.neuron == DEFAULT_NEURON:
        return 1.0
    return charge_gain(lambda size: hidden_layer(config, size))


def hidden_layer(config: NetConfig, size: int, layer_topology: str = "FF") -> NeuronLayer:
    """Build a hidden layer: the neuron of the config, with its constants.

    Args:
        config: Neuron and constants.
        size: Number of neurons.
        layer_topology: `"FF"`, or `"RC"` for recurrent weights.

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
        layer_topology=layer_topology,
    )


def build_chip_network(
    config: NetConfig,
    n_inputs: int,
    n_outputs: int,
    profile: Profile,
    bits: int | None,
    mismatch: bool,
    *,
    is_recurrent: bool = False,
) -> SpikingSequential:
    """Build a net for a chip: a front end with one neuron per channel, then as `build_network`.

    Args:
        config: Sizes and constants; the threshold is the chip's.
        n_inputs: Channels of the filter bank.
        n_outputs: Number of populations.
        profile: The chip.
        bits: Bits of each weight; None leaves weights as they are trained.
        mismatch: Whether `prepare_net` draws the mismatch of a chip.
        is_recurrent: Whether the neurons of each hidden layer are connected with each other.

    Returns:
        A net whose output spikes have the shape `[B, T, n_outputs * population]`.

    Raises:
        ValueError: If a recurrent layer does not fit a core.
    """
    if is_recurrent:
        _check_cores(config, profile)
    family = family_of(profile)
    weights: dict[str, Any] = {"quantization_bits": bits, "profile": profile}
    if mismatch and profile.number("synapse_mismatch"):
        weights["stddev"] = profile.number("synapse_mismatch")

    def neurons(count: int, **recurrence: Any) -> nn.Module:
        layer: nn.Module = family.layer(
            count,
            config.tau,
            config.dt,
            parse(config.surrogate),
            ileak_mismatch=mismatch,
            profile=profile,
            **recurrence,
        )
        return layer

    recurrence: dict[str, Any] = {}
    if is_recurrent:
        # Of the settings of weights, layers have the profile already.
        recurrence = {**weights, "layer_topology": "RC"}
        del recurrence["profile"]
    layers = [neurons(size, **recurrence) for size in config.hidden]
    layers.append(neurons(n_outputs * config.population))
    modules: list[nn.Module] = [family.frontend(n_inputs, **weights), neurons(n_inputs)]
    sizes = pairwise((n_inputs, *config.hidden, n_outputs * config.population))
    for (n_in, n_out), layer in zip(sizes, layers, strict=True):
        if config.dropout:
            modules.append(Dropout(config.dropout))
        modules += [family.synapse(n_in, n_out, **weights), layer]
    return SpikingSequential(*modules)


def _check_cores(config: NetConfig, profile: Profile) -> None:
    largest = max(profile.cores)
    for size in config.hidden:
        if size > largest:
            raise ValueError(
                f"net.recurrent: a recurrent layer must be on one core, got {size} neurons, "
                f"expected at most {largest} on {profile.name}: lower --hidden, or use "
                "--no-recurrent."
            )
