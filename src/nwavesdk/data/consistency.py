"""Whether the recordings of a data set belong together, and values that look like a mistake.

Recordings with other features, or with the same columns in another order, are errors. A line of
column numbers and values that float32 rounds are notes: they may be meant.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nwavesdk.data.features import Featured, Features, SeriesFeatures
from nwavesdk.data.recordings import Frames, Recordings
from nwavesdk.data.source import Item, RecordingError, StepTarget
from nwavesdk.internal.files import printable

__all__ = ["RecordingLayout", "check_layout", "filled_note", "notes_on", "numbered_columns_note"]

# A feature that varies over fewer steps of float32 than these is called rounded.
MIN_FLOAT_STEPS = 64

# A feature that rises in this many steps of each recording, and never falls, does so by intention.
MIN_RISES = 8


class RecordingLayout(NamedTuple):
    """The layout that all recordings of a data set share.

    Args:
        features: Values of a step.
        columns: Columns of a target; 0 without a target.
        names: Names of the features, if the file has them.
        key: A recording with this layout, for errors.
    """

    features: int
    columns: int
    names: tuple[str, ...]
    key: str


def check_layout(
    item: Item,
    featured: Featured,
    names: tuple[str, ...],
    copies: int,
    expected: RecordingLayout | None,
) -> RecordingLayout:
    """Compare the layout of a recording with the recordings before it.

    Files may name the same columns differently, such as by a date, so only names that occur in both
    files are compared.

    Args:
        item: The recording.
        featured: Its frames and its target.
        names: Names of its features; none if the file has none.
        copies: How often a frame has each value of a step.
        expected: The layout of the recordings before it; None for the first recording.

    Returns:
        The layout of the first recording, or of the first recording with names of features.

    Raises:
        RecordingError: If its features or columns differ, or are in another order.
    """
    n_columns = 0 if featured.target is None else featured.target[:1].size
    layout = RecordingLayout(
        featured.frames.shape[1] // copies, n_columns, names, printable(item.key)
    )
    expected = expected or layout

    for count, noun, expected_count in (
        (layout.features, "features in a step", expected.features),
        (layout.columns, "columns of a target", expected.columns),
    ):
        if count != expected_count:
            raise RecordingError(
                item.path, f"has {count} {noun}, expected {expected_count} like {expected.key}"
            )

    for column, (name, expected_name) in enumerate(zip(names, expected.names, strict=False)):
        if name != expected_name and name in expected.names:
            raise RecordingError(
                item.path,
                f"has the name {name!r} in column {column + 1}, expected {expected_name!r} like "
                f"{expected.key}",
                "put the columns into the same order, or remove the names",
            )
    return expected if expected.names or not names else layout


def notes_on(recordings: Recordings, features: Features, filled: Collection[int]) -> Iterator[str]:
    """Notes on changes of the values of recordings, and on values that look like a mistake.

    Args:
        recordings: The recordings as frames.
        features: How they became frames.
        filled: Missing values of each recording that were interpolated.
    """
    if isinstance(features, SeriesFeatures):
        width = recordings.n_features // features.copies
        yield from filled_note(filled)
        yield from _clock_note(recordings.frames, width)
        yield from numbered_columns_note(recordings.keys, recordings.frames, width)
        yield from _rounding_note("feature", recordings.keys, recordings.frames)
    if recordings.task == "regression":
        yield from _rounding_note("target", recordings.keys, recordings.targets)


def filled_note(filled: Collection[int]) -> Iterator[str]:
    """A note on missing values that were interpolated, or none; `filled` has their numbers."""
    if any(filled):
        yield (
            f"{sum(filled):,} missing values in {sum(map(bool, filled)):,} of {len(filled):,} "
            "recordings were interpolated over time (--missing interpolate)."
        )


def _clock_note(recordings: Sequence[Frames], n_features: int) -> Iterator[str]:
    """A note if a feature rises in all recordings and never falls, as a time stamp does.

    Time stamps may jitter, or stay the same for some steps, such as whole seconds.
    """
    is_clock = np.ones(n_features, bool)
    for frames in recordings:
        if not is_clock.any():
            return
        changes = np.diff(frames[:, :n_features], axis=0)
        is_clock &= (changes >= 0).all(axis=0) & ((changes > 0).sum(axis=0) >= MIN_RISES)

    if is_clock.any():
        yield (
            f"feature {is_clock.argmax() + 1} rises in all recordings and never falls, as a time "
            "stamp does, and a net learns from it: remove it by naming the others, as in "
            "--columns x,y,z."
        )


def numbered_columns_note(
    keys: Sequence[str], recordings: Sequence[Frames], n_features: int
) -> Iterator[str]:
    """A note if the first step of tables is 0, 1, 2 and so on: names of columns by pandas.

    Args:
        keys: Names of the files.
        recordings: Their frames, `[L, F]`.
        n_features: Number of features to check, from the first.
    """
    tables = [index for index, key in enumerate(keys) if key.lower().endswith(".csv")]
    numbered = [
        index
        for index in tables
        if recordings[index][0, :n_features].tolist() == [*range(n_features)]
    ]

    # In a single table, a first step of 0 and 1 may be values, not names. In several tables, a
    # single 0 may be a value.
    fewest = 2 if len(numbered) == len(tables) > 1 else 3
    if numbered and n_features >= fewest:
        yield (
            f"The first step of {len(numbered)} of {len(tables)} tables, such as "
            f"{printable(keys[numbered[0]])}, is 0, 1 and so on: if this is a line of column "
            "names, remove it (pandas: header=False)."
        )


def _rounding_note(noun: str, keys: Sequence[str], values: Sequence[StepTarget]) -> Iterator[str]:
    """A note if the variation of a feature or target is about as small as the steps of float32.

    A time since 1970 is such a feature: near 1.7e9 s, float32 has steps of 128 s.
    """
    # The least and the greatest value of each recording and column, [B, F].
    ends = np.array([(array.min(axis=0), array.max(axis=0)) for array in values], np.float64)
    low, high = ends.swapaxes(0, 1)
    step = np.spacing(np.abs(ends).max(axis=1).astype(np.float32))

    # Whole numbers below 2**24, where steps are at most 1, are exact in float32.
    is_whole = (ends % 1 == 0).all(axis=1) & (step <= 1)
    is_rounded = (low < high) & (high - low < MIN_FLOAT_STEPS * step) & ~is_whole
    # Different large values may have been rounded to one value in all recordings.
    is_rounded |= (step > 1) & (high.max(axis=0) == low.min(axis=0))

    if is_rounded.any():
        n_rounded = is_rounded.any(axis=1).sum()
        index = recording, column = tuple(np.argwhere(is_rounded)[0])
        yield (
            f"{n_rounded} of {len(keys)} recordings have a {noun} that is "
            f"rounded to float32: {noun} {column + 1} of {printable(keys[recording])} goes from "
            f"{low[index]:.9g} to {high[index]:.9g} in steps of {step[index]:.3g}; subtract an "
            "offset in float64 before you save it, or remove it."
        )
