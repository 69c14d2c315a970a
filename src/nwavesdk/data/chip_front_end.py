"""The front end of a chip: its settings, and a sound through its filter bank.

A sound may also come in blocks: all steps together then equal the steps of the whole sound, bit for
bit.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nwavesdk.chip import FilterBank, Profile, load_profile
from nwavesdk.data.decoding import normalize_peak, resample
from nwavesdk.data.recordings import Frames, Indices
from nwavesdk.data.source import Samples, Sound
from nwavesdk.data.split import SplitChoice
from nwavesdk.internal.model import check_fields, expect

__all__ = [
    "FrontEnd",
    "FrontEndStream",
    "NWaveDataloaderConfig",
    "default_cache_folder",
]

# The folder of a user's caches, unless XDG_CACHE_HOME names another folder.
USER_CACHES = "~/.cache"

NotEmpty = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class NWaveDataloaderConfig:
    """Settings of a data set; the first five have the names of NWAVE, the defaults are our own.

    Args:
        data_parent: The folder: `<class>/*.wav` for classification, `wavs/<stem>.wav` and
            `target/<stem>.pt` for regression.
        task: `"classification"` or `"regression"`.
        sample_rate: Rate that sound is resampled to [Hz].
        recording_duration_s: Length that a recording is cut to, or padded to with silence [s].
        sim_time_s: Length of a time step of the net [s].
        batch_size: Recordings in a batch.
        val: Share of the recordings in the validation set.
        test: Share of the recordings in the test set.
        split: `"folder"` (the folders train, val and test), `"speaker"`, `"recording"`, or
            `"auto"`, the first of these that is possible.
        level: `"peak"` scales the loudest sample of each recording to full scale, `"as_is"`
            nothing.
        chip: The chip with the filter bank: a name, a profile, or its path.
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is skipped
            (`"skip"`).
        cache: Folder of computed channels; None for `data` in `NWAVESDK_CACHE` or
            `~/.cache/nwavesdk`, False for no cache.
        seed: Seed of the order of training batches.
        max_seconds: Length above which a recording is an error [s].
        progress: Whether to show a progress bar; None: if standard error is a terminal.

    Raises:
        ValueError: If a choice is out of its range, or a filter does not fit the sample rate.
        FileNotFoundError: If there is no such chip profile.

    Example:
        >>> NWaveDataloaderConfig("words", recording_duration_s=1.0, sim_time_s=1e-3).T
        1000
    """

    data_parent: Annotated[NotEmpty | Path, expect("the path of a folder")]
    task: Literal["classification", "regression"] = "classification"
    sample_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 16_000
    recording_duration_s: Seconds = 1.0
    sim_time_s: Seconds = 1e-3
    batch_size: Annotated[int, Field(ge=1, le=1_000_000_000)] = 64
    val: Share = 0.15
    test: Share = 0.15
    split: Literal["auto", "folder", "speaker", "recording"] = "auto"
    level: Literal["as_is", "peak"] = "as_is"
    chip: Annotated[str | Path | Profile, expect("a name, a path or a Profile")] = "h1v1"
    on_error: Literal["raise", "skip"] = "raise"
    cache: Annotated[
        NotEmpty | Path | Literal[False] | None,
        expect("a folder, None (the default folder) or False (no cache)"),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_seconds: Seconds = 600.0
    progress: bool | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        SplitChoice(self.split, val=self.val, test=self.test)  # rejects wrong shares
        if self.sim_time_s * self.sample_rate < 1 or self.T < 1:
            raise ValueError(
                f"sim_time_s: expected at least a sample ({1 / self.sample_rate:.3g} s) and at "
                f"most a recording ({self.recording_duration_s:g} s), got {self.sim_time_s:g} s."
            )

        # A missing profile, or bands that do not fit the rate, are reported here and not later.
        _ = self.bank

    @property
    def T(self) -> int:  # noqa: N802
        """Number of time steps of a series: the whole steps within a recording."""
        return self.steps(self.recording_duration_s)

    def steps(self, seconds: float) -> int:
        """Number of whole steps within a time [s]; a step that is short by rounding counts."""
        return int(seconds / self.sim_time_s * (1 + 1e-9))

    def first_samples(self, steps: Indices) -> Indices:
        """The sample at which each of some steps begins; steps may be after the end of a series."""
        return np.asarray(np.rint(steps * (self.sim_time_s * self.sample_rate)), np.int64)

    @cached_property
    def bank(self) -> FilterBank:
        """The filters of the chip."""
        return FilterBank.of(load_profile(self.chip), self.sample_rate)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return _expanded(self.data_parent)

    @property
    def cache_folder(self) -> Path | None:
        """The folder of computed channels; None without a cache."""
        if self.cache is None:
            return default_cache_folder()
        return _expanded(self.cache) if self.cache else None


def default_cache_folder() -> Path:
    """The folder of computed frames: `data` in `NWAVESDK_CACHE` or in `~/.cache/nwavesdk`."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or USER_CACHES, "nwavesdk")
    return _expanded(os.environ.get("NWAVESDK_CACHE") or default) / "data"


def _expanded(path: str | Path) -> Path:
    """The path with the home for `~`; unchanged if there is no such home."""
    return Path(os.path.expanduser(path))


@dataclass(frozen=True)
class FrontEnd:
    """The front end of a chip: a sound through the filter bank, rectified, averaged over steps.

    Args:
        config: The choices.

    Example:
        >>> from nwavesdk.data import NWaveDataloaderConfig
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> front_end(front_end.prepare((np.zeros(5000, np.float32), 8000))).shape
        (100, 16)
    """

    config: NWaveDataloaderConfig

    def prepare(self, sound: Sound) -> Samples:
        """A sound at the config's rate and level, cut or padded with silence to whole time steps.

        Returns:
            `[samples]`.
        """
        length = int(self.config.first_samples(np.array(self.config.T)))
        samples = resample(sound, self.config.sample_rate)[:length]
        if self.config.level == "peak":
            samples = normalize_peak(samples)
        return np.pad(samples, (0, length - len(samples)))

    def __call__(self, samples: Samples) -> Frames:
        """The mean of each rectified channel over each time step.

        Args:
            samples: From `prepare`.

        Returns:
            `[T, channels]`, never negative.
        """
        return FrontEndStream(self.config).push(samples)

    def end_of(self, frame: int) -> float:
        """Time at which the last sample of a time step has arrived [s]; the first step is 0."""
        return int(self.config.first_samples(np.array(frame + 1))) / self.config.sample_rate

    def stream(self) -> "FrontEndStream":
        """The front end for a sound that comes in blocks, from filters at rest.

        Raises:
            ValueError: If the config's level is `"peak"`.
        """
        if self.config.level == "peak":
            raise ValueError(
                "FrontEnd: level='peak' scales a sound by its loudest sample, which is known only "
                "at its end, got 'peak', expected 'as_is' for sound in blocks: use level='as_is'."
            )
        return FrontEndStream(self.config)


class FrontEndStream:
    """The steps of a sound that comes in blocks, equal to the steps of the whole sound.

    The sound has the config's rate, and may be longer than the config's duration.

    Args:
        config: The choices.

    Example:
        >>> from nwavesdk.data import NWaveDataloaderConfig
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> stream = front_end.stream()
        >>> [len(stream.push(np.zeros(n, np.float32))) for n in (79, 1, 0, 200)]
        [0, 1, 0, 2]
    """

    def __init__(self, config: NWaveDataloaderConfig) -> None:
        self._config = config
        self._filters = config.bank.stream()
        # Rectified samples that are not averaged yet, and the step that they begin.
        self._waiting = np.zeros((config.bank.count, 0))
        self._step = 0

    def push(self, block: npt.ArrayLike) -> Frames:
        """The steps that the next block completes.

        Args:
            block: `[samples]`, of any length.

        Returns:
            `[steps, channels]`, never negative.

        Raises:
            ValueError: If the block is not mono.
        """
        rectified = np.abs(self._filters.push(block).astype(np.float64))
        if self._waiting.shape[1]:
            rectified = np.concatenate([self._waiting, rectified], axis=1)

        # The beginnings of complete steps and the end of the last step, in the waiting samples.
        # A step has at least one sample.
        begins = self._config.first_samples(self._step + np.arange(rectified.shape[1] + 2))
        edges = begins[begins - begins[0] <= rectified.shape[1]] - begins[0]

        # Each step is summed in one call, in the same order as in the whole sound.
        sums = np.add.reduceat(rectified[:, : edges[-1]], edges[:-1], axis=1)
        self._waiting = rectified[:, edges[-1] :].copy()
        self._step += len(edges) - 1
        return np.asarray((sums / np.diff(edges)).T, np.float32)
