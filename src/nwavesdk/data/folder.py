"""The recordings in the class folders of a data folder, and files that cannot be used.

Links to files and folders are followed, also out of the data folder. A recording is used once,
however many links lead to it: otherwise it would be in two classes, or in two sets of a split.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from nwavesdk.data.reading import RecordingError, reading
from nwavesdk.data.source import Item, Kind, Part
from nwavesdk.internal.files import FileError, kind_of, printable, reason_of, shown_path

__all__ = [
    "PARTS",
    "SKIP_REMEDY",
    "Faults",
    "check_folder",
    "check_parts",
    "find_kind",
    "holds_events",
    "is_official",
    "list_classes",
    "list_files",
    "list_targets",
    "visible_folders",
]

# Files of sound that are not read, and those of the other kinds.
OTHER_SOUNDS = {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".m4a", ".mp3", ".w64", ".wma"}
SUFFIXES_OF: dict[Kind, frozenset[str]] = {
    "sound": frozenset({".wav", ".flac", ".ogg", ".oga", ".opus"}),
    "series": frozenset({".npy", ".csv"}),
    "image": frozenset({".png", ".jpg", ".jpeg"}),
    "events": frozenset({".bin", ".npy", ".aedat4"}),
}
# The same for messages.
FORMS: dict[Kind, str] = {
    "sound": ".wav, .flac or .ogg",
    "series": ".npy or .csv",
    "image": ".png or .jpg",
    "events": ".bin, .npy or .aedat4",
}
ALL_SUFFIXES = frozenset().union(*SUFFIXES_OF.values())

# The folders of an official split.
PARTS: tuple[Part, ...] = ("train", "val", "test")

# Other words for these folders.
WORDS_FOR_PARTS: dict[str, Part] = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}

# Python's letters for the bytes of a name that are not UTF-8 (PEP 383).
UNDECODED = frozenset(map(chr, range(0xDC80, 0xDD00)))

CHANGE_PERMISSIONS = "change its permissions or remove it"

# What is added to the remedy of a file that cannot be used.
SKIP_REMEDY = 'on_error="skip" leaves it out'

# Faults of other files that the error of a file names.
MOST_OTHERS = 4

# Folders that a file may lie in, below the data folder.
MOST_FOLDERS = 32

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
                least = "at least " * (len(others) == MOST_OTHERS)
                remedy += f"; {least}{len(others)} more cannot be used: {'; '.join(others)}"
            raise RecordingError(fault.path, fault.what, remedy) from None
        self.skipped.append((printable(path.relative_to(self.root).as_posix()), fault.what))

    def collect(self, items: Iterable[Item], read: Callable[[Item], T]) -> Iterator[tuple[Item, T]]:
        """Each recording with what is read from it; those that cannot be read are reported.

        Before the first fault is raised, further recordings are read, to name others that cannot be
        used.
        """
        first: tuple[Path, FileError] | None = None
        others: list[str] = []
        for item in items:
            try:
                value = read(item)
            except FileError as fault:
                if self.on_error == "skip":
                    self.report(item.path, fault)
                elif first is None:
                    first = item.path, fault
                else:
                    others.append(f"{printable(item.key)} {fault.what}")
                    if len(others) == MOST_OTHERS:
                        break
            else:
                if first is None:
                    yield item, value
        if first is not None:
            self.report(*first, others)


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
        names = {path.name: _part_of(path.name) for path in visible_folders(folder)}
        parts = {part for part in names.values() if part}
        if len(parts) < 2:
            continue
        found = ", ".join(repr(printable(name)) for name in sorted(names))
        remedy = "rename or move them, or name the sets in a table (--split FILE.csv)"
        if folder == root:
            remedy = f"expected only train, val and test for an official split: {remedy}"
        else:
            remedy = f"expected train/{printable(folder.name)} and so on: {remedy}"
        raise ValueError(
            f"Data folder {printable(folder)} has the folders {found}, which are not classes, "
            f"{remedy}."
        )


def _part_of(name: str) -> Part | None:
    """The part of an official split that the name of a folder means."""
    word = name.lower()
    return next((part for part in PARTS if part == word), WORDS_FOR_PARTS.get(word))


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder, without hidden ones."""
    with suppress(OSError):
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return []


def find_kind(root: Path) -> Kind | None:
    """What most files of a folder are, or None if no file can be a recording.

    A `.npy` file is a series, or events, which its header shows.
    """
    counts: Counter[str] = Counter()
    first_npy: Path | None = None
    for _, paths in _walk_files(root):
        counts.update(path.suffix.lower() for path in paths)
        first_npy = first_npy or next((p for p in paths if p.suffix.lower() == ".npy"), None)
    counts_of = {
        kind: sum(counts[suffix] for suffix in suffixes) for kind, suffixes in SUFFIXES_OF.items()
    }
    if first_npy is not None and counts[".npy"]:
        counts_of["series" if holds_events(first_npy) else "events"] -= counts[".npy"]
    kind = max(counts_of, key=lambda kind: counts_of[kind])
    if counts_of[kind]:
        return kind
    return "sound" if any(counts[suffix] for suffix in OTHER_SOUNDS) else None


def holds_events(path: Path) -> bool:
    """Whether a `.npy` file holds records, as events do, and not a series; by its header alone."""
    # The header is a dict as text, in which the type of a record is a list.
    with suppress(FileError), reading(path, "a .npy file"), open(path, "rb") as file:
        return b"'descr': [" in file.read(100)
    return False


def list_classes(root: Path, faults: Faults, kind: Kind = "sound") -> list[Item]:
    """The recordings of `root/<class>/**`, or of `root/{train,val,test}/<class>/**`.

    Hidden files and folders are left out.

    Args:
        root: The data folder.
        faults: Receives what cannot be used.
        kind: What the recordings are.

    Raises:
        ValueError: If there is no folder, or fewer than two classes with recordings, or two whose
            names differ only in spaces.
        RecordingError: If something in it is not what it should be; see `Faults`.
    """
    check_folder(root, "expected a folder with one subfolder of recordings for each class")
    walk = _Walk(root, faults, root, SUFFIXES_OF[kind], FORMS[kind])
    if is_official(root):
        parts = [part for part in PARTS if (root / part).is_dir()]
        items = [
            replace(item, part=part)
            for part in parts
            for item in _list_classes(root, root / part, walk)
        ]
    else:
        items = _list_classes(root, root, walk)
    classes = sorted({item.class_name for item in items if item.class_name is not None})
    if len(classes) < 2:
        got = f"only one class ({classes[0]!r})" if classes else "no class folders"
        raise ValueError(
            f"Data folder {printable(root)} has {got}, expected at least two, each with the "
            f"{walk.form} files of a class."
        )
    written: dict[str, str] = {}
    for name in classes:
        like = written.setdefault(name.strip(), name)
        if like != name:
            raise ValueError(
                f"Data folder {printable(root)} has the class folders '{printable(like)}' and "
                f"'{printable(name)}', whose names differ in spaces, expected one: move all "
                "recordings into one of them."
            )
    return items


def _list_classes(root: Path, folder: Path, walk: "_Walk") -> list[Item]:
    """The recordings in the class folders of a folder inside the data folder."""
    items: list[Item] = []
    for path, is_folder in walk.entries(folder):
        if not is_folder:
            remedy = "move it to the folder of its class"
            if not visible_folders(folder) and len(visible_folders(folder.absolute().parent)) > 1:
                remedy = f"give the parent folder if {printable(folder.name)!r} is a class"
            walk.report(path, RecordingError(path, "is not in a class folder", remedy))
            continue
        files = list(walk.files(path))
        if not files:
            raise ValueError(
                f"Class folder {printable(path)} has no {walk.form} file: add recordings or remove "
                "the folder."
            )
        items += [
            Item(file.relative_to(root).as_posix(), file, class_name=path.name) for file in files
        ]
    return items


def list_files(root: Path, faults: Faults, kind: Kind) -> list[Item]:
    """All recordings below a folder, without classes: a table gives them.

    Raises:
        ValueError: If there is no folder.
        RecordingError: If something in it is not what it should be; see `Faults`.
    """
    check_folder(root, "expected a folder of recordings")
    walk = _Walk(root, faults, root, SUFFIXES_OF[kind], FORMS[kind])
    return [Item(file.relative_to(root).as_posix(), file) for file in walk.files(root)]


def list_targets(root: Path, faults: Faults) -> list[Item]:
    """The sounds of `root/wavs/**/<stem>.wav`, each with its `root/target/**/<stem>.pt`.

    Sounds of other formats are in `wavs` too.

    Raises:
        ValueError: If a folder is missing or empty.
        RecordingError: If one of the two files of a recording is missing; see `Faults`.
    """
    expected = "expected a folder with wavs/<stem>.wav and target/<stem>.pt"
    wavs = root / "wavs"
    targets = root / "target"
    for folder in (root, wavs, targets):
        check_folder(folder, expected)
    walk = _Walk(root, faults, wavs, SUFFIXES_OF["sound"], FORMS["sound"])
    target_walk = _Walk(root, faults, targets, frozenset({".pt"}), ".pt")
    items: list[Item] = []
    present = set(target_walk.files(targets))
    for path in walk.files(wavs):
        target = targets / path.relative_to(wavs).with_suffix(".pt")
        if target in present:
            items.append(Item(path.relative_to(root).as_posix(), path, target=target))
        else:
            what = f"has no target {shown_path(target)}"
            faults.report(path, RecordingError(path, what, "add it, or remove the recording"))
    for target in sorted(present - {item.target for item in items}):
        wav = wavs / target.relative_to(targets).with_suffix(".wav")
        what = f"is a target without its {printable(wav)}"
        faults.report(target, RecordingError(target, what, "add the wav, or remove the target"))
    if not items:
        raise ValueError(
            f"Data folder {printable(root)} has no recording with its target, {expected}."
        )
    return items


def check_folder(folder: Path, expected: str) -> None:
    """Reject what is not a folder that can be listed.

    Args:
        folder: The path.
        expected: What it should be, for the message.

    Raises:
        ValueError: If it is not.
    """
    what = "does not exist"
    try:
        mode = os.stat(folder).st_mode
        if stat.S_ISDIR(mode):
            return
        what = f"is {kind_of(mode)}"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        what = f"cannot be used ({reason_of(error)})"
    raise ValueError(f"Data folder {printable(folder)} {what}, {expected}.")


class _Walk:
    """Lists a data folder, and reports files and folders that it has listed already.

    Args:
        root: The data folder.
        faults: Receives what cannot be used.
        top: The folder inside it, or itself, that has the recordings.
        suffixes: The ends of their names.
        form: The same for messages.
    """

    def __init__(
        self, root: Path, faults: Faults, top: Path, suffixes: frozenset[str], form: str
    ) -> None:
        self.report = faults.report
        self.table = None if faults.table is None else _identity(os.stat(faults.table))
        self.root = root
        self.suffixes = suffixes
        self.form = form
        # Files of other kinds among recordings are a mistake; those of no kind are left out.
        self.others = OTHER_SOUNDS | (ALL_SUFFIXES - suffixes)
        self.above = (root, *root.resolve().parents)
        # The path of every file and folder, by device and inode, which all its links share. A path
        # without links comes before others, so that no link takes the place of what it leads to.
        self.first_paths = {_identity(os.stat(folder)): folder for folder in self.above}
        for path, status in _walk_without_links(top, suffixes):
            self.first_paths.setdefault(_identity(status), path)

    def files(self, folder: Path) -> Iterator[Path]:
        """The usable recordings below a folder, in order of their names."""
        for path, is_folder in self.entries(folder):
            if is_folder:
                yield from self.files(path)
            else:
                yield path

    def entries(self, folder: Path) -> Iterator[tuple[Path, bool]]:
        """The usable folders and recordings in a folder; whether an entry is a folder."""
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            fault = RecordingError(folder, f"cannot be read ({error.strerror})", CHANGE_PERMISSIONS)
            self.report(folder, fault)
            return
        for path in paths:
            if path.name.startswith("."):
                continue
            try:
                is_folder = self._check(path)
            except RecordingError as fault:
                self.report(path, fault)
                continue
            if is_folder is not None:
                yield path, is_folder

    def _check(self, path: Path) -> bool | None:
        """Whether an entry is a folder; None if it neither is one nor looks like a recording.

        Raises:
            RecordingError: If it cannot be used.
        """
        try:
            status = os.stat(path)
        except OSError as error:
            if path.is_symlink():
                raise RecordingError(path, "is a link that leads nowhere", "remove it") from None
            what = f"cannot be read ({error.strerror})"
            raise RecordingError(path, what, CHANGE_PERMISSIONS) from None
        if _identity(status) == self.table:
            return None
        suffix = path.suffix.lower()
        is_folder = stat.S_ISDIR(status.st_mode)
        is_recording = suffix in self.suffixes
        # A table or a picture at the top describes the data.
        is_other = suffix in self.others and (path.parent != self.root or suffix in OTHER_SOUNDS)
        if not (is_folder or is_recording or is_other):
            return None
        if any(letter in UNDECODED for letter in path.name):
            raise RecordingError(path, "has a name that is not UTF-8", "rename it")
        if is_folder and is_recording:
            raise RecordingError(path, "is a folder, expected a file", "rename it")
        if not (is_folder or is_recording):
            raise RecordingError(path, f"is not a {self.form} file", "convert or remove it")
        if not is_folder and not stat.S_ISREG(status.st_mode):
            what = f"is {kind_of(status.st_mode)}, expected a file"
            raise RecordingError(path, what, "remove it")
        # Recordings may share a target, as they may share a class.
        if is_folder or ".pt" not in self.suffixes:
            self._check_first(path, status)
        if is_folder and len(path.relative_to(self.root).parts) > MOST_FOLDERS:
            raise RecordingError(path, f"is nested deeper than {MOST_FOLDERS} folders", "move it")
        return is_folder

    def _check_first(self, path: Path, status: os.stat_result) -> None:
        first = self.first_paths.setdefault(_identity(status), path)
        if first in (*self.above, *path.parents):
            raise RecordingError(path, "is a link to a folder that it lies in", "remove it")
        if first != path:
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
            what = f"is the same {kind} as {printable(first)}"
            raise RecordingError(path, what, "remove one of the two")


def _walk_files(root: Path) -> Iterator[tuple[list[Path], list[Path]]]:
    """The folders and the files in a folder and in each one below it, without hidden ones."""
    for folder, folders, files in os.walk(root):
        too_deep = len(Path(folder).relative_to(root).parts) > MOST_FOLDERS
        folders[:] = [] if too_deep else sorted(f for f in folders if not f.startswith("."))
        names = sorted(file for file in files if not file.startswith("."))
        yield [Path(folder, name) for name in folders], [Path(folder, name) for name in names]


def _walk_without_links(
    root: Path, suffixes: frozenset[str]
) -> Iterator[tuple[Path, os.stat_result]]:
    """The folders and recordings below a folder that are reached through no link."""
    for folders, files in _walk_files(root):
        for path in (*folders, *(file for file in files if file.suffix.lower() in suffixes)):
            with suppress(OSError):  # it may be gone already
                status = path.lstat()
                if not stat.S_ISLNK(status.st_mode):
                    yield path, status


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
