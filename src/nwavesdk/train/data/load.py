"""The data of a run: its recordings as sequences in three sets, and their batches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nwavesdk.chip import Profile, load_profile
from nwavesdk.data import Frames, Indices, Recordings, Series, Split, Standard, fit_hold, fit_length
from nwavesdk.data.assignment import SPLIT_VERSION
from nwavesdk.data.features import EventFeatures, SeriesFeatures
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import printable
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.facts import Facts, Origin
from nwavesdk.train.config.recipes import DataKind, complete_schedule
from nwavesdk.train.config.sections import is_table
from nwavesdk.train.config.used_fields import check_neuron_count
from nwavesdk.train.data.inputs import (
    augmentation_of_run,
    net_input_of,
    scale_of_kind,
    skipped_note,
    warn_of_skipped,
)
from nwavesdk.train.data.split import SplitRecordings, load_and_split
from nwavesdk.train.fit.network import stream_seed

__all__ = ["RunData", "config_with_test", "load_run_data"]

# Gain with which frozen noise makes the neurons of a chip's front end spike in a few of 100 steps.
NOISE_GAIN = 3.0


@dataclass(frozen=True, eq=False)
class RunData(Split[Series]):
    """The training, validation and test set of a run.

    Args:
        standard: The scale of the features, from the training set.
        is_cached: Whether the frames came from the cache.
        notes: What to know of the files and of their values; each was a warning.
    """

    standard: Standard
    is_cached: bool = False
    notes: tuple[str, ...] = ()


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
    found = load_and_split(config, profile, wants_test)
    config, recordings, split = found.config, found.recordings, found.split
    warn_of_skipped(recordings.skipped)
    _check_unchanged(config, recordings)
    counts_neurons = config.facts is None and config.net_file is None
    if counts_neurons and config.chip is not None and profile is not None:
        check_neuron_count(config, profile, recordings)
    if config.facts is None:
        n_train = len(split.indices.train)
        config = complete_schedule(config, found.kind, recordings.task, n_train)
    data, completed = _as_series(config, found.kind, recordings.take, split.indices)
    skipped = skipped_note(recordings.skipped)
    notes = (*([] if skipped is None else [skipped]), *found.loaded.notes)
    data = replace(data, is_cached=found.loaded.is_cached, notes=notes)
    features = found.loaded.features
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
    sections: dict[str, Any] = {"facts": config.facts or _facts_of(found, data, profile)}
    if config.chip is not None and profile is not None:
        bits = config.chip.bits or profile.count("weight_bits")
        sections["chip"] = config.chip.model_copy(
            update={"gain": completed.pop("gain"), "bits": bits}
        )
    sections["data"] = config.data.model_copy(update=completed)
    return config.model_copy(update=sections), data


def _facts_of(found: SplitRecordings, data: RunData, profile: Profile | None) -> Facts:
    """The facts of a run that begins now."""
    recordings, split = found.recordings, found.split
    return Facts(
        task=recordings.task,
        kind=found.kind,
        classes=recordings.classes,
        n_features=recordings.n_features,
        n_targets=recordings.n_targets,
        feature_shape=recordings.feature_shape,
        feature_names=recordings.feature_names,
        fingerprint=recordings.fingerprint,
        recordings=(len(data.train), len(data.val), len(data.test) or found.n_unread),
        typical_steps=_typical_steps(data.train),
        patterns=_patterns_of(recordings),
        split_by=split.by,
        split_reason=split.line,
        split_version=SPLIT_VERSION,
        net_reason=found.net_reason,
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
    unread = load_and_split(config, profile, config.data.test)
    _check_unchanged(config, unread.recordings)
    data = config.data.model_copy(update={"test": True})
    tested = config.model_copy(update={"data": data})
    found = load_and_split(tested, profile, True)
    for name in ("train", "val"):
        keys, keys_before = (
            [one.recordings.keys[index] for index in one.split.indices.as_dict()[name]]
            for one in (found, unread)
        )
        if keys != keys_before:
            raise ValueError(
                f"{printable(config.data.source)} has files in the test set that cannot be used, "
                f"without which the {name} set is another one: repair or remove them, and begin "
                "again."
            )
    indices = found.split.indices
    facts = config.facts.model_copy(
        update={
            "fingerprint": found.recordings.fingerprint,
            "recordings": (len(indices.train), len(indices.val), len(indices.test)),
            "skipped": found.recordings.skipped,
        }
    )
    return tested.model_copy(update={"facts": facts})


def _check_unchanged(config: RunConfig, recordings: Recordings) -> None:
    if config.facts is None or config.facts.fingerprint == recordings.fingerprint:
        return
    raise ValueError(
        f"The data of {config.data.source} have changed since the run began "
        f"(got {recordings.fingerprint[:12]}, expected {config.facts.fingerprint[:12]}): "
        "restore them or start a new run."
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
        chip_input = net_input_of(config, standard)
        series = split.map(lambda part: Series(part, chip_input))
        changed = _changed(config, kind, series.train)
        return RunData(changed, series.val, series.test, standard), {"gain": gain}
    length = data.length
    if length is None and data.padding == "zeros":
        length = fit_length(train)
    held = data.steps if kind == "image" else None
    hold = data.hold or held or fit_hold(length or fit_length(train))
    standard = _scale(kind, train, data.encoder)
    completed = {"length": length, "hold": hold}
    completed_config = config.model_copy(update={"data": data.model_copy(update=completed)})
    net_input = net_input_of(completed_config, standard)
    series = split.map(lambda part: Series(part, net_input))
    _check_memory(min(config.learning.batch_size, len(series.train)), series)
    changed = _changed(config, kind, series.train)
    return RunData(changed, series.val, series.test, standard), completed


def _changed(config: RunConfig, kind: DataKind, train: Series) -> Series:
    """The training set with the random changes of the run."""
    augmentation = augmentation_of_run(config, kind, train.recordings.task)
    shape = train.recordings.feature_shape or (train.recordings.n_features,)
    if augmentation is not None and "rotate" in augmentation.strengths and len(shape) < 2:
        raise ValueError(
            f"data.augment: rotate={augmentation.strengths['rotate']:g} turns pictures, and a step "
            f"has one axis of {shape[0]} values: leave it out."
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
    return scale_of_kind(standard, kind)


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
