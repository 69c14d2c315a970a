"""A series in a file: `.npy` of `[T, *features]`, or `.csv` with one line per time step.

A csv has numbers between commas, semicolons or tabs. Its first line may hold names, also in quotes.
"""

import codecs
import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from nwavesdk.data.readers.npy import parse_header
from nwavesdk.data.readers.values import (
    MOST_VALUES,
    NUMBER_KINDS,
    Values,
    excerpt,
    find_not_finite,
    interpolate,
    is_missing,
    is_number,
    parse_rows,
    to_float32,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Sample
from nwavesdk.internal.checks import close_name
from nwavesdk.internal.files import one_line

__all__ = ["SUFFIXES", "SeriesOptions", "read_csv", "read_npy"]

SUFFIXES = frozenset({".npy", ".csv"})

SAVE_NUMBERS = "write it with numpy.save from an array of numbers"
FILL_IN = "fill in missing values (--missing interpolate), or remove the recording"
WRITE_NUMBERS = "write numbers such as -1.5, with commas, semicolons or tabs between them"
LEAVE_OUT = "write numbers such as -1.5, or name the columns to read, as in --columns x,y,z"


@dataclass(frozen=True)
class SeriesOptions:
    """What is read of the files of a series.

    Args:
        columns: Names of the columns that are features, or their numbers from 1; empty for all.
        missing: Whether a missing value is an error, or interpolated over time.
    """

    columns: tuple[str, ...] = ()
    missing: Literal["error", "interpolate"] = "error"


def read_npy(path: Path, data: bytes, options: SeriesOptions | None = None) -> Sample:
    """The series in a `.npy`; no code in the file is run.

    Args:
        path: Name of the file, for errors.
        data: Its content.
        options: See `SeriesOptions`. Columns are the features of a step in a row.

    Returns:
        Values `[T, *features]`, float32; an array `[T]` becomes `[T, 1]`.

    Raises:
        RecordingError: If it is not an array of finite real numbers with at least one time step, it
            is cut short, or it has more than `MOST_VALUES` values. Structured arrays are events,
            and not read here.
    """
    try:
        header = parse_header(data)
    except ValueError as error:
        raise RecordingError(path, f"is not a .npy file ({error})", SAVE_NUMBERS) from None
    if header.dtype.names is not None:
        fields = ", ".join(header.dtype.names)
        what = f"holds events (records with the fields {fields}), expected a series"
        raise RecordingError(path, what, "put series and events into separate data folders")
    if header.dtype.kind not in NUMBER_KINDS:
        what = f"holds values of dtype {header.dtype}, expected real numbers"
        raise RecordingError(path, what, SAVE_NUMBERS)
    if not header.shape or not header.n_values:
        what = f"holds an array of shape {list(header.shape)}, expected [T, *features]"
        raise RecordingError(path, what, "save at least one time step, or remove it")
    _check_count(path, header.n_values)
    if header.file_size != len(data):
        what = f"has {len(data):,} bytes, expected {header.file_size:,} for the shape in its header"
        raise RecordingError(path, what, "copy it again")
    # In Fortran order, the values lie in the order of the reversed axes.
    shape = header.shape[::-1] if header.is_fortran else header.shape
    stored = np.frombuffer(data, header.dtype, offset=header.size).reshape(shape)
    values = to_float32(stored.T if header.is_fortran else stored)
    n_filled = 0
    if options is not None:
        rows = values.reshape(len(values), -1)
        columns = _find_columns(path, (), rows.shape[1], options.columns)
        rows, n_filled = _without_missing(
            path, rows if columns is None else rows[:, columns], options
        )
        values = rows.reshape(values.shape) if columns is None else rows
    place = find_not_finite(values)
    if place is not None:
        what = f"has {values[place]} at index {list(place)}, expected finite float32 numbers"
        raise RecordingError(path, what, FILL_IN)
    return Sample(values.reshape(len(values), 1) if values.ndim == 1 else values, n_filled=n_filled)


def read_csv(path: Path, data: bytes, options: SeriesOptions | None = None) -> Sample:
    """The series in a `.csv`, one line per time step and one column per feature.

    Args:
        path: Name of the file, for errors.
        data: Its content, in UTF-8.
        options: See `SeriesOptions`. Columns that are not chosen may hold anything.

    Returns:
        Values `[T, C]`, float32, and the names of their columns, if it has them.

    Raises:
        RecordingError: If it is not text, a cell is not a finite number, lines have different
            numbers of cells, or there is no line with numbers. The error names line and column.
    """
    content = _normalize(path, data)
    # No number holds a tab or a semicolon, so the last line shows the separator.
    last_line = content[content.rfind(b"\n") + 1 :]
    delimiter = next((letter for letter in "\t;" if letter.encode() in last_line), ",")
    n_lines = content.count(b"\n") + 1
    _check_count(path, content.count(delimiter.encode()) + n_lines)
    options = options or SeriesOptions()
    header = _read_header(path, content, delimiter, has_choice=bool(options.columns))
    if header.n_lines == n_lines:
        raise RecordingError(path, "has no line with numbers", "write one line per time step")
    columns = _find_columns(path, header.names, header.n_columns, options.columns)
    body = _parse_body(path, content, delimiter, header.n_lines, columns, options)
    values, n_filled = _without_missing(path, body, options)
    place = find_not_finite(values)
    if place is not None:
        column = place[1] if columns is None else columns[place[1]]
        where = f"line {header.n_lines + place[0] + 1}, column {column + 1}"
        what = f"has {values[place]} in {where}, expected finite float32 numbers"
        raise RecordingError(path, what, FILL_IN)
    names = header.names
    if names and columns is not None:
        names = tuple(names[column] for column in columns)
    return Sample(values, names=names, n_filled=n_filled)


def _find_columns(
    path: Path, names: Sequence[str], n_columns: int, chosen: Sequence[str]
) -> list[int] | None:
    """The indices of the chosen columns; None if all are used."""
    if not chosen:
        return None
    columns = []
    for name in chosen:
        number = int(name) if name.isascii() and name.isdecimal() else 0
        if name in names:
            columns.append(names.index(name))
        elif 1 <= number <= n_columns:
            columns.append(number - 1)
        else:
            listed = ", ".join(names) if names else f"{n_columns} columns without names"
            what = f"has no column {excerpt(name)}{close_name(name, names)}: it has {listed:.200}"
            raise RecordingError(path, what, "name columns that all files have, in --columns")
    return columns


def _without_missing(path: Path, values: Values, options: SeriesOptions) -> tuple[Values, int]:
    """The values `[T, columns]` without missing ones, and how many were filled in."""
    if options.missing == "error":
        return values, 0
    filled, n_filled, empty = interpolate(values)
    if empty is not None:
        number = options.columns[empty] if options.columns else empty + 1
        what = f"has no value in column {number}"
        raise RecordingError(
            path, what, "choose other columns (--columns), or remove the recording"
        )
    return filled, n_filled


def _check_count(path: Path, n_values: int) -> None:
    if n_values > MOST_VALUES:
        what = f"has {n_values:,} values, expected at most {MOST_VALUES:,}"
        raise RecordingError(path, what, "cut it, or average over time steps")


def _normalize(path: Path, data: bytes) -> bytes:
    """The text of a csv in UTF-8, with line feeds between lines and no empty lines at the end."""
    content = data.removeprefix(codecs.BOM_UTF8)
    try:
        is_text = "\0" not in content.decode()
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        raise RecordingError(path, "is not text in UTF-8", "export it as CSV in UTF-8")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    content = content.rstrip(b" \n")
    if not content:
        raise RecordingError(path, f"is empty ({len(data):,} bytes, none of them visible)")
    return content


def _lines_of(content: bytes) -> Iterator[str]:
    # Decoded line by line: all lines as strings would take many times the memory of the file.
    return TextIOWrapper(BytesIO(content), "utf-8", newline="\n")


class _Header(NamedTuple):
    """The names of columns, their lines (several if a name in quotes has line ends), and a row."""

    names: tuple[str, ...]
    n_lines: int
    n_columns: int


def _read_header(path: Path, content: bytes, delimiter: str, *, has_choice: bool) -> _Header:
    """The names of columns, if there are any; `has_choice` if not all columns are used."""
    reader = csv.reader(_lines_of(content), delimiter=delimiter, skipinitialspace=True)
    try:
        names = next(reader)
        n_lines = reader.line_num
        first_row = next(reader, names)
    except csv.Error as error:
        what = f"is not a table of numbers ({one_line(error)})"
        raise RecordingError(path, what, WRITE_NUMBERS) from None
    others = names[1:]
    is_numbered = others == [str(column) for column in range(len(others))]
    has_names = "".join(others).strip() and (is_numbered or not any(map(is_number, others)))
    if has_names and not names[0].strip() and not has_choice:
        what = "has no name in its first column, where pandas writes the numbers of rows"
        remedy = "leave them out (index=False), or choose the others, as in --columns x,y,z"
        raise RecordingError(path, what, remedy)
    # A first line in which some cells are numbers is a damaged line of numbers.
    if any(map(is_number, names)) or not "".join(names).strip():
        return _Header((), 0, len(names))
    if len(names) != len(first_row):
        what = f"has {len(names)} names in its first line, and {len(first_row)} columns below"
        raise RecordingError(path, what, "write one name for each column, or none")
    return _Header(tuple(name.strip() for name in names), n_lines, len(names))


def _parse_body(
    path: Path,
    content: bytes,
    delimiter: str,
    n_header_lines: int,
    columns: Sequence[int] | None,
    options: SeriesOptions,
) -> Values:
    lines = _lines_of(content)
    for _ in range(n_header_lines):
        next(lines)
    try:
        values = parse_rows(
            lines,
            delimiter,
            has_quotes=b'"' in content,
            columns=columns,
            takes_missing=options.missing == "interpolate",
        )
        if len(values) <= content.count(b"\n") - n_header_lines:
            raise ValueError("it has lines without numbers")
    except ValueError as error:
        fault = f"is not a table of numbers ({one_line(error)})", WRITE_NUMBERS
        what, remedy = _find_fault(content, delimiter, n_header_lines, columns, options) or fault
        raise RecordingError(path, what, remedy) from None
    return values


def _find_fault(
    content: bytes,
    delimiter: str,
    n_header_lines: int,
    columns: Sequence[int] | None,
    options: SeriesOptions,
) -> tuple[str, str] | None:
    """What is wrong in the first line that is not like the others, and the remedy."""
    reader = csv.reader(_lines_of(content), delimiter=delimiter, skipinitialspace=True)
    width = 0
    with suppress(csv.Error):
        for cells in reader:
            line = reader.line_num
            if line <= n_header_lines:
                continue
            width = width or len(cells)
            if not "".join(cells).strip():
                return f"has no numbers in line {line}", WRITE_NUMBERS
            if len(cells) != width:
                sizes = f"{len(cells)}, expected {width}"
                return f"has a wrong number of cells in line {line} ({sizes})", WRITE_NUMBERS
            for column in range(width) if columns is None else columns:
                cell = cells[column]
                if is_number(cell) or (options.missing == "interpolate" and is_missing(cell)):
                    continue
                where = f"line {line}, column {column + 1}"
                remedy = FILL_IN if is_missing(cell) else LEAVE_OUT
                return f"has {excerpt(cell)} in {where}, expected a number", remedy
    return None
