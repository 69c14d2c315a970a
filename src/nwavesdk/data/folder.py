"""The recordings in the class folders of a data folder, and files that cannot be used.

Links to files and folders are followed, also out of the data folder. A folder is listed once,
however many links lead to it, so that a listing ends.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from nwavesdk.data.source import PART_OF_WORD, Item, RecordingError
from nwavesdk.internal.files import FileError, printable, reason_of

__all__ = [
    "OTHER_SOUNDS",
    "SKIP_REMEDY",
    "Faults",
    "check_parts",
    "list_classes",
    "list_files",
    "list_targets",
    "list_top_files",
    "visible_folders",
]

# Ends of the names of sounds that must be converted, because they are not read.
OTHER_SOUNDS = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".m4a", ".mp3", ".w64", ".wma"}
)

# An addition to the remedy for a file that cannot be used.
SKIP_REMEDY = 'on_error="skip" skips it'

# An error of a file names the faults of at most this many other files.
MAX_OTHERS = 4

T = TypeVar("T")


@dataclass
class Faults:
    """Faults of files: the first fault is raised together with a few others, or all are collected.

    Args:
        root: The data folder.
        on_error: `"raise"` or `"skip"`.
        skipped: Name and fault of each skipped recording or file; the name is its key, or its path
            inside the folder.
        table: The table of sets, which may be in the folder and is not a recording; None without a
            table.
    """

    root: Path
    on_error: Literal["raise", "skip"]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    table: Path | None = None

    def report(self, name: str, fault: FileError, others: Iterable[str] = ()) -> None:
        """Raise or collect the fault of a file.

        Args:
            name: Name of the recording, or path of the file inside the folder.
            fault: Its fault.
            others: Names and faults of other recordings; the error also names the first of them.

        Raises:
            RecordingError: If `on_error` is `"raise"`.
        """
        if self.on_error == "raise":
            remedy = f"{fault.remedy}; {SKIP_REMEDY}"
            texts = list(islice(others, MAX_OTHERS))
            if texts:
                remedy += f"; at least {len(texts)} more cannot be used: {'; '.join(texts)}"
            raise RecordingError(fault.path, fault.fault, remedy) from None

        self.skipped.append((printable(name), fault.fault))

    def report_file(self, path: Path, problem: str) -> None:
        """Raise or collect the fault of a file or a folder inside the data folder.

        Raises:
            RecordingError: If `on_error` is `"raise"`.
        """
        fault = RecordingError(
            path,
            problem,
            "move, rename, convert or remove it, change its permissions, or name another folder",
        )
        self.report(path.relative_to(self.root).as_posix(), fault)

    def collect(self, items: Iterable[Item], read: Callable[[Item], T]) -> Iterator[tuple[Item, T]]:
        """Each recording with its content; recordings that cannot be read are reported.

        Before the first fault is raised, further recordings are read, so that the error can name
        several faults.

        Raises:
            RecordingError: If a recording cannot be read and `on_error` is `"raise"`.
            ValueError: If no recording can be read.
        """
        is_empty = True
        remaining = iter(items)
        for item in remaining:
            try:
                value = read(item)
            except FileError as fault:
                self.report(item.key, fault, _faults_of(remaining, read))
            else:
                is_empty = False
                yield item, value

        if is_empty:
            raise ValueError(f"{printable(self.root)} has no usable recording.")


def _faults_of(items: Iterable[Item], read: Callable[[Item], object]) -> Iterator[str]:
    for item in items:
        try:
            read(item)
        except FileError as fault:
            yield f"{printable(item.key)} {fault.fault}"


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder that are not hidden; empty if it cannot be read."""
    with suppress(OSError):
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return []


def list_top_files(path: Path) -> list[Path]:
    """The path of a file, or the files in a folder that has no visible folders."""
    if path.is_dir():
        return [] if visible_folders(path) else sorted(path.iterdir())
    return [path] if path.exists() else []


def check_parts(root: Path) -> None:
    """Reject an official split with unknown names or in a wrong folder: sets are not classes.

    Args:
        root: A data folder that is not an official split.

    Raises:
        ValueError: If it, or a class folder, has folders for two of training, validation and test.
    """
    for folder in (root, *visible_folders(root)):
        names = sorted(path.name for path in visible_folders(folder))
        parts = {PART_OF_WORD.get(name.lower()) for name in names} - {None}
        if len(parts) > 1:
            raise ValueError(
                f"Data folder {printable(folder)} has the folders {printable(', '.join(names))}, "
                "which are not classes, expected class folders, or train, val and test at the "
                "top, all different, with class folders in each: rename or move them, or name the "
                "sets in a table (--split FILE.csv)."
            )


def list_files(
    root: Path, faults: Faults, suffixes: Collection[str], others: Collection[str] = ()
) -> list[Path]:
    """The recordings below a folder, in the order of their names, without hidden files.

    Args:
        root: The folder.
        faults: Receives faults: pipes, links to nothing, and `others`.
        suffixes: The ends of the names of recordings.
        others: Ends of the names of other recordings, which are faults. Tables and pictures at the
            top are not faults, because they may describe the data.

    Raises:
        RecordingError: If the folder has a fault; see `Faults`.
    """
    recordings = []
    for path in sorted(_walk(root, faults)):
        suffix = path.suffix.lower()
        is_recording = suffix in suffixes
        is_other = suffix in others and (path.parent != root or suffix in OTHER_SOUNDS)
        is_utf8 = str(path) == str(path).encode(errors="replace").decode()
        if is_recording and is_utf8:
            recordings.append(path)
        elif is_recording or is_other or not os.path.isfile(path):
            faults.report_file(path, f"is not a {' or '.join(suffixes)} file with a name in UTF-8")
    return recordings


def _walk(root: Path, faults: Faults) -> Iterator[Path]:
    """All files below a folder, except for hidden files and the table of sets."""
    table = faults.table or root  # without a table, a path that is not a file
    listed = set(root.resolve().parents)
    entries = os.walk(
        root,
        followlinks=True,
        onerror=lambda error: faults.report_file(
            Path(error.filename), f"cannot be read ({reason_of(error)})"
        ),
    )
    for name, folders, files in entries:
        folder = Path(name)
        if folder.resolve() in listed:
            faults.report_file(folder, "is listed already, or holds the data")
            folders.clear()
            continue

        # `os.walk` continues with the folders that remain in this list, in its order.
        listed.add(folder.resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [folder / name for name in files if not name.startswith(".")]

        # Names are compared first, because links are slow to follow.
        yield from (
            path
            for path in paths
            if path.name != table.name or os.path.realpath(path) != os.path.realpath(table)
        )


def list_classes(
    root: Path,
    faults: Faults,
    suffixes: Collection[str],
    others: Collection[str] = (),
    has_table: bool = False,
) -> list[Item]:
    """The recordings of `root/<class>/**`.

    Args:
        root: See `list_files`.
        faults: See `list_files`.
        suffixes: See `list_files`.
        others: See `list_files`.
        has_table: Whether a table gives the classes, so that files need no class folders.

    Raises:
        ValueError: If a class folder has no recordings.
        RecordingError: If the folder has a fault; see `Faults`.
    """
    items = []
    for path in list_files(root, faults, suffixes, others):
        key = path.relative_to(root).as_posix()
        class_name, is_below, _ = key.partition("/")
        if is_below or has_table:
            items.append(Item(key, path, class_name=None if has_table else class_name))
        else:
            faults.report_file(path, "is not in a class folder")

    # A class folder that is itself reported as a fault needs no recordings.
    known = {item.class_name for item in items} | {Path(name).name for name, _ in faults.skipped}
    empty = sorted({path.name for path in visible_folders(root)} - known)
    if empty and not has_table:
        raise ValueError(
            f"Data folder {printable(root)} has class folders without a {' or '.join(suffixes)} "
            f"file ({printable(', '.join(empty)):.200}): add recordings, or remove the folders."
        )
    return items


def list_targets(
    root: Path, faults: Faults, suffixes: Collection[str], others: Collection[str] = ()
) -> list[Item]:
    """The sounds of `root/wavs/**/<stem>.wav`, each with its `root/target/**/<stem>.pt`.

    The arguments have the meaning of `list_files`. A target that does not exist is a fault of its
    recording when it is read.

    Raises:
        RecordingError: If a target has no sound; see `Faults`.
    """
    keys = [
        path.relative_to(root).as_posix()
        for path in list_files(root / "wavs", faults, suffixes, others)
    ]
    items = [
        Item(
            key, root / key, target=(root / f"target{key.removeprefix('wavs')}").with_suffix(".pt")
        )
        for key in keys
    ]

    targets = list_files(root / "target", faults, (".pt",), others)
    for path in sorted(set(targets) - {item.target for item in items}):
        faults.report_file(path, "is a target without its sound in the folder wavs")
    return items
