"""The numbers of a recording: their limit, their conversion to float32, and where one is wrong."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = [
    "MOST_VALUES",
    "NUMBER_KINDS",
    "Values",
    "excerpt",
    "find_not_finite",
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


def parse_rows(rows: Iterable[str], delimiter: str, *, has_quotes: bool = False) -> Values:
    """The numbers of a text with one row per line.

    Args:
        rows: The lines; at least one is not empty.
        delimiter: The letter between two numbers.
        has_quotes: Whether numbers may be in double quotes.

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
        )
    return values


def excerpt(text: str) -> str:
    """A part of a file for an error, in quotes and not too long.

    Example:
        >>> excerpt("one"), len(excerpt(1000 * "x"))
        ("'one'", 43)
    """
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
