"""Choices of `NWaveDataGen`: where recordings are, how they become series, how they are split."""

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nwavesdk.chip import FilterBank, Profile, load_profile
from nwavesdk.data.split import SplitChoice
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import printable
from nwavesdk.internal.model import check_fields, expect

__all__ = ["NWaveDataloaderConfig", "default_cache_folder"]

# Where a user has caches, unless XDG_CACHE_HOME names another folder.
USER_CACHES = "~/.cache"

NotEmpty = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class NWaveDataloaderConfig:
    """Choices of a data set; the first five are NWAVE's own, and all defaults are ours.

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
        split: `"folder"` takes the folders train, val and test unchanged, `"speaker"` keeps all
            recordings of a speaker in one set, `"recording"` splits single recordings, and
            `"auto"` takes the first of these that can be had.
        level: `"peak"` scales the loudest sample of each recording to full scale, `"as_is"` does
            not change loudness.
        chip: The chip whose filter bank is used: a name, a profile, or the path of a profile.
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is counted and left
            out (`"skip"`).
        cache: Folder of computed channels; None: `data` in `NWAVESDK_CACHE` or
            `~/.cache/nwavesdk`; False: no cache.
        seed: Seed of the order of training batches.
        max_seconds: Length above which a recording is an error [s].
        progress: Whether to show a progress bar; None: if standard error is a terminal.

    Raises:
        ValueError: If a choice is out of its range, or the highest band of the filters does not fit
            the sample rate.
        FileNotFoundError: If there is no such chip profile.

    Example:
        >>> NWaveDataloaderConfig("words", recording_duration_s=1.0, sim_time_s=1e-3).T
        1000
    """

    data_parent: Annotated[NotEmpty | Path, expect("the path of a folder")]
    task: Literal["classification", "regression"] = "classification"
    sample_rate: Annotated[int, Field(ge=1, le=10**6)] = 16_000
    recording_duration_s: Seconds = 1.0
    sim_time_s: Seconds = 1e-3
    batch_size: Annotated[int, Field(ge=1, le=10**9)] = 64
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
        SplitChoice(self.split, self.val, self.test)  # checks them
        if self.sim_time_s * self.sample_rate < 1:
            raise ValueError(
                f"A time step of {self.sim_time_s:g} s holds no sample at {self.sample_rate} Hz: "
                f"raise sim_time_s to {1 / self.sample_rate:.3g} or more, or the sample_rate."
            )
        if self.T < 1:
            raise ValueError(
                f"A recording of {self.recording_duration_s:g} s holds no time step of "
                f"{self.sim_time_s:g} s: raise recording_duration_s or lower sim_time_s."
            )
        # Reports now if a profile is missing, or if bands do not fit the rate.
        _ = self.bank

    @property
    def T(self) -> int:  # noqa: N802
        """Number of time steps of a series: the whole ones within a recording."""
        return self.steps(self.recording_duration_s)

    def steps(self, seconds: float) -> int:
        """Number of whole time steps within a time [s]; a step short by a rounding error counts."""
        return math.floor(seconds / self.sim_time_s * (1 + 1e-9))

    @cached_property
    def edges(self) -> npt.NDArray[np.int64]:
        """The samples at which time steps begin, and where the last one ends, `[T + 1]`."""
        return self.first_samples(np.arange(self.T + 1))

    def first_samples(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The sample at which each of some time steps begins, also beyond the T of a series."""
        samples_per_step = self.sim_time_s * self.sample_rate
        first: npt.NDArray[np.float64] = np.rint(steps * samples_per_step)
        return first.astype(np.int64)

    @cached_property
    def bank(self) -> FilterBank:
        """The filters of the chip."""
        return FilterBank.of(load_profile(self.chip), self.sample_rate)

    def require_memory(self, content: str, n_bytes: float) -> None:
        """Reject arrays that the memory cannot hold.

        Args:
            content: What they are.
            n_bytes: Their size [bytes].

        Raises:
            ValueError: If it cannot.
        """
        remedy = "use fewer or shorter recordings, longer time steps, or a lower sample rate"
        require_memory(printable(self.folder), content, n_bytes, remedy)

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
