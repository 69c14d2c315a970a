"""The recordings of a data folder, and its files that look like recordings but cannot be used.

No path leaves the folder: a link is followed only if it leads to a place inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nwavesdk.data.decoding import RecordingError

__all__ = ["Faults", "RecordingFile", "list_classes", "list_targets"]

OTHER_SOUNDS = {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga"}
OTHER_SOUNDS |= {".ogg", ".opus", ".w64", ".wma"}


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

    def report(self, path: Path, fault: RecordingError) -> None:
        """Raise or collect the fault of a file.

        Raises:
            RecordingError: If `on_error` is `"raise"`.
        """
        if self.on_error == "raise":
            # `nwave train` has no such option, so the text names who has it.
            remedy = f'{fault.remedy}; on_error="skip" in `nwave data` and in Python leaves it out'
            raise RecordingError(fault.name, fault.what, remedy) from None
        self.skipped.append((_escape(path.relative_to(self.root)), fault.what))


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


def list_classes(root: Path, faults: Faults) -> tuple[tuple[str, ...], list[RecordingFile]]:
    """The classes and recordings of `root/<class>/**/*.wav`.

    Hidden files and folders are left out.

    Raises:
        ValueError: If there is no folder, or fewer than two classes with recordings.
        RecordingError: If something in it is not what it should be; see `Faults`.
    """
    _check_folder(root, "expected a folder with one subfolder of .wav files for each class")
    paths_of: dict[str, list[Path]] = {}
    for path in _list_entries(root, root, ".wav", faults):
        if path.is_dir():
            parents = (root.resolve(), path.resolve())
            paths_of[path.name] = list(_walk_files(path, root, ".wav", faults, parents))
        else:
            faults.report(
                path,
                RecordingError(
                    path, "is not in a class folder", "move it to the folder of its class"
                ),
            )
    for name, paths in paths_of.items():
        if not paths:
            raise ValueError(
                f"Class folder {root / name} has no .wav file: add recordings or remove the folder."
            )
    if len(paths_of) < 2:
        got = f"only one class ({next(iter(paths_of))!r})" if paths_of else "no class folders"
        raise ValueError(
            f"Data folder {root} has {got}, expected at least two, each with the .wav files of a "
            "class."
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
    _check_folder(root, expected)
    wavs = root / "wavs"
    targets = root / "target"
    for folder in (wavs, targets):
        _check_folder(folder, expected)
        if not folder.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{folder} leads out of the data folder: copy the files into it.")
    recordings: list[RecordingFile] = []
    present = set(_walk_files(targets, root, ".pt", faults, (targets.resolve(),)))
    for path in _walk_files(wavs, root, ".wav", faults, (wavs.resolve(),)):
        target = targets / path.relative_to(wavs).with_suffix(".pt")
        if target in present:
            recordings.append(RecordingFile(path, path.relative_to(root).as_posix(), 0, target))
        else:
            faults.report(
                path,
                RecordingError(path, f"has no target {target}", "add it, or remove the recording"),
            )
    for target in sorted(present - {recording.target for recording in recordings}):
        wav = wavs / target.relative_to(targets).with_suffix(".wav")
        faults.report(
            target,
            RecordingError(
                target, f"is a target without its {wav}", "add the wav, or remove the target"
            ),
        )
    if not recordings:
        raise ValueError(f"Data folder {root} has no recording with its target, {expected}.")
    return recordings


def _escape(path: Path) -> str:
    """A path as text that can be written anywhere: bytes that are not UTF-8 become escapes."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _check_folder(folder: Path, expected: str) -> None:
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing there"
        raise ValueError(f"Data folder {folder}: got {what}, {expected}.")


def _walk_files(
    folder: Path, root: Path, suffix: str, faults: Faults, parents: tuple[Path, ...]
) -> Iterator[Path]:
    """The files below a folder; `parents` are the resolved folders above, to detect link cycles."""
    for path in _list_entries(folder, root, suffix, faults):
        if not path.is_dir():
            yield path
        elif path.resolve() in parents:
            faults.report(
                path, RecordingError(path, "is a link to a folder that it lies in", "remove it")
            )
        else:
            yield from _walk_files(path, root, suffix, faults, (*parents, path.resolve()))


def _list_entries(folder: Path, root: Path, suffix: str, faults: Faults) -> Iterator[Path]:
    """Usable folders and files with the suffix, in order of their names; others are reported."""
    for path in sorted(folder.iterdir()):
        is_sound = path.suffix.lower() in OTHER_SOUNDS | {suffix}
        if path.name.startswith(".") or not (path.is_dir() or is_sound):
            continue
        fault = _fault_of(path, root, suffix)
        if fault is None:
            yield path
        else:
            faults.report(path, RecordingError(_escape(path), *fault))


def _fault_of(path: Path, root: Path, suffix: str) -> tuple[str, str] | None:
    """What is wrong with an entry of a folder, and its remedy."""
    if path.name != _escape(Path(path.name)):
        return "has a name that is not UTF-8", "rename it"
    if path.is_symlink() and not path.exists():
        return "is a link that leads nowhere", "remove it"
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return "is a link that leads out of the data folder", "copy the file or folder into it"
    has_suffix = path.suffix.lower() == suffix
    if path.is_dir():
        return ("is a folder, expected a file", "rename it") if has_suffix else None
    if not has_suffix:
        return f"is not a {suffix} file", "convert it"
    return None if path.is_file() else ("is neither a file nor a folder", "remove it")
