"""A table that assigns recordings to sets: `file,part[,class][,group]`, as comma-separated text.

Design requirement: nothing is ignored silently. Each cell is checked, errors name the line, and
recordings that the table does not name are counted.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from nwavesdk.data.reading import reading
from nwavesdk.data.source import PARTS, Item
from nwavesdk.internal.files import FileError, read_bytes

__all__ = ["SplitTable", "read_split_table"]

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
    with reading(path, "comma-separated text in UTF-8", "correct it"):
        text = io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="")
        reader = csv.reader(text, strict=True)
        lines = ([cell.strip() for cell in cells] for cells in reader if cells)
        columns = next(lines, [])
        if not {"file"} < set(columns) <= set(FIELD_OF) or len(set(columns)) < len(columns):
            raise ValueError(
                f"line {reader.line_num}: expected the header file,part[,class][,group], got "
                f"'{','.join(columns)}'"
            )

        for cells in lines:
            row = dict(zip(columns, cells, strict=False))
            key = str(PurePosixPath(row.get("file", "")))  # "./a//b.wav" is "a/b.wav"
            is_complete = len(cells) == len(columns) and all(cells)
            if not is_complete or row.get("part", "train") not in PARTS or key in rows:
                raise ValueError(
                    f"line {reader.line_num}: expected each file once, all columns, and a part of "
                    f"{', '.join(PARTS)}, got '{','.join(cells)}'"
                )
            rows[key] = {FIELD_OF[name]: cell for name, cell in row.items()} | {"key": key}

        if not rows:
            raise ValueError("it names no recording")
    return SplitTable(path, tuple(columns), rows)
