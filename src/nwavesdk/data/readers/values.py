"""The numbers of a recording: their limit, their conversion to float32, and where one is wrong."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "MOST_VALUES",
    "NUMBER_KINDS",
    "Values",
    "excerpt",
    "find_not_finite",
    "interpolate",
    "is_missing",
    "is_number",
    "parse_rows",
    "to_float32",
]

Values = npt.NDArray[np.float32]

# The most values of a recording: 512 MiB as float32, 4,000 frames of a camera with 128 x 128 pixels
# and two polarities.
MOST_VALUES = 2**27

# numpy's letters for the dtypes of real numbers: booleans, signed and unsigned integers, floats.
NUMBER_KINDS = "biuf"


def to_float32(values: npt.NDArray[np.generic]) -> Values:
    """Real numbers as float32; those that are too large become infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def find_not_finite(values: Values) -> tuple[int, ...] | None:
    """The indices of the first value that is NaN or infinite; None if there is none."""
    # The sum is finite only if all values are: a fast test that needs no memory. In float64, it
    # cannot overflow.
    with np.errstate(invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return None
    places = np.argwhere(~np.isfinite(values))
    return tuple(int(index) for index in places[0]) if len(places) else None


def is_number(text: str) -> bool:
    """Whether a text is a number, NaN or infinite included.

    Example:
        >>> [is_number(text) for text in ("-1.5e3", " 2 ", "nan", "1_000", "1,5", "")]
        [True, True, True, False, False, False]
    """
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def parse_rows(
    rows: Iterable[str],
    delimiter: str,
    *,
    has_quotes: bool = False,
    columns: Sequence[int] | None = None,
    takes_missing: bool = False,
) -> Values:
    """The numbers of a text with one row per line.

    Args:
        rows: The lines; at least one is not empty.
        delimiter: The letter between two numbers.
        has_quotes: Whether numbers may be in double quotes.
        columns: Indices of the columns to read; None for all, which must be numbers.
        takes_missing: Whether a missing value, such as an empty cell, is NaN and no error.

    Returns:
        `[rows, columns]`.

    Raises:
        ValueError: If something is not a number, or rows have different lengths.
    """
    with np.errstate(over="ignore"):
        values: Values = np.loadtxt(
            rows,
            np.float32,
            delimiter=delimiter,
            comments=None,
            quotechar='"' if has_quotes else None,
            ndmin=2,
            usecols=columns,
            converters=_number_or_nan if takes_missing else None,
            encoding=None,  # converters of NumPy 1 get bytes otherwise
        )
    return values


def is_missing(text: str) -> bool:
    """Whether a cell of a table has no value, as spreadsheets and statistics programs write it."""
    return text.strip().lower() in ("", "na", "nan", "null")


def _number_or_nan(text: str) -> float:
    if is_missing(text):
        return math.nan
    if not is_number(text):
        raise ValueError(f"could not convert string {text!r} to a number")
    return float(text)


def interpolate(values: Values) -> tuple[Values, int, int | None]:
    """A series without its NaNs: linear over time, and the nearest value at both ends.

    Args:
        values: `[T, columns]`.

    Returns:
        The series, the number of values that were filled in, and the first column without any
        value, which stays.
    """
    is_nan = np.isnan(values)
    if not is_nan.any():
        return values, 0, None
    filled = values.copy()
    empty = None
    for column in np.flatnonzero(is_nan.any(axis=0)):
        steps, known = np.flatnonzero(is_nan[:, column]), np.flatnonzero(~is_nan[:, column])
        if len(known):
            filled[steps, column] = np.interp(steps, known, values[known, column])
        elif empty is None:
            empty = int(column)
    return filled, int(is_nan.sum()), empty


def excerpt(text: str) -> str:
    """A part of a file for an error, in quotes and not too long.

    Example:
        >>> excerpt("one"), len(excerpt(1000 * "x"))
        ("'one'", 43)
    """
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
