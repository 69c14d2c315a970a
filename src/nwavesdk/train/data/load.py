"""The data of a run: its recordings as sequences in three sets, and the facts about them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from nwavesdk.chip import Profile, load_profile
from nwavesdk.data import (
    Frames,
    Recordings,
    Series,
    Source,
    Split,
    Standard,
    fit_hold,
    fit_length,
    load_digits,
)
from nwavesdk.data.assignment import SPLIT_VERSION
from nwavesdk.data.chip_front_end import default_cache_folder
from nwavesdk.data.features import EventFeatures, FeatureOptions, SeriesFeatures
from nwavesdk.data.loading import LoadedRecordings, list_recordings, load_recordings
from nwavesdk.data.streams import Sounds
from nwavesdk.internal.files import printable
from nwavesdk.presets.lif import hidden_gain
from nwavesdk.train.config import Choices, CompletedConfig, RunConfig
from nwavesdk.train.config.completed import Facts, Origin
from nwavesdk.train.config.recipes import apply_recipe, complete
from nwavesdk.train.data.detection import compose
from nwavesdk.train.data.inputs import (
    augmentation_of_run,
    features_of,
    net_input_of,
    warn_of_skipped,
)
from nwavesdk.train.data.split import (
    SplitRecordings,
    is_on_one_axis,
    open_recordings,
    split_recordings,
)
from nwavesdk.train.fit.seeds import stream_seed

__all__ = [
    "RunData",
    "complete_data",
    "load_run_data",
]

# Gain with which frozen noise makes the neurons of a chip's front end spike in a few of 100 steps.
NOISE_GAIN = 3.0


@dataclass(frozen=True, eq=False)
class RunData(Split[Series]):
    """The training, validation and test set of a run.

    Args:
        standard: The scale of the features, from the training set.
        is_cached: Whether the frames came from the cache.
        notes: Notes on the files and on their values; each was a warning.
        streams: For the task `detect`, what the streams of each set are composed of; None for a
            test set that is not read.
    """

    standard: Standard
    is_cached: bool = False
    notes: tuple[str, ...] = ()
    streams: Split[Sounds | None] | None = None


def complete_data(config: RunConfig) -> tuple[CompletedConfig, RunData]:
    """Read the recordings of a new run, and complete its config with the values that follow.

    Args:
        config: The choices of the user.

    Raises:
        ValueError: If the source cannot be used.
        ModuleNotFoundError: If an extra is missing.
    """
    profile = None if config.chip is None else load_profile(config.chip.profile)
    split = _load_and_split(config, profile)
    if profile is not None and config.net.name == "chip":
        _check_neuron_count(config, profile, split.recordings)

    config = split.config.filled(_values_from_data(split, profile))
    data = _as_series(config, split)
    facts = _facts_of(split, data, profile)

    # Each process has its share of the threads of torch.
    threads = max(1, torch.get_num_threads() // config.machine.devices)
    return complete(config, facts, threads), data


def load_run_data(config: CompletedConfig, *, reads_test: bool | None = None) -> RunData:
    """Read the recordings of a run that has begun.

    Args:
        config: The config of the run.
        reads_test: Whether to read the recordings of the test set. [`data.test`]

    Raises:
        ValueError: If the source cannot be used, or its content differs from the config's facts.
        ModuleNotFoundError: If an extra is missing.
    """
    split = _load_and_split(config, config.facts.chip, reads_test=reads_test)
    got, expected = split.recordings.fingerprint, config.facts.fingerprint
    if got != expected:
        raise ValueError(
            f"The data of {config.data.source} have changed since the run began (got {got[:12]}, "
            f"expected {expected[:12]}): restore them or start a new run."
        )
    return _as_series(config, split)


def _load_and_split(
    config: RunConfig, profile: Profile | None, *, reads_test: bool | None = None
) -> SplitRecordings:
    """Read the recordings of a run and split them; for the task `detect`, into its streams.

    Args:
        config: The config of a run, or the choices for a new one, which get their recipe.
        profile: The chip of the run, if it has one.
        reads_test: Whether to read the recordings of the test set. [`data.test`]
    """
    opened = None if config.data.kind == "features" else open_recordings(config)
    if not isinstance(config, CompletedConfig):
        has_one_axis = opened is not None and is_on_one_axis(opened[0])
        config = apply_recipe(config, has_one_axis=has_one_axis)
    augmentation_of_run(config)  # an unknown change is an error before recordings are read

    if opened is None:
        loaded = LoadedRecordings(load_digits(), SeriesFeatures(), is_cached=False)
        return SplitRecordings(config, loaded, *split_recordings(config, loaded.recordings))

    source, faults, note = opened
    features = features_of(config, profile)
    if config.task.name == "detect" and source.kind == "sound":
        sample_rate = getattr(config.data, "sample_rate", None)
        features = FeatureOptions(sample_rate=sample_rate, as_samples=True)
    cache = default_cache_folder()
    read = partial(load_recordings, faults=faults, features=features, cache=cache)

    # A pattern is in all three sets.
    data: Any = config.data
    keeps_test = data.test or data.kind == "pattern"

    # All folds of a study read all recordings, so that the cache has them once.
    if keeps_test or data.folds or data.leave_one_out:
        loaded = read(source)
        split = SplitRecordings(config, loaded, *split_recordings(config, loaded.recordings, note))
        split = split if keeps_test or reads_test else _without_test(split)
    else:
        split = _split_before_reading(config, source, read, note, reads_test=bool(reads_test))

    notes = (*warn_of_skipped(split.recordings.skipped), *split.loaded.notes)
    split = replace(split, loaded=replace(split.loaded, notes=notes))
    return compose(split, profile) if config.task.name == "detect" else split


def _without_test(split: SplitRecordings) -> SplitRecordings:
    """The split with an empty test set."""
    test = split.chosen.indices.test
    indices = replace(split.chosen.indices, test=test[:0])
    return replace(split, chosen=replace(split.chosen, indices=indices), n_unread=len(test))


def _split_before_reading(
    config: RunConfig,
    source: Source,
    read: Callable[..., LoadedRecordings],
    note: str,
    *,
    reads_test: bool,
) -> SplitRecordings:
    """Split recordings by their names and read the sets, so that the test set can stay unread."""
    listed, chosen = split_recordings(config, list_recordings(source), note)
    keys = chosen.indices.map(lambda part: [listed.keys[index] for index in part])
    keys_to_read = {*keys.train, *keys.val, *(keys.test if reads_test else ())}
    items = tuple(item for item in source.items if item.key in keys_to_read)

    # The fingerprint of such a run does not cover the test set, so it is the same when the test set
    # is read later.
    loaded = read(replace(source, items=items), uncounted=set(keys.test))

    # The sets as indices of the recordings that were read. Skipped recordings are missing.
    index_of = {key: index for index, key in enumerate(loaded.recordings.keys)}
    indices = keys.map(
        lambda part: np.array([index_of[key] for key in part if key in index_of], np.int64)
    )
    for name, members in indices.as_dict().items():
        if not len(members) and (name != "test" or reads_test):
            raise ValueError(
                f"The {name} set of {printable(config.data.source)} has no usable recording."
            )
    return SplitRecordings(
        config,
        loaded,
        loaded.recordings,
        replace(chosen, indices=indices),
        n_unread=len(keys.test),
    )


def _check_neuron_count(config: RunConfig, profile: Profile, recordings: Recordings) -> None:
    """Reject a net with more neurons than the chip; `nwave map` checks that layers fit cores."""
    n_filters = profile.count("filters")
    if recordings.n_features != n_filters:
        raise ValueError(
            f"{profile.name} has {n_filters} filters, each with a neuron, got series with "
            f"{recordings.n_features} channels: pass one channel per filter, or remove --chip."
        )

    net: Any = config.net
    n_outputs = len(recordings.classes) or recordings.n_targets
    sizes = (recordings.n_features, *net.hidden, n_outputs * net.population)
    available = sum(profile.cores)
    if sum(sizes) > available:
        raise ValueError(
            f"net: {' + '.join(map(str, sizes))} neurons (front end, hidden, {n_outputs} "
            f"populations) do not fit on {profile.name}: got {sum(sizes)}, expected at most "
            f"{available}: lower --hidden or --population."
        )


def _values_from_data(split: SplitRecordings, profile: Profile | None) -> Choices:
    """Values of choices that follow from the recordings, by section and field."""
    config, features = split.config, split.loaded.features
    train = split.recordings.take(split.chosen.indices.train)

    values: dict[str, Any] = {"sample_rate": split.recordings.sample_rate}
    if isinstance(features, EventFeatures):
        values["bin"] = features.bin
    if isinstance(features, SeriesFeatures):
        values["add_standardized"] = features.add_standardized
    length = getattr(config.data, "length", None)
    if length is None and getattr(config.data, "padding", None) == "zeros":
        length = values["length"] = fit_length(train)
    values["hold"] = fit_hold(length or fit_length(train))

    # Not all kinds of data have all of these fields.
    fields = type(config.data).model_fields
    choices: dict[str, Any] = {
        "data": {name: value for name, value in values.items() if name in fields}
    }

    # Neurons other than LIF take charges in other units, so their gain is measured.
    if config.net.name == "lif" and config.net.neuron != "lif":
        choices["net"] = {"charge_gain": hidden_gain(config.net)}
    if profile is not None:
        is_pattern = config.data.kind == "pattern"
        gain = NOISE_GAIN if is_pattern else _fit_gain(np.concatenate(list(train.frames)))
        choices["chip"] = {"bits": profile.count("weight_bits"), "gain": gain}
    return choices


def _facts_of(split: SplitRecordings, data: RunData, profile: Profile | None) -> Facts:
    """The facts of a run that begins now."""
    recordings, chosen = split.recordings, split.chosen
    patterns = zip(recordings.keys, recordings.lengths.tolist(), strict=True)
    is_pattern = recordings.task == "pattern"
    typical_steps = np.quantile(data.train.lengths, 0.9, method="higher")
    n_test = len(data.test) or split.n_unread

    return Facts(
        classes=recordings.classes,
        n_features=recordings.n_features,
        n_targets=recordings.n_targets,
        feature_shape=recordings.feature_shape,
        feature_names=recordings.feature_names,
        fingerprint=recordings.fingerprint,
        recordings=(len(data.train), len(data.val), n_test),
        typical_steps=int(typical_steps),
        patterns=tuple(patterns) if is_pattern else (),
        split_by=chosen.by,
        split_reason=chosen.line,
        split_version=SPLIT_VERSION,
        n_folds=chosen.n_folds,
        tested=chosen.tested,
        skipped=recordings.skipped,
        profile=None if profile is None else profile.to_json(),
        begun_with=Origin.current(),
    )


def _as_series(config: RunConfig, split: SplitRecordings) -> RunData:
    """The three sets as the input of a net."""
    train_recordings, *held_out = (split.recordings.take(part) for part in split.chosen.indices)
    standard = _scale(config, train_recordings)
    augmentation = augmentation_of_run(config)
    shape = train_recordings.feature_shape or (train_recordings.n_features,)
    if augmentation is not None and "rotate" in augmentation.strengths and len(shape) < 2:
        raise ValueError(
            f"data.augment: rotate={augmentation.strengths['rotate']:g} turns pictures, and a step "
            f"has one axis of {shape[0]} values: remove it."
        )

    seed = stream_seed(config.seed, "augment")
    net_input = net_input_of(config, standard)
    train = Series(train_recordings, net_input, augmentation, seed)
    if split.chunks is not None:
        train = replace(
            split.chunks, recordings=train_recordings, input=net_input, augmentation=augmentation
        )
    val, test = (Series(part, net_input) for part in held_out)
    return RunData(
        train,
        val,
        test,
        standard=standard,
        is_cached=split.loaded.is_cached,
        notes=split.loaded.notes,
        streams=split.sounds,
    )


def _scale(config: RunConfig, train: Recordings) -> Standard:
    """The scale of each feature; images, events, noise and chips have one scale for all."""
    zeros = np.zeros(train.n_features, np.float32)
    if config.chip is not None:
        # The gain of the amplifier is the scale of all channels: (x - 0) / (1 / gain).
        assert config.chip.gain is not None
        return Standard(zeros, np.full_like(zeros, 1 / config.chip.gain))
    if getattr(config.data, "encoder", "current") != "current":
        return Standard(zeros, np.ones_like(zeros))

    # All pixels have one scale: a pixel that is nearly always black would have a tiny deviation.
    standard = Standard.fit(train)
    if config.data.kind == "image":
        mean = standard.mean.mean()
        variance = np.mean(standard.deviation**2 + (standard.mean - mean) ** 2)
        return Standard(np.full_like(zeros, mean), np.full_like(zeros, np.sqrt(variance)))

    # Without an event, the input stays 0. The mean square of the input is 1, also for rare events.
    if config.data.kind in ("events", "pattern"):
        mean_square = np.mean(standard.deviation**2 + standard.mean**2)
        return Standard(zeros, np.full_like(zeros, np.sqrt(mean_square)))
    return standard


def _fit_gain(x: Frames) -> float:
    """The gain that brings one of a hundred values above 1, with three digits."""
    high = float(np.quantile(x, 0.99))
    if high <= 0:
        raise ValueError("the training set is silent: there is nothing to amplify.")
    return float(f"{1 / high:.3g}")
