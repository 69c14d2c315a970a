"""Whether the recordings of a data set belong together, and values that look like a mistake.

Recordings with other features, or with the same columns in another order, are errors. A line of
column numbers and values that float32 rounds are notes: they may be meant.
"""

from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from nwavesdk.data.features import Featured, Features, SeriesFeatures
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.source import Item, StepTarget
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import printable

__all__ = [
    "Layout",
    "check_layout",
    "clock_note",
    "filled_note",
    "layout_of",
    "notes_on",
    "numbered_columns_note",
]

# A feature that varies over fewer steps of float32 than these is called rounded.
FEWEST_FLOAT_STEPS = 64

# In the first step of a table, so many features 0, 1, 2 and so on are no chance.
FEWEST_NUMBERED = 3

# A feature that rises evenly over as many steps is no chance; how much its steps may differ.
FEWEST_CLOCK_STEPS = 8
CLOCK_ERROR = 0.02

# Whole numbers below are exact in float32.
LEAST_ROUNDED_INTEGER = 2**24


class Layout(NamedTuple):
    """What all recordings of a data set have in common.

    Args:
        features: Values of a step.
        columns: Columns of a target: 0 without one.
        names: Names of the features, if the file has them.
        key: The recording, for errors.
    """

    features: int
    columns: int
    names: tuple[str, ...]
    key: str


def layout_of(item: Item, featured: Featured, names: tuple[str, ...], copies: int) -> Layout:
    """The layout of a recording.

    Args:
        item: The recording.
        featured: Its frames and its target.
        names: Names of its features; none if the file has none.
        copies: How often a frame has each value of a step.
    """
    n_features = featured.frames.shape[1] // copies
    n_columns = 0 if featured.target is None else featured.target[:1].size
    return Layout(n_features, n_columns, names, printable(item.key))


def check_layout(item: Item, layout: Layout, expected: Layout) -> None:
    """Compare a recording with another one.

    Files may name the same columns differently, such as by a date, so only names that occur in both
    count. Case and the way in which Unicode encodes a letter make no difference.

    Raises:
        RecordingError: If it has other features or columns, or the same ones in another order.
    """
    counts = {
        "features in a step": (item.path, layout.features, expected.features),
        "columns": (item.target or item.path, layout.columns, expected.columns),
    }
    for noun, (path, count, expected_count) in counts.items():
        if count != expected_count:
            what = f"has {count} {noun}, expected {expected_count} like {expected.key}"
            raise RecordingError(path, what)

    names, expected_names = (
        [normalize("NFC", name).casefold() for name in each.names] for each in (layout, expected)
    )
    for column, (name, expected_name) in enumerate(zip(names, expected_names, strict=False)):
        if name != expected_name and name in expected_names:
            what = f"has the name {shown(layout.names[column])} in column {column + 1}, "
            what += f"expected {shown(expected.names[column])} like {expected.key}"
            remedy = "put the columns into the same order, or remove the names"
            raise RecordingError(item.path, what, remedy)


def notes_on(recordings: Recordings, features: Features, filled: Sequence[int]) -> tuple[str, ...]:
    """Notes on changes of the values of recordings, and on values that look like a mistake.

    Args:
        recordings: The recordings as frames.
        features: How they became frames.
        filled: Missing values of each recording that were interpolated.
    """
    notes: list[str | None] = []
    if isinstance(features, SeriesFeatures):
        width = recordings.n_features // features.copies
        pairs = zip(recordings.keys, recordings.frames, strict=True)
        notes = [
            filled_note(filled),
            clock_note(recordings.frames, recordings.feature_names, width),
            numbered_columns_note([(key, frames[:1, :width]) for key, frames in pairs]),
            _rounding_note("feature", recordings.keys, recordings.frames),
        ]
    if recordings.task == "regression":
        notes.append(_rounding_note("target", recordings.keys, recordings.targets))
    return tuple(note for note in notes if note is not None)


def filled_note(filled: Sequence[int]) -> str | None:
    """A note on missing values that were interpolated, or None; `filled` has their numbers."""
    if not any(filled):
        return None
    return (
        f"{sum(filled):,} missing values in {sum(map(bool, filled)):,} of {len(filled):,} "
        "recordings were interpolated over time (--missing interpolate)."
    )


def clock_note(
    frames: Sequence[npt.NDArray[np.float32]], names: Sequence[str], n_features: int
) -> str | None:
    """A note if a feature rises by the same step in all recordings, as a time stamp does, or None.

    Args:
        frames: The recordings, `[L, F]`.
        names: Names of the features; none if files have none.
        n_features: Features that are looked at, the first ones.
    """
    clocks = np.arange(n_features)
    first_step = None
    for recording in frames:
        values = np.asarray(recording[:, clocks], np.float64)
        if not clocks.size or len(values) < FEWEST_CLOCK_STEPS:
            return None
        steps = np.diff(values, axis=0)
        step = steps.mean(axis=0)
        first_step = step if first_step is None else first_step
        # Time stamps are rounded when they are written, and to float32.
        error = CLOCK_ERROR * step + np.spacing(np.abs(values).max(axis=0).astype(np.float32))
        is_even = (np.abs(steps - step) <= error).all(axis=0)
        is_clock = (step > 0) & is_even & (np.abs(step - first_step) <= error)
        clocks, first_step = clocks[is_clock], first_step[is_clock]
    if not clocks.size:
        return None
    feature = int(clocks[0])
    name = f" '{printable(names[feature])}'" if names else ""
    return (
        f"feature {feature + 1}{name} rises by the same step in all recordings, as a time stamp "
        "does, and a net learns from it: leave it out by naming the others, as in --columns x,y,z."
    )


def numbered_columns_note(
    recordings: Sequence[tuple[str, npt.NDArray[np.float32]]],
) -> str | None:
    """A note if the first step of tables is 0, 1, 2 and so on: names of columns by pandas.

    Args:
        recordings: The name of the file and the values of each recording.
    """
    tables = [(key, values[0]) for key, values in recordings if key.lower().endswith(".csv")]
    numbered = [key for key, step in tables if np.array_equal(step, np.arange(len(step)))]
    if not numbered:
        return None
    n_features = len(tables[0][1])
    # In a single table, so few may be values.
    if n_features < FEWEST_NUMBERED and not (n_features == 2 and len(numbered) == len(tables) > 1):
        return None
    return (
        f"The first step of {len(numbered)} of {len(tables)} tables, such as "
        f"{printable(numbered[0])}, is 0, 1 and so on: if this is a line of column names, remove "
        "it (pandas: header=False)."
    )


def _rounding_note(noun: str, keys: Sequence[str], values: Sequence[StepTarget]) -> str | None:
    """A note if the variation of a feature or target is about as small as the steps of float32.

    A time since 1970 is such a feature: near 1.7e9 s, float32 has steps of 128 s.
    """
    ends = np.array([(each.min(axis=0), each.max(axis=0)) for each in values])  # [B, 2, F]
    least, most = ends[:, 0], ends[:, 1]
    largest = np.maximum(np.abs(least), np.abs(most))
    step = np.spacing(largest)
    with np.errstate(over="ignore"):
        extent = most - least
    is_whole = (least % 1 == 0) & (most % 1 == 0) & (largest < LEAST_ROUNDED_INTEGER)
    is_rounded = (extent > 0) & (extent < FEWEST_FLOAT_STEPS * step) & ~is_whole
    # One large value in all recordings may be what is left of different ones.
    is_rounded |= (step > 1) & (most.max(axis=0) == least.min(axis=0))
    if not is_rounded.any():
        return None
    recording, column = (int(index) for index in np.argwhere(is_rounded)[0])
    low, high, resolution = (each[recording, column] for each in (least, most, step))
    return (
        f"{is_rounded.any(axis=1).sum()} of {len(keys)} recordings have a {noun} that is rounded "
        f"to float32: {noun} {column + 1} of {printable(keys[recording])} goes from {low:.9g} to "
        f"{high:.9g} in steps of {resolution:.3g}; subtract an offset in float64 before you save "
        "it, or leave it out."
    )
