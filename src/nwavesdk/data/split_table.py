"""A table that assigns recordings to sets: `file,part[,class][,group]`, as comma-separated text.

Design requirement: nothing is ignored in silence. Each cell is checked, errors name the line, and
recordings that the table does not name are counted.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from nwavesdk.data.source import Item, Part
from nwavesdk.internal.files import FileError, printable, read_bytes

__all__ = ["SplitTable", "read_split_table"]

PARTS: tuple[Part, ...] = get_args(Part)
# The field of an item that a column sets.
FIELD_OF = {"file": "key", "part": "part", "class": "class_name", "group": "group"}
FORM = "file,part[,class][,group]"

# Longest cell [letters]: paths have at most 4096.
MOST_CELL = 4096


@dataclass(frozen=True)
class SplitTable:
    """A table, checked.

    Args:
        path: Its file.
        columns: Names of its columns.
        rows: The cells of each row by the key of its recording.
        lines: The line of each row by the key of its recording.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, dict[str, str]]
    lines: dict[str, int]

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
        known = {item.key for item in items}
        for key, line in self.lines.items():
            if key not in known:
                what = f"line {line}: '{printable(key)}' is not a recording of the data"
                like = f", such as '{printable(items[0].key)}'" if items else ""
                raise FileError(self.path, what, f"name a path inside the data folder{like}")
        named = tuple(self._apply(item) for item in items if item.key in self.rows)
        left_out = len(items) - len(named)
        those = (
            "recording that it does not name is"
            if left_out == 1
            else ("recordings that it does not name are")
        )
        note = f"{left_out:,} {those} left out" if left_out else ""
        return named, note

    def _apply(self, item: Item) -> Item:
        row = self.rows[item.key]
        fields: dict[str, Any] = {FIELD_OF[name]: cell for name, cell in row.items()}
        return replace(item, **fields)


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
    try:
        text = read_bytes(path, remedy="split it, or give groups instead").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not text in UTF-8 (byte {error.start})"
        raise FileError(path, what, "save it as UTF-8") from None
    lines = _numbered_lines(path, text)
    columns = _read_header(path, next(lines, None))
    rows: dict[str, dict[str, str]] = {}
    line_of: dict[str, int] = {}
    for line, cells in lines:
        row = _read_row(path, line, columns, cells)
        # "./a//b.wav" is "a/b.wav".
        key = row["file"] = str(PurePosixPath(row["file"]))
        if key in rows:
            what = f"line {line}: '{printable(key)}' is in line {line_of[key]}, too"
            raise FileError(path, what, "keep one of the two lines")
        rows[key] = row
        line_of[key] = line
    if not rows:
        raise FileError(path, "names no recording", f"add a line {FORM} for each")
    return SplitTable(path, columns, rows, line_of)


def _numbered_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not blank, with its number from 1."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        what = f"line {reader.line_num}: is not comma-separated text ({error})"
        raise FileError(path, what, "correct the line") from None


def _read_header(path: Path, first: tuple[int, list[str]] | None) -> tuple[str, ...]:
    if first is None:
        raise FileError(path, "is empty", f"give it the header {FORM}")
    line, names = first
    are_known = set(names) <= set(FIELD_OF) and len(set(names)) == len(names)
    if not are_known or "file" not in names or len(names) < 2:
        shown = printable(",".join(names))[:100]
        what = f"line {line}: has the columns '{shown}', expected the header {FORM}"
        raise FileError(path, what, "write it with commas, in the first line")
    return tuple(names)


def _read_row(path: Path, line: int, columns: tuple[str, ...], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(columns):
        what = f"line {line}: has {len(cells)} cells, expected {len(columns)}"
        raise FileError(path, what, f"give it {','.join(columns)}")
    row = dict(zip(columns, cells, strict=True))
    for name, cell in row.items():
        if not cell:
            raise FileError(path, f"line {line}: its {name} is empty", "fill it in")
        if len(cell) > MOST_CELL:
            what = f"line {line}: its {name} has {len(cell)} letters, expected at most {MOST_CELL}"
            raise FileError(path, what, "shorten it")
    if row.get("part", "train") not in PARTS:
        what = f"line {line}: its part is '{printable(row['part'])[:60]}'"
        raise FileError(path, what, f"write {', '.join(PARTS[:-1])} or {PARTS[-1]}")
    return row
