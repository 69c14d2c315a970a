"""Tables of recordings, as comma-separated text: of their sets, and of the events in them.

Design requirement: nothing is ignored silently. Each cell is checked, errors name the line, and
recordings that the table does not name are counted.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

from nwavesdk.data.source import BACKGROUND, PARTS, Item, reading
from nwavesdk.internal.files import FileError, read_bytes
from nwavesdk.metrics.detection import Event

__all__ = ["SplitTable", "read_event_times", "read_split_table"]

# The columns of both tables; those in brackets may be missing.
SETS_HEADER = "file,part[,class][,group]"
TIMES_HEADER = "file,start,end,event"

# Fields of the item of a recording, by name.
Fields = dict[str, Any]

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
    rows: dict[str, Fields]

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

    def fields_of(cells: dict[str, str], earlier: Fields | None) -> Fields:
        assert earlier is None
        assert cells.get("part", "train") in PARTS
        return {FIELD_OF[name]: cell for name, cell in cells.items()}

    expected = f"each file once, all columns, and a part of {', '.join(PARTS)}"
    return _read_table(path, SETS_HEADER, expected, fields_of)


def read_event_times(path: Path) -> SplitTable:
    """Read a table of the events in recordings, with the columns `file,start,end,event`.

    A file is a path inside the data folder. Times are in seconds from the start of the file. A file
    may have several events, one a line; the class of the recording is the first event.

    Args:
        path: The file, with comma-separated values in UTF-8.

    Raises:
        FileError: If it cannot be read, or is not such a table.
    """

    def fields_of(cells: dict[str, str], earlier: Fields | None) -> Fields:
        event = Event(cells["event"], float(cells["start"]), float(cells["end"]))
        assert 0 <= event.start < event.end < inf
        assert event.name != BACKGROUND
        first = earlier or {"class_name": event.name, "events": ()}
        return first | {"events": (*first["events"], event)}

    expected = "a file, a start of at least 0 s, a later end and the name of an event"
    return _read_table(path, TIMES_HEADER, expected, fields_of)


def _read_table(
    path: Path,
    header: str,
    expected: str,
    fields_of: Callable[[dict[str, str], Fields | None], Fields],
) -> SplitTable:
    """Read a table with a file in each line.

    Args:
        path: The file.
        header: Its columns. A file and another column are needed; `fields_of` checks others.
        expected: What a line has, for errors.
        fields_of: Returns the fields of the item of a recording from the cells of a line, by
            column, and from the fields by earlier lines. It raises an `AssertionError`, `KeyError`
            or `ValueError` for wrong cells.

    Raises:
        FileError: If it cannot be read, or is not such a table.
    """
    rows: dict[str, Fields] = {}
    with reading(path, "comma-separated text in UTF-8", "correct it"):
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
            try:
                assert all(cells)
                row = dict(zip(columns, cells, strict=True))
                row["file"] = str(PurePosixPath(row["file"]))  # "./a//b.wav" is "a/b.wav"
                rows[row["file"]] = fields_of(row, rows.get(row["file"]))
            except (AssertionError, KeyError, ValueError):
                raise ValueError(
                    f"line {reader.line_num}: expected {expected}, got '{','.join(cells)}'"
                ) from None

        if not rows:
            raise ValueError("it names no recording")
    return SplitTable(path, tuple(columns), rows)
