"""The recordings of a run and their split into three sets, before they become series."""

from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.data import Indices, RecordingError, Recordings, Source, Split
from nwavesdk.data.assignment import SPLIT_VERSION, CannotSplitError
from nwavesdk.data.composed import ComposedSeries
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import LoadedRecordings
from nwavesdk.data.source import BACKGROUND, Events
from nwavesdk.data.split import ChosenSplit, SplitChoice, choose_split
from nwavesdk.data.split_table import read_event_times, read_split_table
from nwavesdk.data.streams import Sounds
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config.fields import MAX_SECONDS, is_table
from nwavesdk.train.data.inputs import series_options

__all__ = ["SplitRecordings", "is_on_one_axis", "open_recordings", "split_recordings"]

# The remedy for the background of a detector in fewer recordings than sets.
CUT_BACKGROUND = (
    "add background of other people and places, or cut long recordings into files, such as by "
    "`ffmpeg -i FILE -f segment -segment_time 60 PART%03d.wav`"
)


@dataclass(frozen=True, eq=False)
class SplitRecordings:
    """The recordings of a run, before they become series.

    Args:
        config: The choices of the run, with the recipe for its data.
        loaded: All recordings as frames.
        recordings: The recordings that are used, within `data.limit`.
        chosen: Their sets, and the reasons for them.
        n_unread: Number of recordings in the test set, if it was not read.
        sounds: For the task `detect`, what the streams of each set are composed of; None for a test
            set that was not read.
        chunks: For this task, the training set, before its input is known.
    """

    config: RunConfig
    loaded: LoadedRecordings
    recordings: Recordings
    chosen: ChosenSplit
    _: KW_ONLY
    n_unread: int = 0
    sounds: Split[Sounds | None] | None = None
    chunks: ComposedSeries | None = None


def open_recordings(config: RunConfig) -> tuple[Source, Faults, str]:
    """The recordings of files before they are read, with their classes and sets from a table.

    Returns:
        The recordings, the object that receives their faults, and a note on the recordings that the
        table does not name.

    Raises:
        ValueError: If the kind or the task of the files differs from the config.
    """
    path = Path(config.data.source)
    split = getattr(config.data, "split", "auto")
    table = read_split_table(Path(split)) if is_table(split) else None
    times = getattr(config.task, "times", None)
    faults = Faults(
        path,
        getattr(config.data, "on_error", "raise"),
        table=None if table is None else table.path,
    )
    source = open_source(
        path,
        faults,
        task=config.task.name,
        max_seconds=getattr(config.data, "max_seconds", MAX_SECONDS),
        has_table=(table is not None and "class" in table.columns) or times is not None,
        series=series_options(config),
    )

    for field, got, expected in (
        ("data.kind", config.data.source_kind, source.kind),
        ("task.name", config.task.name, source.task),
    ):
        if got != expected:
            raise ValueError(
                f"{field}: got {got!r}, but {printable(path)} holds {source.kind} for "
                f"{source.task}: remove the option."
            )

    tables = [] if table is None else [table]
    if times is not None:
        # Recordings in a folder background have no events.
        timed = read_event_times(Path(times))
        background = [item.key for item in source.items if BACKGROUND in Path(item.key).parts]
        rows = {key: {"class_name": BACKGROUND} for key in background} | timed.rows
        tables.append(replace(timed, rows=rows))

    notes = []
    for applied in tables:
        items, note = applied.apply(source.items)
        source = replace(source, items=items)
        notes.append(note)

    names = {item.class_name for item in source.items}
    if source.task == "classification" and len(names) < 2:
        raise ValueError(
            f"{printable(path)} has only one class ({printable(names.pop())!r}), expected at least "
            "two: add recordings of another class."
        )
    return source, faults, "; ".join(filter(None, notes))


def is_on_one_axis(source: Source) -> bool:
    """Whether recordings are events on one axis, by the first recording without a fault.

    Args:
        source: The recordings.
    """
    if source.kind != "events":
        return False
    if source.shape:
        return len(source.shape) == 1
    for item in source.items:
        with suppress(RecordingError):  # faults are reported when all recordings are read
            events: Events = source.read(item).values  # type: ignore[assignment]  # of such a source
            return len(events.shape) == 1
    return False


def split_recordings(
    config: RunConfig, recordings: Recordings, note: str = ""
) -> tuple[Recordings, ChosenSplit]:
    """The split of the recordings, with at most about `data.limit` of them.

    Args:
        config: The config of the run.
        recordings: All recordings; their names suffice.
        note: The note of `open_recordings`.

    Raises:
        ValueError: If they cannot be split as the config says.
    """
    data: Any = config.data
    if data.kind == "pattern":
        return recordings, _split_pattern(recordings)
    if isinstance(config, CompletedConfig) and config.facts.split_version != SPLIT_VERSION:
        raise ValueError(
            f"facts.split_version: the sets of the run were made by version "
            f"{config.facts.split_version} of the split, this nwavesdk has version "
            f"{SPLIT_VERSION}, which assigns other recordings: start a new run."
        )

    # In an official split, and for a chip, each set is limited; otherwise all recordings together.
    limits_whole = config.chip is None and not recordings.parts
    if data.limit is not None and limits_whole:
        try:
            recordings = recordings.limit(data.limit)
        except ValueError as error:
            raise ValueError(f"data.{error}") from None
    _check_shares(config, recordings)

    # The built-in digits name no folder and no speaker.
    by: Any = "recording" if data.kind == "features" else data.split
    choice = SplitChoice(
        by="file" if is_table(by) else by,
        val=data.val_share or SplitChoice.val,
        test=data.test_share or SplitChoice.test,
        pattern=getattr(config.data, "speaker_pattern", None),
        folds=data.folds,
        leave_one_out=data.leave_one_out,
        fold=data.fold,
        note=note,
    )

    # With a table of times, there may be no recording of the class background.
    present, labels = np.unique(recordings.labels, return_inverse=True)
    has_classes = recordings.task in ("classification", "detect")
    try:
        split = choose_split(
            recordings.keys,
            labels,
            tuple(recordings.classes[label] for label in present) if has_classes else (),
            parts=recordings.parts,
            groups=recordings.groups,
            choice=choice,
        )
    except CannotSplitError as error:
        if config.task.name != "detect" or repr(BACKGROUND) not in error.args[0]:
            raise
        raise CannotSplitError(error.args[0], CUT_BACKGROUND) from None

    if data.limit is not None and not limits_whole:
        share = data.limit / len(recordings)
        limited = split.indices.map(lambda part: _limit_per_class(part, recordings, share))
        split = replace(split, indices=limited)
    return recordings, split


def _split_pattern(recordings: Recordings) -> ChosenSplit:
    """The pattern in all three sets: the net must reproduce it, and needs no other patterns."""
    indices = np.arange(len(recordings))
    return ChosenSplit(
        indices=Split(indices, indices, indices),
        by="recording",
        groups=(),
        n_folds=0,
        tested=(),
        line="training, validation and test set are the same pattern",
    )


def _check_shares(config: RunConfig, recordings: Recordings) -> None:
    """Reject the share of a set that the data or the folds decide."""
    data: Any = config.data
    has_folds = data.folds is not None or data.leave_one_out is not None
    is_official = data.split in ("auto", "folder") or is_table(data.split)
    parts = set(recordings.parts) if is_official and not has_folds else set()
    for field, is_fixed in (
        ("val_share", "val" in parts),
        ("test_share", "test" in parts or has_folds),
    ):
        if is_fixed and getattr(data, field) is not None:
            raise ValueError(
                f"data.{field}: the data or the folds decide this set, got "
                f"{getattr(data, field)}: remove it."
            )


def _limit_per_class(members: Indices, recordings: Recordings, share: float) -> Indices:
    """A share of a set, with about equally many recordings of each class."""
    n_classes = len(np.unique(recordings.labels))
    per_class = max(1, round(share * len(members) / n_classes))
    return recordings.first_of_classes(members, per_class)
