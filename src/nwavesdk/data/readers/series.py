"""A series in a file: `.npy` of `[T, *features]`, or `.csv` with one line per time step.

A csv has numbers between commas, semicolons or tabs. Its first line may hold names, also in quotes.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nwavesdk.data.reading import Array, checked, reading
from nwavesdk.data.source import Sample
from nwavesdk.internal.checks import close_name

__all__ = ["SeriesOptions", "read_csv", "read_npy"]

# The largest csv [bytes].
MAX_CSV_BYTES = 2**30

# A cell that is a number, NaN or infinite included.
NUMBER = re.compile(
    r"[-+]?(nan|inf(inity)?|(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)", re.ASCII | re.IGNORECASE
)

WRITE_NUMBERS = (
    "write numbers such as -1.5, fill in missing values (--missing interpolate), or choose columns "
    "(--columns x,y,z)"
)


@dataclass(frozen=True)
class SeriesOptions:
    """Options for reading the files of series.

    Args:
        columns: Names of the columns that are features, or their numbers from 1; empty for all.
        missing: Whether a missing value is an error, or interpolated over time.
    """

    columns: tuple[str, ...] = ()
    missing: Literal["error", "interpolate"] = "error"


ALL_COLUMNS = SeriesOptions()


def read_npy(path: Path, options: SeriesOptions = ALL_COLUMNS) -> Sample:
    """The series in a `.npy`; no code in the file is run.

    Args:
        path: The file.
        options: See `SeriesOptions`. Columns are the features of a step in a row.

    Returns:
        Values `[T, *features]`, float32; an array `[T]` becomes `[T, 1]`.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If it is not an array of finite real numbers with at least one time step, it
            is cut short, or it has more than `MAX_VALUES` values. Structured arrays are events,
            and not read here.
    """
    with reading(path, "a .npy file", "write it with numpy.save from an array of numbers"):
        array: Array = np.lib.format.open_memmap(path, "r")
        if options.columns or array.ndim < 2:
            rows = array.reshape(len(array), -1)
            array = rows[:, _find_columns((), rows.shape[1], options.columns) or slice(None)]
        filled, n_filled = _fill_missing(path, array, options)
        return Sample(checked(path, filled), n_filled=n_filled)


def read_csv(path: Path, options: SeriesOptions = ALL_COLUMNS) -> Sample:
    """The series in a `.csv` in UTF-8, one line per time step and one column per feature.

    Args:
        path: The file.
        options: See `SeriesOptions`. Columns that are not chosen may hold anything.

    Returns:
        Values `[T, C]`, float32, and the names of their columns, if it has them.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If it is not text, a cell is not a finite number, lines have different
            numbers of cells, or there is no line with numbers. The error names line and column.
    """
    with reading(path, "a table of numbers", WRITE_NUMBERS, max_bytes=MAX_CSV_BYTES):
        lines = path.read_text("utf-8-sig").rstrip(" \n").split("\n")
        # No number contains a tab or a semicolon, so the last line shows the separator.
        delimiter = next((letter for letter in "\t;" if letter in lines[-1]), ",")

        names, n_columns, n_header_lines = _read_header(lines, delimiter, options)
        columns = _find_columns(names, n_columns, options.columns)

        body = lines[n_header_lines:]
        if options.missing == "interpolate":
            # *+ does not backtrack, with which long runs of spaces would take quadratic time.
            missing = rf'(^|{delimiter}) *+("?) *+(na|nan|null)? *+\2 *+(?={delimiter}|$)'
            body = [re.sub(missing, r"\1nan", line, flags=re.IGNORECASE) for line in body]

        numbers = _read_numbers(body, n_header_lines, delimiter, columns or None)
        filled, n_filled = _fill_missing(path, numbers, options)
        shown = [names[column] for column in columns if names] or names
        return Sample(checked(path, filled), names=tuple(shown), n_filled=n_filled)


def _read_header(
    lines: Sequence[str], delimiter: str, options: SeriesOptions
) -> tuple[list[str], int, int]:
    """The names of columns, if there are any, the number of columns, and the lines of the names."""
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    names = [name.strip() for name in next(rows)]
    n_lines = rows.line_num  # several if a name has line ends

    # If some cells are numbers, the first line is a line of numbers, which may be damaged.
    if not any(names) or any(map(NUMBER.fullmatch, names)):
        return [], len(names), 0

    n_columns = len(next(rows, names))
    if len(names) != n_columns or not (names[0] or options.columns):
        raise ValueError(
            f"its {n_columns} columns have the names {names}, expected a name per column: "
            "remove the column of row numbers (pandas: index=False), or choose the other columns"
        )
    return names, n_columns, n_lines


def _read_numbers(
    body: Sequence[str], n_header_lines: int, delimiter: str, columns: Sequence[int] | None
) -> Array:
    """The numbers in lines of text; an error names the line and the column."""
    try:
        numbers = np.loadtxt(
            body, np.float32, None, delimiter, usecols=columns, ndmin=2, quotechar='"'
        )
    except ValueError as error:
        # numpy counts lines from 0 where it cannot convert a cell, and otherwise from 1.
        first = n_header_lines + ("column " in str(error))
        raise ValueError(
            re.sub(r"at row (\d+)", lambda row: f"in line {int(row[1]) + first}", str(error))
        ) from None

    if len(numbers) != len(body):
        raise ValueError("it has lines without numbers")
    return numbers


def _find_columns(names: Sequence[str], n_columns: int, chosen: Sequence[str]) -> list[int]:
    """The indices of the chosen columns, by name or else by number."""
    labels = [*names, *map(str, range(1, n_columns + 1))]
    for name in chosen:
        if name not in labels:
            raise ValueError(
                f"no column {name!r:.43}{close_name(name, names)}: "
                f"it has {', '.join(names or labels):.200}"
            )
    return [labels.index(name) % n_columns for name in chosen]


def _fill_missing(path: Path, values: Array, options: SeriesOptions) -> tuple[Array, int]:
    """The values `[T, *features]` with missing values interpolated, and the number of these."""
    if options.missing == "error" or values.dtype.kind != "f":
        return values, 0

    filled = values.astype(np.float32, order="C")
    rows = filled.reshape(len(filled), -1)
    is_nan = np.isnan(rows)
    for column in np.flatnonzero(is_nan.any(axis=0)):
        steps = np.flatnonzero(is_nan[:, column])
        known = np.flatnonzero(~is_nan[:, column])
        form = f"a series with values in column {(options.columns or range(1, column + 2))[column]}"
        with reading(path, form, "choose other columns (--columns), or remove the recording"):
            rows[steps, column] = np.interp(steps, known, rows[known, column])
    return filled, int(is_nan.sum())
