"""The recordings of a data folder, and its files that look like recordings but cannot be used.

Links to files and folders are followed, also out of the data folder. A recording is used once,
however many links lead to it: otherwise it would be in two classes, or in two sets of a split.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from nwavesdk.data.decoding import RecordingError
from nwavesdk.internal.files import FileError, kind_of, printable, reason_of, shown_path

__all__ = ["Faults", "RecordingFile", "list_classes", "list_targets"]

OTHER_SOUNDS = {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga"}
OTHER_SOUNDS |= {".ogg", ".opus", ".w64", ".wma"}

# Python's letters for the bytes of a name that are not UTF-8 (PEP 383).
UNDECODED = frozenset(map(chr, range(0xDC80, 0xDD00)))

CHANGE_PERMISSIONS = "change its permissions or remove it"

# Folders that a file may lie in, below the data folder.
MOST_FOLDERS = 32

T = TypeVar("T")


@dataclass(frozen=True)
class RecordingFile:
    """A recording in a data folder.

    Args:
        path: Its file.
        key: Its path inside the data folder.
        label: Index of its class; 0 if there are no classes.
        target: The file of its target.
    """

    path: Path
    key: str
    label: int
    target: Path | None = None


@dataclass
class Faults:
    """Faults of files: the first one is raised, or all are collected.

    Args:
        root: The data folder.
        on_error: `"raise"` or `"skip"`.
        skipped: Path inside the folder and reason of each file that is left out.
    """

    root: Path
    on_error: Literal["raise", "skip"]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def report(self, path: Path, fault: FileError) -> None:
        """Raise or collect the fault of a file.

        Raises:
            RecordingError: If `on_error` is `"raise"`.
        """
        if self.on_error == "raise":
            remedy = f'{fault.remedy}; on_error="skip" leaves it out'
            raise RecordingError(fault.path, fault.what, remedy) from None
        self.skipped.append((printable(path.relative_to(self.root).as_posix()), fault.what))

    def collect(
        self, files: Sequence[RecordingFile], read: Callable[[RecordingFile], T]
    ) -> Iterator[tuple[RecordingFile, T]]:
        """Each file with what is read from it; files that cannot be read are reported."""
        for file in files:
            try:
                value = read(file)
            except FileError as fault:
                self.report(file.path, fault)
            else:
                yield file, value


def list_classes(root: Path, faults: Faults) -> tuple[tuple[str, ...], list[RecordingFile]]:
    """The classes and recordings of `root/<class>/**/*.wav`.

    Hidden files and folders are left out.

    Raises:
        ValueError: If there is no folder, or fewer than two classes with recordings.
        RecordingError: If something in it is not what it should be; see `Faults`.
    """
    _check_folder(root, "expected a folder with one subfolder of .wav files for each class")
    walk = _Walk(root, faults, root)
    paths_of: dict[str, list[Path]] = {}
    for path, is_folder in walk.entries(root, ".wav"):
        if is_folder:
            paths_of[path.name] = list(walk.files(path, ".wav"))
        else:
            what = "is not in a class folder"
            faults.report(path, RecordingError(path, what, "move it to the folder of its class"))
    for name, paths in paths_of.items():
        if not paths:
            raise ValueError(
                f"Class folder {printable(root / name)} has no .wav file: add recordings or remove "
                "the folder."
            )
    if len(paths_of) < 2:
        got = f"only one class ({next(iter(paths_of))!r})" if paths_of else "no class folders"
        raise ValueError(
            f"Data folder {printable(root)} has {got}, expected at least two, each with the .wav "
            "files of a class."
        )
    recordings = [
        RecordingFile(path, path.relative_to(root).as_posix(), label)
        for label, paths in enumerate(paths_of.values())
        for path in paths
    ]
    return tuple(paths_of), recordings


def list_targets(root: Path, faults: Faults) -> list[RecordingFile]:
    """The recordings of `root/wavs/**/<stem>.wav`, each with its `root/target/**/<stem>.pt`.

    Raises:
        ValueError: If a folder is missing or empty.
        RecordingError: If one of the two files of a recording is missing; see `Faults`.
    """
    expected = "expected a folder with wavs/<stem>.wav and target/<stem>.pt"
    wavs = root / "wavs"
    targets = root / "target"
    for folder in (root, wavs, targets):
        _check_folder(folder, expected)
    walk = _Walk(root, faults, wavs)
    recordings: list[RecordingFile] = []
    present = set(walk.files(targets, ".pt"))
    for path in walk.files(wavs, ".wav"):
        target = targets / path.relative_to(wavs).with_suffix(".pt")
        if target in present:
            recordings.append(RecordingFile(path, path.relative_to(root).as_posix(), 0, target))
        else:
            what = f"has no target {shown_path(target)}"
            faults.report(path, RecordingError(path, what, "add it, or remove the recording"))
    for target in sorted(present - {recording.target for recording in recordings}):
        wav = wavs / target.relative_to(targets).with_suffix(".wav")
        what = f"is a target without its {printable(wav)}"
        faults.report(target, RecordingError(target, what, "add the wav, or remove the target"))
    if not recordings:
        raise ValueError(
            f"Data folder {printable(root)} has no recording with its target, {expected}."
        )
    return recordings


def _check_folder(folder: Path, expected: str) -> None:
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
        wavs: The folder inside it, or itself, that has the recordings.
    """

    def __init__(self, root: Path, faults: Faults, wavs: Path) -> None:
        self.faults = faults
        self.root = root
        self.above = (root, *root.resolve().parents)
        # The path of every file and folder, by device and inode, which all its links share. A path
        # without links comes before others, so that no link takes the place of what it leads to.
        self.first_paths = {_identity(os.stat(folder)): folder for folder in self.above}
        for path, status in _walk_without_links(wavs):
            self.first_paths.setdefault(_identity(status), path)

    def files(self, folder: Path, suffix: str) -> Iterator[Path]:
        """The usable files with the suffix below a folder, in order of their names."""
        for path, is_folder in self.entries(folder, suffix):
            if is_folder:
                yield from self.files(path, suffix)
            else:
                yield path

    def entries(self, folder: Path, suffix: str) -> Iterator[tuple[Path, bool]]:
        """The usable folders, and files with the suffix, in a folder; whether it is a folder."""
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            fault = RecordingError(folder, f"cannot be read ({error.strerror})", CHANGE_PERMISSIONS)
            self.faults.report(folder, fault)
            return
        for path in paths:
            if path.name.startswith("."):
                continue
            try:
                is_folder = self._check(path, suffix)
            except RecordingError as fault:
                self.faults.report(path, fault)
                continue
            if is_folder is not None:
                yield path, is_folder

    def _check(self, path: Path, suffix: str) -> bool | None:
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
        is_folder = stat.S_ISDIR(status.st_mode)
        has_suffix = path.suffix.lower() == suffix
        if not is_folder and not has_suffix and path.suffix.lower() not in OTHER_SOUNDS:
            return None
        if any(letter in UNDECODED for letter in path.name):
            raise RecordingError(path, "has a name that is not UTF-8", "rename it")
        if is_folder and has_suffix:
            raise RecordingError(path, "is a folder, expected a file", "rename it")
        if not is_folder and not has_suffix:
            raise RecordingError(path, f"is not a {suffix} file", "convert it")
        if not is_folder and not stat.S_ISREG(status.st_mode):
            what = f"is {kind_of(status.st_mode)}, expected a file"
            raise RecordingError(path, what, "remove it")
        # Recordings may share a target, as they may share a class.
        if is_folder or suffix == ".wav":
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


def _walk_without_links(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The folders and wavs below a folder that are reached through no link."""
    for folder, folders, files in os.walk(root):
        too_deep = len(Path(folder).relative_to(root).parts) > MOST_FOLDERS
        folders[:] = [] if too_deep else sorted(f for f in folders if not f.startswith("."))
        wavs = sorted(f for f in files if f.lower().endswith(".wav") and not f.startswith("."))
        for path in (Path(folder, name) for name in (*folders, *wavs)):
            with suppress(OSError):  # it may be gone already
                status = path.lstat()
                if not stat.S_ISLNK(status.st_mode):
                    yield path, status


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
