"""Building blocks that the pages of nets share: neurons behind batch norm, and the read-out."""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nwavesdk.layers import LIFLayer, LILayer, TemporalConv, TimeBatchNorm
from nwavesdk.surrogate import parse

__all__ = [
    "LONGEST",
    "NORM_SCALE",
    "SHORTEST",
    "NetFacts",
    "dropout",
    "flat",
    "has_target_per_step",
    "lif_block",
    "mixed_taus",
    "read_out",
]

SHORTEST, LONGEST = 0.01, 0.1  # time constants of membranes [s]
# Standard deviation of new charges, in thresholds: about one of six neurons fires.
NORM_SCALE = 0.6
# Taps of the read-out of a detector, and their distance [s].
EVENT_TAPS, EVENT_TAP_SECONDS = 6, 0.08


class NetFacts(Protocol):
    """The read-only fields that a page needs; the config of a run has them, and more.

    A page takes any object with these fields, so it does not depend on how a run is configured.
    """

    @property
    def net(self) -> Any:
        """The fields of the preset, with `dt`, the duration of a step [s]."""

    @property
    def chip(self) -> Any:
        """`training` and `bits` of a net for a chip; None for other nets."""

    @property
    def task(self) -> Any:
        """The task, with its `name`."""

    @property
    def data(self) -> Any:
        """The data, with their `kind`."""

    @property
    def facts(self) -> Any:
        """`typical_steps` of a recording, and the profile of the `chip`."""


def flat(inputs: tuple[int, ...]) -> list[nn.Module]:
    """The module that flattens a step of this shape; none for a single axis."""
    return [nn.Flatten()] if len(inputs) > 1 else []


def lif_block(
    synapse: nn.Module,
    shape: tuple[int, ...],
    net: Any,
    shortest: float = SHORTEST,
    longest: float = LONGEST,
) -> list[nn.Module]:
    """A synapse, batch norm, and LIF neurons of this shape with mixed time constants [s].

    Args:
        synapse: The synapse, which may be a convolution.
        shape: Shape of the neurons, with channels first.
        net: The section `net` of the config.
        shortest: The shortest time constant [s].
        longest: The longest time constant [s].
    """
    norm = TimeBatchNorm(shape[0])
    nn.init.constant_(norm.weight, NORM_SCALE)

    taus = mixed_taus(shape, shortest, longest)
    surrogate = parse(net.surrogate)
    neurons = LIFLayer(shape, taus, net.threshold, net.reset, dt=net.dt, spike_grad=surrogate)
    return [synapse, norm, neurons, *dropout(net)]


def mixed_taus(
    shape: tuple[int, ...], shortest: float = SHORTEST, longest: float = LONGEST
) -> Tensor:
    """Time constants [s], log-uniform between two bounds, of this shape."""
    return torch.empty(shape).uniform_(math.log(shortest), math.log(longest)).exp()


def dropout(net: Any) -> list[nn.Module]:
    """The dropout of the config; none for a fraction of 0."""
    return [nn.Dropout(net.dropout)] if net.dropout else []


def has_target_per_step(config: NetFacts) -> bool:
    """Whether the net learns a class or values for each step, not a class for the recording."""
    return bool(config.task.name != "classification")


def read_out(n_inputs: int, n_outputs: int, config: NetFacts) -> list[nn.Module]:
    """From spikes to scores or values in each step.

    The class of a recording has the largest mean score over time; batch norm brings rare spikes to
    a deviation of one. If each step has a target, an integrator adds up the scores. The score of an
    event is a sum over the spikes of the last half second, which also are rare.
    """
    scores = nn.Linear(n_inputs, n_outputs)
    if not has_target_per_step(config):
        return [TimeBatchNorm(n_inputs), scores]

    dt = config.net.dt
    if config.task.name == "detect":
        distance = max(1, round(EVENT_TAP_SECONDS / dt))
        summed = TemporalConv(n_inputs, n_outputs, EVENT_TAPS, dilation=distance)
        integrator = LILayer(n_outputs, tau=5 * dt, dt=dt, learn=("tau",))
        return [TimeBatchNorm(n_inputs), summed, integrator]
    return [scores, LILayer(n_outputs, tau=10 * dt, dt=dt, learn=("tau",))]
