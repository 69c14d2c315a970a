"""Whether the recordings of a data set belong together, and values that look like a mistake.

Recordings with other features, or with the same columns in another order, are errors. A line of
column numbers and values that float32 rounds are notes: they may be meant.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from nwavesdk.data.features import EventBins, Featured
from nwavesdk.data.readers.values import excerpt
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, StepTarget
from nwavesdk.internal.files import printable

__all__ = [
    "Layout",
    "clock_note",
    "filled_note",
    "layout_of",
    "misplaced_fault",
    "numbered_columns_note",
    "other_layout",
    "rounding_note",
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
        features: Features of a frame.
        columns: Columns of a target: 0 without one.
        names: Names of the features, if the file has them.
    """

    features: int
    columns: int
    names: tuple[str, ...]

    def is_like(self, other: "Layout") -> bool:
        """Whether both have the same, and no name at different places."""
        has_widths = (self.features, self.columns) == (other.features, other.columns)
        return has_widths and _misplaced(self.names, other.names) is None


def layout_of(featured: Featured, names: tuple[str, ...]) -> Layout:
    """The layout of a recording.

    Args:
        featured: Its frames and its target.
        names: Names of its features; none if the file has none.
    """
    frames, target = featured
    features = frames.n_places if isinstance(frames, EventBins) else frames.shape[1]
    columns = 0 if target is None else target[:1].size
    return Layout(features, columns, names)


def other_layout(
    item: Item, got: Layout, expected: Layout, first: str, copies: int
) -> RecordingError:
    """The fault of a recording with another layout than the first one.

    Args:
        item: The recording.
        got: Its layout.
        expected: The layout of the first one.
        first: Name of the first one, for errors.
        copies: How often a frame has each value of a step.
    """
    if got.features != expected.features:
        what = f"has {got.features // copies} features in a step"
        wanted = f"expected {expected.features // copies}"
        return RecordingError(item.path, f"{what}, {wanted} like {first}")
    if got.columns != expected.columns:
        what = f"has {got.columns} columns, expected {expected.columns} like {first}"
        return RecordingError(item.target or item.path, what)
    fault = misplaced_fault(item.path, got.names, expected.names, first)
    assert fault is not None
    return fault


def _misplaced(names: Sequence[str], expected: Sequence[str]) -> int | None:
    """The first column whose name belongs to another one, or None.

    Files may name the same columns differently, such as by a date, so only names that occur in both
    count. Case and the way in which Unicode encodes a letter make no difference.

    Args:
        names: The names of columns; none if they are not known.
        expected: The names that are expected; none if they are not known.

    Example:
        >>> _misplaced(("y", "x"), ("X", "Y")), _misplaced(("a", "b"), ("x", "y"))
        (0, None)
    """
    got, wanted = ([normalize("NFC", name).casefold() for name in one] for one in (names, expected))
    for column, (name, other) in enumerate(zip(got, wanted, strict=False)):
        if name != other and name in wanted:
            return column
    return None


def misplaced_fault(
    path: Path, names: Sequence[str], expected: Sequence[str], like: str
) -> RecordingError | None:
    """The fault of a recording whose columns have another order, or None.

    Args:
        path: The file.
        names: The names of its columns.
        expected: The names that are expected.
        like: What has these, for the error.
    """
    column = _misplaced(names, expected)
    if column is None:
        return None
    what = f"has the name {excerpt(names[column])} in column {column + 1}, "
    what += f"expected {excerpt(expected[column])} like {like}"
    remedy = "put the columns into the same order, or remove the names"
    return RecordingError(path, what, remedy)


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


def rounding_note(noun: str, keys: Sequence[str], values: Sequence[StepTarget]) -> str | None:
    """A note if the variation of a feature or target is about as small as the steps of float32.

    A time since 1970 is such a feature: near 1.7e9 s, float32 has steps of 128 s.
    """
    ends = np.array([(one.min(axis=0), one.max(axis=0)) for one in values])  # [B, 2, F]
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
