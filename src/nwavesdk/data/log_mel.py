"""Log-mel frames of a sound: windowed spectra in triangular bands, evenly spaced in mel.

A sound may also come in blocks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Frames
from nwavesdk.internal.checks import finite_number
from nwavesdk.internal.imports import require

__all__ = ["LEAST_CHANGE", "LogMel", "LogMelStream", "is_steady"]

# The taper of a shorter window would be zero, or nearly so [samples].
LEAST_WINDOW = 4

# Samples of a long sound whose windows and spectra are in memory together.
BLOCK_SAMPLES = 2**18

# Power added to each band, so that digital silence does not set the scale; full scale is 1.
SILENCE = 1e-4

# Deviation of frames over time, root mean square over bands, below which a sound is steady
# [natural logarithm of power]: 0.4 dB. Stationary noise has more, about 2 dB in frames of 25 ms.
LEAST_CHANGE = 0.1


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
            finite_number("LogMel", name, getattr(self, name), above=0)
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

    def __call__(self, sound: npt.NDArray[np.float32]) -> Frames:
        """The frames of a mono sound.

        Args:
            sound: Samples, `[samples]`, full scale 1; padded with silence to at least one window.

        Returns:
            Natural logarithm of the power, `[L, bands]`.

        Raises:
            ValueError: If the sound is not mono.
        """
        padded = np.pad(sound, (0, max(0, self.width - len(sound))))
        stream = self.stream()
        starts = range(0, len(padded), BLOCK_SAMPLES)
        return np.concatenate([stream.push(padded[s : s + BLOCK_SAMPLES]) for s in starts])

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


def is_steady(frames: Frames) -> bool:
    """Whether a sound hardly changes over time, such as silence, noise near it or a constant tone.

    Args:
        frames: Log-mel frames, `[L, bands]`.
    """
    # In float64, the sum of a long sound loses no digits.
    change = frames - frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    return bool(np.vdot(change, change) < LEAST_CHANGE**2 * change.size)


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
        waiting = np.concatenate([self._waiting, samples[self._gap :]])
        self._gap -= min(self._gap, len(samples))
        if len(waiting) < self._front_end.width:
            self._waiting = waiting
            return np.zeros((0, self._front_end.bands), np.float32)

        windows = np.lib.stride_tricks.sliding_window_view(waiting, self._front_end.width)
        frames = self._front_end.frames_of(windows[:: self._front_end.step])
        used = len(frames) * self._front_end.step
        self._gap += max(0, used - len(waiting))
        self._waiting = waiting[used:].copy()
        return frames
