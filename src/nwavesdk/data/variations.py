"""Single random changes of a recording: of frames `[L, F]` and of lists of events.

Each function takes a recording, a generator and its strengths, which `Augmentation` describes. It
returns the changed values, or a changed recording if it moves steps with their targets. It does not
write into its recording, which may be in a file that cannot be written.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from nwavesdk.data.binning import sort_pairs, to_frames
from nwavesdk.data.recordings import Array, Frames, target_at
from nwavesdk.data.source import StepTarget

__all__ = ["AUGMENTATIONS", "CHANGES", "AugmentedKind", "Varied"]

# The kinds of recordings that change: log-mel frames, channels of a chip's filters, and so on.
AugmentedKind = Literal["sound", "channels", "series", "image", "events"]

# Noise in sound: range of its level [dB]; deviation of its tilt, at both ends of the spectrum
# [natural logarithm of power]; and largest deviation of its power in a frame and band from the mean
# over frames, as a fraction. The fluctuation is uniform, because normal numbers take four times as
# long.
NOISE_RANGE = 30.0
NOISE_TILT = 0.7
NOISE_FLUCTUATION = 0.75

Generator = np.random.Generator


class Varied(NamedTuple):
    """A recording that changes.

    Attributes:
        values: Frames `[L, F]`; or step and place of each event, int32 `[n, 2]`, by step and then
            by place. The functions of this module take images as `[L, *shape]`, and events as
            `on_axes` returns them.
        steps: Number of steps, L: one for each frame.
        target: The target of each step, `[L]` or `[L, D]`; None if steps have none.
        shape: Shape of the features of a frame, such as `(40,)`, `(H, W)` or `(H, W, colors)`; of
            events, the size of the sensor, such as `(2, 34, 34)` for polarity, y and x.
        are_events: Whether the values are events.
    """

    values: Any
    steps: int
    target: StepTarget | None
    shape: tuple[int, ...]
    are_events: bool = False

    @property
    def frames(self) -> Frames:
        """The frames, `[L, F]`; of events, the number of events at each step and place."""
        if self.are_events:
            return to_frames(self.values, self.steps, math.prod(self.shape))
        return np.reshape(self.values, (self.steps, -1))

    @property
    def sensor(self) -> tuple[int, ...]:
        """Planes (such as polarities), height and width of a sensor; a single axis is the width."""
        return math.prod(self.shape[:-2]), *(1, *self.shape)[-2:]

    def in_time(self, steps: Array, values: Array) -> "Varied":
        """New frames or events, with the target at `steps` of the recording, `[new L]`."""
        target = None if self.target is None else target_at(self.target, steps)
        return self._replace(values=values, steps=len(steps), target=target)

    def cut(self, length: int | None) -> "Varied":
        """The recording without its steps after the first `length`; None keeps all."""
        if length is None or self.steps <= length:
            return self
        is_left = self.values[:, 0] < length if self.are_events else slice(length)
        return self.in_time(np.arange(length), self.values[is_left])

    def on_axes(self) -> "Varied":
        """Events as step, plane, y and x, int32 `[4, n]`."""
        steps, places = self.values.T
        return self._replace(
            values=np.stack([steps, *np.unravel_index(places, self.sensor)], dtype=np.int32)
        )

    def in_order(self) -> "Varied":
        """Events as step and place, `[n, 2]`, by step and then by place; see `on_axes`."""
        places = np.ravel_multi_index(tuple(self.values[1:]), self.sensor)
        return self._replace(values=sort_pairs(self.values[0], places, math.prod(self.shape)))

    def moved(self, axis: int, positions: Array) -> Any:
        """Events at new positions; events beyond an end of an axis are dropped.

        Args:
            axis: The first axis of `on_axes` that changes.
            positions: New positions along this axis and the axes after it, `[axes, n]`.
        """
        axes = slice(axis, axis + len(positions))
        sizes = np.array([self.steps, *self.sensor])[axes, None]
        is_inside = ((positions >= 0) & (positions < sizes)).all(axis=0)
        values = self.values.copy()
        values[axes] = positions
        return values.compress(is_inside, axis=1)


def shift_steps(
    varied: Varied, generator: Generator, most: float, *, repeats_quietest: bool = False
) -> Varied:
    """Steps moved in time, with their targets.

    At the open end, the outermost frame and its target are repeated, or the frame with the lowest
    sum and its target. The events that leave the recording are lost.
    """
    shift = _draw_whole(-most * varied.steps, most * varied.steps, generator)
    old_rows = np.arange(varied.steps) - shift
    rows = old_rows.clip(0, varied.steps - 1)

    if varied.are_events:
        return varied.in_time(rows, varied.moved(0, varied.values[:1] + shift))
    if repeats_quietest:
        rows[rows != old_rows] = varied.values.sum(axis=1).argmin()
    return varied.in_time(rows, varied.values[rows])


def change_speed(varied: Varied, generator: Generator, most: float) -> Varied:
    """A recording played faster or slower, with frames by linear interpolation.

    An event in the middle of its step stays where it is in the recording.
    """
    speed = 1 + generator.uniform(-most, most)
    length = max(1, round(varied.steps / speed))

    # The middles of new steps on the axis of old steps, where the middle of old step 0 is at 0.
    steps = (np.arange(0.5, length) * (varied.steps / length) - 0.5).clip(0, varied.steps - 1)

    if varied.are_events:
        middles = (varied.values[0] + 0.5) * (length / varied.steps)
        return varied.in_time(steps, np.vstack([middles, varied.values[1:]]).astype(np.int32))
    return varied.in_time(steps, _interpolated(varied.values, steps))


def warp_bands(varied: Varied, generator: Generator, most: float) -> Any:
    """Bands stretched from the lowest one, by linear interpolation; the highest one is repeated."""
    places = np.arange(0.0, varied.values.shape[1]) * (1 + generator.uniform(-most, most))
    return _interpolated(varied.values.T, places).T


def add_noise(varied: Varied, generator: Generator, least_ratio: float) -> Any:
    """Power of noise added to log power, with a lowest ratio of signal to noise [dB]."""
    # Power relative to the loudest value cannot overflow.
    highest = varied.values.max()
    power = np.exp(varied.values - highest)
    signal = power.mean()

    # The level of the noise in each band.
    ratio = least_ratio + NOISE_RANGE * generator.random()
    tilt = np.float32(NOISE_TILT * generator.standard_normal())
    level = np.exp(tilt * np.linspace(-1, 1, power.shape[1], dtype=np.float32))
    level *= np.float32(signal * 10 ** (-ratio / 10))

    noise = generator.random(power.shape, np.float32) * (np.float32(2 * NOISE_FLUCTUATION) * level)
    power += noise + np.float32(1 - NOISE_FLUCTUATION) * level
    return np.log(power, out=power) + highest


def change_gain(varied: Varied, generator: Generator, decibels: float) -> Any:
    """Log power with a changed loudness: ratios of power are differences of logarithms."""
    nepers = np.float32(decibels * np.log(10) / 10)
    return varied.values + nepers * generator.standard_normal(dtype=np.float32)


def scale_features(varied: Varied, generator: Generator, deviation: float) -> Any:
    """Each feature times its own factor, about its mean over the recording."""
    mean = _mean_of(varied.values)
    factors = np.exp(deviation * generator.standard_normal(len(mean), np.float32))
    return mean + (varied.values - mean) * factors


def jitter_values(varied: Varied, generator: Generator, fraction: float) -> Any:
    """White noise on each value, in proportion to the deviation of its feature.

    The noise of an image, which has one frame, is in proportion to the deviation of all its values.
    """
    deviation = varied.values.std(axis=0 if varied.steps > 1 else None, dtype=np.float64)
    noise = generator.standard_normal(varied.values.shape, np.float32)
    noise *= (fraction * deviation).astype(np.float32)
    return noise + varied.values


def _mean_of(frames: Array) -> Array:
    """The mean of each feature. With sums in float64, a constant feature has its exact mean."""
    return np.asarray(frames.mean(axis=0, dtype=np.float64), np.float32)


def mask_frames(varied: Varied, generator: Generator, most_times: float, most_bands: float) -> Any:
    """Two spans of frames and two spans of features replaced by means over the recording.

    A largest fraction of 0 masks nothing.
    """
    mean = _mean_of(varied.values)
    masked = varied.values.copy()
    for span in _draw_masks(varied.steps, most_times, generator):
        masked[span] = mean
    for span in _draw_masks(len(mean), most_bands, generator):
        masked[:, span] = mean[span]
    return masked


def mask_events(varied: Varied, generator: Generator, most: float) -> Any:
    """Events outside of two random spans of steps."""
    is_left = np.ones(varied.steps, bool)
    for span in _draw_masks(varied.steps, most, generator):
        is_left[span] = False
    return varied.values.compress(is_left[varied.values[0]], axis=1)


def spread_events(varied: Varied, generator: Generator, deviation: float) -> Any:
    """Each event moved in time separately [steps]; events that leave the recording are lost."""
    shifts = np.rint(deviation * generator.standard_normal(varied.values.shape[1], np.float32))
    return varied.moved(0, varied.values[:1] + shifts)


def drop_events(varied: Varied, generator: Generator, most: float) -> Any:
    """A random part of the events; the dropped fraction is drawn up to `most`."""
    fraction = generator.uniform(0, most)
    is_left = generator.random(varied.values.shape[1], np.float32) >= fraction
    return varied.values.compress(is_left, axis=1)


def rotate_image(varied: Varied, generator: Generator, angle: float, zoom: float) -> Any:
    """Images turned about their center and stretched, by linear interpolation between pixels.

    Beyond an edge, the pixels at the edge are repeated. Height and width are stretched separately.
    """
    height, width = size = varied.shape[:2]
    inverse = np.linalg.inv(_draw_matrix(angle, zoom, generator))
    y, x = _about_center(inverse, np.indices(size).reshape(2, -1), size)
    upper, lower, down = _neighbors(y, height)
    left, right, along = _neighbors(x, width)

    # Interpolate along rows first, then between rows; all colors have the same weights.
    pixels = varied.values.reshape(varied.steps, height, width, -1)
    top, bottom = (
        _between(pixels[:, row, left], pixels[:, row, right], along[:, None])
        for row in (upper, lower)
    )
    turned = _between(top, bottom, down[:, None])
    return turned.reshape(varied.values.shape)


def rotate_events(varied: Varied, generator: Generator, angle: float, zoom: float) -> Any:
    """Events turned about the center of their sensor and stretched; events beyond an edge are lost.

    Each event starts at a random point within its pixel, so that no pattern of gaps appears. A
    sensor with one axis is only stretched.
    """
    is_flat = varied.sensor[1] == 1
    pixels = varied.values[2:]
    matrix = _draw_matrix(0.0 if is_flat else angle, zoom, generator)

    within = generator.random(pixels.shape, np.float32) - np.float32(0.5)
    turned = np.rint(_about_center(matrix, pixels + within, varied.sensor[1:]))

    # A sensor with one axis has no y to leave.
    return varied.moved(3, turned[1:]) if is_flat else varied.moved(2, turned)


def move_image(varied: Varied, generator: Generator, most: float) -> Any:
    """Images moved by whole pixels; the pixels at an edge are repeated."""
    rows, columns = (
        np.arange(size) - _draw_whole(-most, most, generator) for size in varied.shape[:2]
    )
    return varied.values.take(rows, axis=1, mode="clip").take(columns, axis=2, mode="clip")


def move_events(varied: Varied, generator: Generator, most: float) -> Any:
    """Events moved along the last two axes of the sensor; the events that leave it are lost."""
    along = _draw_whole(-most, most, generator)
    # A sensor with one axis has no y to move along.
    down = _draw_whole(-most, most, generator) if varied.sensor[1] > 1 else 0
    return varied.moved(2, varied.values[2:] + np.array([[down], [along]], np.int32))


def flip(varied: Varied, generator: Generator, probability: float) -> Any:
    """With a probability, a mirror image along the last axis."""
    if generator.random() >= probability:
        return varied.values
    if varied.are_events:
        return varied.moved(3, varied.shape[-1] - 1 - varied.values[3:])
    return varied.values[:, :, ::-1]


def erase_in_image(varied: Varied, generator: Generator, most: float) -> Any:
    """Images with a rectangle of one random color between their least and greatest value."""
    rows, columns = (_draw_part(size, most, generator) for size in varied.shape[:2])
    images = varied.values.copy()
    colors = generator.uniform(images.min(), images.max(), varied.shape[2:])
    images[:, rows, columns] = colors
    return images


def _interpolated(values: Array, places: Array) -> Any:
    """Values `[n, F]` at places between 0 and n - 1 of the first axis; the ends are repeated."""
    before, after, weights = _neighbors(places, len(values))
    return _between(values[before], values[after], weights[:, None])


def _neighbors(places: Array, length: int) -> tuple[Array, ...]:
    """The index before and after each place along an axis, and its distance from the first."""
    inside = places.clip(0, length - 1)
    before = inside.astype(np.int64)
    return before, np.minimum(before + 1, length - 1), (inside - before).astype(np.float32)


def _between(first: Array, second: Array, weights: Frames) -> Any:
    """Linear interpolation between two arrays, by the weight of the second."""
    return first + (second - first) * weights


def _draw_matrix(angle: float, zoom: float, generator: Generator) -> Array:
    """A matrix that stretches vectors (y, x), then turns them."""
    radians = math.radians(generator.uniform(-angle, angle))
    sine, cosine = math.sin(radians), math.cos(radians)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return turn * (1 + generator.uniform(-zoom, zoom, 2))


def _about_center(matrix: Array, pixels: Array, size: tuple[int, ...]) -> Any:
    """Pixels `[2, n]`, y and x, after a linear map that leaves the center of a plane in place."""
    center = (np.array(size)[:, None] - 1) / 2
    return matrix @ (pixels - center) + center


def _draw_whole(low: float, high: float, generator: Generator) -> int:
    """A whole number from `low` to `high`; `Generator.integers` takes ten times as long."""
    return int(low) + int(generator.random() * (int(high) - int(low) + 1))


def _draw_masks(length: int, most: float, generator: Generator) -> list[slice]:
    """Two parts of a sequence, each with at most a fraction of it; none if the fraction is 0."""
    return [_draw_part(length, most, generator) for _ in range(2 if most else 0)]


def _draw_part(length: int, most: float, generator: Generator) -> slice:
    """A part of a sequence with at most a fraction of it."""
    width = _draw_whole(0, most * length, generator)
    start = _draw_whole(0, length - width, generator)
    return slice(start, start + width)


# The changes of each kind of recording, by the names of their strengths, in the order in which they
# are applied.
CHANGES: dict[AugmentedKind, dict[tuple[str, ...], Callable[..., Any]]] = {
    "sound": {
        ("shift",): partial(shift_steps, repeats_quietest=True),
        ("speed",): change_speed,
        ("warp",): warp_bands,
        ("noise",): add_noise,
        ("gain",): change_gain,
        ("time_mask", "band_mask"): mask_frames,
    },
    "channels": {
        ("shift",): partial(shift_steps, repeats_quietest=True),
        ("scale",): scale_features,
        ("time_mask", "band_mask"): mask_frames,
    },
    "series": {
        ("shift",): shift_steps,
        ("speed",): change_speed,
        ("scale",): scale_features,
        ("jitter",): jitter_values,
        ("time_mask", "band_mask"): mask_frames,
    },
    "image": {
        ("jitter",): jitter_values,
        ("rotate", "zoom"): rotate_image,
        ("move",): move_image,
        ("flip",): flip,
        ("erase",): erase_in_image,
    },
    "events": {
        ("shift",): shift_steps,
        ("speed",): change_speed,
        ("spread",): spread_events,
        ("drop",): drop_events,
        ("rotate", "zoom"): rotate_events,
        ("move",): move_events,
        ("flip",): flip,
        ("time_mask",): mask_events,
    },
}

# The names of the strengths of each kind.
AUGMENTATIONS = {kind: tuple(chain(*changes)) for kind, changes in CHANGES.items()}
