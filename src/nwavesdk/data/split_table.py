"""Tables of recordings, as comma-separated text: of their sets, and of the events in them.

Design requirement: nothing is ignored silently. Each cell is checked, errors name the line, and
recordings that the table does not name are counted.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

from nwavesdk.data.reading import reading
from nwavesdk.data.source import BACKGROUND, PARTS, Item
from nwavesdk.internal.files import FileError, read_bytes
from nwavesdk.metrics.detection import Event

__all__ = ["SplitTable", "read_event_times", "read_split_table"]

# The columns of both tables; those in brackets may be missing.
SETS_HEADER = "file,part[,class][,group]"
TIMES_HEADER = "file,start,end,event"

# The field of an item that a column sets.
FIELD_OF = {"file": "key", "part": "part", "class": "class_name", "group": "group"}


@dataclass(frozen=True)
class SplitTable:
    """A checked table.

    Args:
        path: Its file.
        columns: Names of its columns.
        rows: By the key of a recording, the values that the table sets in the fields of its item.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, dict[str, Any]]

    def apply(self, items: Sequence[Item]) -> tuple[tuple[Item, ...], str]:
        """Set the part, the class and the group of recordings as in the table.

        Args:
            items: The recordings of the data set, unread.

        Returns:
            The recordings that the table names, in their order; and a note for the screen on the
            other recordings, empty if the table names all.

        Raises:
            FileError: If the table names a file that is not among the items.
        """
        unknown = self.rows.keys() - {item.key for item in items}
        if unknown:
            problem = f"names '{min(unknown)[:100]}', which is not a recording of the data"
            raise FileError(self.path, problem, "use paths inside the data folder")

        named = [replace(item, **self.rows[item.key]) for item in items if item.key in self.rows]
        n_left_out = len(items) - len(named)
        note = f"{n_left_out:,} of {len(items):,} recordings left out, not in the table"
        return tuple(named), note if n_left_out else ""


def read_split_table(path: Path) -> SplitTable:
    """Read a table of sets.

    Its first line names its columns: `file`, and any of `part`, `class` and `group`, in any order.
    A file is a path inside the data folder, or another key of a recording. A part is `train`, `val`
    or `test`. A table without parts gives classes and groups only.

    Args:
        path: The file, with comma-separated values in UTF-8.

    Raises:
        FileError: If it cannot be read, is not such a table, or a recording occurs twice.
    """
    rows: dict[str, dict[str, Any]] = {}
    columns: list[str] = []
    with reading(path, "comma-separated text in UTF-8", "correct it"):
        for line, columns, cells in _lines_of(path, SETS_HEADER):
            row = dict(zip(columns, cells, strict=False))
            key = _key_of(row)
            is_complete = len(cells) == len(columns) and all(cells)
            if not is_complete or row.get("part", "train") not in PARTS or key in rows:
                raise ValueError(
                    f"line {line}: expected each file once, all columns, and a part of "
                    f"{', '.join(PARTS)}, got '{','.join(cells)}'"
                )
            rows[key] = {FIELD_OF[name]: cell for name, cell in row.items()} | {"key": key}

        if not rows:
            raise ValueError("it names no recording")
    return SplitTable(path, tuple(columns), rows)


def read_event_times(path: Path) -> SplitTable:
    """Read a table of the events in recordings, with the columns `file,start,end,event`.

    A file is a path inside the data folder. Times are in seconds from the start of the file. A file
    may have several events, one a line; the class of the recording is that of the first event.

    Args:
        path: The file, with comma-separated values in UTF-8.

    Raises:
        FileError: If it cannot be read, or is not such a table.
    """
    events: dict[str, tuple[Event, ...]] = {}
    with reading(path, "comma-separated text in UTF-8", "correct it"):
        for line, columns, cells in _lines_of(path, TIMES_HEADER):
            row = dict(zip(columns, cells, strict=False))
            key = _key_of(row)
            try:
                event = Event(row["event"], float(row["start"]), float(row["end"]))
                assert 0 <= event.start < event.end < inf
                assert event.name not in ("", BACKGROUND)
            except (AssertionError, KeyError, ValueError):
                raise ValueError(
                    f"line {line}: expected a file, a start of at least 0 s, a later end and the "
                    f"name of an event, got '{','.join(cells)}'"
                ) from None
            events[key] = (*events.get(key, ()), event)

        if not events:
            raise ValueError("it names no event")
    rows = {key: {"events": inside, "class_name": inside[0].name} for key, inside in events.items()}
    return SplitTable(path, ("file",), rows)


def _key_of(row: Mapping[str, str]) -> str:
    """The key of the recording that a line names: `./a//b.wav` is `a/b.wav`."""
    return str(PurePosixPath(row.get("file", "")))


def _lines_of(path: Path, header: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """The number, the columns and the cells of each line of a table after its header.

    Args:
        path: The file.
        header: The expected columns. A file and another column are needed; callers check others.

    Raises:
        ValueError: If the header has other columns.
    """
    text = io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="")
    reader = csv.reader(text, strict=True)
    lines = ([cell.strip() for cell in cells] for cells in reader if cells)
    columns = next(lines, [])

    known = set(re.findall(r"\w+", header))
    if not {"file"} < set(columns) <= known or len(set(columns)) < len(columns):
        raise ValueError(
            f"line {reader.line_num}: expected the header {header}, got '{','.join(columns)}'"
        )
    for cells in lines:
        yield reader.line_num, columns, cells
