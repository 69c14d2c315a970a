"""The recordings of a run and their split into three sets, before they become series."""

from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.chip import Profile, load_profile
from nwavesdk.data import Indices, RecordingError, Recordings, Source, Split, load_digits
from nwavesdk.data.assignment import SPLIT_VERSION, CannotSplitError
from nwavesdk.data.composed import ComposedSeries
from nwavesdk.data.features import FeatureOptions, SeriesFeatures
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import LoadedRecordings, list_recordings, load_recordings
from nwavesdk.data.nwave_data import default_cache_folder
from nwavesdk.data.source import BACKGROUND, Events
from nwavesdk.data.split import ChosenSplit, SplitChoice, choose_split
from nwavesdk.data.split_table import read_event_times, read_split_table
from nwavesdk.data.streams import Sounds
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config.fields import MAX_SECONDS, is_table
from nwavesdk.train.config.recipes import apply_recipe
from nwavesdk.train.data.inputs import augmentation_of_run, features_of, series_options

__all__ = ["SplitRecordings", "load_and_split", "open_recordings", "profile_of"]

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


def load_and_split(config: RunConfig, *, reads_test: bool | None = None) -> SplitRecordings:
    """Read the recordings of a run and split them into three sets.

    Args:
        config: The config of a run, or the choices for a new one, which get their recipe.
        reads_test: Whether to read the recordings of the test set. [`data.test`]

    Raises:
        ValueError: If the source cannot be used, or does not match the config.
    """
    if config.data.kind == "features":
        loaded = LoadedRecordings(load_digits(), SeriesFeatures(), is_cached=False)
        config = _with_recipe(config)
        return SplitRecordings(config, loaded, *_split(config, loaded.recordings, ""))

    source, faults, note = open_recordings(config)
    config = _with_recipe(config, has_one_axis=_has_one_axis(source))
    features = features_of(config, profile_of(config))
    if config.task.name == "detect" and source.kind == "sound":
        features = FeatureOptions(
            sample_rate=getattr(config.data, "sample_rate", None), as_samples=True
        )
    cache = default_cache_folder()

    # A pattern is in all three sets.
    if config.data.test or config.data.kind == "pattern":
        loaded = load_recordings(source, faults, features, cache=cache)
        return SplitRecordings(config, loaded, *_split(config, loaded.recordings, note))

    # The split needs only names, so that the test set can stay unread.
    listed, chosen = _split(config, list_recordings(source), note)
    keys = chosen.indices.map(lambda part: [listed.keys[index] for index in part])
    keys_to_read = {*keys.train, *keys.val, *(keys.test if reads_test else ())}
    source = replace(source, items=tuple(item for item in source.items if item.key in keys_to_read))

    # The fingerprint of such a run does not cover the test set, so it is the same when the test set
    # is read later.
    loaded = load_recordings(source, faults, features, cache=cache, uncounted=set(keys.test))

    # The sets as indices of the recordings that were read. Skipped recordings are missing.
    index_of = {key: index for index, key in enumerate(loaded.recordings.keys)}
    indices = keys.map(
        lambda part: np.array([index_of[key] for key in part if key in index_of], np.int64)
    )
    for name, members in indices.as_dict().items():
        if not len(members) and (name != "test" or reads_test):
            raise ValueError(f"The {name} set of {printable(faults.root)} has no usable recording.")
    return SplitRecordings(
        config,
        loaded,
        loaded.recordings,
        replace(chosen, indices=indices),
        n_unread=len(keys.test),
    )


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


def profile_of(config: RunConfig) -> Profile | None:
    """The chip of a run, as it was when the run began; None without a chip."""
    if isinstance(config, CompletedConfig):
        return config.facts.chip
    return None if config.chip is None else load_profile(config.chip.profile)


def _with_recipe(config: RunConfig, *, has_one_axis: bool = False) -> RunConfig:
    """The choices with the defaults for their data; a run that has begun has them already."""
    if not isinstance(config, CompletedConfig):
        config = apply_recipe(config, has_one_axis=has_one_axis)
    augmentation_of_run(config)  # an unknown change is an error before recordings are read
    return config


def _has_one_axis(source: Source) -> bool:
    """Whether recordings are events on one axis, by the first recording without a fault."""
    if source.kind != "events":
        return False
    if source.shape:
        return len(source.shape) == 1
    for item in source.items:
        with suppress(RecordingError):  # faults are reported when all recordings are read
            events: Events = source.read(item).values  # type: ignore[assignment]  # of such a source
            return len(events.shape) == 1
    return False


def _split(config: RunConfig, recordings: Recordings, note: str) -> tuple[Recordings, ChosenSplit]:
    """The split of the recordings, with at most about `data.limit` of them."""
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

    choice = SplitChoice(
        by="file" if is_table(data.split) else data.split,
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
