"""The data of a run: its recordings as sequences in three sets, and the facts about them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from nwavesdk.chip import Profile
from nwavesdk.data import Frames, Recordings, Series, Split, Standard, fit_hold, fit_length
from nwavesdk.data.assignment import SPLIT_VERSION
from nwavesdk.data.features import EventFeatures, SeriesFeatures
from nwavesdk.data.streams import Sounds
from nwavesdk.train.config import Choices, CompletedConfig, RunConfig
from nwavesdk.train.config.facts import Facts, Origin
from nwavesdk.train.config.recipes import complete, fill
from nwavesdk.train.data.detection import compose
from nwavesdk.train.data.inputs import (
    augmentation_of_run,
    net_input_of,
    warn_of_skipped,
)
from nwavesdk.train.data.split import SplitRecordings, load_and_split, profile_of
from nwavesdk.train.fit.seeds import stream_seed

__all__ = [
    "RunData",
    "begin_data",
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


def begin_data(config: RunConfig) -> tuple[RunConfig, Facts, RunData]:
    """Read the recordings of a new run.

    Args:
        config: The choices of the user.

    Returns:
        The choices with the recipe and the values from the data, the facts, and the data.

    Raises:
        ValueError: If the source cannot be used.
        ModuleNotFoundError: If an extra is missing.
    """
    profile = profile_of(config)
    split = _load(config, profile)
    if profile is not None and config.net.name == "chip":
        _check_neuron_count(config, profile, split.recordings)

    config = fill(split.config, _values_from_data(split, profile))
    data = _as_series(config, split)
    return config, _facts_of(split, data, profile), data


def complete_data(config: RunConfig) -> tuple[CompletedConfig, RunData]:
    """The data of choices without a run, and the config that a run with them would have."""
    choices, facts, data = begin_data(config)
    return complete(choices, facts, torch.get_num_threads()), data


def load_run_data(config: CompletedConfig, *, reads_test: bool | None = None) -> RunData:
    """Read the recordings of a run that has begun.

    Args:
        config: The config of the run.
        reads_test: Whether to read the recordings of the test set. [`data.test`]

    Raises:
        ValueError: If the source cannot be used, or its content differs from the config's facts.
        ModuleNotFoundError: If an extra is missing.
    """
    split = _load(config, config.facts.chip, reads_test=reads_test)
    got, expected = split.recordings.fingerprint, config.facts.fingerprint
    if got != expected:
        raise ValueError(
            f"The data of {config.data.source} have changed since the run began (got {got[:12]}, "
            f"expected {expected[:12]}): restore them or start a new run."
        )
    return _as_series(config, split)


def _load(
    config: RunConfig, profile: Profile | None, *, reads_test: bool | None = None
) -> SplitRecordings:
    """The recordings of a run in three sets; for the task `detect`, those of its streams."""
    split = load_and_split(config, reads_test=reads_test)
    notes = (*warn_of_skipped(split.recordings.skipped), *split.loaded.notes)
    split = replace(split, loaded=replace(split.loaded, notes=notes))
    return compose(split, profile) if config.task.name == "detect" else split


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

    return Facts(
        classes=recordings.classes,
        n_features=recordings.n_features,
        n_targets=recordings.n_targets,
        feature_shape=recordings.feature_shape,
        feature_names=recordings.feature_names,
        fingerprint=recordings.fingerprint,
        recordings=(len(data.train), len(data.val), len(data.test) or split.n_unread),
        typical_steps=int(np.quantile(data.train.lengths, 0.9, method="higher")),
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
    parts = split.chosen.indices.map(split.recordings.take)
    standard = _scale(config, parts.train)
    augmentation = augmentation_of_run(config)
    shape = parts.train.feature_shape or (parts.train.n_features,)
    if augmentation is not None and "rotate" in augmentation.strengths and len(shape) < 2:
        raise ValueError(
            f"data.augment: rotate={augmentation.strengths['rotate']:g} turns pictures, and a step "
            f"has one axis of {shape[0]} values: remove it."
        )

    seed = stream_seed(config.seed, "augment")
    net_input = net_input_of(config, standard)
    train = Series(parts.train, net_input, augmentation, seed)
    if split.chunks is not None:
        train = replace(
            split.chunks, recordings=parts.train, input=net_input, augmentation=augmentation
        )
    val, test = (Series(part, net_input) for part in (parts.val, parts.test))
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
