"""The data of a run: its recordings as sequences in three sets, and their batches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.chip import Profile, load_profile
from nwavesdk.data import (
    Frames,
    Indices,
    Recordings,
    Series,
    Source,
    Split,
    Standard,
    fit_hold,
    fit_length,
    load_digits,
)
from nwavesdk.data.channels import check_filter_memory
from nwavesdk.data.features import ChipFeatures, EventFeatures, SeriesFeatures
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loader_config import default_cache_folder
from nwavesdk.data.loading import Loaded, content_fingerprint, load_recordings
from nwavesdk.data.recordings import hash_order
from nwavesdk.data.source import Task
from nwavesdk.data.split import ChosenSplit, SplitChoice, choose_split
from nwavesdk.data.split_table import read_split_table
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import printable
from nwavesdk.train.config import RunConfig
from nwavesdk.train.facts import Facts, Origin
from nwavesdk.train.inputs import augmentation_of_run, encoder_of_run, features_of, warn_of_skipped
from nwavesdk.train.network import stream_seed
from nwavesdk.train.recipes import DataKind, complete_config, complete_schedule
from nwavesdk.train.sections import is_table
from nwavesdk.train.used_fields import (
    check_digits,
    check_left_out,
    check_neuron_count,
    check_shares_used,
    check_used,
)

__all__ = ["RunData", "config_with_test", "load_run_data"]

# Gain with which frozen noise makes the neurons of a chip's front end spike in a few of 100 steps.
NOISE_GAIN = 3.0


@dataclass(frozen=True, eq=False)
class RunData(Split[Series]):
    """The training, validation and test set of a run.

    Args:
        standard: The scale of the features, from the training set.
        is_cached: Whether the frames came from the cache.
    """

    standard: Standard
    is_cached: bool = False


def load_run_data(
    config: RunConfig, *, reads_test: bool | None = None
) -> tuple[RunConfig, RunData]:
    """Read the recordings, split them and bring them to one scale.

    Args:
        config: The config of the run.
        reads_test: Whether to read the recordings of the test set. [`data.test`]

    Returns:
        The config, completed by what follows from the data, and the data.

    Raises:
        ValueError: If the source cannot be used, or its content differs from the config's facts.
        ModuleNotFoundError: If an extra is missing.
    """
    profile = None
    if config.chip is not None:
        profile = (config.facts and config.facts.chip) or load_profile(config.chip.profile)
    wants_test = config.data.test if reads_test is None else reads_test
    begun = _load_and_split(config, profile, wants_test)
    config, recordings, split = begun.config, begun.recordings, begun.split
    warn_of_skipped(recordings.skipped)
    _check_unchanged(config, recordings, begun.kind)
    counts_neurons = config.facts is None and config.net_file is None
    if counts_neurons and config.chip is not None and profile is not None:
        check_neuron_count(config, profile, recordings)
    if config.facts is None:
        n_train = len(split.indices.train)
        config = complete_schedule(config, begun.kind, recordings.task, n_train)
    data, completed = _as_series(config, begun.kind, recordings.take, split.indices)
    data = replace(data, is_cached=begun.loaded.is_cached)
    features = begun.loaded.features
    if isinstance(features, EventFeatures):
        completed["bin"] = features.bin
    if isinstance(features, SeriesFeatures):
        completed["add_standardized"] = features.add_standardized
    completed |= {
        "task": recordings.task,
        "sample_rate": recordings.sample_rate or config.data.sample_rate,
        "split": config.data.split if is_table(config.data.split) else split.by,
    }
    # A run that began earlier keeps its facts, which may lack what was not recorded then.
    sections: dict[str, Any] = {"facts": config.facts or _facts_of(begun, data, profile)}
    if config.chip is not None and profile is not None:
        bits = config.chip.bits or profile.count("weight_bits")
        sections["chip"] = config.chip.model_copy(
            update={"gain": completed.pop("gain"), "bits": bits}
        )
    sections["data"] = config.data.model_copy(update=completed)
    return config.model_copy(update=sections), data


def _facts_of(begun: "_Begun", data: RunData, profile: Profile | None) -> Facts:
    """The facts of a run that begins now."""
    recordings, split = begun.recordings, begun.split
    return Facts(
        task=recordings.task,
        kind=begun.kind,
        classes=recordings.classes,
        n_features=recordings.n_features,
        n_targets=recordings.n_targets,
        feature_shape=recordings.feature_shape,
        fingerprint=recordings.fingerprint,
        recordings=(len(data.train), len(data.val), len(data.test) or split.n_unread),
        typical_steps=_typical_steps(data.train),
        patterns=_patterns_of(recordings),
        split_by=split.by,
        split_reason=split.line,
        net_reason=begun.net_reason,
        n_folds=split.n_folds,
        tested=split.tested,
        skipped=recordings.skipped,
        profile=None if profile is None else profile.to_json(),
        begun_with=Origin.current(),
    )


def config_with_test(config: RunConfig) -> RunConfig:
    """The config of a run that left its test set unread, as that of a run which reads it.

    Both have the same training and validation set, so the weights of one are those of the other.

    Args:
        config: The config of the run, with facts.

    Raises:
        ValueError: If the data have changed, or a file of the test set that cannot be used changes
            the other sets.
    """
    assert config.facts is not None
    profile = config.facts.chip
    unread = _load_and_split(config, profile, config.data.test)
    _check_unchanged(config, unread.recordings, unread.kind)
    data = config.data.model_copy(update={"test": True})
    tested = config.model_copy(update={"data": data})
    begun = _load_and_split(tested, profile, True)
    for name in ("train", "val"):
        keys, keys_before = (
            [one.recordings.keys[index] for index in one.split.indices.as_dict()[name]]
            for one in (begun, unread)
        )
        if keys != keys_before:
            raise ValueError(
                f"{printable(config.data.source)} has files in the test set that cannot be used, "
                f"without which the {name} set is another one: repair or remove them, and begin "
                "again."
            )
    indices = begun.split.indices
    facts = config.facts.model_copy(
        update={
            "fingerprint": begun.recordings.fingerprint,
            "recordings": (len(indices.train), len(indices.val), len(indices.test)),
            "skipped": begun.recordings.skipped,
        }
    )
    return tested.model_copy(update={"facts": facts})


@dataclass(frozen=True, eq=False)
class _RunSplit(ChosenSplit):
    """A split of the recordings that were read.

    Args:
        n_unread: Recordings of the test set, if it was not read.
    """

    n_unread: int = 0


@dataclass(frozen=True, eq=False)
class _Begun:
    """The recordings of a run, before they become series.

    Args:
        config: The config, with the recipe for this kind of recordings.
        net_reason: Why it has its net.
        loaded: All recordings as frames.
        kind: What a recording is.
        recordings: Those that are used.
        split: Their sets.
    """

    config: RunConfig
    net_reason: str
    loaded: Loaded
    kind: DataKind
    recordings: Recordings
    split: _RunSplit


def _load_and_split(config: RunConfig, profile: Profile | None, reads_test: bool) -> "_Begun":
    """The recordings of a run, and its config with the recipe for this kind of recordings."""
    if config.data.source == "digits":
        check_digits(config)
        config, reason = _with_recipe(config, "features", "classification")
        loaded = Loaded(load_digits(), SeriesFeatures(), is_cached=False)
        recordings, split = _split(config, loaded.recordings, "")
        return _Begun(config, reason, loaded, "features", recordings, _RunSplit(**vars(split)))
    source, faults, note = _open(config)
    config, reason = _with_recipe(config, source.kind, source.task)
    features = features_of(config, source.kind, source.task, profile)
    if isinstance(features, ChipFeatures):
        check_filter_memory(features.config)
    cache = default_cache_folder()
    if config.data.test or source.task == "pattern":
        loaded = load_recordings(source, faults, features, cache=cache)
        recordings, split = _split(config, loaded.recordings, note)
        return _Begun(config, reason, loaded, source.kind, recordings, _RunSplit(**vars(split)))
    # The sets are made of names alone, so that the test set can stay unread.
    listed, split = _split(config, _listing(source), note)
    keys = split.indices.map(lambda part: [listed.keys[index] for index in part])
    read = {*keys.train, *keys.val, *(keys.test if reads_test else ())}
    source = replace(source, items=tuple(item for item in source.items if item.key in read))
    loaded = load_recordings(source, faults, features, cache=cache)
    # The fingerprint of such a run is that of what it learns from and selects on.
    recordings = replace(loaded.recordings, fingerprint=loaded.fingerprint_without(set(keys.test)))
    place = {key: index for index, key in enumerate(recordings.keys)}
    indices = keys.map(
        lambda part: np.array([place[key] for key in part if key in place], np.int64)
    )
    for name, chosen in indices.as_dict().items():
        if not len(chosen) and (name != "test" or reads_test):
            raise ValueError(f"The {name} set of {printable(faults.root)} has no usable recording.")
    fields = {**vars(split), "indices": indices}
    chosen_split = _RunSplit(**fields, n_unread=len(keys.test))
    return _Begun(config, reason, loaded, source.kind, recordings, chosen_split)


def _with_recipe(config: RunConfig, kind: DataKind, task: Task) -> tuple[RunConfig, str]:
    """The config with the defaults for its data, and why it has its net.

    A run that has begun keeps its own.
    """
    if config.facts is not None:
        return config, config.facts.net_reason
    config, reason = complete_config(config, kind, task)
    # Before recordings are read: an unknown change is an error.
    augmentation_of_run(config, kind, task)
    return config, reason


def _listing(source: Source) -> Recordings:
    """The recordings of a source without their frames: names, classes, parts and groups."""
    names = [item.class_name or "" for item in source.items]
    has_classes = source.task == "classification"
    classes = source.classes or tuple(sorted(set(names) - {""}))
    labels = [classes.index(name) for name in names] if has_classes else [0] * len(names)
    parts = tuple(item.part or "" for item in source.items)
    return Recordings(
        frames=(np.zeros((0, 1), np.float32),) * len(names),
        labels=np.array(labels, np.int64),
        classes=classes,
        keys=tuple(item.key for item in source.items),
        fingerprint="",
        task=source.task,
        parts=parts if any(parts) else (),
        groups=tuple(item.group or "" for item in source.items),
    )


def _open(config: RunConfig) -> tuple[Source, Faults, str]:
    """The recordings before they are read, and a note on those that a table leaves out."""
    data = config.data
    if config.chip is not None and data.sample_rate is None:
        raise ValueError(
            "data.sample_rate: a run for a chip needs the sample rate of the sound [Hz], got None."
        )
    path = Path(data.source)
    faults = Faults(path, data.on_error)
    table = read_split_table(Path(data.split)) if is_table(data.split) else None
    source = open_source(
        path,
        faults,
        task=None if data.task == "auto" else data.task,
        max_seconds=data.max_seconds,
        has_table=table is not None and "class" in table.columns,
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


def _check_unchanged(config: RunConfig, recordings: Recordings, kind: DataKind) -> None:
    if config.facts is None or config.facts.fingerprint == recordings.fingerprint:
        return
    # Runs that began earlier have another hash of sound.
    is_earlier = config.facts.kind is None and config.chip is None and kind == "sound"
    folder = Path(config.data.source)
    if is_earlier and config.facts.fingerprint == content_fingerprint(folder, recordings.keys):
        return
    raise ValueError(
        f"The data of {config.data.source} have changed since the run began "
        f"(got {recordings.fingerprint[:12]}, expected {config.facts.fingerprint[:12]}): "
        "restore them or start a new run."
    )


def _split(config: RunConfig, recordings: Recordings, note: str) -> tuple[Recordings, ChosenSplit]:
    """The split of the recordings, with as many of them as `data.limit` wants."""
    if recordings.task == "pattern":
        return recordings, _split_pattern(config, recordings)
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


def _as_series(
    config: RunConfig,
    kind: DataKind,
    take: Callable[[Indices], Recordings],
    indices: Split[Indices],
) -> tuple[RunData, dict[str, Any]]:
    """The three sets as the input of a net, and what their choices were completed to."""
    data = config.data
    split = indices.map(take)
    train = split.train
    if config.chip is not None:
        is_noise = train.task == "pattern"
        fitted = NOISE_GAIN if is_noise else _fit_gain(np.concatenate(list(train.frames)))
        gain = config.chip.gain or fitted
        # The gain of the amplifier is the scale of all channels: (x - 0) / (1 / gain).
        standard = Standard(
            mean=np.zeros(train.n_features, np.float32),
            deviation=np.full(train.n_features, 1 / gain, np.float32),
        )
        series = split.map(lambda part: Series(part, standard))
        changed = _changed(config, kind, series.train)
        return RunData(changed, series.val, series.test, standard), {"gain": gain}
    length = data.length
    if length is None and data.padding == "zeros":
        length = fit_length(train)
    held = data.steps if kind == "image" else None
    hold = data.hold or held or fit_hold(length or fit_length(train))
    standard = _scale(kind, train, data.encoder)
    encoder = encoder_of_run(config)
    series = split.map(
        lambda part: Series(
            part,
            standard,
            hold,
            length,
            data.padding == "zeros",
            encoder,
            data.events == "lists",
            data.center,
            data.standardize,
            data.look_ahead,
        )
    )
    completed = {"length": length, "hold": hold}
    _check_memory(min(config.learning.batch_size, len(series.train)), series)
    changed = _changed(config, kind, series.train)
    return RunData(changed, series.val, series.test, standard), completed


def _changed(config: RunConfig, kind: DataKind, train: Series) -> Series:
    """The training set with the random changes of the run."""
    augmentation = augmentation_of_run(config, kind, train.recordings.task)
    shape = train.recordings.feature_shape or (train.recordings.n_features,)
    if augmentation is not None and augmentation.rotate and len(shape) < 2:
        raise ValueError(
            f"data.augment: rotate={augmentation.rotate:g} turns pictures, and a step has one axis "
            f"of {shape[0]} values: leave it out."
        )
    seed = stream_seed(config.seed, "augment")
    return replace(train, augmentation=augmentation, seed=seed)


def _typical_steps(train: Series) -> int:
    """The steps within which nine of ten recordings end."""
    return int(np.quantile(train.lengths, 0.9, method="higher"))


def _patterns_of(recordings: Recordings) -> tuple[tuple[str, int], ...]:
    """Name and frames of each pattern; none if recordings have an input."""
    if recordings.task != "pattern":
        return ()
    return tuple(zip(recordings.keys, recordings.lengths.tolist(), strict=True))


def _scale(kind: DataKind, train: Recordings, encoder: str) -> Standard:
    """The scale of the features: each has its own, except for images, events and noise."""
    zeros = np.zeros(train.n_features, np.float32)
    if encoder != "current":
        return Standard(zeros, np.ones_like(zeros))
    standard = Standard.fit(train)
    # All pixels have one scale: one that is nearly always black would have a tiny deviation.
    if kind == "image":
        mean = standard.mean.mean()
        variance = np.mean(standard.deviation**2 + (standard.mean - mean) ** 2)
        return Standard(np.full_like(zeros, mean), np.full_like(zeros, np.sqrt(variance)))
    # No event stays no input. The mean square of the input is 1, however few events there are.
    if kind == "events" or train.task == "pattern":
        mean_square = np.mean(standard.deviation**2 + standard.mean**2)
        return Standard(zeros, np.full_like(zeros, np.sqrt(mean_square)))
    return standard


def _check_memory(batch_size: int, series: Split[Series]) -> None:
    """Reject sequences of which the memory cannot hold a batch."""
    longest = max(int(part.lengths.max()) for part in series if len(part))
    n_features = series.train.recordings.n_features
    require_memory(
        "data",
        f"{batch_size:,} sequences of {longest:,} steps and {n_features:,} features",
        4.0 * batch_size * longest * n_features,
        "use shorter recordings or smaller batches (--length, --hold, --bands, --batch-size)",
    )


def _fit_gain(x: Frames) -> float:
    """The gain with which one in a hundred values is above 1, to three digits."""
    high = float(np.quantile(x, 0.99))
    if high <= 0:
        raise ValueError("the training set is silent: there is nothing to amplify.")
    return float(f"{1 / high:.3g}")


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
