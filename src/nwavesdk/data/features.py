"""How the content of a recording becomes the frames that a net gets, by kind of recording.

Each class of features turns a `Sample` into frames `[L, F]`, or into bins of events, and brings the
target of its steps to the same length. Its `repr` names everything that decides the frames, apart
from the recording. `FeatureOptions` are the choices of a user; what they leave open is found in the
recordings.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from math import ceil
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from nwavesdk.data.binning import bin_events, count_steps
from nwavesdk.data.decoding import fit_target, normalize_peak, resample
from nwavesdk.data.folder import Faults
from nwavesdk.data.front_end import FrontEnd
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.readers.events import fit_shape, join_shapes
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.recordings import (
    STEPS,
    Frames,
    Pairs,
    is_standardized,
    standardized,
    target_at,
)
from nwavesdk.data.source import Item, Kind, Sample, Source, StepTarget
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import printable

__all__ = [
    "ChipFeatures",
    "EventBins",
    "EventFeatures",
    "FeatureOptions",
    "Features",
    "ImageFeatures",
    "LogMelFeatures",
    "NoiseFeatures",
    "SeriesFeatures",
    "fit_bin",
]

# Part of the names of cache entries: raise it when the same features give other frames.
VERSION = 2

# Probability of a spike of frozen noise, per step and channel.
NOISE_RATE = 0.05

# Rate that faster sound is resampled to [Hz]; speech has little above half of it.
DEFAULT_HIGHEST_RATE = 16_000

# About how many images are read to know whether there are colors.
IMAGES_LOOKED_AT = 100

T = TypeVar("T")


class EventBins(NamedTuple):
    """Events of a recording in bins of time.

    Attributes:
        pairs: Step and place of each event, int32 `[n, 2]`, by step and then by place.
        steps: Number of bins.
        n_places: Places of the sensor.
    """

    pairs: Pairs
    steps: int
    n_places: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the frames that they stand for, `[L, F]`."""
        return self.steps, self.n_places


class Featured(NamedTuple):
    """A recording as a net gets it.

    Attributes:
        frames: `[L, F]`, or bins of events.
        target: The class of each frame, int64 `[L]`, or its values, float32 `[L, D]`; or None.
    """

    frames: Frames | EventBins
    target: StepTarget | None


class Features(Protocol):
    """Turns recordings of one kind into frames; its `repr` names all choices that decide them."""

    def __call__(self, item: Item, sample: Sample) -> Featured:
        """The frames of a recording, and the target of each frame.

        Raises:
            RecordingError: If the recording cannot be used.
        """


@dataclass(frozen=True)
class LogMelFeatures:
    """Sound as log-mel frames.

    Args:
        log_mel: The frames.
        level: `"peak"` scales the loudest sample of each recording to full scale, `"as_is"` does
            not change loudness.
    """

    log_mel: LogMel
    level: Literal["peak", "as_is"]

    def __call__(self, item: Item, sample: Sample) -> Featured:
        sound: Any = sample.values
        seconds = len(sound[0]) / sound[1]
        log_mel = self.log_mel
        n_samples = seconds * log_mel.sample_rate
        n_frames = 1 + n_samples // log_mel.step
        # Its samples, its frames, and the complex spectra of its windows.
        n_bytes = 4 * n_samples + 4 * n_frames * log_mel.bands + 8 * n_frames * log_mel.width
        require_memory(
            "log-mel frames",
            f"{seconds:,.1f} s of sound in {log_mel.bands:,} bands",
            n_bytes,
            "use shorter recordings, fewer bands, a lower sample_rate or a longer hop",
        )

        with np.errstate(over="ignore", invalid="ignore"):
            samples = resample(sound, log_mel.sample_rate)
            frames = log_mel(normalize_peak(samples) if self.level == "peak" else samples)
        _check_filtered(item, frames)
        if sample.target is None:
            return Featured(frames, None)
        # The steps of a target divide the recording evenly.
        middles = log_mel.window / 2 + log_mel.hop * np.arange(len(frames), dtype=np.float64)
        steps = middles / seconds * len(sample.target) - 0.5
        return Featured(frames, target_at(sample.target, steps.clip(0, len(sample.target) - 1)))


def _check_filtered(item: Item, frames: Frames) -> None:
    if not np.isfinite(frames).all():
        raise RecordingError(item.path, "has samples that are too large to be filtered")


@dataclass(frozen=True, eq=False, repr=False)
class ChipFeatures:
    """Sound through the filter bank of a chip: rectified channels, averaged over time steps.

    Args:
        config: The choices.

    Raises:
        ValueError: If the memory cannot hold the filtered samples of a recording.
    """

    config: NWaveDataloaderConfig

    def __post_init__(self) -> None:
        config = self.config
        n_samples = config.recording_duration_s * config.sample_rate
        # The filtered samples of one recording as float32 and, rectified, as float64.
        config.require_memory(
            f"{config.bank.count} channels of {n_samples:,.0f} samples",
            12.0 * n_samples * config.bank.count,
        )

    def __repr__(self) -> str:
        config = self.config
        return f"ChipFeatures({config.T}, {config.sim_time_s}, {config.level!r}, {config.bank})"

    def __call__(self, item: Item, sample: Sample) -> Featured:
        sound: Any = sample.values
        front_end = FrontEnd(self.config)
        with np.errstate(over="ignore", invalid="ignore"):
            frames = front_end(front_end.prepare(sound))
        _check_filtered(item, frames)
        if sample.target is None:
            return Featured(frames, None)
        n_recorded = self.config.steps(len(sound[0]) / sound[1])
        target = sample.target.astype(np.float32)
        return Featured(
            frames, fit_target(item.target or item.path, target, n_recorded, self.config.T)
        )


@dataclass(frozen=True)
class SeriesFeatures:
    """Series with the features of a step in one row.

    Args:
        add_standardized: Whether each feature follows a second time, with the mean 0 and the
            deviation 1 over the recording.
    """

    add_standardized: bool = False

    @property
    def copies(self) -> int:
        """How often a frame has each value of a step."""
        return 2 if self.add_standardized else 1

    def __call__(self, item: Item, sample: Sample) -> Featured:
        values: Any = sample.values
        frames = values.reshape(len(values), -1)
        if self.add_standardized:
            frames = np.concatenate([frames, standardized(frames)], axis=1)
        return Featured(frames, _aligned(item, sample.target, len(frames)))


def _aligned(item: Item, target: StepTarget | None, steps: int) -> StepTarget | None:
    if target is not None and len(target) != steps:
        fault = f"has a target of {len(target)} steps, expected {steps}, as its values have"
        raise RecordingError(item.path, fault, "align them")
    return target


@dataclass(frozen=True)
class ImageFeatures:
    """An image as one frame, which is held or encoded for several time steps.

    Args:
        shape: `(H, W)` or `(H, W, colors)`: all images have the same, but with colors, some may be
            gray.
    """

    shape: tuple[int, ...]

    def __call__(self, item: Item, sample: Sample) -> Featured:
        image: Any = sample.values
        if image.ndim == 2 and len(self.shape) == 3:
            image = np.repeat(image[..., None], self.shape[2], axis=2)  # gray among colors
        if image.shape != self.shape:
            got, expected = ("×".join(map(str, shape)) for shape in (image.shape, self.shape))
            has_colors = image.shape[:2] == self.shape
            raise RecordingError(
                item.path,
                f"is an image of {got} values, expected {expected}",
                "convert it to gray" if has_colors else "resize or remove it",
            )
        return Featured(image.reshape(1, -1), None)


@dataclass(frozen=True)
class EventFeatures:
    """Events counted in bins of time.

    Args:
        shape: Size of the sensor.
        bin: Length of a bin [s].
    """

    shape: tuple[int, ...]
    bin: float

    def __call__(self, item: Item, sample: Sample) -> Featured:
        events: Any = sample.values
        steps = count_steps(events, self.bin)
        target = _aligned(item, sample.target, steps)
        pairs = bin_events(fit_shape(events, self.shape), self.bin, steps)
        return Featured(EventBins(pairs, steps, int(np.prod(self.shape))), target)


@dataclass(frozen=True)
class NoiseFeatures:
    """Frozen noise in place of an input: independent spikes, the same in every epoch.

    Args:
        seed: Seed of the noise.
        channels: Features of a step.
    """

    seed: int
    channels: int

    def __call__(self, item: Item, sample: Sample) -> Featured:
        assert sample.target is not None
        entropy = sha256(f"{self.seed}:{item.key}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(entropy, "little"))
        drawn = generator.random((len(sample.target), self.channels)) < NOISE_RATE
        return Featured(drawn.astype(np.float32), sample.target)


@dataclass(frozen=True)
class FeatureOptions:
    """How recordings become frames, if not by a chip; what is None is found in the recordings.

    Args:
        sample_rate: Rate that sound is resampled to [Hz]; None: the lowest one among the
            recordings, at most 16 kHz.
        bands: Mel bands of sound.
        window: Length of a frame of sound [s].
        hop: Distance between frames of sound [s].
        level: `"peak"` scales the loudest sample of each sound to full scale, `"as_is"` does not
            change loudness.
        bin: Length of a bin of events [s]; None: so that nine of ten recordings have at most
            about `bins` bins.
        shape: Size of images, or of the sensor of events; empty: found in the recordings.
        bins: Number of bins of a typical recording, if `bin` is None.
        add_standardized: Whether a series has each feature a second time, see `SeriesFeatures`;
            None: unless all recordings have the mean 0 and the deviation 1.
    """

    sample_rate: int | None = None
    bands: int = 32
    window: float = 25e-3
    hop: float = 10e-3
    level: Literal["peak", "as_is"] = "peak"
    bin: float | None = None
    shape: tuple[int, ...] = ()
    bins: int = STEPS
    add_standardized: bool | None = False

    def fit(self, source: Source, faults: Faults) -> "FeatureOptions":
        """The choices, with what is missing found in the recordings.

        Raises:
            ValueError: If something is missing, and there is no usable recording.
        """
        match source.kind:
            case "sound" if self.sample_rate is None:
                rates = _look_into(source, faults, lambda sound: sound[1])
                return replace(self, sample_rate=min(DEFAULT_HIGHEST_RATE, *rates))
            case "series" if self.add_standardized is None:
                are_standardized = all(_look_into(source, faults, is_standardized))
                return replace(self, add_standardized=not are_standardized)
            case "image" if not self.shape:
                # If an image has colors, gray ones get them, too. Few images show what there is.
                every = ceil(len(source.items) / IMAGES_LOOKED_AT)
                some = replace(source, items=source.items[::every])
                shapes = _look_into(some, faults, lambda image: tuple(image.shape))
                return replace(self, shape=max(shapes, key=len))
            case "events" if not self.shape or self.bin is None:
                sizes = _look_into(source, faults, lambda events: (events.shape, events.duration))
                sensors, durations = zip(*sizes, strict=True)
                fitted = self.bin or fit_bin(durations, self.bins)
                return replace(self, shape=join_shapes(sensors), bin=fitted)
        return self

    def features(self, kind: Kind) -> Features:
        """How recordings of a kind become frames; nothing may be missing."""
        choices: Any = self  # whose fields are not None
        match kind:
            case "sound":
                return LogMelFeatures(
                    LogMel(choices.sample_rate, self.bands, self.window, self.hop), self.level
                )
            case "image":
                return ImageFeatures(self.shape)
            case "events":
                return EventFeatures(self.shape, choices.bin)
        return SeriesFeatures(choices.add_standardized)


def _look_into(source: Source, faults: Faults, look: Callable[[Any], T]) -> Iterator[T]:
    """A quantity of each recording that can be read."""
    collected = faults.collect(source.items, lambda item: look(source.read(item).values))
    first = next(collected, None)
    if first is None:
        raise ValueError(f"{printable(faults.root)} has no usable recording.")
    return (value for _, value in chain([first], collected))


def fit_bin(durations: Iterable[float], bins: int = STEPS) -> float:
    """The length of bins [s] with which nine of ten recordings have at most about `bins` bins.

    Args:
        durations: Length of each recording [s].
        bins: Number of bins.

    Returns:
        The length, with two digits.

    Example:
        >>> fit_bin([0.30, 0.31])
        0.0031
    """
    typical = float(np.quantile(list(durations), 0.9, method="higher"))
    return max(1e-6, float(f"{typical / bins:.2g}"))
