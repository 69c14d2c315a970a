"""A series in a file: `.npy` of `[T, *features]`, or `.csv` with one line per time step.

A csv has numbers between commas, semicolons or tabs. Its first line may hold names, also in quotes.
"""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import RecordingError, checked, reading
from nwavesdk.data.source import Sample
from nwavesdk.internal.checks import close_name

__all__ = ["SeriesOptions", "read_csv", "read_npy"]

# The largest csv [bytes].
MAX_CSV_BYTES = 2**30

# A cell without a value, as spreadsheets and statistics programs write it.
MISSING = ("", "na", "nan", "null")

WRITE_NUMBERS = (
    "write numbers such as -1.5, fill in missing ones (--missing interpolate), or choose columns "
    "(--columns x,y,z)"
)


@dataclass(frozen=True)
class SeriesOptions:
    """What is read of the files of a series.

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
            is cut short, or it has more than `MOST_VALUES` values. Structured arrays are events,
            and not read here.
    """
    with reading(path, "a .npy file", "write it with numpy.save from an array of numbers"):
        array = np.lib.format.open_memmap(path, "r")
        rows = array.reshape(len(array), -1)
    if options.columns:
        rows = rows[:, _find_columns(path, (), rows.shape[1], options.columns)]
    filled, n_filled = _fill_missing(path, rows, options)
    features = () if options.columns else array.shape[1:]
    values = checked(path, filled).reshape(len(rows), *(features or (-1,)))
    return Sample(values, n_filled=n_filled)


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
    with reading(path, "a table of numbers", WRITE_NUMBERS):
        if path.stat().st_size > MAX_CSV_BYTES:
            raise ValueError(f"more than {MAX_CSV_BYTES:,} bytes")
        lines = path.read_text("utf-8-sig").rstrip(" \n").split("\n")
        # No number holds a tab or a semicolon, so the last line shows the separator.
        delimiter = next((letter for letter in "\t;" if letter in lines[-1]), ",")
        names, n_header_lines, n_columns = _read_header(path, lines, delimiter, options)
        columns = _find_columns(path, names, n_columns, options.columns)
        try:
            body = np.loadtxt(
                lines[n_header_lines:],
                np.float32,
                delimiter=delimiter,
                comments=None,
                quotechar='"',
                ndmin=2,
                usecols=columns if options.columns else None,
                converters=_number_or_nan if options.missing == "interpolate" else None,
                encoding=None,  # converters of NumPy 1 get bytes otherwise
            )
        except ValueError as error:
            # numpy counts lines from 0 where it cannot convert a cell, and otherwise from 1.
            first = n_header_lines + ("column " in str(error))
            fault = re.sub(
                r"at row (\d+)", lambda row: f"in line {int(row[1]) + first}", str(error)
            )
            raise ValueError(fault) from None
        if len(body) != len(lines) - n_header_lines:
            raise ValueError("it has lines without numbers")
        if options.missing == "error" and np.isnan(body).any():
            row, column = np.argwhere(np.isnan(body))[0]
            raise ValueError(
                f"it has no number in line {n_header_lines + row + 1}, column "
                f"{columns[column] + 1}: --missing interpolate fills in missing values"
            )

    filled, n_filled = _fill_missing(path, body, options)
    names = tuple(names[column] for column in columns) if names else ()
    return Sample(checked(path, filled), names=names, n_filled=n_filled)


def _read_header(
    path: Path, lines: Sequence[str], delimiter: str, options: SeriesOptions
) -> tuple[tuple[str, ...], int, int]:
    """The names of columns, their lines (several if a name has line ends), and their number."""
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    names = next(rows) or [""]
    n_lines = rows.line_num
    first_row = next(rows, names)

    # A first line in which some cells are numbers is a damaged line of numbers, unless it is the
    # header of pandas for columns without names.
    is_header = bool("".join(names).strip()) and not any(map(_is_number, names))
    is_numbered = names == ["", *map(str, range(len(names) - 1))]
    if (
        not names[0].strip()
        and (is_header or is_numbered)
        and len(names) > 1
        and not options.columns
    ):
        what = "has no name in its first column, where pandas writes the numbers of rows"
        remedy = "remove them (index=False), or choose the others, as in --columns x,y,z"
        raise RecordingError(path, what, remedy)
    if not is_header:
        return (), 0, len(names)
    if len(names) != len(first_row):
        what = f"has {len(names)} names in its first line, and {len(first_row)} columns below"
        raise RecordingError(path, what, "write one name for each column, or none")
    return tuple(name.strip() for name in names), n_lines, len(names)


def _find_columns(
    path: Path, names: Sequence[str], n_columns: int, chosen: Sequence[str]
) -> list[int]:
    """The indices of the chosen columns; all of them if none is chosen."""
    if not chosen:
        return list(range(n_columns))
    index_of = {str(index + 1): index for index in range(n_columns)}
    for index in reversed(range(len(names))):
        index_of[names[index]] = index
    for name in chosen:
        if name not in index_of:
            listed = ", ".join(names) if names else f"{n_columns} columns without names"
            what = f"has no column {name!r:.43}{close_name(name, names)}: it has {listed:.200}"
            raise RecordingError(path, what, "name columns that all files have, in --columns")
    return [index_of[name] for name in chosen]


def _fill_missing(
    path: Path, values: npt.NDArray[Any], options: SeriesOptions
) -> tuple[npt.NDArray[Any], int]:
    """The values `[T, columns]`, linear over time where they are missing, and how many were."""
    if options.missing == "error" or values.dtype.kind != "f":
        return values, 0
    with np.errstate(over="ignore"):
        filled = values.astype(np.float32)
    is_nan = np.isnan(filled)
    for column in np.flatnonzero(is_nan.any(axis=0)):
        steps, known = np.flatnonzero(is_nan[:, column]), np.flatnonzero(~is_nan[:, column])
        if not known.size:
            what = f"has no value in column {(options.columns or range(1, column + 2))[column]}"
            remedy = "choose other columns (--columns), or remove the recording"
            raise RecordingError(path, what, remedy)
        filled[steps, column] = np.interp(steps, known, filled[known, column])
    return filled, int(is_nan.sum())


def _is_number(text: str) -> bool:
    """Whether a text is a number, NaN or infinite included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number_or_nan(text: str) -> float:
    if text.strip().lower() in MISSING:
        return math.nan
    if not text.isascii() or "_" in text:  # numbers for Python, and not for numpy
        raise ValueError(f"could not convert string {text!r} to a number")
    return float(text)
