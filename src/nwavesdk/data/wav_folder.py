"""A folder with one subfolder of `.wav` files for each class, read through the log-mel front end."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.wav import Sound, at_rate, decode, levelled

__all__ = ["load_wav_folder"]

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
        keys=tuple(path.relative_to(folder).as_posix() for paths in files.values() for path in paths),
        fingerprint=content.hexdigest(),
        sample_rate=rate,
    )


def _files(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing there"
        raise ValueError(
            f"Data folder {folder}: got {what}, expected a folder with one subfolder of .wav files a class."
        )
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {path.name: _wavs(path) for path in classes}
    if not files:
        raise ValueError(f"Data folder {folder} has no subfolders, expected one for each class with its .wav files.")
    for name, paths in files.items():
        if not paths:
            raise ValueError(f"Class folder {folder / name} holds no .wav file: add recordings or remove the folder.")
    if len(files) == 1:
        raise ValueError(f"Data folder {folder} has one class only ({next(iter(files))!r}), expected at least two.")
    return files


def _wavs(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".wav" and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
