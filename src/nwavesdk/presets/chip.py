"""`nwave train --net chip --chip h1v2`: a front end and layers of neurons of an H1 chip.

The front end has one neuron per channel of the chip's filter bank. Outputs are populations of
neurons, also for values of each step: nothing on a chip reads a membrane.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.layers import Dropout, SpikingSequential, family_of
from nwavesdk.surrogate import parse
from nwavesdk.train import CompletedConfig

__all__ = ["build"]


def build(inputs: tuple[int, ...], classes: int, config: CompletedConfig) -> SpikingSequential:
    """Build a net for a chip: a front end, then synapse and neurons per hidden size and output.

    Args:
        inputs: Shape of one step: the channels of the filter bank.
        classes: Number of classes, or of values per step.
        config: The config of the run, with a chip. With the training `"plain"`, weights have no
            limits; with `"mismatch"`, `prepare_net` draws another chip for each batch.

    Returns:
        A net whose output spikes have the shape `[B, T, classes * population]`.

    Raises:
        ValueError: If the config has no chip, or a recurrent layer does not fit a core.
    """
    net: Any = config.net
    chip, profile = config.chip, config.facts.chip
    if chip is None or profile is None:
        raise ValueError("chip.profile: missing, the net is for a chip: expected h1v1 or h1v2.")
    family = family_of(profile)
    has_mismatch = chip.training == "mismatch"
    bits = None if chip.training == "plain" else chip.bits
    weights: dict[str, Any] = {"quantization_bits": bits, "profile": profile}
    if has_mismatch and profile.number("synapse_mismatch"):
        weights["stddev"] = profile.number("synapse_mismatch")

    def neurons(count: int, **recurrence: Any) -> nn.Module:
        layer: nn.Module = family.layer(
            count,
            net.tau,
            net.dt,
            parse(net.surrogate),
            ileak_mismatch=has_mismatch,
            profile=profile,
            **recurrence,
        )
        return layer

    recurrence: dict[str, Any] = {}
    if net.recurrent:
        _check_cores(net.hidden, profile)
        # Of the settings of weights, layers have the profile already.
        recurrence = {**weights, "layer_topology": "RC"}
        del recurrence["profile"]
    n_channels = torch.Size(inputs).numel()
    n_outputs = classes * net.population
    layers = [neurons(size, **recurrence) for size in net.hidden]
    layers.append(neurons(n_outputs))
    modules = [family.frontend(n_channels, **weights), neurons(n_channels)]
    sizes = pairwise((n_channels, *net.hidden, n_outputs))
    for (n_in, n_out), layer in zip(sizes, layers, strict=True):
        if net.dropout:
            modules.append(Dropout(net.dropout))
        modules += [family.synapse(n_in, n_out, **weights), layer]
    return SpikingSequential(*modules)


def _check_cores(hidden: tuple[int, ...], profile: Profile) -> None:
    largest = max(profile.cores)
    for size in hidden:
        if size > largest:
            raise ValueError(
                f"net.recurrent: a recurrent layer must be on one core, got {size} neurons, "
                f"expected at most {largest} on {profile.name}: lower --hidden, or use "
                "--no-recurrent."
            )
