"""Single random changes of a recording: of frames `[L, F]` and of lists of events.

Each function returns the changed recording and leaves the given one unchanged, which may lie in a
file that cannot be written. `Augmentation` describes the strengths.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Frames, Pairs, target_at
from nwavesdk.data.source import StepTarget

__all__ = [
    "add_noise",
    "drop_events",
    "erase_in_image",
    "flip_events",
    "flip_image",
    "jitter_values",
    "mask_events",
    "mask_frames",
    "move_events",
    "move_image",
    "resample_rows",
    "rotate_events",
    "rotate_image",
    "scale_features",
    "shift_events",
    "shift_rows",
    "spread_events",
    "stretch_events",
    "warp_bands",
]

# Masks of a recording along each axis.
MASKS = 2

# Noise in sound: range of its level [dB]; deviation of its tilt, at both ends of the spectrum
# [natural logarithm of power]; and largest deviation of its power in a frame and band from that of
# all frames, as a fraction. It is uniform, because normal numbers take four times as long.
NOISE_RANGE = 30.0
NOISE_TILT = 0.7
NOISE_FLUCTUATION = 0.75

Generator = np.random.Generator


def shift_rows(
    frames: Frames,
    target: StepTarget | None,
    most: float,
    fills_quietly: bool,
    generator: Generator,
) -> tuple[Frames, StepTarget | None]:
    """Frames and their targets, moved in time.

    Args:
        frames: `[L, F]`.
        target: `[L]` or `[L, D]`, or None.
        most: Largest shift, as a fraction of L.
        fills_quietly: Whether the quietest frame, the one with the lowest sum, follows at the open
            end, with its target. Otherwise the outermost one does.
        generator: Where the random numbers come from.
    """
    shift = _draw_shift(most * len(frames), generator)
    if not shift:
        return frames, target
    filler = 0 if shift > 0 else -1
    if fills_quietly:
        filler = int(np.add.reduce(frames, axis=1).argmin())
    moved: Frames = _shifted(frames, shift, filler)
    return moved, None if target is None else _shifted(target, shift, filler)


def _shifted(values: npt.NDArray[Any], shift: int, filler: int) -> npt.NDArray[Any]:
    """Rows that move by a number of places, which is not 0, with one of them at the open end."""
    moved = np.empty_like(values)
    if shift > 0:
        moved[shift:] = values[:-shift]
        moved[:shift] = values[filler]
    else:
        moved[:shift] = values[-shift:]
        moved[shift:] = values[filler]
    return moved


def resample_rows(
    frames: Frames, target: StepTarget | None, most: float, generator: Generator
) -> tuple[Frames, StepTarget | None]:
    """A recording played faster or slower, by linear interpolation between its frames.

    Args:
        frames: `[L, F]`.
        target: `[L]` or `[L, D]`, or None. A class is that of the nearest frame.
        most: Largest relative change of speed.
        generator: Where the random numbers come from.
    """
    places = _resampled_places(len(frames), most, generator)
    return _rows_at(frames, places), None if target is None else target_at(target, places)


def warp_bands(frames: Frames, most: float, generator: Generator) -> Frames:
    """Bands stretched from the lowest one, by linear interpolation; the highest one is repeated."""
    last = frames.shape[1] - 1
    places = np.minimum(np.arange(last + 1) * (1 + generator.uniform(-most, most)), last)
    lower = places.astype(np.int64)
    upper = np.minimum(lower + 1, last)
    weights = (places - lower).astype(np.float32)
    low = frames[:, lower]
    warped = frames[:, upper]
    warped -= low
    warped *= weights
    warped += low
    return warped


def add_noise(frames: Frames, least_ratio: float, generator: Generator) -> Frames:
    """Power of noise added to log power.

    Args:
        frames: Natural logarithm of power, `[L, bands]`.
        least_ratio: Lowest ratio of signal to noise [dB].
        generator: Where the random numbers come from.
    """
    # Relative to the loudest value, so that no power overflows.
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
    return power


@cache
def _from_minus_1_to_1(count: int) -> Frames:
    return np.linspace(-1, 1, count, dtype=np.float32)


def scale_features(frames: Frames, deviation: float, generator: Generator) -> Frames:
    """Each feature times its own factor, about its mean over the recording."""
    factors = np.exp(deviation * generator.standard_normal(frames.shape[1], np.float32))
    mean = _mean_of(frames)
    scaled: Frames = mean + (frames - mean) * factors
    return scaled


def jitter_values(frames: Frames, fraction: float, generator: Generator) -> Frames:
    """White noise on each value, in proportion to the deviation of its feature.

    Of a recording with one frame, an image, it is the deviation of all values.
    """
    deviation = frames.std(axis=0 if len(frames) > 1 else None, dtype=np.float64)
    noise = generator.standard_normal(frames.shape, np.float32)
    noise *= (fraction * deviation).astype(np.float32)
    noise += frames
    return noise


def _mean_of(frames: Frames) -> Frames:
    """The mean of each feature. Sums in float64 give that of a constant feature exactly."""
    mean: Frames = frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def mask_frames(
    frames: Frames, most_times: float, most_bands: float, generator: Generator
) -> Frames:
    """Some frames in a row, twice, and some features, twice, replaced by means over the recording.

    Args:
        frames: `[L, F]`.
        most_times: Largest fraction of the frames in a mask.
        most_bands: Largest fraction of the features in a mask.
        generator: Where the random numbers come from.
    """
    mean = _mean_of(frames)
    masked = frames.copy()
    if most_times:
        for span in _draw_masks(len(frames), most_times, generator):
            masked[span] = mean
    if most_bands:
        for span in _draw_masks(frames.shape[1], most_bands, generator):
            masked[:, span] = mean[span]
    return masked


def move_image(frames: Frames, most: float, shape: tuple[int, ...], generator: Generator) -> Frames:
    """Images moved by whole pixels; those at the edge are repeated.

    Args:
        frames: `[L, H * W]` or `[L, H * W * colors]`.
        most: Largest shift along each axis [pixels].
        shape: `(H, W)` or `(H, W, colors)`.
        generator: Where the random numbers come from.
    """
    height, width = shape[:2]
    rows = np.arange(height) - _draw_shift(most, generator)
    columns = np.arange(width) - _draw_shift(most, generator)
    images = frames.reshape(len(frames), *shape)
    images = images[:, rows.clip(0, height - 1)][:, :, columns.clip(0, width - 1)]
    return images.reshape(frames.shape)


def rotate_image(
    frames: Frames, angle: float, zoom: float, shape: tuple[int, ...], generator: Generator
) -> Frames:
    """Images turned about their center and stretched, by linear interpolation between pixels.

    Beyond an edge, the pixels at the edge are repeated.

    Args:
        frames: `[L, H * W]` or `[L, H * W * colors]`.
        angle: Largest angle [degrees].
        zoom: Largest relative change of height and of width, which are drawn separately.
        shape: `(H, W)` or `(H, W, colors)`.
        generator: Where the random numbers come from.
    """
    height, width = shape[:2]
    inverse = np.linalg.inv(_draw_matrix(angle, zoom, generator))
    y, x = np.indices((height, width)).reshape(2, -1)
    old_y, old_x = _about_center(inverse, y, x, height, width)
    upper, lower, down = _neighbors(old_y, height)
    left, right, along = _neighbors(old_x, width)
    pixels = frames.reshape(len(frames), height * width, -1)
    top = _between(pixels[:, upper * width + left], pixels[:, upper * width + right], along)
    bottom = _between(pixels[:, lower * width + left], pixels[:, lower * width + right], along)
    return _between(top, bottom, down).reshape(frames.shape)


def _neighbors(
    places: npt.NDArray[np.float64], length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Frames]:
    """The pixel before and after each place along an axis, and how far it is between them."""
    inside = places.clip(0, length - 1)
    before = inside.astype(np.int64)
    return before, np.minimum(before + 1, length - 1), (inside - before).astype(np.float32)


def _between(first: Frames, second: Frames, weights: Frames) -> Frames:
    """Values `[L, places, colors]` between two others; weights `[places]` of the second."""
    mixed: Frames = first + (second - first) * weights[:, None]
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


def flip_image(
    frames: Frames, probability: float, shape: tuple[int, ...], generator: Generator
) -> Frames:
    """A mirror image, left for right, with a probability; `shape` is that of `move_image`."""
    if generator.random() >= probability:
        return frames
    images = frames.reshape(len(frames), *shape)[:, :, ::-1]
    return images.reshape(frames.shape)


def erase_in_image(
    frames: Frames, most: float, shape: tuple[int, ...], generator: Generator
) -> Frames:
    """Images in which a rectangle has one color between their least and their greatest value.

    Args:
        frames: `[L, H * W]` or `[L, H * W * colors]`.
        most: Largest height and width of the rectangle, as fractions of those of the image.
        shape: `(H, W)` or `(H, W, colors)`.
        generator: Where the random numbers come from.
    """
    height, width, *colors = shape
    rows = _draw_part(height, most, generator)
    columns = _draw_part(width, most, generator)
    images = frames.reshape(len(frames), *shape).copy()
    images[:, rows, columns] = generator.uniform(frames.min(), frames.max(), colors)
    return images.reshape(frames.shape)


def shift_events(
    pairs: Pairs, steps: int, target: StepTarget | None, most: float, generator: Generator
) -> tuple[Pairs, StepTarget | None]:
    """Events moved in time together; those that leave the recording are lost.

    The target of the outermost step is repeated at the open end.
    """
    shift = _draw_shift(most * steps, generator)
    moved = _within(pairs[:, 0] + shift, pairs[:, 1], steps)
    if target is not None:
        target = target[(np.arange(steps) - shift).clip(0, steps - 1)]
    return moved, target


def stretch_events(
    pairs: Pairs, steps: int, target: StepTarget | None, most: float, generator: Generator
) -> tuple[Pairs, int, StepTarget | None]:
    """Events of a recording that is played faster or slower, its number of steps, and its target.

    An event in the middle of its step stays where it is in the recording.
    """
    places = _resampled_places(steps, most, generator)
    stretched = pairs.copy()
    stretched[:, 0] = (pairs[:, 0] + 0.5) * (len(places) / steps)
    return stretched, len(places), None if target is None else target_at(target, places)


def spread_events(pairs: Pairs, steps: int, deviation: float, generator: Generator) -> Pairs:
    """Each event moved in time by itself [steps]; those that leave the recording are lost."""
    shifts = np.rint(deviation * generator.standard_normal(len(pairs), np.float32))
    return _within(pairs[:, 0] + shifts.astype(np.int32), pairs[:, 1], steps)


def drop_events(pairs: Pairs, most: float, generator: Generator) -> Pairs:
    """Events of which a fraction is left out, drawn up to the largest one."""
    fraction = generator.uniform(0, most)
    return pairs[generator.random(len(pairs), np.float32) >= fraction]


def move_events(pairs: Pairs, most: float, shape: tuple[int, ...], generator: Generator) -> Pairs:
    """Events moved along the last two axes of the sensor; those that leave it are lost."""
    height, width = _plane(shape)
    plane, y, x = _planes_of(pairs, height, width)
    x = x + _draw_shift(most, generator)
    # A sensor with one axis has no y to move along.
    y = y + (_draw_shift(most, generator) if height > 1 else 0)
    return _on_plane(pairs, plane, y, x, height, width)


def rotate_events(
    pairs: Pairs, angle: float, zoom: float, shape: tuple[int, ...], generator: Generator
) -> Pairs:
    """Events turned about the center of their sensor and stretched; those that leave it are lost.

    Each event comes from anywhere within its pixel, so that no pattern of gaps appears. A sensor
    with one axis is stretched alone.

    Args:
        pairs: Step and place of each event, `[n, 2]`.
        angle: Largest angle [degrees].
        zoom: Largest relative change of height and of width, which are drawn separately.
        shape: Size of the sensor, such as `(2, 34, 34)` for polarity, y and x.
        generator: Where the random numbers come from.
    """
    height, width = _plane(shape)
    matrix = _draw_matrix(angle if height > 1 else 0.0, zoom, generator)
    plane, y, x = _planes_of(pairs, height, width)
    within_y, within_x = generator.random((2, len(pairs)), np.float32) - np.float32(0.5)
    new_y, new_x = _about_center(matrix, y + within_y, x + within_x, height, width)
    # A sensor with one axis has no y to leave.
    rows = np.rint(new_y).astype(np.int64) if height > 1 else y
    return _on_plane(pairs, plane, rows, np.rint(new_x).astype(np.int64), height, width)


def _planes_of(
    pairs: Pairs, height: int, width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """The plane of each event, such as its polarity, and its y and x."""
    plane, pixel = np.divmod(pairs[:, 1], height * width)
    y, x = np.divmod(pixel, width)
    return plane, y, x


def _on_plane(
    pairs: Pairs,
    plane: npt.NDArray[Any],
    y: npt.NDArray[Any],
    x: npt.NDArray[Any],
    height: int,
    width: int,
) -> Pairs:
    """The events at new places of their planes, without those that are beyond an edge."""
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = (plane * height + y) * width + x
    return np.stack([pairs[:, 0], place], axis=1)[is_inside].astype(np.int32)


def flip_events(
    pairs: Pairs, probability: float, shape: tuple[int, ...], generator: Generator
) -> Pairs:
    """A mirror image along the last axis of the sensor, with a probability."""
    if generator.random() >= probability:
        return pairs
    width = _plane(shape)[1]
    step, place = pairs.T
    return np.stack([step, place + (width - 1) - 2 * (place % width)], axis=1)


def mask_events(pairs: Pairs, steps: int, most: float, generator: Generator) -> Pairs:
    """Events without those of some steps in a row, twice."""
    is_masked = np.zeros(steps, bool)
    for span in _draw_masks(steps, most, generator):
        is_masked[span] = True
    return pairs[~is_masked[pairs[:, 0]]]


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a sensor; one of a single axis is one pixel high."""
    return (shape[-2], shape[-1]) if len(shape) > 1 else (1, shape[-1])


def _within(step: npt.NDArray[np.int32], place: npt.NDArray[np.int32], steps: int) -> Pairs:
    """The events that are in the recording."""
    return np.stack([step, place], axis=1)[(step >= 0) & (step < steps)]


def _draw_shift(most: float, generator: Generator) -> int:
    """A whole number from `-most` to `most`."""
    return _draw_up_to(2 * int(most), generator) - int(most)


def _draw_up_to(most: int, generator: Generator) -> int:
    """A whole number from 0 to `most`; `Generator.integers` takes ten times as long."""
    return int(generator.random() * (most + 1))


def _draw_masks(length: int, most: float, generator: Generator) -> list[slice]:
    """Two parts of a sequence, each with at most a fraction of it."""
    return [_draw_part(length, most, generator) for _ in range(MASKS)]


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
    places = np.arange(0.5, new_length)
    places *= length / new_length
    places -= 0.5
    # `np.clip` takes longer than all this.
    np.maximum(places, 0, out=places)
    np.minimum(places, length - 1, out=places)
    return places


def _rows_at(values: npt.NDArray[np.float32], places: npt.NDArray[np.float64]) -> Frames:
    """Rows at places between rows, by linear interpolation."""
    lower = places.astype(np.int64)
    upper = np.minimum(lower + 1, len(values) - 1)
    weights = (places - lower).astype(np.float32)[:, None]
    low = values[lower]
    rows = values[upper]
    rows -= low
    rows *= weights
    rows += low
    return rows
