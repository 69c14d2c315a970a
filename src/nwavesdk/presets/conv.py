"""`nwave train --net conv`: convolutions over bands or pixels, then over time.

    sound              2 layers over time and bands, 2 layers over time, read-out
    images and events  3 layers over pixels, read-out
    series             2 or 3 layers over time, read-out
    targets per step   2 or 3 layers over time, read-out that integrates

A layer is a convolution, batch norm, and LIF neurons with time constants from 10 to 100 ms; to
300 ms where each step has a target. Before a read-out that takes the mean over time, another batch
norm brings rare spikes to a deviation of one. Nothing sees the future, so the net also runs step by
step.
"""

import math

import torch
from torch import Tensor, nn

from nwavesdk.layers import LIFLayer, LILayer, SpikingSequential, TemporalConv, TimeBatchNorm
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig

__all__ = ["build"]

# Channels, width of the kernel and stride of each layer. A first layer has many channels: a few
# rare spikes per band or pixel would lose much of its level.
OVER_BANDS = ((56, 5, 2), (16, 5, 2))
OVER_PIXELS = ((32, 5, 2), (64, 3, 2), (64, 3, 1))
SOUND_MEMORY = [(48, 4, 4), (48, 3, 8)]  # neurons, taps and their distance of layers over time
FIRST_SERIES_WIDTH, SERIES_WIDTH = 128, 64  # neurons of layers over time
SHORTEST, LONGEST = 0.01, 0.1  # time constants [s]
LONGEST_PER_STEP = 0.3  # the same, where each step has a target [s]
NORM_SCALE = 0.6  # deviation of new charges in thresholds: about one neuron in six fires
TYPICAL_STEPS = 100  # of a recording, if the data are not known
MOST_GROWTH = 16  # of the distance of taps, from layer to layer


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step: bands, values of a series, or pixels.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    modules, n_features = look(inputs, config)
    for width, taps, dilation in memory_plan(inputs, config):
        conv = TemporalConv(n_features, width, taps, dilation=dilation)
        modules += spiking(conv, (width,), config)
        n_features = width
    return SpikingSequential(*modules, *read_out(n_features, classes, config))


def look(inputs: tuple[int, ...], config: RunConfig) -> tuple[list[nn.Module], int]:
    """The layers over bands or pixels, and how many values a step has after them.

    The values of a series have no order to convolve over: it has no such layers.
    """
    if not has_places(inputs, config):
        return [], inputs[0]
    modules, (n_channels, *sizes) = as_channels(inputs)
    taps, layers = (3, OVER_BANDS) if len(sizes) == 1 else (1, OVER_PIXELS)
    for n_outputs, width, stride in layers:
        kernel = [min(width, size) for size in sizes]
        conv = TemporalConv(n_channels, n_outputs, taps, kernel=kernel, stride=stride)
        sizes = [(size - k) // stride + 1 for size, k in zip(sizes, kernel, strict=True)]
        modules += spiking(conv, (n_outputs, *sizes), config)
        n_channels = n_outputs
    return [*modules, nn.Flatten()], n_channels * math.prod(sizes)


def memory_plan(inputs: tuple[int, ...], config: RunConfig) -> list[tuple[int, int, int]]:
    """Neurons, number of taps and their distance [steps] for each layer over time."""
    if has_places(inputs, config) and not has_target_per_step(config):
        return SOUND_MEMORY if len(inputs) == 1 else []
    # Distances grow by a factor from layer to layer, so that the last layer sees a whole recording:
    # 8 gaps of 1 and of `growth` steps, and of growth² steps where two layers would leave holes.
    n_steps = config.facts.typical_steps if config.facts is not None else None
    n_gaps = max(2.0, (n_steps or TYPICAL_STEPS) / 8)
    distances = [n_gaps - 1]
    if n_gaps - 1 > MOST_GROWTH:
        growth = (math.sqrt(4 * n_gaps - 3) - 1) / 2
        distances = [growth, growth**2]
    if has_target_per_step(config):
        return [(SERIES_WIDTH, 9, round(distance)) for distance in (1, *distances)]
    # A class needs few taps, and many neurons that turn values into spikes.
    later = [(SERIES_WIDTH, 3, 4 * round(distance)) for distance in distances]
    return [(FIRST_SERIES_WIDTH, 9, 1), *later]


def has_places(inputs: tuple[int, ...], config: RunConfig) -> bool:
    """Whether neighbors in a step belong together: bands and pixels, not values of a series."""
    return len(inputs) > 1 or config.facts is None or config.facts.kind == "sound"


def has_target_per_step(config: RunConfig) -> bool:
    """Whether the net learns a class or values for each step, not a class for the recording."""
    return config.facts is not None and config.facts.task != "classification"


def as_channels(inputs: tuple[int, ...]) -> tuple[list[nn.Module], tuple[int, ...]]:
    """What brings the channels of a step to the front, and its shape then."""
    if len(inputs) < 3:
        return [nn.Unflatten(1, (1, inputs[0]))], (1, *inputs)
    *sizes, last = inputs
    if last <= 4:
        return [ChannelsFirst()], (last, *sizes)
    return [], inputs


class ChannelsFirst(nn.Module):
    """Images `[B, H, W, C]` as `[B, C, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 1)


def spiking(synapse: nn.Module, shape: tuple[int, ...], config: RunConfig) -> list[nn.Module]:
    """A synapse, batch norm, and LIF neurons of this shape with mixed time constants."""
    norm = TimeBatchNorm(shape[0])
    nn.init.constant_(norm.weight, NORM_SCALE)
    longest = LONGEST_PER_STEP if has_target_per_step(config) else LONGEST
    shortest = max(SHORTEST, config.net.dt)
    taus = torch.empty(shape).uniform_(math.log(shortest), math.log(longest)).exp()
    surrogate = parse(config.net.surrogate)
    neurons = LIFLayer(shape, taus, config.net.threshold, dt=config.net.dt, spike_grad=surrogate)
    dropout = [nn.Dropout(config.net.dropout)] if config.net.dropout else []
    return [synapse, norm, neurons, *dropout]


def read_out(n_features: int, outputs: int, config: RunConfig) -> list[nn.Module]:
    """From spikes to scores or values; where each step has a target, they are integrated."""
    scores = nn.Linear(n_features, outputs)
    if has_target_per_step(config):
        dt = config.net.dt
        return [scores, LILayer(outputs, tau=10 * dt, dt=dt, learn=("tau",))]
    return [TimeBatchNorm(n_features), scores]
