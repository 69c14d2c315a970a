"""The recordings in the class folders of a data folder, and files that cannot be used.

Links to files and folders are followed, also out of the data folder. A folder is listed once,
however many links lead to it, so that a listing ends.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, Part
from nwavesdk.internal.files import FileError, kind_of, printable, reason_of, shown_path

__all__ = [
    "OTHER_SOUNDS",
    "PARTS",
    "SKIP_REMEDY",
    "Faults",
    "check_parts",
    "is_official",
    "list_classes",
    "list_files",
    "list_targets",
    "visible_folders",
]

# Ends of the names of sounds that are not read: to be converted.
OTHER_SOUNDS = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".m4a", ".mp3", ".w64", ".wma"}
)

# The folders of an official split.
PARTS: tuple[Part, ...] = ("train", "val", "test")

# Words for these folders.
PART_OF_WORD: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

# What is added to the remedy of a file that cannot be used.
SKIP_REMEDY = 'on_error="skip" leaves it out'

# Faults of other files that the error of a file names.
MAX_OTHERS = 4

# Folders that a file may lie in, below the data folder.
MAX_FOLDERS = 32

T = TypeVar("T")


@dataclass
class Faults:
    """Faults of files: the first one is raised, with others among them, or all are collected.

    Args:
        root: The data folder.
        on_error: `"raise"` or `"skip"`.
        skipped: Path inside the folder and reason of each file that is left out.
        table: The table of sets, which may lie in the folder and is not a recording; None if there
            is none.
    """

    root: Path
    on_error: Literal["raise", "skip"]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    table: Path | None = None

    def report(self, path: Path, fault: FileError, others: Sequence[str] = ()) -> None:
        """Raise or collect the fault of a file.

        Args:
            path: The file.
            fault: Its fault.
            others: Names and faults of other recordings, which an error has, too.

        Raises:
            RecordingError: If `on_error` is `"raise"`.
        """
        if self.on_error == "raise":
            remedy = f"{fault.remedy}; {SKIP_REMEDY}"
            if others:
                least = "at least " * (len(others) == MAX_OTHERS)
                remedy += f"; {least}{len(others)} more cannot be used: {'; '.join(others)}"
            raise RecordingError(fault.path, fault.what, remedy) from None
        self.skipped.append((self.name_of(path), fault.what))

    def name_of(self, path: Path) -> str:
        """The path of a file inside the data folder, or its name if it is not inside."""
        is_inside = path.is_relative_to(self.root) and path != self.root
        return printable(path.relative_to(self.root).as_posix() if is_inside else path.name)

    def collect(self, items: Iterable[Item], read: Callable[[Item], T]) -> Iterator[tuple[Item, T]]:
        """Each recording with what is read from it; those that cannot be read are reported.

        Before the first fault is raised, further recordings are read, to name others that cannot be
        used.

        Raises:
            RecordingError: If a recording cannot be read and `on_error` is `"raise"`.
            ValueError: If none can be read.
        """
        faulty: list[tuple[Item, FileError]] = []
        is_empty = True
        for item in items:
            try:
                value = read(item)
            except FileError as fault:
                if self.on_error == "skip":
                    self.report(item.path, fault)
                    continue
                faulty.append((item, fault))
                if len(faulty) > MAX_OTHERS:
                    break
            else:
                if not faulty:
                    is_empty = False
                    yield item, value
        if faulty:
            (first, first_fault), *rest = faulty
            others = [f"{printable(item.key)} {fault.what}" for item, fault in rest]
            self.report(first.path, first_fault, others)
        elif is_empty:
            raise ValueError(f"{printable(self.root)} has no usable recording.")


def is_official(root: Path) -> bool:
    """Whether a folder has the folders of an official split: train, with val, test or both."""
    folders = {path.name for path in visible_folders(root)}
    return "train" in folders and len(folders & set(PARTS)) > 1 and folders <= set(PARTS)


def check_parts(root: Path) -> None:
    """Reject an official split in other words or at another place: its folders are not classes.

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
                "which are not classes, expected only train, val and test at the top for an "
                "official split, with class folders in each: rename or move them, or name the sets "
                "in a table (--split FILE.csv)."
            )


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder, without hidden ones."""
    with suppress(OSError):
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return []


def list_classes(
    root: Path, faults: Faults, suffixes: Collection[str], others: Collection[str] = ()
) -> list[Item]:
    """The recordings of `root/<class>/**`, or of `root/{train,val,test}/<class>/**`.

    Hidden files and folders are left out.

    Args:
        root: The data folder.
        faults: Receives what cannot be used.
        suffixes: The ends of the names of recordings.
        others: Ends of the names of other recordings, which are faults in class folders.

    Raises:
        ValueError: If there are fewer than two classes with recordings, or two whose names differ
            only in spaces.
        RecordingError: If something in it is not what it should be; see `Faults`.
    """
    listing = _Listing(root, faults, suffixes, others)
    parts = [part for part in PARTS if (root / part).is_dir()] if is_official(root) else [None]
    items = [item for part in parts for item in _list_classes(listing, root / (part or ""), part)]

    classes = sorted({str(item.class_name) for item in items})
    if len(classes) < 2:
        got = f"only one class ({classes[0]!r})" if classes else "no class folders"
        raise ValueError(
            f"Data folder {printable(root)} has {got}, expected at least two, each with the "
            f"{listing.form} files of a class."
        )
    for name, other in pairwise(sorted(classes, key=str.strip)):
        if name.strip() == other.strip():
            raise ValueError(
                f"Data folder {printable(root)} has the class folders '{printable(name)}' and "
                f"'{printable(other)}', whose names differ in spaces, expected one: move all "
                "recordings into one of them."
            )
    return items


def _list_classes(listing: "_Listing", folder: Path, part: Part | None) -> Iterator[Item]:
    """The recordings in the class folders of a folder inside the data folder."""
    for path in listing.entries(folder):
        if not path.is_dir():
            remedy = "move it to the folder of its class, or name the folder above"
            fault = RecordingError(path, "is not in a class folder", remedy)
            listing.faults.report(path, fault)
            continue
        files = list(listing.files(path))
        if not files:
            raise ValueError(
                f"Class folder {printable(path)} has no {listing.form} file: add recordings or "
                "remove the folder."
            )
        for file in files:
            key = file.relative_to(listing.root).as_posix()
            yield Item(key, file, class_name=path.name, part=part)


def list_files(
    root: Path, faults: Faults, suffixes: Collection[str], others: Collection[str] = ()
) -> list[Item]:
    """All recordings below a folder, without classes; the arguments are those of `list_classes`.

    Raises:
        RecordingError: If something in it is not what it should be; see `Faults`.
    """
    files = _Listing(root, faults, suffixes, others).files(root)
    return [Item(file.relative_to(root).as_posix(), file) for file in files]


def list_targets(
    root: Path, faults: Faults, suffixes: Collection[str], others: Collection[str] = ()
) -> list[Item]:
    """The sounds of `root/wavs/**/<stem>.wav`, each with its `root/target/**/<stem>.pt`.

    Args:
        root: The data folder.
        faults: Receives what cannot be used.
        suffixes: The ends of the names of sounds.
        others: Ends of the names of other recordings, which are faults.

    Raises:
        ValueError: If no recording has its target.
        RecordingError: If one of the two files of a recording is missing; see `Faults`.
    """
    sounds = {
        path: root / "target" / path.relative_to(root / "wavs").with_suffix(".pt")
        for path in _Listing(root, faults, suffixes, others).files(root / "wavs")
    }
    targets = set(_Listing(root, faults, (".pt",), others).files(root / "target"))

    for path, target in sounds.items():
        if target not in targets:
            problem = f"has no target {shown_path(target)}"
            faults.report(path, RecordingError(path, problem, "add it, or remove the recording"))
    for target in sorted(targets - set(sounds.values())):
        problem = "is a target without its sound in wavs"
        faults.report(
            target, RecordingError(target, problem, "add the sound, or remove the target")
        )
    if not targets & set(sounds.values()):
        raise ValueError(
            f"Data folder {printable(root)} has no recording with its target, expected "
            "wavs/<stem>.wav and target/<stem>.pt."
        )
    return [
        Item(path.relative_to(root).as_posix(), path, target=target)
        for path, target in sounds.items()
        if target in targets
    ]


@dataclass
class _Listing:
    """Lists the folders of a data folder, and reports what should not be there.

    Args:
        root: The data folder.
        faults: Receives what cannot be used.
        suffixes: The ends of the names of recordings.
        others: Those of other recordings, which are faults except at the top.
        listed: The folders that have been listed, without links.
    """

    root: Path
    faults: Faults
    suffixes: Collection[str]
    others: Collection[str] = ()
    listed: set[Path] = field(default_factory=set)

    @property
    def form(self) -> str:
        """The ends of the names of recordings, for messages."""
        *first, last = self.suffixes
        return f"{', '.join(first)} or {last}" if first else last

    def files(self, folder: Path) -> Iterator[Path]:
        """The usable recordings below a folder, in order of their names."""
        for path in self.entries(folder):
            if path.is_dir():
                yield from self.files(path)
            else:
                yield path

    def entries(self, folder: Path) -> Iterator[Path]:
        """The usable folders and recordings in a folder, in order of their names."""
        self.listed.add(folder.resolve())
        try:
            paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            self._report(folder, f"cannot be read ({reason_of(error)})")
            return
        for path in paths:
            fault = self._fault_of(path)
            if fault == "":
                yield path
            elif fault is not None:
                self._report(path, fault)

    def _report(self, path: Path, fault: str) -> None:
        remedy = "rename, convert, move or remove it, or change its permissions"
        self.faults.report(path, RecordingError(path, fault, remedy))

    def _fault_of(self, path: Path) -> str | None:
        """Why an entry cannot be used; empty if it can, None if it is left out."""
        suffix = path.suffix.lower()
        table = self.faults.table
        try:
            mode = os.stat(path).st_mode
            is_table = table is not None and path.samefile(table)
        except OSError as error:
            is_link = path.is_symlink()
            return (
                "is a link that leads nowhere" if is_link else f"cannot be read ({error.strerror})"
            )

        is_folder = stat.S_ISDIR(mode)
        is_special = not (is_folder or stat.S_ISREG(mode))
        is_recording = suffix in self.suffixes
        # A table or a picture at the top describes the data.
        is_other = suffix in self.others and (path.parent != self.root or suffix in OTHER_SOUNDS)
        if is_table or not (is_folder or is_recording or is_other or is_special):
            return None
        faults = {
            "has a name that is not UTF-8": path.name
            != path.name.encode(errors="replace").decode(),
            f"is {kind_of(mode)}, expected a file": is_special or (is_recording and is_folder),
            f"is not a {self.form} file": not (is_folder or is_recording),
            "is a folder that is listed already, or that it lies in": is_folder
            and path.resolve() in {*self.listed, *self.root.resolve().parents},
            f"is nested deeper than {MAX_FOLDERS} folders": is_folder
            and len(path.relative_to(self.root).parts) > MAX_FOLDERS,
        }
        return next((fault for fault, applies in faults.items() if applies), "")
