"""What `NWaveDataGen` is told: where recordings lie, how they become series for a chip, and how they are parted."""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from nwavesdk.chip import FilterBank, Profile, load_profile
from nwavesdk.data.split import SplitBy, check_shares

__all__ = ["NWaveDataloaderConfig"]

Task = Literal["classification", "regression"]
Level = Literal["as_is", "peak"]
OnError = Literal["raise", "skip"]
CHOICES = {"task": Task, "split": SplitBy, "level": Level, "on_error": OnError}


@dataclass(frozen=True)
class NWaveDataloaderConfig:
    """Choices of a data set; the first five are NWAVE's own, all defaults are ours.

    Args:
        data_parent: The folder: `<class>/*.wav` for classification, `wavs/<stem>.wav` and `target/<stem>.pt` for
            regression.
        task: `"classification"` or `"regression"`.
        sample_rate: Rate to which sound is brought [Hz].
        recording_duration_s: Length to which a recording is cut, or padded with silence [s].
        sim_time_s: Length of a time step of the net [s].
        batch_size: Recordings a batch.
        val: Share of the recordings to select on.
        test: Share of the recordings to report.
        split: `"speaker"` keeps whoever is heard in one part out of the others, `"recording"` looks at recordings
            alone; `"auto"` goes by speaker where file names tell who speaks and there are enough of them.
        level: `"peak"` brings the loudest sample of each recording to full scale, `"as_is"` leaves loudness alone.
        chip: Whose filter bank: a name, a profile, or the path of one.
        on_error: Whether a file that cannot be used stops everything (`"raise"`) or is counted and left out (`"skip"`).
        cache: Folder of what was computed before; None: `data` in `NWAVESDK_CACHE` or `~/.cache/nwavesdk`; False: none.
        seed: Decides the order of training batches, nothing else.
        max_seconds: Length beyond which a recording counts as an error [s]; None: twice `recording_duration_s`, and a
            minute at least.
        progress: Whether a bar shows how far it is; None: where standard error is a terminal.

    Raises:
        ValueError: A choice is out of its range, or the highest band of the filters does not fit the sample rate.
        FileNotFoundError: There is no such chip profile.

    Example:
        >>> NWaveDataloaderConfig("words", sample_rate=8000, recording_duration_s=1.0, sim_time_s=1e-3).T
        1000
    """

    data_parent: str | Path
    task: Task = "classification"
    sample_rate: int = 16_000
    recording_duration_s: float = 1.0
    sim_time_s: float = 1e-3
    batch_size: int = 64
    val: float = 0.15
    test: float = 0.15
    split: SplitBy = "auto"
    level: Level = "as_is"
    chip: str | Path | Profile = "h1v1"
    on_error: OnError = "raise"
    cache: str | Path | Literal[False] | None = None
    seed: int = 0
    max_seconds: float | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name, told in _WRONG.items():
            value = getattr(self, name)
            if not _FITS[name](value):
                raise ValueError(f"NWaveDataloaderConfig: {name} must be {told}, got {value!r}.")
        check_shares(self.val, self.test)
        if self.sim_time_s * self.sample_rate < 1:
            raise ValueError(
                f"A time step of {self.sim_time_s:g} s holds no sample at {self.sample_rate} Hz: raise sim_time_s to "
                f"{1 / self.sample_rate:.3g} or more, or the sample_rate."
            )
        if self.T < 1:
            raise ValueError(
                f"A recording of {self.recording_duration_s:g} s holds no time step of {self.sim_time_s:g} s: raise "
                "recording_duration_s or lower sim_time_s."
            )
        _ = self.bank  # a profile that is missing, or bands that do not fit the rate, are told now

    @property
    def T(self) -> int:  # noqa: N802
        """Time steps of a series: the whole ones within a recording."""
        return self.steps(self.recording_duration_s)

    def steps(self, seconds: float) -> int:
        """Whole time steps within a time [s]; a step that lacks a rounding error counts."""
        return math.floor(seconds / self.sim_time_s * (1 + 1e-9))

    @property
    def edges(self) -> npt.NDArray[np.int64]:
        """The samples at which time steps begin, and where the last one ends, `[T + 1]`."""
        edges: npt.NDArray[np.float64] = np.rint(
            np.arange(self.T + 1) * (self.sim_time_s * self.sample_rate)
        )
        return edges.astype(np.int64)

    @property
    def bank(self) -> FilterBank:
        """The filters of the chip."""
        return FilterBank.of(load_profile(self.chip), self.sample_rate)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data_parent).expanduser()

    @property
    def cache_folder(self) -> Path | None:
        """Where computed channels are kept, if anywhere."""
        if self.cache is None:
            default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "nwavesdk")
            return Path(os.environ.get("NWAVESDK_CACHE") or default, "data")
        return None if self.cache is False else Path(self.cache).expanduser()

    @property
    def longest(self) -> float:
        """Length beyond which a recording is an error [s]."""
        return (
            max(60.0, 2 * self.recording_duration_s)
            if self.max_seconds is None
            else self.max_seconds
        )

    @classmethod
    def of(cls, choices: dict[str, Any]) -> "NWaveDataloaderConfig":
        """A config from choices by name.

        Raises:
            TypeError: There is no such choice, or `data_parent` is missing.
        """
        names = [field.name for field in fields(cls)]
        for name in choices:
            if name not in names:
                raise TypeError(
                    f"NWaveDataloaderConfig has no choice {name!r}, expected some of {', '.join(names)}."
                )
        if "data_parent" not in choices:
            raise TypeError("NWaveDataGen needs data_parent, the folder of the recordings.")
        return cls(**choices)


def _whole(least: int) -> Any:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least


def _positive(v: object) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < math.inf


_FITS: dict[str, Any] = {
    "data_parent": lambda v: isinstance(v, str | Path) and str(v) != "",
    **{name: lambda v, kind=kind: v in get_args(kind) for name, kind in CHOICES.items()},
    "sample_rate": _whole(1),
    "recording_duration_s": _positive,
    "sim_time_s": _positive,
    "batch_size": _whole(1),
    "val": _positive,
    "test": _positive,
    "chip": lambda v: isinstance(v, str | Path | Profile),
    "cache": lambda v: v is None or v is False or (isinstance(v, str | Path) and str(v) != ""),
    "seed": _whole(0),
    "max_seconds": lambda v: v is None or _positive(v),
    "progress": lambda v: v is None or isinstance(v, bool),
}
_WRONG = {
    "data_parent": "the path of a folder",
    **{
        name: " or ".join(f'"{choice}"' for choice in get_args(kind))
        for name, kind in CHOICES.items()
    },
    "sample_rate": "a whole number of Hz from 1",
    "recording_duration_s": "a positive number of seconds",
    "sim_time_s": "a positive number of seconds",
    "batch_size": "a whole number from 1",
    "val": "a share between 0 and 1",
    "test": "a share between 0 and 1",
    "chip": "a name, a path or a Profile",
    "cache": "a folder, None (the default folder) or False (none)",
    "seed": "a whole number from 0",
    "max_seconds": "a positive number of seconds, or None",
    "progress": "True, False or None",
}
