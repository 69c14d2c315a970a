"""A table that assigns recordings to sets: `file,part[,class][,group]`, as comma-separated text.

Design requirement: nothing is ignored in silence. Each cell is checked, errors name the line, and
recordings that the table does not name are counted.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from nwavesdk.data.reading import reading
from nwavesdk.data.source import Item, Part
from nwavesdk.internal.files import FileError, printable, read_bytes

__all__ = ["SplitTable", "read_split_table"]

PARTS: tuple[Part, ...] = get_args(Part)
# The field of an item that a column sets.
FIELD_OF = {"file": "key", "part": "part", "class": "class_name", "group": "group"}
FORM = "file,part[,class][,group]"

# Letters of a line that an error shows.
MAX_SHOWN = 100


@dataclass(frozen=True)
class SplitTable:
    """A table, checked.

    Args:
        path: Its file.
        columns: Names of its columns.
        rows: The line and the fields of an item of each recording, by its key.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, tuple[int, dict[str, Any]]]

    def apply(self, items: Sequence[Item]) -> tuple[tuple[Item, ...], str]:
        """Give recordings the part, the class and the group that the table has for them.

        Args:
            items: The recordings of the data set, none of which has been read.

        Returns:
            Those that the table names, in their order, and how many it does not name, for a line on
            the screen; empty if it names all.

        Raises:
            FileError: If the table names a file that is not among the items.
        """
        unknown = self.rows.keys() - {item.key for item in items}
        if unknown:
            line, key = min((self.rows[key][0], key) for key in unknown)
            what = f"line {line}: '{printable(key)[:MAX_SHOWN]}' is not a recording of the data"
            like = f", such as '{printable(items[0].key)}'" if items else ""
            raise FileError(self.path, what, f"name a path inside the data folder{like}")

        named = [replace(item, **self.rows[item.key][1]) for item in items if item.key in self.rows]
        n_left_out = len(items) - len(named)
        shown = f"{n_left_out:,} of {len(items):,} recordings left out, not in the table"
        note = shown if n_left_out else ""
        return tuple(named), note


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
    content = read_bytes(path, remedy="split it, or give groups instead")
    with reading(path, "comma-separated text in UTF-8"):
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    (line, columns), *lines = lines or [(1, [])]
    is_known = set(columns) <= set(FIELD_OF) and len(set(columns)) == len(columns)
    if not is_known or "file" not in columns or len(columns) < 2:
        shown = printable(",".join(columns))[:MAX_SHOWN]
        what = f"line {line}: has the columns '{shown}', expected the header {FORM}"
        raise FileError(path, what, "write it with commas, in the first line")
    if not lines:
        raise FileError(path, "names no recording", f"add a line {FORM} for each")

    rows: dict[str, tuple[int, dict[str, Any]]] = {}
    for line, cells in lines:
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns) or not all(cells) or row.get("part", "train") not in PARTS:
            shown = printable(",".join(cells))[:MAX_SHOWN]
            what = f"line {line}: is '{shown}', expected {','.join(columns)}"
            raise FileError(path, what, f"fill in all, with {', '.join(PARTS)} as part")
        key = str(PurePosixPath(row["file"]))  # "./a//b.wav" is "a/b.wav"
        if key in rows:
            what = f"line {line}: '{printable(key)}' is in line {rows[key][0]}, too"
            raise FileError(path, what, "keep one of the two lines")
        fields = {FIELD_OF[name]: cell for name, cell in row.items()}
        rows[key] = (line, {**fields, "key": key})
    return SplitTable(path, tuple(columns), rows)
