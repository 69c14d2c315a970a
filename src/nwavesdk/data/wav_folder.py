"""A folder with one subfolder of `.wav` files for each class, read through the log-mel front end."""

from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.data.extra import require
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.recordings import Recordings

__all__ = ["load_wav_folder"]

HIGHEST_RATE = 16_000
"""Rate to which faster recordings are brought down [Hz]; speech has little above half of it."""

Sound = tuple[npt.NDArray[np.float32], int]


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
        sounds.append(_read(path, data))
    rate = sample_rate or min(HIGHEST_RATE, *(rate for _, rate in sounds))
    front_end = LogMel(rate, bands, window, hop)
    return Recordings(
        frames=tuple(front_end(_levelled(_resample(sound, rate))) for sound in sounds),
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


def _read(path: Path, data: bytes) -> Sound:
    soundfile = require("soundfile", "train")
    try:
        samples, rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        what = "is empty (0 bytes)" if not data else f"cannot be read as sound ({error})"
        raise ValueError(f"Recording {path} {what}: repair or remove it.") from None
    if not len(samples):
        raise ValueError(f"Recording {path} has no samples: repair or remove it.")
    if not np.isfinite(samples).all():
        raise ValueError(f"Recording {path} holds samples that are not finite: repair or remove it.")
    return samples.mean(axis=1), rate


def _resample(sound: Sound, rate: int) -> npt.NDArray[np.float32]:
    samples, given = sound
    if given == rate:
        return samples
    resampled: npt.NDArray[np.float32] = require("soxr", "train").resample(samples, given, rate)
    return resampled


def _levelled(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sound with its loudest sample at full scale, so that distance to the microphone does not count."""
    peak = np.abs(samples).max()
    return samples / peak if peak > 0 else samples
