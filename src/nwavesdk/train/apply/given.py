"""Recordings that a trained run is given: files, folders and values in memory, as frames.

Each one is read as the data of the run were: same rate, same features, same sensor.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.consistency import (
    Layout,
    check_layout,
    filled_note,
    numbered_columns_note,
)
from nwavesdk.data.decoding import HIGHEST_RATE, LOWEST_RATE, Samples
from nwavesdk.data.features import (
    ChipFeatures,
    EventBins,
    EventFeatures,
    Features,
    ImageFeatures,
    SeriesFeatures,
)
from nwavesdk.data.folder import SKIP_REMEDY, Faults
from nwavesdk.data.formats import ALL_COLUMNS, READERS, open_source
from nwavesdk.data.readers.series import SeriesOptions
from nwavesdk.data.reading import RecordingError, checked
from nwavesdk.data.recordings import Frames
from nwavesdk.data.source import Events, Item, Kind, Sample, Source
from nwavesdk.internal.checks import shown, whole_number
from nwavesdk.internal.files import FileError, printable

__all__ = ["Given", "GivenReader", "GivenRecording", "as_list", "as_mono"]

# The path of a file or a folder; or a recording in memory.
GivenRecording = str | Path | npt.NDArray[Any] | tuple[npt.NDArray[Any], int] | Events


class Given(NamedTuple):
    """A recording as a net gets it.

    Attributes:
        key: Its name.
        frames: Its frames, or bins of its events.
        is_cut: Whether the front end has left out its end.
        n_filled: Missing values that were interpolated.
    """

    key: str
    frames: Frames | EventBins
    is_cut: bool = False
    n_filled: int = 0


@dataclass(frozen=True, eq=False)
class GivenReader:
    """Reads recordings for a trained run.

    Args:
        kind: What the recordings of the run are.
        features: How they become frames.
        n_features: Features of a frame.
        sample_rate: Rate of sound in memory without its own rate [Hz]; None without sound.
        max_seconds: Length above which a sound is an error [s].
        feature_names: Names of the features of a series in the data of the run; empty if unknown.
        split_table: The table of sets of the run, which may be among the recordings.
        series: What the run reads of the files of a series.
    """

    kind: Kind
    features: Features
    n_features: int
    sample_rate: int | None
    max_seconds: float
    feature_names: tuple[str, ...] = ()
    split_table: Path | None = None
    series: SeriesOptions = ALL_COLUMNS

    def read(
        self,
        given: Sequence[GivenRecording],
        skipped: list[tuple[str, str]],
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Iterator[Given]:
        """The frames of each recording; one is in memory at a time.

        Args:
            given: Paths and recordings in memory.
            skipped: Receives name and fault of each file that is left out.
            on_error: Whether a file that cannot be used is an error, or is left out.

        Raises:
            FileError: If a recording cannot be used.
            ValueError: If a folder cannot be used.
            TypeError: If a recording is neither a path nor values.
        """
        filled: list[int] = []
        for index, recording in enumerate(given):
            try:
                if isinstance(recording, (str, Path)):
                    reads = self._open(Path(recording), skipped, on_error)
                else:
                    reads = iter([self._in_memory(f"recording {index}", recording)])
            except FileError as fault:
                _report(fault, skipped, on_error)
                continue
            for read in reads:
                try:
                    one = read()
                except FileError as fault:
                    _report(fault, skipped, on_error)
                    continue
                filled.append(one.n_filled)
                yield one
        for note in filled_note(filled):
            warnings.warn(note, stacklevel=2)

    def _open(
        self, path: Path, skipped: list[tuple[str, str]], on_error: Literal["raise", "skip"]
    ) -> Iterator[Callable[[], Given]]:
        """The recordings of a path, which are read when they are called."""
        if not path.exists():
            raise FileError(path, "does not exist", "check the name")
        has_table = self.split_table is not None and self.split_table.is_file()
        faults = Faults(path, on_error, table=self.split_table if has_table else None)
        # Files with many series have no columns to choose.
        has_columns = path.is_dir() or path.suffix.lower() in READERS["series"]
        series = self.series if has_columns else ALL_COLUMNS
        source = open_source(
            path, faults, max_seconds=self.max_seconds, has_table=True, series=series
        )
        skipped += [(f"{printable(path)}/{file}", fault) for file, fault in faults.skipped]
        if source.kind != self.kind:
            what = f"holds {source.kind}, expected {self.kind} like the data of the run"
            raise FileError(path, what, "leave it out, or convert it")
        items = source.items
        if path.is_file():  # perhaps one of the two files of a format
            items = tuple(item for item in items if item.path == path) or items
        prefix = f"{path.as_posix()}/" if path.is_dir() else ""
        return (partial(self._read, prefix + item.key, source, item) for item in items)

    def _read(self, key: str, source: Source, item: Item) -> Given:
        sample = source.read(item)
        values = sample.values
        if isinstance(values, np.ndarray):
            for note in numbered_columns_note([item.path.name], [values], values.shape[1]):
                warnings.warn(note, stacklevel=2)
        return self._given(key, item, replace(sample, target=None))

    def _in_memory(self, key: str, recording: object) -> Callable[[], Given]:
        item = Item(key, Path(key))
        # A table of pandas or polars has names.
        columns = getattr(recording, "columns", ()) if self.kind == "series" else ()
        sample = Sample(self._checked(item, recording), names=tuple(map(str, columns)))
        return partial(self._given, key, item, sample)

    def _given(self, key: str, item: Item, sample: Sample) -> Given:
        """A recording as frames, if its shape is that of the recordings of the run."""
        values = sample.values
        if isinstance(self.features, ImageFeatures):
            got = np.shape(values)  # type: ignore[arg-type]  # an image
            expected = self.features.shape
            # A net for colors takes gray images, too.
            _check_shape(item, "an image", got, expected[:2] if len(got) == 2 else expected)
        if isinstance(self.features, EventFeatures) and isinstance(values, Events):
            is_inside = len(values.shape) == len(self.features.shape) and all(
                map(int.__le__, values.shape, self.features.shape)
            )
            if not is_inside:
                _check_shape(item, "from a sensor", values.shape, self.features.shape)
        featured = self.features(item, sample)
        copies = self.features.copies if isinstance(self.features, SeriesFeatures) else 1
        layout = Layout(self.n_features // copies, 0, self.feature_names, "the data of the run")
        check_layout(item, featured, sample.names, copies, layout)
        return Given(key, featured.frames, self._is_cut(sample), sample.n_filled)

    def _is_cut(self, sample: Sample) -> bool:
        """Whether the front end leaves out the end of a recording, as that of a chip does."""
        if not isinstance(self.features, ChipFeatures) or not isinstance(sample.values, tuple):
            return False
        samples, rate = sample.values
        config = self.features.config
        return config.steps(len(samples) / rate) > config.T

    def _checked(self, item: Item, recording: object) -> Any:
        """A recording in memory as the values of a `Sample`."""
        if self.kind == "events":
            if isinstance(recording, Events):
                return recording
            raise TypeError(
                f"{item.key} is {_name_of(recording)}, expected Events or a path: make them with "
                "nwavesdk.data.Events(times, places, shape, duration)."
            )
        if self.kind == "sound":
            return self._checked_sound(item, recording)
        if not hasattr(recording, "__array__"):
            raise TypeError(f"{item.key} is {_name_of(recording)}, expected an array or a path.")
        values = checked(item.path, np.asarray(recording))
        if values.ndim < 2:
            expected = "[T, features]" if self.kind == "series" else "[H, W]"
            what = f"has the shape {list(values.shape)}, expected {expected}"
            raise RecordingError(item.path, what, "pass values of this shape")
        return values

    def _checked_sound(self, item: Item, recording: object) -> tuple[Samples, int]:
        rate = self.sample_rate
        if isinstance(recording, tuple) and len(recording) == 2:
            recording, rate = recording
            limits = {"least": LOWEST_RATE, "most": HIGHEST_RATE}
            rate = whole_number(item.key, "sample rate", rate, **limits)
        if not hasattr(recording, "__array__"):
            raise TypeError(
                f"{item.key} is {_name_of(recording)}, expected samples [n], (samples, rate) or a "
                "path."
            )
        assert rate is not None
        return checked(item.path, as_mono(recording)), rate


def as_list(given: GivenRecording | Sequence[GivenRecording]) -> list[GivenRecording]:
    """Recordings as a list, also if there is only one."""
    is_sound = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], int)
    if isinstance(given, (str, Path, Events)) or is_sound or hasattr(given, "__array__"):
        return [given]  # type: ignore[list-item]  # one of these
    return list(given)  # type: ignore[arg-type]  # a sequence


def as_mono(block: Any) -> Samples:
    """Samples as float32 `[samples]`; integers are rejected: their full scale is not known.

    Raises:
        TypeError: If the samples are not floating numbers.
        ValueError: If they are not mono.
    """
    samples = np.asarray(block)
    if samples.dtype.kind != "f":
        raise TypeError(
            f"A block of sound has floating samples with full scale 1, got {samples.dtype}: divide "
            "by the full scale, as in block / 32768."
        )
    if samples.ndim != 1:
        raise ValueError(
            f"A block of sound is mono [samples], got an array of shape {list(samples.shape)}: "
            "average its channels, or take one."
        )
    return samples.astype(np.float32)


def _report(
    fault: FileError, skipped: list[tuple[str, str]], on_error: Literal["raise", "skip"]
) -> None:
    if on_error == "raise":
        if SKIP_REMEDY in str(fault):  # of a folder
            raise fault
        raise type(fault)(fault.path, fault.what, f"{fault.remedy}; {SKIP_REMEDY}") from None
    skipped.append((printable(fault.path), fault.what))


def _check_shape(item: Item, what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        sizes = ["×".join(map(str, shape)) for shape in (got, expected)]
        fault = f"is {what} of {sizes[0]} values, expected {sizes[1]} as in training"
        raise FileError(item.path, fault, "pass a recording like those of the run")


def _name_of(value: object) -> str:
    return (
        f"{type(value).__name__} {shown(value)}"
        if isinstance(value, (int, float))
        else (type(value).__name__)
    )
