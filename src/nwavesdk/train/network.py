"""The random numbers of a run: each use has its own stream, a function of the run's seed and of what it is for.

Nothing random is left over from one epoch to the next, so a run that starts again at an epoch sees the same numbers.


The network of a run: synapses and neurons, read out by a population of neurons for each class.
"""

from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential, family_of
from nwavesdk.surrogate import parse
from nwavesdk.train.config import NetConfig

__all__ = ["build_chip_network", "build_network", "chip_seed", "stream"]


def stream(seed: int, use: str, *place: int) -> int:
    """The seed of a stream.

    Args:
        seed: The run's seed.
        use: What the numbers are for.
        place: Where they are used, such as epoch and process.

    Returns:
        An integer below 2^32.

    Example:
        >>> stream(0, "order", 1) == stream(0, "order", 1) != stream(1, "order", 0)
        True
    """
    return int(
        np.random.SeedSequence([seed, crc32(use.encode()), len(place), *place]).generate_state(1)[0]
    )


def chip_seed(seed: int, use: str, *place: int, drawn: bool) -> int:
    """The seed of one chip of the series: even for those of training and selection, odd for those `drawn` to test.

    So no chip on which a net is tested is one that it has met, whatever the seeds.

    Args:
        seed: The run's seed, or that of the drawing.
        use: What the chip is for.
        place: Which of them it is.
        drawn: Whether it is one to test on.

    Example:
        >>> chip_seed(0, "mismatch", 1, 2, drawn=False) % 2, chip_seed(0, "chips", 7, drawn=True) % 2
        (0, 1)
    """
    return 2 * stream(seed, use, *place) + drawn


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
            n_out,
            config.tau,
            thresholds=config.threshold,
            dt=config.dt,
            spike_grad=parse(config.surrogate),
        )
        modules += [LIFSynapse(n_in, n_out), neurons]
    return SpikingSequential(*modules)


def build_chip_network(
    config: NetConfig,
    n_inputs: int,
    n_classes: int,
    profile: Profile,
    bits: int | None,
    mismatch: bool,
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
            count,
            config.tau,
            config.dt,
            parse(config.surrogate),
            ileak_mismatch=mismatch,
            profile=profile,
        )
        return layer

    modules: list[nn.Module] = [family.frontend(n_inputs, **weights), neurons(n_inputs)]
    for n_in, n_out in pairwise((n_inputs, *config.hidden, n_classes * config.population)):
        if config.dropout:
            modules.append(Dropout(config.dropout))
        modules += [family.synapse(n_in, n_out, **weights), neurons(n_out)]
    return SpikingSequential(*modules)
