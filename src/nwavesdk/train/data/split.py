"""The recordings of a run and their split into three sets, before they become series."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nwavesdk.chip import Profile
from nwavesdk.data import Indices, RecordingError, Recordings, Source, Split, load_digits
from nwavesdk.data.assignment import SPLIT_VERSION
from nwavesdk.data.features import SeriesFeatures
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import Loaded, list_recordings, load_recordings
from nwavesdk.data.nwave_data import default_cache_folder
from nwavesdk.data.recordings import hash_order
from nwavesdk.data.source import Events, Task
from nwavesdk.data.split import ChosenSplit, SplitChoice, choose_split
from nwavesdk.data.split_table import read_split_table
from nwavesdk.internal.files import printable
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.recipes import DataKind, complete_config
from nwavesdk.train.config.sections import is_table
from nwavesdk.train.config.used_fields import (
    check_digits,
    check_left_out,
    check_shares_used,
    check_used,
)
from nwavesdk.train.data.inputs import augmentation_of_run, features_of, series_options

__all__ = ["SplitRecordings", "load_and_split"]


@dataclass(frozen=True, eq=False)
class SplitRecordings:
    """The recordings of a run, before they become series.

    Args:
        config: The config, with the recipe for this kind of recordings.
        net_reason: Why it has its net.
        loaded: All recordings as frames.
        kind: What a recording is.
        recordings: Those that are used.
        split: Their sets.
        n_unread: Recordings of the test set, if it was not read.
    """

    config: RunConfig
    net_reason: str
    loaded: Loaded
    kind: DataKind
    recordings: Recordings
    split: ChosenSplit
    n_unread: int = 0


def load_and_split(config: RunConfig, profile: Profile | None, reads_test: bool) -> SplitRecordings:
    """The recordings of a run, and its config with the recipe for this kind of recordings.

    Args:
        config: The config of the run.
        profile: The chip of the run, if it has one.
        reads_test: Whether to read the test set of a run with `--no-test`.
    """
    if config.data.source == "digits":
        check_digits(config)
        config, reason = _with_recipe(config, "features", "classification")
        loaded = Loaded(load_digits(), SeriesFeatures(), is_cached=False)
        recordings, split = _split(config, loaded.recordings, "")
        return SplitRecordings(config, reason, loaded, "features", recordings, split)
    source, faults, note = _open(config)
    config, reason = _with_recipe(config, source.kind, source.task, _has_one_axis(source))
    features = features_of(config, source.kind, source.task, profile)
    cache = default_cache_folder()
    if config.data.test or source.task == "pattern":
        loaded = load_recordings(source, faults, features, cache=cache)
        recordings, split = _split(config, loaded.recordings, note)
        return SplitRecordings(config, reason, loaded, source.kind, recordings, split)
    # The sets are made of names alone, so that the test set can stay unread.
    listed, split = _split(config, list_recordings(source), note)
    keys = split.indices.map(lambda part: [listed.keys[index] for index in part])
    read = {*keys.train, *keys.val, *(keys.test if reads_test else ())}
    source = replace(source, items=tuple(item for item in source.items if item.key in read))
    # The fingerprint of such a run covers the recordings that it learns from and selects on.
    loaded = load_recordings(source, faults, features, cache=cache, uncounted=set(keys.test))
    recordings = loaded.recordings
    indices = _indices_of(keys, recordings)
    for name, chosen in indices.as_dict().items():
        if not len(chosen) and (name != "test" or reads_test):
            raise ValueError(f"The {name} set of {printable(faults.root)} has no usable recording.")
    split = replace(split, indices=indices)
    return SplitRecordings(
        config, reason, loaded, source.kind, recordings, split, n_unread=len(keys.test)
    )


def _indices_of(keys: Split[list[str]], recordings: Recordings) -> Split[Indices]:
    """The indices of the recordings of each set that were read and are usable."""
    index_of = {key: index for index, key in enumerate(recordings.keys)}
    return keys.map(
        lambda part: np.array([index_of[key] for key in part if key in index_of], np.int64)
    )


def _has_one_axis(source: Source) -> bool:
    """Whether recordings are events whose places have one axis; the first good one shows it."""
    if source.kind != "events":
        return False
    if source.shape:
        return len(source.shape) == 1
    for item in source.items:
        with suppress(RecordingError):  # faults are reported when all recordings are read
            events: Events = source.read(item).values  # type: ignore[assignment]  # of such a source
            return len(events.shape) == 1
    return False


def _with_recipe(
    config: RunConfig, kind: DataKind, task: Task, has_one_axis: bool = False
) -> tuple[RunConfig, str]:
    """The config with the defaults for its data, and why it has its net.

    A run that has begun keeps its own.
    """
    if config.facts is not None:
        return config, config.facts.net_reason
    config, reason = complete_config(config, kind, task, has_one_axis=has_one_axis)
    # Before recordings are read: an unknown change is an error.
    augmentation_of_run(config, kind, task)
    return config, reason


def _open(config: RunConfig) -> tuple[Source, Faults, str]:
    """The recordings before they are read, and a note on those that a table leaves out."""
    data = config.data
    if config.chip is not None and data.sample_rate is None:
        raise ValueError(
            "data.sample_rate: a run for a chip needs the sample rate of the sound [Hz], got None."
        )
    path = Path(data.source)
    table = read_split_table(Path(data.split)) if is_table(data.split) else None
    faults = Faults(path, data.on_error, table=None if table is None else table.path)
    source = open_source(
        path,
        faults,
        task=None if data.task == "auto" else data.task,
        max_seconds=data.max_seconds,
        has_table=table is not None and "class" in table.columns,
        series=series_options(config),
    )
    note = ""
    if table is not None:
        items, note = table.apply(source.items)
        source = replace(source, items=tuple(items))
    if data.task not in ("auto", source.task):
        raise ValueError(
            f"data.task: got {data.task!r}, but {printable(path)} holds data for {source.task}: "
            "leave the option out."
        )
    check_used(config, source)
    names = {item.class_name for item in source.items}
    if source.task == "classification" and len(names) < 2:
        raise ValueError(
            f"{printable(path)} has only one class ({printable(names.pop())!r}), expected at least "
            "two: add recordings of another class."
        )
    return source, faults, note


def _split(config: RunConfig, recordings: Recordings, note: str) -> tuple[Recordings, ChosenSplit]:
    """The split of the recordings, with as many of them as `data.limit` wants."""
    if recordings.task == "pattern":
        return recordings, _split_pattern(config, recordings)
    if config.facts is not None and config.facts.split_version != SPLIT_VERSION:
        raise ValueError(
            f"facts.split_version: the sets of the run were made by version "
            f"{config.facts.split_version} of the split, this nwavesdk has version "
            f"{SPLIT_VERSION}, which assigns other recordings: start a new run."
        )
    data = config.data
    limit = data.limit
    # Of an official split, and for a chip, each set is limited; otherwise, the whole.
    limits_whole = limit is not None and config.chip is None and not recordings.parts
    if limit is not None and limits_whole:
        try:
            recordings = recordings.limit(limit)
        except ValueError as error:
            raise ValueError(f"data.{error}") from None
    check_shares_used(config, recordings.parts)
    has_classes = recordings.task == "classification"
    split = choose_split(
        recordings.keys,
        recordings.labels,
        recordings.classes if has_classes else (),
        recordings.parts,
        recordings.groups,
        SplitChoice(
            by="file" if is_table(data.split) else data.split,  # type: ignore[arg-type]  # validated
            val=data.val_share or SplitChoice.val,
            test=data.test_share or SplitChoice.test,
            pattern=data.speaker_pattern,
            folds=data.folds,
            leave_one_out=data.leave_one_out,
            fold=data.fold,
            note=note,
        ),
    )
    if limit is not None and not limits_whole:
        n_all = len(recordings)
        chosen = split.indices.map(lambda part: _limit_per_class(part, recordings, limit, n_all))
        split = replace(split, indices=chosen)
    return recordings, split


def _split_pattern(config: RunConfig, recordings: Recordings) -> ChosenSplit:
    """A pattern is all three sets: the net is asked to reproduce it, not to do others."""
    if config.facts is None:
        reason = "the sets of a pattern are the pattern itself"
        fields = ("split", "val_share", "test_share", "folds", "leave_one_out", "limit")
        check_left_out(config, "data", fields, reason)
    each = np.arange(len(recordings))
    return ChosenSplit(
        Split(each, each, each),
        by="recording",
        groups=(),
        n_folds=0,
        tested=(),
        line="training, validation and test set are the same pattern",
    )


def _limit_per_class(members: Indices, recordings: Recordings, limit: int, n_all: int) -> Indices:
    """Recordings of a set, about equally many per class, so that all sets have about `limit`."""
    labels = recordings.labels
    classes = np.unique(labels)
    per_class = max(1, round(limit * len(members) / n_all / len(classes)))
    chosen = [
        hash_order(recordings.keys, members[labels[members] == label])[:per_class]
        for label in classes
    ]
    return np.sort(np.concatenate(chosen))
