"""How recordings become the input of a run's net, by its config; what to know of them."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nwavesdk.chip import Profile
from nwavesdk.data import NetInput, Series, Standard
from nwavesdk.data.augment import Augmentation
from nwavesdk.data.features import ChipFeatures, FeatureOptions, Features, NoiseFeatures
from nwavesdk.data.front_end import LEAST_CHANGE
from nwavesdk.data.readers.series import SeriesOptions
from nwavesdk.data.recordings import STEPS, Frames
from nwavesdk.data.source import Kind, Task
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import printable
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.recipes import DataKind

__all__ = [
    "augmentation_of_run",
    "constant_note",
    "features_of",
    "net_input_of",
    "outlier_note",
    "scale_of_kind",
    "series_options",
    "skipped_note",
    "warn_of_skipped",
]

# Channels of the frozen noise that a pattern is generated from.
NOISE_CHANNELS = 100

# Number of skipped files that a warning names.
MOST_NAMED = 5

# Values that are looked at for outliers.
MOST_LOOKED_AT = 2**22

# A feature has outliers if its deviation is this many times the range of nine tenths of its values:
# ten times as much as of normally distributed values.
OUTLIER_RATIO = 3.0


def features_of(
    config: RunConfig, kind: Kind, task: Task, profile: Profile | None
) -> Features | FeatureOptions:
    """How the recordings of a run become frames.

    Args:
        config: The config of the run.
        kind: What a recording is.
        task: What the net learns.
        profile: The chip of the run, if it has one.

    Returns:
        Features; or options, of which some may still be found in the recordings.
    """
    data = config.data
    if task == "pattern":
        channels = NOISE_CHANNELS if profile is None else profile.count("filters")
        return NoiseFeatures(config.seed, channels)
    if profile is not None and kind == "sound":
        return ChipFeatures(config.channel_choices(profile))
    return FeatureOptions(
        data.sample_rate,
        data.bands,
        data.window,
        data.hop,
        data.level,
        data.bin,
        config.facts.feature_shape if config.facts else (),
        data.steps or STEPS,
        data.add_standardized,
    )


def series_options(config: RunConfig) -> SeriesOptions:
    """What a run reads of the files of a series."""
    return SeriesOptions(config.data.columns, config.data.missing)


def net_input_of(config: RunConfig, standard: Standard) -> NetInput:
    """How frames become the input of a run's net.

    A net for a chip has the values themselves as its input.

    Args:
        config: The config, completed.
        standard: The scale of the features, from the training set.
    """
    data = config.data
    if config.chip is not None:
        return NetInput(standard=standard)
    return NetInput(
        standard=standard,
        hold=data.hold or 1,
        length=data.length,
        pads_to_length=data.padding == "zeros",
        encoder=data.encoder,
        seed=config.seed,
        as_lists=data.events == "lists",
        center=data.center,
        standardize=data.standardize,
        look_ahead=data.look_ahead,
    )


def scale_of_kind(standard: Standard, kind: DataKind) -> Standard:
    """The scale of features with the change below which a recording of this kind is steady."""
    return replace(standard, least_change=LEAST_CHANGE) if kind == "sound" else standard


def augmentation_of_run(config: RunConfig, kind: DataKind, task: Task) -> Augmentation | None:
    """How the training recordings of a run change at random; None if they do not.

    Args:
        config: The config of the run.
        kind: What a recording is.
        task: What the net learns.

    Raises:
        ValueError: If there is no such change for recordings of this kind.
    """
    strengths = config.data.augment
    if not strengths:
        return None
    if task == "pattern":
        raise ValueError(
            f"data.augment: a pattern has no input that could change, got {shown(strengths)}: "
            "leave the option out."
        )
    if config.chip is not None:
        return Augmentation.of("channels", strengths)
    return Augmentation.of("series" if kind == "features" else kind, strengths)


def skipped_note(skipped: Sequence[tuple[str, str]]) -> str | None:
    """A note on all files that were left out, or None.

    Args:
        skipped: Name and fault of each.
    """
    if not skipped:
        return None
    first = "; ".join(f"{file} {fault}" for file, fault in skipped[:MOST_NAMED])
    more = "; ..." if len(skipped) > MOST_NAMED else ""
    return f"skipped {len(skipped)} files of the data: {first}{more}"


def warn_of_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Give one warning for all files that were left out; see `skipped_note`."""
    note = skipped_note(skipped)
    if note is not None:
        warnings.warn(note, stacklevel=3)


def constant_note(train: Series, config: RunConfig) -> str | None:
    """A note if all steps are the same, or if centering leaves nothing of recordings, or None.

    Args:
        train: The training set.
        config: The config of the run.
    """
    recordings = train.recordings
    first = recordings.frames[0][:1]
    if len(train) > 1 and all(bool((frames == first).all()) for frames in recordings.frames):
        return (
            "all steps of all training recordings are the same, so a net learns nothing from them: "
            "look at them with nwave data. Transparent pixels of images count as black."
        )
    if not train.input.center:
        return None
    places = [index for index, frames in enumerate(recordings.frames) if _is_constant(frames)]
    if not places:
        return None
    note = (
        f"{len(places):,} of {len(train):,} training recordings do not change over time, such as "
        f"'{printable(recordings.keys[places[0]])}': silence, channels that cancel out, or a "
        "single frame. The net gets zeros for them, because the mean of each recording is removed"
    )
    if config.net_file is None:  # a net of layers
        note += ", and a net without biases does not spike on zeros"
    if recordings.task != "classification" or config.net_file is None:
        return f"{note}: keep the mean with --no-center, or remove them if they are faults."
    labels = np.unique(recordings.labels[places])
    names = [f"'{printable(recordings.classes[label])}'" for label in labels[:MOST_NAMED]]
    if len(names) == 1:
        return f"{note}, and learns that zeros are {names[0]}: remove them only if they are faults."
    more = ", …" if len(labels) > MOST_NAMED else ""
    return (
        f"{note}, so it cannot tell their classes apart ({', '.join(names)}{more}): keep the mean "
        "with --no-center, or remove them if they are faults."
    )


def outlier_note(train: Series, config: RunConfig) -> str | None:
    """A note on a feature whose scale a few values decide, such as -999 for missing ones, or None.

    Args:
        train: The training set.
        config: The config of the run; only series have features with different scales.
    """
    if config.facts is None or config.facts.kind not in ("series", "features"):
        return None
    if config.facts.task == "pattern":  # its input is the noise of the library
        return None
    recordings = train.recordings
    n_values = int(recordings.lengths.sum()) * recordings.n_features
    every = math.ceil(n_values / MOST_LOOKED_AT)
    # Features on the scale of a recording come after those of the data.
    n_features = recordings.n_features // (2 if config.data.add_standardized else 1)
    frames = np.concatenate([one[::every, :n_features] for one in recordings.frames])
    low, middle, high = np.percentile(frames, [5, 50, 95], axis=0)
    deviation = frames.std(axis=0, dtype=np.float64)
    has_outliers = (high > low) & (deviation > OUTLIER_RATIO * (high - low))
    if not has_outliers.any():
        return None
    feature = int(has_outliers.argmax())
    column = frames[:, feature]
    name = str(feature + 1)
    if recordings.feature_names:
        name += f" '{printable(recordings.feature_names[feature])}'"
    farthest = column[np.abs(column - middle[feature]).argmax()]
    return (
        f"nine tenths of feature {name} lie between {low[feature]:.6g} and "
        f"{high[feature]:.6g}, but a few values, such as {farthest:.6g}, give it the deviation "
        f"{deviation[feature]:.4g}, by which it is divided: all others become nearly equal. If "
        "these stand for missing values or faults, replace them."
    )


def _is_constant(frames: Frames) -> bool:
    """Whether all frames of a recording are the same; two of them mostly show that they are not."""
    if (frames[0] != frames[len(frames) // 2]).any():
        return False
    return bool((frames == frames[:1]).all())
