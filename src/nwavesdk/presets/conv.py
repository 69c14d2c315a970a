"""`nwave train --net conv`: convolutions over bands or pixels, then over time.

    sound              2 layers over time and bands, 2 layers over time, read-out
    images             4 layers over pixels, with max pools, read-out
    events             3 layers over pixels, read-out
    series             2 or 3 layers over time, read-out of all of these layers
    targets per step   2 or 3 layers over time, integrating read-out of all of these layers
    events in sound    2 layers over time and bands, 3 layers over time, integrating read-out

A layer is a convolution, batch norm, and LIF neurons with time constants from 10 to 100 ms, to 300
ms if each step has a target, or to 50 ms in a detector, which must not depend on what was long ago.
Before a read-out that takes the mean over time, a second batch norm brings rare spikes to a
deviation of one. No layer uses later steps, so the net also runs step by step.
"""

import math

from torch import Tensor, nn

from nwavesdk.layers import SpikingSequential, TemporalConv
from nwavesdk.net import Branches
from nwavesdk.presets.blocks import (
    LONGEST,
    SHORTEST,
    NetFacts,
    has_target_per_step,
    lif_block,
    read_out,
)

__all__ = ["build"]

Layer = tuple[int, int, int, int]  # channels, width of the kernel, stride, width of the pool
Memory = tuple[int, int, int]  # neurons, number of taps, and their distance [steps]

# Layers over bands and pixels. A first layer has many neurons, because a few rare spikes per band
# or pixel would lose much of its level. Pools take the maximum of spikes.
OVER_BANDS: tuple[Layer, ...] = ((56, 5, 2, 1), (16, 5, 2, 1))
OVER_BANDS_OF_STREAMS: tuple[Layer, ...] = ((32, 5, 2, 1), (32, 5, 2, 1))
OVER_EVENTS: tuple[Layer, ...] = ((32, 5, 2, 1), (64, 3, 2, 1), (64, 3, 1, 1))
LATER_OVER_IMAGES: tuple[Layer, ...] = ((48, 3, 1, 2), (64, 3, 1, 2), (96, 3, 1, 1))
SMALL_IMAGE = (12, 48)  # smallest and largest side of a small image [pixels]
SOUND_MEMORY: list[Memory] = [(48, 4, 4), (48, 3, 8)]
# A word may last a second, which the layers of a detector span: distances of their taps [s].
STREAM_WIDTH, STREAM_TAPS = 24, 4
STREAM_DISTANCES = (0.04, 0.08, 0.16)
LONGEST_OF_STREAMS = 0.05  # longest time constant; taps remember longer [s]
FIRST_SERIES_WIDTH, SERIES_WIDTH = 128, 64  # neurons of layers over time
LONGEST_PER_STEP = 0.3  # longest time constant, if each step has a target [s]
SERIES_DISTANCES = (8, 16)  # distances of the taps of later layers [steps]
SHORT_SERIES = 56  # span of three layers; series that are not longer have two layers [steps]
MAX_GROWTH = 16  # largest growth of the distance of taps, from layer to layer


def build(inputs: tuple[int, ...], classes: int, config: NetFacts) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step: bands, values of a series, or pixels.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    # Neighboring bands and pixels belong together, but not neighboring values of a series.
    has_places = len(inputs) > 1 or config.data.kind == "sound"
    modules, n_inputs = over_places(inputs, config) if has_places else ([], inputs[0])

    if config.task.name == "detect" and has_places:
        steps = [max(1, round(distance / config.net.dt)) for distance in STREAM_DISTANCES]
        plan = [(STREAM_WIDTH, STREAM_TAPS, distance) for distance in steps]
    elif has_target_per_step(config):
        plan = step_plan(config.facts.typical_steps)
    elif has_places:
        plan = SOUND_MEMORY if len(inputs) == 1 else []
    else:
        plan = series_plan(config.facts.typical_steps)

    joins = has_target_per_step(config) or not has_places
    modules += over_time(n_inputs, plan, config, joins=joins)
    widths = [width for width, _, _ in plan] or [n_inputs]
    n_features = sum(widths) if joins else widths[-1]
    return SpikingSequential(*modules, *read_out(n_features, classes, config))


def over_places(inputs: tuple[int, ...], config: NetFacts) -> tuple[list[nn.Module], int]:
    """The layers over bands or pixels, and the number of values per step after them."""
    modules, (n_channels, *sizes) = as_channels(inputs)
    has_bands = len(sizes) == 1
    is_image = not has_bands and config.data.kind == "image"
    over_bands = OVER_BANDS_OF_STREAMS if config.task.name == "detect" else OVER_BANDS
    layers = over_bands if has_bands else OVER_EVENTS

    for n_outputs, width, stride, pool in over_image(sizes) if is_image else layers:
        # Only images are padded, because an object may reach the edge.
        kernel = [min(width, size) for size in sizes]
        padding = [(k - 1) // 2 if is_image else 0 for k in kernel]
        conv = TemporalConv(
            n_channels,
            n_outputs,
            taps=3 if has_bands else 1,
            kernel=kernel,
            stride=stride,
            padding=padding,
        )

        sizes = [
            (size + 2 * p - k) // stride + 1
            for size, p, k in zip(sizes, padding, kernel, strict=True)
        ]
        modules += spiking(conv, (n_outputs, *sizes), config)

        if pool > 1 and min(sizes) >= pool:
            modules.append(nn.MaxPool2d(pool))
            sizes = [size // pool for size in sizes]
        n_channels = n_outputs

    return [*modules, nn.Flatten()], n_channels * math.prod(sizes)


def over_image(sizes: list[int]) -> tuple[Layer, ...]:
    """The layers over the pixels of an image, by its height and width."""
    least, most = SMALL_IMAGE
    stride = 2 if max(sizes) > most else 1
    pool = 1 if stride == 1 and min(sizes) < least else 2
    return ((32, 3, stride, pool), *LATER_OVER_IMAGES)


def over_time(
    n_inputs: int, plan: list[Memory], config: NetFacts, *, joins: bool
) -> list[nn.Module]:
    """The layers over time.

    Args:
        n_inputs: Values of a step.
        plan: The layers.
        config: The config of the run.
        joins: Whether the output has the spikes of all of these layers, from fast to slow, not only
            of the last layer.
    """
    if not plan:
        return []

    (width, taps, dilation), *later = plan
    conv = TemporalConv(n_inputs, width, taps, dilation=dilation)
    layer = spiking(conv, (width,), config)

    # The spikes of this layer go to the next layers and, if layers are joined, past them.
    slower = over_time(width, later, config, joins=joins)
    if later and joins:
        slower = [Branches(nn.Identity(), SpikingSequential(*slower))]
    return [*layer, *slower]


def series_plan(n_steps: int) -> list[Memory]:
    """The layers for a class per recording.

    Any part of a long recording may show its class, so the layers see only a short span.
    """
    n_later = 1 if n_steps <= SHORT_SERIES else 2
    distances = [max(1, min(n_steps // 2, distance)) for distance in SERIES_DISTANCES[:n_later]]

    # The first layer has many neurons, to turn values into spikes. Later layers need few taps.
    return [(FIRST_SERIES_WIDTH, 9, 1), *((SERIES_WIDTH, 3, distance) for distance in distances)]


def step_plan(n_steps: int) -> list[Memory]:
    """The layers for a target in each step, which may depend on the whole recording.

    Layers have 9 taps with 8 gaps of 1 step in the first and `growth` steps in the second layer. If
    two layers would leave holes, there is a third layer with gaps of growth² steps.
    """
    n_gaps = max(2.0, n_steps / 8)
    distances = [n_gaps - 1]
    if n_gaps - 1 > MAX_GROWTH:
        growth = (math.sqrt(4 * n_gaps - 3) - 1) / 2
        distances = [growth, growth**2]
    return [(SERIES_WIDTH, 9, round(distance)) for distance in (1, *distances)]


def as_channels(inputs: tuple[int, ...]) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The modules that bring the channels of a step to the front, and the new shape of a step."""
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


def spiking(synapse: nn.Module, shape: tuple[int, ...], config: NetFacts) -> list[nn.Module]:
    """A synapse, batch norm, and LIF neurons of this shape with mixed time constants."""
    longest = LONGEST_PER_STEP if has_target_per_step(config) else LONGEST
    if config.task.name == "detect":
        longest = LONGEST_OF_STREAMS
    shortest = max(SHORTEST, config.net.dt)
    return lif_block(synapse, shape, config.net, shortest, max(shortest, longest))
