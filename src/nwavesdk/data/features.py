"""How the content of a recording becomes the frames that a net gets, by kind of recording.

Each class here turns a `Sample` into frames `[L, F]`, or into bins of events, and brings the target
of its steps to the same length. `settings` names everything that decides the frames, apart from the
recording: frames of equal settings are the same.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nwavesdk.data.binning import bin_events, count_steps
from nwavesdk.data.decoding import Sound, fit_target, normalize_peak, resample
from nwavesdk.data.front_end import FrontEnd
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.readers.events import fit_shape
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.recordings import STEPS, Frames, Pairs, standardized, target_at
from nwavesdk.data.source import Events, Item, Sample, StepTarget
from nwavesdk.internal.checks import require_memory

__all__ = [
    "ChipFeatures",
    "EventBins",
    "EventFeatures",
    "Features",
    "ImageFeatures",
    "LogMelFeatures",
    "NoiseFeatures",
    "SeriesFeatures",
    "fit_bin",
]

# Part of the names of cache entries: raise it when the same settings give other frames.
VERSION = 1
CHIP_VERSION = 1

# Probability of a spike of frozen noise, per step and channel.
NOISE_RATE = 0.05


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


class Featured(NamedTuple):
    """A recording as a net gets it.

    Attributes:
        frames: `[L, F]`, or bins of events.
        target: The class of each frame, int64 `[L]`, or its values, float32 `[L, D]`; or None.
    """

    frames: Frames | EventBins
    target: StepTarget | None


class Features(Protocol):
    """Turns recordings of one kind into frames."""

    @property
    def settings(self) -> str:
        """Text of everything except the recording that decides its frames."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the features of a frame; empty if only a recording shows it."""

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

    @property
    def settings(self) -> str:
        return json.dumps([VERSION, "log-mel", asdict(self.log_mel), self.level])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.log_mel.bands,)

    def __call__(self, item: Item, sample: Sample) -> Featured:
        sound: Sound = sample.values  # type: ignore[assignment]  # of a source of sound
        self._require_memory(len(sound[0]) / sound[1])
        with np.errstate(over="ignore", invalid="ignore"):
            samples = resample(sound, self.log_mel.sample_rate)
            frames = self.log_mel(normalize_peak(samples) if self.level == "peak" else samples)
        if not np.isfinite(frames).all():
            raise RecordingError(item.path, "has samples that are too large to be filtered")
        if sample.target is None:
            return Featured(frames, None)
        seconds = len(sound[0]) / sound[1]
        first_middle = self.log_mel.window / 2
        middles = first_middle + self.log_mel.hop * np.arange(len(frames), dtype=np.float64)
        # The steps of a target divide the recording evenly.
        steps = middles / seconds * len(sample.target) - 0.5
        return Featured(frames, target_at(sample.target, steps.clip(0, len(sample.target) - 1)))

    def _require_memory(self, seconds: float) -> None:
        """Reject a sound whose frames the memory cannot hold."""
        log_mel = self.log_mel
        n_samples = seconds * log_mel.sample_rate
        n_frames = 1 + n_samples // log_mel.step
        # Its samples, its frames, and the complex spectra of its windows.
        n_bytes = 4 * n_samples + 4 * n_frames * log_mel.bands + 8 * n_frames * log_mel.width
        what = f"{seconds:,.1f} s of sound in {log_mel.bands:,} bands"
        remedy = "use shorter recordings, fewer bands, a lower sample_rate or a longer hop"
        require_memory("log-mel frames", what, n_bytes, remedy)


@dataclass(frozen=True, eq=False)
class ChipFeatures:
    """Sound through the filter bank of a chip: rectified channels, averaged over time steps.

    Args:
        config: The choices.
    """

    config: NWaveDataloaderConfig

    @property
    def settings(self) -> str:
        config = self.config
        # Runs that began earlier have this text in the hash of their data.
        first = [CHIP_VERSION, config.T, config.sim_time_s, config.level]
        return json.dumps([*first, asdict(config.bank)])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.config.bank.count,)

    @cached_property
    def _front_end(self) -> FrontEnd:
        return FrontEnd(self.config)

    def __call__(self, item: Item, sample: Sample) -> Featured:
        sound: Sound = sample.values  # type: ignore[assignment]  # of a source of sound
        with np.errstate(over="ignore", invalid="ignore"):
            frames = self._front_end(self._front_end.prepare(sound))
        if not np.isfinite(frames).all():
            raise RecordingError(item.path, "has samples that are too large to be filtered")
        if sample.target is None:
            return Featured(frames, None)
        recorded = self.config.steps(len(sound[0]) / sound[1])
        path = item.target or item.path
        target = sample.target.astype(np.float32)
        return Featured(frames, fit_target(path, target, recorded, self.config.T))


@dataclass(frozen=True)
class SeriesFeatures:
    """Series as they are, with the features of a step in one row.

    Args:
        add_standardized: Whether each feature follows a second time, with the mean 0 and the
            deviation 1 over the recording.
    """

    add_standardized: bool = False
    shape: tuple[int, ...] = ()

    @property
    def settings(self) -> str:
        return json.dumps([VERSION, "series", *["standardized"] * self.add_standardized])

    @property
    def copies(self) -> int:
        """How often a frame has each value of a step."""
        return 2 if self.add_standardized else 1

    def __call__(self, item: Item, sample: Sample) -> Featured:
        values: npt.NDArray[np.float32] = sample.values  # type: ignore[assignment]  # of a source of series
        _check_aligned(item, sample.target, len(values))
        frames = values.reshape(len(values), -1)
        if self.add_standardized:
            frames = np.concatenate([frames, standardized(frames)], axis=1)
        return Featured(frames, sample.target)


def _check_aligned(item: Item, target: StepTarget | None, steps: int) -> None:
    if target is not None and len(target) != steps:
        what = f"has a target of {len(target)} steps, expected {steps}, those of its values"
        raise RecordingError(item.path, what, "align them")


@dataclass(frozen=True)
class ImageFeatures:
    """An image as one frame, which is held or encoded for several time steps.

    Args:
        shape: `(H, W)` or `(H, W, colors)`: all images have the same, but with colors, some may be
            gray.
    """

    shape: tuple[int, ...]

    @property
    def settings(self) -> str:
        return json.dumps([VERSION, "image", self.shape])

    def __call__(self, item: Item, sample: Sample) -> Featured:
        image: npt.NDArray[np.float32] = sample.values  # type: ignore[assignment]  # of a source of images
        if image.ndim == 2 and len(self.shape) == 3:
            image = np.repeat(image[..., None], self.shape[2], axis=2)  # gray among colors
        if image.shape != self.shape:
            got, expected = ("×".join(map(str, shape)) for shape in (image.shape, self.shape))
            what = f"is an image of {got} values, expected {expected}"
            has_colors = image.shape[:2] == self.shape
            raise RecordingError(
                item.path, what, "convert it to gray" if has_colors else "resize or remove it"
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

    @property
    def settings(self) -> str:
        return json.dumps([VERSION, "events", self.shape, self.bin])

    def __call__(self, item: Item, sample: Sample) -> Featured:
        events: Events = sample.values  # type: ignore[assignment]  # of a source of events
        steps = count_steps(events, self.bin)
        _check_aligned(item, sample.target, steps)
        moved = fit_shape(events, self.shape)
        pairs = bin_events(moved, self.bin, steps)
        return Featured(EventBins(pairs, steps, int(np.prod(self.shape))), sample.target)


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


@dataclass(frozen=True)
class NoiseFeatures:
    """Frozen noise in place of an input: independent spikes, the same in every epoch.

    Args:
        seed: Seed of the noise.
        channels: Features of a step.
    """

    seed: int
    channels: int

    @property
    def settings(self) -> str:
        return json.dumps([VERSION, "noise", self.seed, self.channels, NOISE_RATE])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels,)

    def __call__(self, item: Item, sample: Sample) -> Featured:
        assert sample.target is not None
        entropy = sha256(f"{self.seed}:{item.key}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(entropy, "little"))
        drawn = generator.random((len(sample.target), self.channels)) < NOISE_RATE
        return Featured(drawn.astype(np.float32), sample.target)
