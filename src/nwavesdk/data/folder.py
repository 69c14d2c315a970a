"""Which recordings a data folder holds, and what in it is no recording though it seems to be one.

No path leaves the folder: a link is followed only to a place inside.


A folder with one subfolder of `.wav` files for each class, read through the log-mel front end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.wav import RecordingError, Sound, at_rate, decode, levelled

__all__ = ["Faults", "Listed", "list_classes", "list_targets", "load_wav_folder"]

OTHER_SOUNDS = frozenset(
    f".{ending}"
    for ending in (
        "aac",
        "aif",
        "aifc",
        "aiff",
        "au",
        "caf",
        "flac",
        "m4a",
        "mp3",
        "oga",
        "ogg",
        "opus",
        "w64",
        "wma",
    )
)


@dataclass
class Faults:
    """What is wrong with files: the first fault is raised, or all are collected.

    Args:
        root: The data folder.
        on_error: `"raise"` or `"skip"`.
        skipped: Path inside the folder and reason of each file that was left out.
    """

    root: Path
    on_error: Literal["raise", "skip"]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def report(self, path: Path, fault: RecordingError) -> None:
        """Deal with the fault of a file.

        Raises:
            RecordingError: `on_error` is `"raise"`.
        """
        if self.on_error == "raise":
            remedy = f'{fault.remedy}, or leave such files out with on_error="skip"'
            raise RecordingError(fault.name, fault.what, remedy) from None
        self.skipped.append((printable(path.relative_to(self.root)), fault.what))


@dataclass(frozen=True)
class Listed:
    """A recording that was found.

    Args:
        path: Its file.
        key: Its path inside the data folder.
        label: Index of its class; 0 where there are none.
        target: The file of its target.
    """

    path: Path
    key: str
    label: int
    target: Path | None = None


def list_classes(root: Path, faults: Faults) -> tuple[tuple[str, ...], list[Listed]]:
    """The classes and recordings of `root/<class>/**/*.wav`; hidden files and folders are passed over.

    Raises:
        ValueError: There is no folder, or less than two classes with a wav.
        RecordingError: Something in it is not what it should be; see `Faults`.
    """
    _check_folder(root, "expected a folder with one subfolder of .wav files for each class")
    found: dict[str, list[Path]] = {}
    for path in _entries(root, root, ".wav", faults):
        if path.is_dir():
            found[path.name] = list(
                _walk(path, root, ".wav", faults, (root.resolve(), path.resolve()))
            )
        else:
            faults.report(
                path,
                RecordingError(
                    path, "lies in no class folder", "move it into the folder of its class"
                ),
            )
    for name, paths in found.items():
        if not paths:
            raise ValueError(
                f"Class folder {root / name} holds no .wav file: add recordings or remove the folder."
            )
    if len(found) < 2:
        got = f"one class only ({next(iter(found))!r})" if found else "no class folders"
        raise ValueError(
            f"Data folder {root} has {got}, expected at least two, with the .wav files of a class each."
        )
    listed = [
        Listed(path, path.relative_to(root).as_posix(), label)
        for label, paths in enumerate(found.values()) for path in paths
    ]  # fmt: skip
    return tuple(found), listed


def list_targets(root: Path, faults: Faults) -> list[Listed]:
    """The recordings of `root/wavs/**/<stem>.wav`, each with its `root/target/**/<stem>.pt`.

    Raises:
        ValueError: A folder is missing or empty.
        RecordingError: One of the two files of a recording is missing; see `Faults`.
    """
    expected = "expected a folder with wavs/<stem>.wav and target/<stem>.pt"
    _check_folder(root, expected)
    wavs, targets = root / "wavs", root / "target"
    for folder in (wavs, targets):
        _check_folder(folder, expected)
        if not folder.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{folder} leads out of the data folder: copy the files in.")
    listed: list[Listed] = []
    unclaimed = dict.fromkeys(_walk(targets, root, ".pt", faults, (targets.resolve(),)))
    for path in _walk(wavs, root, ".wav", faults, (wavs.resolve(),)):
        target = targets / path.relative_to(wavs).with_suffix(".pt")
        if target in unclaimed or any(one.target == target for one in listed):
            unclaimed.pop(target, None)
            listed.append(Listed(path, path.relative_to(root).as_posix(), 0, target))
        else:
            faults.report(
                path,
                RecordingError(path, f"has no target {target}", "add it, or remove the recording"),
            )
    for target in unclaimed:
        wav = wavs / target.relative_to(targets).with_suffix(".wav")
        faults.report(
            target,
            RecordingError(target, f"is a target without its {wav}", "add the wav, or remove it"),
        )
    if not listed:
        raise ValueError(f"Data folder {root} holds no recording with its target, {expected}.")
    return listed


def printable(path: Path) -> str:
    """A path as text that can be written anywhere: bytes that are not UTF-8 are shown as escapes."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _check_folder(folder: Path, expected: str) -> None:
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing there"
        raise ValueError(f"Data folder {folder}: got {what}, {expected}.")


def _walk(
    folder: Path, root: Path, suffix: str, faults: Faults, trail: tuple[Path, ...]
) -> Iterator[Path]:
    """The files below a folder; `trail` holds the real folders above, to notice a link that leads back."""
    for path in _entries(folder, root, suffix, faults):
        if not path.is_dir():
            yield path
        elif path.resolve() in trail:
            faults.report(
                path, RecordingError(path, "is a link to a folder that it lies in", "remove it")
            )
        else:
            yield from _walk(path, root, suffix, faults, (*trail, path.resolve()))


def _entries(folder: Path, root: Path, suffix: str, faults: Faults) -> Iterator[Path]:
    """Folders and files with the suffix, sound, in order of their names; what cannot be used is reported."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (
            path.is_dir() or path.suffix.lower() in OTHER_SOUNDS | {suffix}
        ):
            continue
        fault = _fault(path, root, suffix)
        if fault is None:
            yield path
        else:
            faults.report(path, RecordingError(printable(path), *fault))


def _fault(path: Path, root: Path, suffix: str) -> tuple[str, str] | None:
    """What is wrong with an entry, and what to do."""
    if path.name != printable(Path(path.name)):
        return "has a name that is not UTF-8", "rename it"
    if path.is_symlink():
        if not path.exists():
            return "is a link that leads nowhere", "remove it"
        if not path.resolve().is_relative_to(root.resolve()):
            return "is a link that leads out of the data folder", "copy in what it leads to"
    if path.is_dir():
        return (
            ("is a folder, expected a file", "rename it") if path.suffix.lower() == suffix else None
        )
    if path.suffix.lower() in OTHER_SOUNDS:
        return f"is no {suffix}", "convert it"
    return None if path.is_file() else ("is neither a file nor a folder", "remove it")


HIGHEST_RATE = 16_000
"""Rate to which faster recordings are brought down [Hz]; speech has little above half of it."""


def load_wav_folder(
    folder: Path,
    *,
    sample_rate: int | None = None,
    bands: int = 32,
    window: float = 25e-3,
    hop: float = 10e-3,
) -> Recordings:
    """Read `folder/<class>/**/*.wav`; hidden files and folders are passed over.

    Args:
        folder: The tree; a class is called like its subfolder.
        sample_rate: Rate to which all recordings are brought [Hz]; None: the lowest among them, at most 16 kHz.
        bands: Mel bands, the features of a frame.
        window: Length of a frame [s].
        hop: Distance between frames [s].

    Returns:
        Recordings whose keys are their paths inside the folder.

    Raises:
        ValueError: No folder, no classes, one class only, a class without recordings, or a file that is empty,
            broken or holds values that are not finite; the text names it.
    """
    files = _files(folder)
    content = sha256()
    sounds: list[Sound] = []
    for path in (path for paths in files.values() for path in paths):
        data = path.read_bytes()
        content.update(f"{path.relative_to(folder).as_posix()}:{len(data)}:".encode() + data)
        sounds.append(decode(path, data))
    rate = sample_rate or min(HIGHEST_RATE, *(rate for _, rate in sounds))
    front_end = LogMel(rate, bands, window, hop)
    return Recordings(
        frames=tuple(front_end(levelled(at_rate(sound, rate))) for sound in sounds),
        labels=np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()]),
        classes=tuple(files),
        keys=tuple(
            path.relative_to(folder).as_posix() for paths in files.values() for path in paths
        ),
        fingerprint=content.hexdigest(),
        sample_rate=rate,
    )


def _files(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing there"
        raise ValueError(
            f"Data folder {folder}: got {what}, expected a folder with one subfolder of .wav files a class."
        )
    classes = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    files = {path.name: _wavs(path) for path in classes}
    if not files:
        raise ValueError(
            f"Data folder {folder} has no subfolders, expected one for each class with its .wav files."
        )
    for name, paths in files.items():
        if not paths:
            raise ValueError(
                f"Class folder {folder / name} holds no .wav file: add recordings or remove the folder."
            )
    if len(files) == 1:
        raise ValueError(
            f"Data folder {folder} has one class only ({next(iter(files))!r}), expected at least two."
        )
    return files


def _wavs(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".wav" and path.is_file())
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
