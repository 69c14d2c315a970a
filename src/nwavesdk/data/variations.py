"""Single random changes of a recording: of frames `[L, F]` and of lists of events.

Each function takes a recording, a generator and its strengths, which `Augmentation` describes. It
returns the changed recording and leaves the given one unchanged, which may lie in a file that
cannot be written.
"""

import math
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.binning import sort_pairs, to_frames
from nwavesdk.data.recordings import Frames, Pairs, target_at
from nwavesdk.data.source import StepTarget

__all__ = ["AUGMENTATIONS", "CHANGES", "AugmentedKind", "Varied", "VariedEvents"]

# What a recording is when it changes: log-mel frames, the channels of a chip's filters, and so on.
AugmentedKind = Literal["sound", "channels", "series", "image", "events"]

# Masks of a recording along each axis.
MASKS = 2

# Noise in sound: range of its level [dB]; deviation of its tilt, at both ends of the spectrum
# [natural logarithm of power]; and largest deviation of its power in a frame and band from that of
# all frames, as a fraction. It is uniform, because normal numbers take four times as long.
NOISE_RANGE = 30.0
NOISE_TILT = 0.7
NOISE_FLUCTUATION = 0.75

Generator = np.random.Generator


class Varied(NamedTuple):
    """A changed recording.

    Attributes:
        frames: `[L, F]`; L may differ from that of the recording.
        target: The target of each frame, `[L]` or `[L, D]`; None if frames have none.
        shape: Shape of the features of a frame, such as `(40,)`, `(H, W)` or `(H, W, colors)`.
    """

    frames: Frames
    target: StepTarget | None
    shape: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def dense(self) -> Frames:
        """The frames, `[L, F]`."""
        return self.frames

    @property
    def images(self) -> Frames:
        """The frames with the axes of their features."""
        return self.frames.reshape(len(self.frames), *self.shape)

    def with_frames(self, frames: Frames) -> "Varied":
        """The recording with other frames, of the same shape but for their axes."""
        return self._replace(frames=frames.reshape(self.frames.shape))

    def cut(self, length: int | None) -> "Varied":
        """The recording without what comes after `length` frames; None keeps all."""
        target = None if self.target is None else self.target[:length]
        return self._replace(frames=self.frames[:length], target=target)


class VariedEvents(NamedTuple):
    """A changed recording of events.

    Attributes:
        pairs: Step and place of each event, int32 `[n, 2]`, by step and then by place.
        steps: Number of steps.
        target: The target of each step; None if steps have none.
        shape: Size of the sensor, such as `(2, 34, 34)` for polarity, y and x.
    """

    pairs: Pairs
    steps: int
    target: StepTarget | None
    shape: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the sensor; with a single axis, it is one pixel high."""
        return (1, *self.shape)[-2:]

    @property
    def dense(self) -> Frames:
        """How many events there are at each step and place, `[L, F]`."""
        return to_frames(self.pairs, self.steps, math.prod(self.shape))

    def cut(self, length: int | None) -> "VariedEvents":
        """The recording without what comes after `length` steps; None keeps all."""
        if length is None or self.steps <= length:
            return self
        target = None if self.target is None else self.target[:length]
        pairs = self.pairs[self.pairs[:, 0] < length]
        return self._replace(pairs=pairs, steps=length, target=target)

    def in_order(self) -> "VariedEvents":
        """The events by step and then by place."""
        step, place = self.pairs.T
        return self._replace(pairs=sort_pairs(step, place, math.prod(self.shape)))

    def at_steps(self, steps: npt.NDArray[Any]) -> "VariedEvents":
        """The events at other steps, without those that leave the recording."""
        pairs = np.stack([steps, self.pairs[:, 1]], axis=1)
        return self._replace(pairs=pairs[(steps >= 0) & (steps < self.steps)])

    def on_plane(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """The plane of each event, such as its polarity, and its y and x."""
        height, width = self.size
        plane, pixel = np.divmod(self.pairs[:, 1], height * width)
        return plane, *np.divmod(pixel, width)

    def at_pixels(
        self, plane: npt.NDArray[Any], y: npt.NDArray[Any], x: npt.NDArray[Any]
    ) -> "VariedEvents":
        """The events at other places, without those that are beyond an edge."""
        height, width = self.size
        place = (plane * height + y) * width + x
        is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        pairs = np.stack([self.pairs[:, 0], place], axis=1)[is_inside]
        return self._replace(pairs=pairs.astype(np.int32))


def shift_quietly(varied: Varied, generator: Generator, most: float) -> Varied:
    """Frames and targets moved in time; the frame with the lowest sum follows at the open end."""
    quietest = int(np.add.reduce(varied.frames, axis=1).argmin())
    rows = np.arange(varied.steps) - _draw_shift(most * varied.steps, generator)
    rows[(rows < 0) | (rows >= varied.steps)] = quietest
    return _take_rows(varied, rows)


def shift_rows(varied: Varied, generator: Generator, most: float) -> Varied:
    """Frames and targets moved in time; the outermost one follows at the open end."""
    rows = np.arange(varied.steps) - _draw_shift(most * varied.steps, generator)
    return _take_rows(varied, rows.clip(0, varied.steps - 1))


def _take_rows(varied: Varied, rows: npt.NDArray[np.int64]) -> Varied:
    target = None if varied.target is None else varied.target[rows]
    return varied._replace(frames=varied.frames[rows], target=target)


def resample_rows(varied: Varied, generator: Generator, most: float) -> Varied:
    """A recording played faster or slower, by linear interpolation between its frames.

    A class is that of the nearest frame.
    """
    places = _resampled_places(varied.steps, most, generator)
    before, after, weights = _neighbors(places, varied.steps)
    frames = _between(varied.frames[before], varied.frames[after], weights[:, None])
    target = None if varied.target is None else target_at(varied.target, places)
    return varied._replace(frames=frames, target=target)


def warp_bands(varied: Varied, generator: Generator, most: float) -> Varied:
    """Bands stretched from the lowest one, by linear interpolation; the highest one is repeated."""
    n_bands = varied.frames.shape[1]
    places = np.arange(0.0, n_bands) * (1 + generator.uniform(-most, most))
    before, after, weights = _neighbors(places, n_bands)
    frames = _between(varied.frames[:, before], varied.frames[:, after], weights)
    return varied.with_frames(frames)


def add_noise(varied: Varied, generator: Generator, least_ratio: float) -> Varied:
    """Power of noise added to log power, with a lowest ratio of signal to noise [dB]."""
    # Relative to the loudest value, so that no power overflows.
    frames = varied.frames
    highest = frames.max()
    power: Frames = frames - highest
    np.exp(power, out=power)
    signal = np.add.reduce(power, axis=None) / power.size

    ratio = least_ratio + NOISE_RANGE * generator.random()
    tilt = np.float32(NOISE_TILT * generator.standard_normal())
    level = np.exp(tilt * _from_minus_1_to_1(frames.shape[1]))
    level *= np.float32(signal * 10 ** (-ratio / 10))

    noise = generator.random(frames.shape, np.float32)
    noise *= np.float32(2 * NOISE_FLUCTUATION) * level
    noise += np.float32(1 - NOISE_FLUCTUATION) * level
    power += noise
    np.log(power, out=power)
    power += highest
    return varied.with_frames(power)


@cache
def _from_minus_1_to_1(count: int) -> Frames:
    return np.linspace(-1, 1, count, dtype=np.float32)


def change_gain(varied: Varied, generator: Generator, decibels: float) -> Varied:
    """Log power with another loudness: ratios of power are differences of logarithms."""
    nepers = np.float32(decibels * np.log(10) / 10)
    return varied.with_frames(varied.frames + nepers * generator.standard_normal(dtype=np.float32))


def scale_features(varied: Varied, generator: Generator, deviation: float) -> Varied:
    """Each feature times its own factor, about its mean over the recording."""
    mean = _mean_of(varied.frames)
    factors = np.exp(deviation * generator.standard_normal(len(mean), np.float32))
    return varied.with_frames(mean + (varied.frames - mean) * factors)


def jitter_values(varied: Varied, generator: Generator, fraction: float) -> Varied:
    """White noise on each value, in proportion to the deviation of its feature.

    Of a recording with one frame, an image, it is the deviation of all values.
    """
    deviation = varied.frames.std(axis=0 if varied.steps > 1 else None, dtype=np.float64)
    noise = generator.standard_normal(varied.frames.shape, np.float32)
    noise *= (fraction * deviation).astype(np.float32)
    noise += varied.frames
    return varied.with_frames(noise)


def _mean_of(frames: Frames) -> Frames:
    """The mean of each feature. Sums in float64 give that of a constant feature exactly."""
    mean: Frames = frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def mask_frames(
    varied: Varied, generator: Generator, most_times: float, most_bands: float
) -> Varied:
    """Some frames in a row, twice, and some features, twice, replaced by means over the recording.

    A largest fraction of 0 masks nothing.
    """
    mean = _mean_of(varied.frames)
    masked = varied.frames.copy()
    for span in _draw_masks(varied.steps, most_times, generator):
        masked[span] = mean
    for span in _draw_masks(len(mean), most_bands, generator):
        masked[:, span] = mean[span]
    return varied.with_frames(masked)


def move_image(varied: Varied, generator: Generator, most: float) -> Varied:
    """Images moved by whole pixels; the pixels at an edge are repeated."""
    height, width = varied.shape[:2]
    rows = np.arange(height) - _draw_shift(most, generator)
    columns = np.arange(width) - _draw_shift(most, generator)
    images = varied.images[:, rows.clip(0, height - 1)]
    return varied.with_frames(images[:, :, columns.clip(0, width - 1)])


def rotate_image(varied: Varied, generator: Generator, angle: float, zoom: float) -> Varied:
    """Images turned about their center and stretched, by linear interpolation between pixels.

    Beyond an edge, the pixels at the edge are repeated. Height and width are stretched separately.
    """
    height, width = varied.shape[:2]
    inverse = np.linalg.inv(_draw_matrix(angle, zoom, generator))
    y, x = np.indices((height, width)).reshape(2, -1)
    old_y, old_x = _about_center(inverse, y, x, height, width)
    upper, lower, down = _neighbors(old_y, height)
    left, right, along = _neighbors(old_x, width)

    pixels = varied.frames.reshape(varied.steps, height * width, -1)
    along, down = along[:, None], down[:, None]  # the same for all colors
    top = _between(pixels[:, upper * width + left], pixels[:, upper * width + right], along)
    bottom = _between(pixels[:, lower * width + left], pixels[:, lower * width + right], along)
    return varied.with_frames(_between(top, bottom, down))


def flip_image(varied: Varied, generator: Generator, probability: float) -> Varied:
    """A mirror image, left for right, with a probability."""
    if generator.random() >= probability:
        return varied
    return varied.with_frames(varied.images[:, :, ::-1])


def erase_in_image(varied: Varied, generator: Generator, most: float) -> Varied:
    """Images in which a rectangle has one color between their least and their greatest value."""
    height, width, *colors = varied.shape
    rows = _draw_part(height, most, generator)
    columns = _draw_part(width, most, generator)
    images = varied.images.copy()
    least, greatest = varied.frames.min(), varied.frames.max()
    images[:, rows, columns] = generator.uniform(least, greatest, colors)
    return varied.with_frames(images)


def shift_events(events: VariedEvents, generator: Generator, most: float) -> VariedEvents:
    """Events moved in time together; the events that leave the recording are lost.

    The target of the outermost step is repeated at the open end.
    """
    shift = _draw_shift(most * events.steps, generator)
    rows = (np.arange(events.steps) - shift).clip(0, events.steps - 1)
    target = None if events.target is None else events.target[rows]
    return events.at_steps(events.pairs[:, 0] + shift)._replace(target=target)


def stretch_events(events: VariedEvents, generator: Generator, most: float) -> VariedEvents:
    """Events of a recording that is played faster or slower, with other steps and targets.

    An event in the middle of its step stays where it is in the recording.
    """
    places = _resampled_places(events.steps, most, generator)
    pairs = events.pairs.copy()
    pairs[:, 0] = (events.pairs[:, 0] + 0.5) * (len(places) / events.steps)
    target = None if events.target is None else target_at(events.target, places)
    return events._replace(pairs=pairs, steps=len(places), target=target)


def spread_events(events: VariedEvents, generator: Generator, deviation: float) -> VariedEvents:
    """Each event moved in time by itself [steps]; the events that leave the recording are lost."""
    shifts = np.rint(deviation * generator.standard_normal(len(events.pairs), np.float32))
    return events.at_steps(events.pairs[:, 0] + shifts.astype(np.int32))


def drop_events(events: VariedEvents, generator: Generator, most: float) -> VariedEvents:
    """Events without a fraction of them, drawn up to the largest one."""
    fraction = generator.uniform(0, most)
    is_left = generator.random(len(events.pairs), np.float32) >= fraction
    return events._replace(pairs=events.pairs[is_left])


def rotate_events(
    events: VariedEvents, generator: Generator, angle: float, zoom: float
) -> VariedEvents:
    """Events turned about the center of their sensor and stretched; beyond an edge, they are lost.

    Each event comes from anywhere within its pixel, so that no pattern of gaps appears. A sensor
    with one axis is stretched alone.
    """
    height, width = events.size
    matrix = _draw_matrix(angle if height > 1 else 0.0, zoom, generator)
    plane, y, x = events.on_plane()
    within_y, within_x = generator.random((2, len(events.pairs)), np.float32) - np.float32(0.5)
    new_y, new_x = _about_center(matrix, y + within_y, x + within_x, height, width)
    # A sensor with one axis has no y to leave.
    rows = np.rint(new_y).astype(np.int64) if height > 1 else y
    return events.at_pixels(plane, rows, np.rint(new_x).astype(np.int64))


def move_events(events: VariedEvents, generator: Generator, most: float) -> VariedEvents:
    """Events moved along the last two axes of the sensor; the events that leave it are lost."""
    plane, y, x = events.on_plane()
    x = x + _draw_shift(most, generator)
    # A sensor with one axis has no y to move along.
    y = y + (_draw_shift(most, generator) if events.size[0] > 1 else 0)
    return events.at_pixels(plane, y, x)


def flip_events(events: VariedEvents, generator: Generator, probability: float) -> VariedEvents:
    """A mirror image along the last axis of the sensor, with a probability."""
    if generator.random() >= probability:
        return events
    plane, y, x = events.on_plane()
    return events.at_pixels(plane, y, events.size[1] - 1 - x)


def mask_events(events: VariedEvents, generator: Generator, most: float) -> VariedEvents:
    """Events without the events of some steps in a row, twice."""
    is_masked = np.zeros(events.steps, bool)
    for span in _draw_masks(events.steps, most, generator):
        is_masked[span] = True
    return events._replace(pairs=events.pairs[~is_masked[events.pairs[:, 0]]])


def _neighbors(
    places: npt.NDArray[np.float64], length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Frames]:
    """The index before and after each place along an axis, and how far it is between them."""
    inside = places.clip(0, length - 1)
    before = inside.astype(np.int64)
    return before, np.minimum(before + 1, length - 1), (inside - before).astype(np.float32)


def _between(first: Frames, second: Frames, weights: Frames) -> Frames:
    """Values between two others, by the weight of the second."""
    mixed: Frames = first + (second - first) * weights
    return mixed


def _draw_matrix(angle: float, zoom: float, generator: Generator) -> npt.NDArray[np.float64]:
    """A matrix that stretches vectors (y, x), then turns them."""
    radians = math.radians(generator.uniform(-angle, angle))
    sine, cosine = math.sin(radians), math.cos(radians)
    factors = 1 + generator.uniform(-zoom, zoom, 2)
    return np.array([[cosine, -sine], [sine, cosine]]) * factors


def _about_center(
    matrix: npt.NDArray[Any],
    y: npt.NDArray[Any],
    x: npt.NDArray[Any],
    height: int,
    width: int,
) -> npt.NDArray[Any]:
    """Places of a plane, in pixels, after a linear map that leaves its center in place."""
    center = np.array([[height - 1], [width - 1]]) / 2
    mapped: npt.NDArray[Any] = matrix @ (np.stack([y, x]) - center) + center
    return mapped


def _draw_shift(most: float, generator: Generator) -> int:
    """A whole number from `-most` to `most`."""
    return _draw_up_to(2 * int(most), generator) - int(most)


def _draw_up_to(most: int, generator: Generator) -> int:
    """A whole number from 0 to `most`; `Generator.integers` takes ten times as long."""
    return int(generator.random() * (most + 1))


def _draw_masks(length: int, most: float, generator: Generator) -> list[slice]:
    """Two parts of a sequence, each with at most a fraction of it; none if the fraction is 0."""
    return [_draw_part(length, most, generator) for _ in range(MASKS if most else 0)]


def _draw_part(length: int, most: float, generator: Generator) -> slice:
    """A part of a sequence with at most a fraction of it."""
    width = _draw_up_to(int(most * length), generator)
    start = _draw_up_to(length - width, generator)
    return slice(start, start + width)


def _resampled_places(length: int, most: float, generator: Generator) -> npt.NDArray[np.float64]:
    """Where the frames of a faster or slower recording are in the recording, `[new length]`."""
    speed = 1 + generator.uniform(-most, most)
    new_length = max(1, round(length / speed))
    # The middle of a new frame, in old frames, minus that of an old one.
    places = np.arange(0.5, new_length) * (length / new_length) - 0.5
    return places.clip(0, length - 1)


# The changes of each kind of recording, by the names of their strengths, in the order in which they
# are applied.
CHANGES: dict[AugmentedKind, dict[tuple[str, ...], Callable[..., Any]]] = {
    "sound": {
        ("shift",): shift_quietly,
        ("speed",): resample_rows,
        ("warp",): warp_bands,
        ("noise",): add_noise,
        ("gain",): change_gain,
        ("time_mask", "band_mask"): mask_frames,
    },
    "channels": {
        ("shift",): shift_quietly,
        ("scale",): scale_features,
        ("time_mask", "band_mask"): mask_frames,
    },
    "series": {
        ("shift",): shift_rows,
        ("speed",): resample_rows,
        ("scale",): scale_features,
        ("jitter",): jitter_values,
        ("time_mask", "band_mask"): mask_frames,
    },
    "image": {
        ("jitter",): jitter_values,
        ("rotate", "zoom"): rotate_image,
        ("move",): move_image,
        ("flip",): flip_image,
        ("erase",): erase_in_image,
    },
    "events": {
        ("shift",): shift_events,
        ("speed",): stretch_events,
        ("spread",): spread_events,
        ("drop",): drop_events,
        ("rotate", "zoom"): rotate_events,
        ("move",): move_events,
        ("flip",): flip_events,
        ("time_mask",): mask_events,
    },
}

# The names of the strengths of each kind.
AUGMENTATIONS = {kind: tuple(chain(*changes)) for kind, changes in CHANGES.items()}
