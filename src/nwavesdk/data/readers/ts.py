"""The format `.ts` of the UCR/UEA archive: labeled series in a text, one per line.

A file has comments (`#`, `%`), then tags (`@univariate false`), then, after `@data`, one line per
series: the values of a dimension are separated by commas, dimensions by colons, and the class comes
last. `name_TRAIN.ts` and `name_TEST.ts` are an official split.

References:
    https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

import codecs
import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nwavesdk.data.readers.streams import StreamedFile
from nwavesdk.data.readers.values import (
    excerpt,
    find_not_finite,
    is_number,
    parse_rows,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, Part, Sample, Source
from nwavesdk.internal.files import one_line, reason_of

__all__ = ["open_ts"]

# The longest line [bytes]: a series of 20 million values.
LONGEST_LINE = 2**28

ADD_TAGS = "add the lines that the format .ts needs"
FILL_IN = "fill in missing values, or cut those at the end of a shorter series"


def open_ts(train: Path, test: Path) -> Source:
    """The series of two `.ts` files; each is read when it is needed.

    Args:
        train: The file of the training set.
        test: The file of the test set.

    Returns:
        A source of series `[T, dimensions]` of any lengths, with the classes in the order of
        `@classLabel` and the keys `"NAME_TRAIN.ts/17"`.

    Raises:
        FileError: If a file does not exist or cannot be opened.
        RecordingError: If a file has no tags or no series, has time stamps or a target instead of
            a class, or a series has no class, or one that is not in `@classLabel`; or if the two
            files have different numbers of dimensions.
    """
    if train.name == test.name:
        what = f"has the name of the other file, {excerpt(test.name)}"
        raise RecordingError(test, what, "name them <name>_TRAIN.ts and <name>_TEST.ts")
    reader = _TsReader({train: _list_series(train), test: _list_series(test)})
    classes = reader.files[train].classes
    dimensions = reader.files[train].dimensions
    if reader.files[test].dimensions != dimensions:
        what = f"has {reader.files[test].dimensions} dimensions, expected {dimensions} as in "
        raise RecordingError(test, what + train.name, "use two files of one problem")
    parts: tuple[tuple[Path, Part], ...] = ((train, "train"), (test, "test"))
    items = tuple(
        Item(f"{path.name}/{index}", path, reader.files[path].classes[label], part, index=index)
        for path, part in parts
        for index, label in enumerate(reader.files[path].labels)
    )
    unknown = next((item for item in items if item.class_name not in classes), None)
    if unknown is not None:
        what = f"has the class {excerpt(str(unknown.class_name))}, which {train.name} has not"
        raise RecordingError(test, what, "use two files of one problem")
    return Source(
        "series", "classification", items, reader.read, reader.digest, classes, (dimensions,)
    )


@dataclass(frozen=True)
class _Tags:
    """What the lines before the series say.

    Args:
        classes: Names of the classes, in the order of the file.
        dimensions: Number of dimensions; 0 if it is not given.
        length: Number of time steps of every series; 0 if it is not given, or not the same.
    """

    classes: tuple[str, ...]
    dimensions: int
    length: int


@dataclass(frozen=True)
class _TsFile:
    """A file whose series have been listed.

    Args:
        file: The file.
        classes: Names of the classes, in the order of the file.
        dimensions: Number of dimensions of every series.
        length: Number of time steps of every series; 0 if it is not given, or not the same.
        starts: Place of the first byte of each series.
        sizes: Length of each series with its class [bytes].
        lines: Line of each series, from 1.
        labels: Index of the class of each series.
    """

    file: StreamedFile
    classes: tuple[str, ...]
    dimensions: int
    length: int
    starts: "array[int]"
    sizes: "array[int]"
    lines: "array[int]"
    labels: "array[int]"


@dataclass(frozen=True)
class _TsReader:
    files: dict[Path, _TsFile]

    def digest(self, item: Item) -> bytes:
        return sha256(self._line_of(item)).digest()

    def read(self, item: Item) -> Sample:
        file = self.files[item.path]
        where = f"in line {file.lines[item.index]}"
        rows = self._line_of(item).decode("ascii", "replace").rpartition(":")[0].split(":")
        if len(rows) != file.dimensions:
            what = f"has {len(rows)} dimensions {where}, expected {file.dimensions}"
            raise RecordingError(item.path, what, "write the same dimensions for each series")
        try:
            if not all(map(str.strip, rows)):  # numpy would leave it out
                raise ValueError("a dimension is empty")
            values = parse_rows(rows, ",")
        except ValueError as error:
            what = _find_fault(rows) or f"something else than numbers ({one_line(error)})"
            raise RecordingError(item.path, f"has {what} {where}", FILL_IN) from None
        place = find_not_finite(values)
        if place is not None:
            dimension, step = place
            what = f"has {values[place]} in dimension {dimension + 1}, time step {step + 1} {where}"
            raise RecordingError(item.path, f"{what}, expected finite float32 numbers", FILL_IN)
        if file.length not in (0, values.shape[1]):
            what = (
                f"has {values.shape[1]} time steps {where}, expected {file.length} (@seriesLength)"
            )
            raise RecordingError(item.path, what, "correct the series, or set @equalLength false")
        return Sample(np.ascontiguousarray(values.T))

    def _line_of(self, item: Item) -> bytes:
        file = self.files[item.path]
        return file.file.read(file.starts[item.index], file.sizes[item.index])


def _find_fault(rows: list[str]) -> str:
    """What is wrong in the first dimension that has a fault; empty if none has."""
    n_steps = len(rows[0].split(","))
    for dimension, row in enumerate(rows, 1):
        cells = row.split(",")
        for step, cell in enumerate(cells, 1):
            where = f"in dimension {dimension}, time step {step}"
            if cell.strip() == "?":
                return f"a missing value (?) {where}"
            if not is_number(cell):
                return f"{excerpt(cell)} {where}"
        if len(cells) != n_steps:
            return f"{len(cells)} time steps in dimension {dimension}, and {n_steps} before,"
    return ""


def _list_series(path: Path) -> _TsFile:
    file = StreamedFile.at(path)
    starts = array("q")
    sizes = array("q")
    numbers = array("q")
    labels = array("q")
    with file.open() as stream:
        lines = _numbered_lines(path, stream)
        tags = _read_tags(path, lines)
        dimensions = tags.dimensions
        index_of = {name: index for index, name in enumerate(tags.classes)}
        for number, start, line in lines:
            if _is_comment(line):
                continue
            _, colon, label = line.rpartition(b":")
            name = label.decode("utf-8", "replace").strip()
            if not colon or name not in index_of:
                got = f"the class {excerpt(name)}" if colon else "no class"
                what = f"has {got} in line {number}, expected one of @classLabel at its end"
                raise RecordingError(path, what, "add it to the tag, or correct the line")
            dimensions = dimensions or line.count(b":")
            starts.append(start)
            sizes.append(len(line))
            numbers.append(number)
            labels.append(index_of[name])
    if not starts:
        raise RecordingError(path, "has no series after @data", "add series, one per line")
    return _TsFile(file, tags.classes, dimensions, tags.length, starts, sizes, numbers, labels)


def _numbered_lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """The number, the place and the content of each line."""
    start = 0
    for number in itertools.count(1):
        try:
            line = stream.readline(LONGEST_LINE + 1)
        except OSError as error:
            what = f"cannot be read ({reason_of(error)})"
            raise RecordingError(path, what, "copy it again") from None
        if not line:
            return
        if len(line) > LONGEST_LINE:
            what = f"has more than {LONGEST_LINE:,} bytes in line {number}"
            raise RecordingError(path, what, "check that it is a .ts file")
        yield number, start, line
        start += len(line)


def _is_comment(line: bytes) -> bool:
    return not line.strip() or line.lstrip()[:1] in (b"#", b"%")


def _read_tags(path: Path, lines: Iterator[tuple[int, int, bytes]]) -> _Tags:
    values: dict[str, str] = {}
    for number, _, line in lines:
        line = line.removeprefix(codecs.BOM_UTF8)
        if _is_comment(line):
            continue
        name, _, value = line.decode("utf-8", "replace").strip().partition(" ")
        if not name.startswith("@"):
            what = f"has {excerpt(name)} in line {number}, expected tags up to @data"
            raise RecordingError(path, what, ADD_TAGS)
        if name.lower() == "@data":
            return _check_tags(path, values)
        values[name.lower()] = value.strip()
    raise RecordingError(path, "has no line @data", ADD_TAGS)


def _check_tags(path: Path, values: dict[str, str]) -> _Tags:
    if _is_true(path, values, "@timestamps"):
        what = "has time stamps (@timeStamps true), expected values at equal intervals"
        raise RecordingError(path, what, "sample it at equal intervals")
    if _is_true(path, values, "@targetlabel"):
        what = "has a number to predict for each series (@targetLabel true), expected classes"
        raise RecordingError(path, what, "use a problem with @classLabel true")
    has_classes, *classes = values.get("@classlabel", "false").split() or ["false"]
    if has_classes.lower() != "true" or len(classes) != len(set(classes)) or not classes:
        what = "has no line of the form '@classLabel true <class> <class> ...' with different names"
        raise RecordingError(path, what, ADD_TAGS)
    dimensions = _count_in(path, values, "@dimensions") or _count_in(path, values, "@dimension")
    if _is_true(path, values, "@univariate"):
        if dimensions > 1:
            what = f"has {dimensions} dimensions, but @univariate is true"
            raise RecordingError(path, what, "correct the tags")
        dimensions = 1
    has_length = _is_true(path, values, "@equallength")
    length = _count_in(path, values, "@serieslength") if has_length else 0
    return _Tags(tuple(classes), dimensions, length)


def _is_true(path: Path, values: dict[str, str], name: str) -> bool:
    value = values.get(name, "false").lower()
    if value not in ("true", "false"):
        what = f"has {excerpt(value)} after {name}, expected true or false"
        raise RecordingError(path, what, "correct the tag")
    return value == "true"


def _count_in(path: Path, values: dict[str, str], name: str) -> int:
    value = values.get(name, "0")
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        what = f"has {excerpt(value)} after {name}, expected a number below 10^9"
        raise RecordingError(path, what, "correct the tag")
    return int(value)
