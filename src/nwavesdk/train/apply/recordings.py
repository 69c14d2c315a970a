"""Recordings for a trained run: files, folders and values in memory, as frames.

Recordings are read like the data of the run: with the same rate, features and sensor.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.consistency import RecordingLayout, check_layout, filled_note
from nwavesdk.data.decoding import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from nwavesdk.data.features import ChipFeatures, EventBins
from nwavesdk.data.folder import SKIP_REMEDY, Faults
from nwavesdk.data.formats import ALL_COLUMNS, READERS, open_source
from nwavesdk.data.recordings import Frames
from nwavesdk.data.source import Events, Item, Sample, Samples, checked
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.files import FileError, printable
from nwavesdk.train.apply.trained_net import TrainedNet
from nwavesdk.train.config.fields import is_table
from nwavesdk.train.data.inputs import series_options, warn_of_skipped

__all__ = ["FramedRecording", "RecordingLike", "as_mono", "read_recordings"]

# The path of a file or a folder; or a recording in memory.
RecordingLike = str | Path | npt.NDArray[Any] | tuple[npt.NDArray[Any], int] | Events


class FramedRecording(NamedTuple):
    """A recording as a net gets it.

    Attributes:
        key: Its name.
        frames: Its frames, or bins of its events.
        is_cut: Whether the front end has cut its end.
    """

    key: str
    frames: Frames | EventBins
    is_cut: bool = False


def read_recordings(
    run: TrainedNet,
    recordings: RecordingLike | Sequence[RecordingLike],
    skipped: list[tuple[str, str]] | None,
    on_error: Literal["raise", "skip"],
) -> Iterator[FramedRecording]:
    """The frames of each recording; one is in memory at a time.

    Args:
        run: The run.
        recordings: Paths and recordings in memory, one or several; none for a run that generates a
            pattern from its frozen noise.
        skipped: Receives name and fault of each skipped file; there is also a warning.
        on_error: Whether a file that cannot be used is an error, or is skipped.

    Raises:
        FileError: If a recording cannot be used.
        ValueError: If a folder cannot be used, or if there is nothing to read.
        TypeError: If a recording is neither a path nor values.
    """
    listed = _as_list(recordings)
    is_pattern = run.task.name == "pattern"
    if bool(listed) == is_pattern:
        raise ValueError(
            f"{run.name} got {len(listed)} recordings, expected files or arrays, and none for a "
            "run that generates a pattern."
        )

    if is_pattern:
        yield from _noise_of_patterns(run)

    faults = Faults(Path(), on_error)
    filled: list[int] = []
    for index, recording in enumerate(listed):
        items: Sequence[Item] = ()
        with _reporting(faults):
            items, read = _open(run, f"recording {index}", recording, faults)
        for item in items:
            with _reporting(faults):
                sample = read(item)
                yield _framed(run, item, sample)
                filled.append(sample.n_filled)

    for note in filled_note(filled):
        warnings.warn(note, stacklevel=2)
    warn_of_skipped(faults.skipped)
    if skipped is not None:
        skipped += faults.skipped


def _noise_of_patterns(run: TrainedNet) -> Iterator[FramedRecording]:
    """The frozen noise from which the net generates each pattern."""
    for key, n_frames in run.config.facts.patterns:
        target = np.zeros((n_frames, 1), np.float32)
        sample = Sample(target, target)  # the noise has the length of the target
        yield FramedRecording(key, run.features(Item(key, Path(key)), sample).frames)


@contextmanager
def _reporting(faults: Faults) -> Iterator[None]:
    """Report the fault of a file, unless it is a fault in a folder that is reported already."""
    try:
        yield
    except FileError as fault:
        if SKIP_REMEDY in fault.remedy:  # `Faults` has raised it, and has added this remedy
            raise
        faults.report(str(fault.path), fault)


def _open(
    run: TrainedNet, name: str, recording: RecordingLike, faults: Faults
) -> tuple[Sequence[Item], Callable[[Item], Sample]]:
    """A recording in memory, or the recordings of a path, and the function that reads an item."""
    if not isinstance(recording, str | Path):
        return [Item(name, Path(name))], partial(_sample_of, run, recording)

    path = Path(recording)
    if not path.exists():
        raise FileError(path, "does not exist", "check the name")

    # The table of the run's split, which may be in the folder, is not a recording.
    split = getattr(run.config.data, "split", "auto")
    path_faults = replace(
        faults,
        root=path,
        skipped=[],
        table=Path(split) if is_table(split) else None,
    )

    # New recordings need no classes and no class folders, as if a table gave their classes. Columns
    # can be chosen in files with one series, but not in files with many.
    has_columns = path.is_dir() or path.suffix.lower() in READERS["series"]
    source = open_source(
        path,
        path_faults,
        max_seconds=run.max_seconds,
        has_table=True,
        series=series_options(run.config) if has_columns else ALL_COLUMNS,
    )
    faults.skipped += [(f"{printable(path)}/{file}", fault) for file, fault in path_faults.skipped]

    if source.kind != run.kind:
        raise FileError(
            path,
            f"holds {source.kind}, expected {run.kind} like the data of the run",
            "remove it, or convert it",
        )

    if path.is_dir():
        return [replace(item, key=f"{path}/{item.key}") for item in source.items], source.read
    # If the path is one of several files of a data set, only its recordings are used.
    return [item for item in source.items if item.path == path] or source.items, source.read


def _framed(run: TrainedNet, item: Item, sample: Sample) -> FramedRecording:
    """A recording as frames, if its shape fits the recordings of the run."""
    features, values = run.features, sample.values
    if isinstance(features, ChipFeatures) and run.task.name == "detect":
        features = features.covering(values)
    featured = features(item, replace(sample, target=None))
    copies = getattr(features, "copies", 1)
    layout = RecordingLayout(
        run.config.facts.n_features // copies,
        0,
        run.config.facts.feature_names,
        "the data of the run",
    )
    check_layout(item, featured, sample.names, copies, layout)

    is_cut = (
        isinstance(features, ChipFeatures)
        and isinstance(values, tuple)
        and features.config.steps(len(values[0]) / values[1]) > features.config.T
    )
    return FramedRecording(item.key, featured.frames, is_cut)


def _sample_of(run: TrainedNet, recording: Any, item: Item) -> Sample:
    """A recording in memory."""
    if run.kind == "sound":
        samples, rate = recording if isinstance(recording, tuple) else (recording, run.sample_rate)
        rate = whole_number(
            item.key, "sample rate", rate, least=MIN_SAMPLE_RATE, most=MAX_SAMPLE_RATE
        )
        return Sample((checked(item.path, as_mono(samples)), rate))

    if run.kind == "events":
        if not isinstance(recording, Events):
            got = type(recording).__name__
            raise TypeError(f"{item.key} is {got}, expected nwavesdk.data.Events or a path.")
        return Sample(recording)

    # A table of pandas or polars has names.
    names = tuple(map(str, getattr(recording, "columns", ())))
    values = checked(item.path, np.asarray(recording))
    if values.ndim == 0:
        raise FileError(item.path, "is a single number", "pass values of the shape [T, features]")
    return Sample(values, names=names)


def _as_list(recordings: RecordingLike | Sequence[RecordingLike]) -> list[RecordingLike]:
    """Recordings as a list, also if there is only one."""
    is_sound = (
        isinstance(recordings, tuple) and len(recordings) == 2 and isinstance(recordings[1], int)
    )
    if isinstance(recordings, (str, Path, Events)) or is_sound or hasattr(recordings, "__array__"):
        return [recordings]  # type: ignore[list-item]  # one of these
    return list(recordings)  # type: ignore[arg-type]  # a sequence


def as_mono(block: Any) -> Samples:
    """Samples as float32 `[samples]`; integers are rejected, because their full scale is unknown.

    Raises:
        ValueError: If the samples are not floating numbers, or not mono.
    """
    samples = np.asarray(block)
    if samples.dtype.kind != "f" or samples.ndim != 1:
        raise ValueError(
            f"A block of sound is {samples.dtype} of shape {list(samples.shape)}, expected mono, "
            "floating samples [n] with full scale 1: divide integers by their full scale, as in "
            "block / 32768, and average channels."
        )
    return samples.astype(np.float32)
