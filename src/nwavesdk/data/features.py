"""How the content of a recording becomes the frames that a net gets, by kind of recording.

Each class of features turns a `Sample` into frames `[L, F]`, or into bins of events, and brings the
target of its steps to the same length. Its `repr` names everything that decides the frames, apart
from the recording. `FeatureOptions` are the settings of a user; open settings are taken from the
recordings.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nwavesdk.data.binning import bin_events, count_steps
from nwavesdk.data.chip_front_end import FrontEnd, NWaveDataloaderConfig
from nwavesdk.data.decoding import fit_target, normalize_peak, resample
from nwavesdk.data.front_end import LogMel
from nwavesdk.data.readers.events import fit_shape, join_shapes
from nwavesdk.data.recordings import (
    STEPS,
    Frames,
    Pairs,
    generator_of,
    is_standardized,
    standardized,
    target_at,
)
from nwavesdk.data.source import (
    BACKGROUND,
    Item,
    RecordingError,
    RecordingKind,
    Sample,
    StepTarget,
    checked,
)
from nwavesdk.internal.checks import require_memory

__all__ = [
    "ChipFeatures",
    "EventBins",
    "EventFeatures",
    "FeatureOptions",
    "Features",
    "ImageFeatures",
    "LogMelFeatures",
    "NoiseFeatures",
    "SampleFeatures",
    "SeriesFeatures",
    "fit_bin",
]

# Part of the names of cache entries: raise it when the same features make other frames.
VERSION = 3

# Probability of a spike of frozen noise, per step and channel.
NOISE_RATE = 0.05

# Sound with a higher rate is resampled to this rate [Hz]; speech has little above half of it.
DEFAULT_MAX_SAMPLE_RATE = 16_000

# Time constant of the running mean of the power of a band [s].
LEVEL_MEMORY = 3.0


class EventBins(NamedTuple):
    """Events of a recording in bins of time.

    Attributes:
        pairs: Step and place of each event, int32 `[n, 2]`, by step and then by place.
        shape: Number of bins and number of places of the sensor: the shape `[L, F]` of the frames.
    """

    pairs: Pairs
    shape: tuple[int, int]


class Featured(NamedTuple):
    """A recording as a net gets it.

    Attributes:
        frames: `[L, F]`, or bins of events.
        target: The class of each frame, int64 `[L]`, or its values, float32 `[L, D]`; or None.
    """

    frames: Frames | EventBins
    target: StepTarget | None


class Features:
    """Turns recordings of one kind into frames; its `repr` names all settings of the frames."""

    def __call__(self, item: Item, sample: Sample) -> Featured:
        """The frames of a recording, and the target of each frame.

        Raises:
            RecordingError: If the recording cannot be used.
            ValueError: If the memory cannot hold the frames.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            frames, target = self.featured(item, sample)
        if not isinstance(frames, EventBins):
            frames = checked(item.path, frames)  # filters may overflow

        assert target is None or len(target) == frames.shape[0]
        return Featured(frames, target)

    def featured(self, item: Item, sample: Sample) -> Featured:
        """The frames and the target of a recording, before they are checked."""
        raise NotImplementedError


@dataclass(frozen=True)
class LogMelFeatures(Features):
    """Sound as log-mel frames.

    Args:
        log_mel: The frames.
        level: `"peak"` scales the loudest sample of each recording to full scale, `"as_is"` does
            not change loudness. `"running"` divides the power of each band by its running mean.
    """

    log_mel: LogMel
    level: Literal["peak", "as_is", "running"]

    def featured(self, _: Item, sample: Sample) -> Featured:
        sound: Any = sample.values
        log_mel = self.log_mel
        seconds = len(sound[0]) / sound[1]
        require_memory(
            "log-mel frames",
            f"{seconds:,.1f} s of sound in {log_mel.bands:,} bands",
            4 * seconds * (log_mel.sample_rate + log_mel.bands / log_mel.hop),
            "use shorter recordings, fewer bands, a lower sample_rate or a longer hop",
        )

        samples = resample(sound, log_mel.sample_rate)
        frames = log_mel(normalize_peak(samples) if self.level == "peak" else samples)
        if sample.target is None:
            return Featured(frames, None)

        # A frame gets the target at its middle. The steps of a target divide the recording evenly.
        middles = log_mel.window / 2 + log_mel.hop * np.arange(len(frames))
        steps = middles / seconds * len(sample.target) - 0.5
        return Featured(frames, target_at(sample.target, steps.clip(0, len(sample.target) - 1)))


@dataclass(frozen=True)
class SampleFeatures(Features):
    """Sound as its samples, `[samples, 1]`, from which streams are composed.

    Args:
        sample_rate: Rate that sound is resampled to [Hz].
    """

    sample_rate: int

    def __call__(self, item: Item, sample: Sample) -> Featured:
        """The samples of a sound, which may be longer than other recordings."""
        sound: Any = sample.values
        samples = resample(sound, self.sample_rate)
        if item.class_name != BACKGROUND and not samples.any():
            raise RecordingError(item.path, "is silent, so it holds no event")
        return Featured(samples[:, None], None)


@dataclass(frozen=True, eq=False, repr=False)
class ChipFeatures(Features):
    """Sound through the filter bank of a chip: rectified channels, averaged over time steps.

    Args:
        config: The choices.
    """

    config: NWaveDataloaderConfig

    def __repr__(self) -> str:
        config = self.config
        return f"ChipFeatures({config.T}, {config.sim_time_s}, {config.level!r}, {config.bank})"

    def covering(self, sound: Any) -> "ChipFeatures":
        """The features of a whole sound, samples and rate, padded to a multiple of a recording."""
        config = self.config
        n_recordings = max(1, -(-config.steps(len(sound[0]) / sound[1]) // config.T))
        seconds = n_recordings * config.T * config.sim_time_s
        return ChipFeatures(replace(config, recording_duration_s=seconds))

    def featured(self, item: Item, sample: Sample) -> Featured:
        sound: Any = sample.values
        config = self.config
        n_samples = config.recording_duration_s * config.sample_rate
        # Memory takes the filtered samples as float32 and, rectified, as float64.
        require_memory(
            "filter bank",
            f"{config.bank.count} channels of {n_samples:,.0f} samples",
            12.0 * config.bank.count * n_samples,
            "use shorter recordings, or a lower sample rate",
        )

        front_end = FrontEnd(config)
        frames = front_end(front_end.prepare(sound))
        if sample.target is None:
            return Featured(frames, None)

        target = fit_target(
            item.target or item.path,
            sample.target.astype(np.float32),
            config.steps(len(sound[0]) / sound[1]),
            config.T,
        )
        return Featured(frames, target)


@dataclass(frozen=True)
class SeriesFeatures(Features):
    """Series with the features of a step in one row.

    Args:
        add_standardized: Whether each feature follows a second time, with the mean 0 and the
            deviation 1 over the recording.
    """

    add_standardized: bool = False

    @property
    def copies(self) -> int:
        """How many times a frame has each value of a step."""
        return 2 if self.add_standardized else 1

    def featured(self, _: Item, sample: Sample) -> Featured:
        values: Any = sample.values
        frames = values.reshape(len(values), -1)
        if self.add_standardized:
            frames = np.concatenate([frames, standardized(frames)], axis=1)
        return Featured(frames, sample.target)


@dataclass(frozen=True)
class ImageFeatures(Features):
    """An image as one frame, which is held or encoded for several time steps.

    Args:
        shape: `(H, W)` or `(H, W, colors)`, the same for all images; among images with colors, some
            may be gray.
    """

    shape: tuple[int, ...]

    def featured(self, item: Item, sample: Sample) -> Featured:
        image: Any = sample.values
        if image.ndim == 2 and len(self.shape) == 3:
            image = np.repeat(image[..., None], self.shape[2], axis=2)  # gray among colors

        if image.shape != self.shape:
            raise RecordingError(
                item.path,
                f"is an image of the shape {image.shape}, expected {self.shape}",
                "resize or remove it, or convert its colors",
            )
        return Featured(image.reshape(1, -1), None)


@dataclass(frozen=True)
class EventFeatures(Features):
    """Events counted in bins of time.

    Args:
        shape: Size of the sensor.
        bin: Length of a bin [s].
    """

    shape: tuple[int, ...]
    bin: float

    def featured(self, item: Item, sample: Sample) -> Featured:
        events: Any = sample.values
        steps = count_steps(events, self.bin)
        pairs = bin_events(fit_shape(events, self.shape, item.path), self.bin, steps)
        return Featured(EventBins(pairs, (steps, int(np.prod(self.shape)))), sample.target)


@dataclass(frozen=True)
class NoiseFeatures(Features):
    """Frozen noise in place of an input: independent spikes, the same in every epoch.

    Args:
        seed: Seed of the noise.
        channels: Features of a step.
    """

    seed: int
    channels: int

    def featured(self, item: Item, sample: Sample) -> Featured:
        target: Any = sample.target
        drawn = generator_of(self.seed, item.key).random((len(target), self.channels))
        return Featured((drawn < NOISE_RATE).astype(np.float32), target)


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Settings of the frames of recordings, except for a chip; None: the recordings decide it.

    Args:
        sample_rate: Rate that sound is resampled to [Hz]; None: the lowest rate of the recordings,
            at most 16 kHz.
        bands: Mel bands of sound.
        window: Length of a frame of sound [s].
        hop: Distance between frames of sound [s].
        level: `"peak"` scales the loudest sample of each sound to full scale, `"as_is"` does not
            change loudness.
        bin: Length of a bin of events [s]; None: nine of ten recordings get at most about `bins`
            bins.
        shape: Size of images, or of the sensor of events; empty: the recordings decide it.
        bins: Number of bins of a typical recording, if `bin` is None.
        add_standardized: Whether a series has each feature a second time, see `SeriesFeatures`;
            None: only if not all recordings have the mean 0 and the deviation 1.
        as_samples: Whether sound stays samples, see `SampleFeatures`.
    """

    sample_rate: int | None = None
    bands: int = 32
    window: float = 25e-3
    hop: float = 10e-3
    level: Literal["peak", "as_is", "running"] = "peak"
    bin: float | None = None
    shape: tuple[int, ...] = ()
    bins: int = STEPS
    add_standardized: bool | None = False
    as_samples: bool = False

    def features(self, kind: RecordingKind, values: Iterable[Any] = ()) -> Features:
        """How recordings of a kind become frames.

        Args:
            kind: The kind of the recordings.
            values: The content of recordings, which is read only for options that are None.
        """
        match kind:
            case "sound":
                rate = self.sample_rate
                if rate is None:
                    rate = min([DEFAULT_MAX_SAMPLE_RATE, *(rate for _, rate in values)])
                if self.as_samples:
                    return SampleFeatures(rate)
                memory = LEVEL_MEMORY if self.level == "running" else None
                log_mel = LogMel(
                    rate, self.bands, window=self.window, hop=self.hop, level_memory=memory
                )
                return LogMelFeatures(log_mel, self.level)
            case "image":
                # The longest shape: if some images have colors, gray images get them, too.
                return ImageFeatures(self.shape or max((image.shape for image in values), key=len))
            case "events":
                shape, length = self.shape, self.bin
                if not shape or length is None:
                    sizes = ((events.shape, events.duration) for events in values)
                    shapes, durations = zip(*sizes, strict=True)
                    shape = join_shapes(shapes)
                    length = length or fit_bin(durations, self.bins)
                return EventFeatures(shape, length)
        if self.add_standardized is None:
            return SeriesFeatures(not all(map(is_standardized, values)))
        return SeriesFeatures(self.add_standardized)


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
