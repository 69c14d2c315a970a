"""The format `.ts` of the UCR/UEA archive: labeled series in a text, one per line.

A file has comments (`#`, `%`), then tags (`@univariate false`), then, after `@data`, one line per
series: the values of a dimension are separated by commas, dimensions by colons, and the class comes
last. `name_TRAIN.ts` and `name_TEST.ts` are an official split.

References:
    https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nwavesdk.data.reading import RecordingError, checked, digest_of, reading
from nwavesdk.data.source import Item, Part, Sample, Source

__all__ = ["open_ts"]


class _Series(NamedTuple):
    """A series that has not been parsed: its line, from 1, its dimensions and its class."""

    line: int
    dimensions: list[str]
    label: str


class _TsFile(NamedTuple):
    """A file whose series have been listed.

    Attributes:
        classes: Names of the classes, in the order of the file.
        n_dimensions: Number of dimensions of every series.
        length: Number of time steps of every series; 0 if it is not given, or not the same.
        series: The series.
    """

    classes: list[str]
    n_dimensions: int
    length: int
    series: list[_Series]


def open_ts(train: Path, test: Path) -> Source:
    """The series of two `.ts` files; the values of each are parsed when they are needed.

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
            files have different classes or numbers of dimensions.
    """
    parts: tuple[tuple[Part, Path], ...] = (("train", train), ("test", test))
    files = {path: _list_series(path) for _, path in parts}
    classes = files[train].classes
    n_dimensions = files[train].n_dimensions
    labels = {series.label for series in files[test].series}
    if files[test].n_dimensions != n_dimensions or not labels <= set(classes):
        problem = f"has other classes or dimensions than {train.name}"
        raise RecordingError(test, problem, "use two files of one problem")

    items = [
        Item(f"{path.name}/{index}", path, series.label, part, index=index)
        for part, path in parts
        for index, series in enumerate(files[path].series)
    ]

    def read(item: Item) -> Sample:
        file = files[item.path]
        series = file.series[item.index]
        rows = series.dimensions
        with reading(item.path, f"a series in line {series.line}"), np.errstate(over="ignore"):
            if len(rows) != n_dimensions or not all(map(str.strip, rows)):
                raise ValueError(f"it has {len(rows)} dimensions, expected {n_dimensions}")
            values = np.loadtxt(rows, np.float32, delimiter=",", comments=None, ndmin=2)
            if file.length not in (0, values.shape[1]):
                raise ValueError(f"it has {values.shape[1]} time steps, expected {file.length}")
        return Sample(checked(item.path / str(item.index), values.T))

    def digest(item: Item) -> bytes:
        return digest_of(*files[item.path].series[item.index].dimensions)

    return Source(
        "series", "classification", tuple(items), read, digest, tuple(classes), (n_dimensions,)
    )


def _list_series(path: Path) -> _TsFile:
    with reading(path, "a .ts file with classes"):
        # Comments may have any encoding.
        rows = [b"" if row.startswith(b"#") else row for row in path.read_bytes().split(b"\n")]
        lines = [line.strip() for line in b"\n".join(rows).decode("utf-8-sig").split("\n")]
        head = list(takewhile(lambda line: line.lower() != "@data", lines))
        damaged = [line for line in head if line and line[0] not in "@#%"]
        if damaged:
            raise ValueError(f"it has {damaged[0]!r:.40} before @data, expected tags")
        pairs = [line.partition(" ") for line in head if line.startswith("@")]
        tags = {name.lower(): value.strip() for name, _, value in pairs}

        has_classes, *classes = (tags.get("@classlabel") or "false").split()
        switches = {name for name, value in tags.items() if value.lower() == "true"}
        is_other = switches & {"@timestamps", "@targetlabel"}
        if is_other or has_classes.lower() != "true" or len(set(classes)) < len(classes):
            raise ValueError(
                "expected '@classLabel true <class> <class> ...', and neither time stamps nor "
                "@targetLabel: sample it at equal intervals"
            )

        series = []
        for number, line in enumerate(lines[len(head) + 1 :], len(head) + 2):
            if not line or line[0] in "#%":
                continue
            *dimensions, label = map(str.strip, line.split(":"))
            if not dimensions or label not in classes:
                raise ValueError(
                    f"line {number} ends {label!r:.40}, expected a colon and one of @classLabel"
                )
            series.append(_Series(number, dimensions, label))
        if not series:
            raise ValueError("it has no series after @data")

        length = int(tags.get("@serieslength", 0)) if "@equallength" in switches else 0
        n_dimensions = int(tags.get("@dimensions") or tags.get("@dimension") or 0)
        return _TsFile(classes, n_dimensions or len(series[0].dimensions), length, series)
