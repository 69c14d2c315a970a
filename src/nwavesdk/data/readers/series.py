"""Files of series: `.npy` of `[T, *features]`, `.csv`, and the format `.ts` of the UCR/UEA archive.

A csv has a line per time step, with numbers between commas, semicolons or tabs. Its first line may
hold names, also in quotes.

A `.ts` file has many labeled series: comments (`#`, `%`), then tags (`@univariate false`), then,
after `@data`, one line per series: the values of a dimension are separated by commas, dimensions by
colons, and the class comes last. `name_TRAIN.ts` and `name_TEST.ts` are an official split.

References:
    https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

import numpy as np

from nwavesdk.data.source import Array, Item, Sample, Source, checked, digest_of, list_rows, reading
from nwavesdk.internal.checks import close_name

__all__ = ["ALL_COLUMNS", "SeriesOptions", "open_ts", "read_csv", "read_npy"]

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
            columns = _find_columns(path, (), rows.shape[1], options.columns)
            array = rows[:, columns or slice(None)]
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
        columns = _find_columns(path, names, n_columns, options.columns)

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


def _find_columns(
    path: Path, names: Sequence[str], n_columns: int, chosen: Sequence[str]
) -> list[int]:
    """The indices of the chosen columns, by name or else by number."""
    labels = [*names, *map(str, range(1, n_columns + 1))]
    with reading(path, "a table with the chosen columns", "correct --columns"):
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


def open_ts(path: Path) -> Source:
    """The series of a `.ts` file; the values of each are parsed when they are needed.

    Args:
        path: The file.

    Returns:
        A source of series `[T, dimensions]` of any lengths, with the classes in the order of
        `@classLabel`. Most series have these dimensions; all others are faults when they are read.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it has no tags or no series, has time stamps or a target instead of a
            class, or a series has no class of `@classLabel`.
    """
    labels = []
    series = []
    with reading(path, "a .ts file with classes"):
        classes, lines = _read_ts_lines(path)
        for number, line in lines:
            *dimensions, label = map(str.strip, line.split(":"))
            if not dimensions or label not in classes:
                raise ValueError(
                    f"line {number} ends {label!r:.40}, expected a colon and one of @classLabel"
                )
            labels.append(label)
            series.append(dimensions)

    # Most series decide the number of dimensions.
    n_dimensions, _ = Counter(map(len, series)).most_common(1)[0]

    def read(item: Item) -> Sample:
        dimensions = series[item.index]
        with reading(path, f"a series in line {lines[item.index][0]}"):
            values = np.loadtxt(dimensions, np.float32, delimiter=",", comments=None, ndmin=2)
            if len(values) != n_dimensions:
                raise ValueError(f"it has {len(values)} dimensions, expected {n_dimensions}")
        return Sample(checked(path / str(item.index), values.T))

    return Source(
        kind="series",
        task="classification",
        items=list_rows(path, labels),
        read=read,
        digest=lambda item: digest_of(*series[item.index]),
        classes=tuple(classes),
        shape=(n_dimensions,),
    )


def _read_ts_lines(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """The classes, and the lines of the series, numbered."""
    # Comments may have any encoding.
    text = path.read_text("utf-8-sig", errors="surrogateescape")
    numbered = enumerate(map(str.strip, text.split("\n")), 1)
    lines = ((number, line) for number, line in numbered if line and line[0] not in "#%")

    # Both loops take from one iterator: tags end at @data, and all later lines are series.
    head = [
        line.partition(" ") for _, line in takewhile(lambda row: row[1].lower() != "@data", lines)
    ]
    tags = {name.lower(): value.strip() for name, _, value in head}
    series = list(lines)

    switches = {name for name, value in tags.items() if value.lower() == "true"}
    switch, *classes = tags.get("@classlabel", "").split() or [""]
    is_tag = all(f"{name}{tags[name]}".isprintable() and name.startswith("@") for name in tags)
    has_classes = switch.lower() == "true" and len(set(classes)) == len(classes)
    if not is_tag or not has_classes or switches & {"@timestamps", "@targetlabel"} or not series:
        raise ValueError(
            "expected tags such as '@classLabel true <class> <class> ...', without time stamps and "
            "@targetLabel, and series after @data"
        )
    return classes, series
