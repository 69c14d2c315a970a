"""How recordings become the input of a run's net, by its config; notes on recordings."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nwavesdk.chip import Profile
from nwavesdk.data import NetInput, NWaveDataloaderConfig, Series, Standard
from nwavesdk.data.augment import Augmentation
from nwavesdk.data.features import ChipFeatures, FeatureOptions, Features, NoiseFeatures
from nwavesdk.data.formats import ALL_COLUMNS
from nwavesdk.data.front_end import MIN_CHANGE
from nwavesdk.data.readers.series import SeriesOptions
from nwavesdk.data.recordings import STEPS
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config import data as kinds

__all__ = [
    "augmentation_of_run",
    "channel_options",
    "constant_note",
    "features_of",
    "net_input_of",
    "outlier_note",
    "series_options",
    "warn_of_skipped",
]

# Channels of the frozen noise that a pattern is generated from.
NOISE_CHANNELS = 100

# Number of skipped files that a warning names.
MAX_NAMED = 5

# Largest number of values that are searched for outliers.
MAX_INSPECTED_VALUES = 2**22

# A feature has outliers if the ratio of its deviation to the range of nine tenths of its values is
# above this: ten times the ratio of a normal distribution.
OUTLIER_RATIO = 3.0


def features_of(config: RunConfig, profile: Profile | None) -> Features | FeatureOptions:
    """How the recordings of a run become frames.

    Args:
        config: The config of the run.
        profile: The chip of the run, if it has one.

    Returns:
        Features; or options, which the recordings may still complete.
    """
    data = config.data
    shape = config.facts.feature_shape if isinstance(config, CompletedConfig) else ()

    match data:
        case kinds.PatternData():
            channels = NOISE_CHANNELS if profile is None else profile.count("filters")
            return NoiseFeatures(config.seed, channels)
        case kinds.FilteredData():
            assert profile is not None
            return ChipFeatures(channel_options(data, config.net.dt, profile))
        case kinds.SoundData():
            return FeatureOptions(
                sample_rate=data.sample_rate,
                bands=data.bands,
                window=data.window,
                hop=data.hop,
                level=data.level,
            )
        case kinds.SeriesData():
            return FeatureOptions(add_standardized=data.add_standardized)
        case kinds.EventData():
            return FeatureOptions(bin=data.bin, shape=shape, bins=data.steps or STEPS)
        case _:
            return FeatureOptions(shape=shape)


def channel_options(data: kinds.FilteredData, dt: float, profile: Profile) -> NWaveDataloaderConfig:
    """How sound becomes the channels of a chip.

    Args:
        data: The section of the config.
        dt: Time step of the net [s].
        profile: The chip.

    Raises:
        ValueError: If the sample rate or the duration does not fit the time step.
    """
    if not 1 / data.sample_rate <= dt <= data.duration * (1 + 1e-9):
        raise ValueError(
            f"net.dt: expected at least a sample ({1 / data.sample_rate:.3g} s) and at most "
            f"the duration ({data.duration:g} s), got {dt:g} s."
        )

    return NWaveDataloaderConfig(
        data.source,
        sample_rate=data.sample_rate,
        recording_duration_s=data.duration,
        sim_time_s=dt,
        level=data.level,
        chip=profile,
        on_error=data.on_error,
        max_seconds=data.max_seconds,
    )


def series_options(config: RunConfig) -> SeriesOptions:
    """The options with which a run reads the files of series."""
    data = config.data
    return (
        SeriesOptions(data.columns, data.missing)
        if isinstance(data, kinds.SeriesData)
        else ALL_COLUMNS
    )


def net_input_of(config: RunConfig, standard: Standard) -> NetInput:
    """How the frames of a run become the input of its net.

    Args:
        config: The config of the run, with the values from the data.
        standard: The scale of the features.
    """
    # An image is one frame, which is held for all steps.
    data = config.data
    hold = getattr(data, "steps" if data.kind == "image" else "hold", None)
    if data.kind == "sound":
        standard = replace(standard, least_change=MIN_CHANGE)

    return NetInput(
        standard=standard,
        hold=hold or 1,
        length=getattr(data, "length", None),
        pads_to_length=getattr(data, "padding", None) == "zeros",
        encoder=getattr(data, "encoder", "current"),
        seed=config.seed,
        as_lists=getattr(data, "events", None) == "lists",
        center=getattr(data, "center", False),
        standardize=getattr(data, "standardize", False),
        look_ahead=getattr(config.task, "look_ahead", 0),
    )


def augmentation_of_run(config: RunConfig) -> Augmentation | None:
    """The augmentation of the training recordings of a run, or None.

    Raises:
        ValueError: If there is no such change for recordings of this kind.
    """
    strengths = getattr(config.data, "augment", None)
    if not strengths:
        return None
    augmented_kinds = {"features": "series", "filtered": "channels"}
    kind: Any = augmented_kinds.get(config.data.kind, config.data.kind)
    return Augmentation(kind, **strengths)


def warn_of_skipped(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """Warn once about all skipped files.

    Args:
        skipped: Name and fault of each file.

    Returns:
        The warning, if there are any.
    """
    if not skipped:
        return []
    first = "; ".join(f"{file} {fault}" for file, fault in skipped[:MAX_NAMED])
    more = "; ..." if len(skipped) > MAX_NAMED else ""
    note = f"skipped {len(skipped)} files of the data: {first}{more}"
    warnings.warn(note, stacklevel=3)
    return [note]


def constant_note(train: Series) -> str | None:
    """A note if recordings are zero after centering, or None.

    Args:
        train: The training set.
    """
    recordings = train.recordings
    if not train.input.center:
        return None
    constant = [i for i, frames in enumerate(recordings.frames) if (frames == frames[:1]).all()]
    if not constant:
        return None

    return (
        f"{len(constant):,} of {len(train):,} training recordings do not change over time, such as "
        f"'{printable(recordings.keys[constant[0]])}': silence, channels that cancel out, or a "
        "single frame. The net gets zeros for them, because the mean of each recording is removed, "
        "and cannot tell several classes of them apart: keep the mean with --no-center, or remove "
        "them if they are faults."
    )


def outlier_note(train: Series, config: RunConfig) -> str | None:
    """A note on a feature whose scale a few values decide, such as -999 for missing, or None.

    Args:
        train: The training set.
        config: The config of the run; only series have features with different scales.
    """
    if config.data.kind not in ("series", "channels", "features"):
        return None

    recordings = train.recordings
    n_values = int(recordings.lengths.sum()) * recordings.n_features
    stride = math.ceil(n_values / MAX_INSPECTED_VALUES)
    # The standardized copies of the features come after the features of the data.
    n_features = recordings.n_features // (
        2 if getattr(config.data, "add_standardized", False) else 1
    )
    frames = np.concatenate([recording[::stride, :n_features] for recording in recordings.frames])

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
