"""`nwave train --net chip --chip h1v2`: a front end and layers of neurons of an H1 chip.

The front end has one neuron per channel of the chip's filter bank. Outputs are populations of
neurons, also for values of each step, because membranes on a chip cannot be read.
"""

import math
from functools import partial
from itertools import pairwise
from typing import Any

from torch import nn

from nwavesdk.layers import Dropout, SpikingSequential, family_of
from nwavesdk.presets.blocks import NetFacts
from nwavesdk.surrogate import parse

__all__ = ["build"]


def build(inputs: tuple[int, ...], classes: int, config: NetFacts) -> SpikingSequential:
    """Build a net for a chip: a front end, then synapse and neurons per hidden size and output.

    Args:
        inputs: Shape of one step: the channels of the filter bank.
        classes: Number of classes, or of values per step.
        config: The config of the run, with a chip. With the training `"plain"`, weights have no
            limits; with `"mismatch"`, `prepare_net` draws a new chip for each batch.

    Returns:
        A net whose output spikes have the shape `[B, T, classes * population]`.

    Raises:
        ValueError: If the config has no chip, or a recurrent layer does not fit a core.
    """
    net: Any = config.net
    chip, profile = config.chip, config.facts.chip
    if chip is None or profile is None:
        raise ValueError("chip.profile: missing, the net is for a chip: expected h1v1 or h1v2.")

    largest, core = max(net.hidden, default=0), max(profile.cores)
    if net.recurrent and largest > core:
        raise ValueError(
            f"net.recurrent: a recurrent layer must be on one core, got {largest} neurons, "
            f"expected at most {core} on {profile.name}: lower --hidden, or use --no-recurrent."
        )

    # Weights have the bits and the mismatch of the chip, if training takes them into account.
    family = family_of(profile)
    has_mismatch = chip.training == "mismatch"
    bits = None if chip.training == "plain" else chip.bits
    weights: dict[str, Any] = {"quantization_bits": bits}
    if has_mismatch and profile.number("synapse_mismatch"):
        weights["stddev"] = profile.number("synapse_mismatch")

    neurons: Any = partial(
        family.layer,
        taus=net.tau,
        dt=net.dt,
        spike_grad=parse(net.surrogate),
        ileak_mismatch=has_mismatch,
        profile=profile,
    )
    recurrence = {**weights, "layer_topology": "RC"} if net.recurrent else {}
    sizes = [math.prod(inputs), *net.hidden, classes * net.population]
    layers = [neurons(size, **recurrence) for size in net.hidden]
    layers.append(neurons(sizes[-1]))

    # The front end has the first neurons. Each further layer has its synapse in front.
    modules: list[nn.Module] = [
        family.frontend(sizes[0], **weights, profile=profile),
        neurons(sizes[0]),
    ]
    for (n_inputs, n_neurons), layer in zip(pairwise(sizes), layers, strict=True):
        if net.dropout:
            modules.append(Dropout(net.dropout))
        modules += [family.synapse(n_inputs, n_neurons, **weights, profile=profile), layer]
    return SpikingSequential(*modules)
