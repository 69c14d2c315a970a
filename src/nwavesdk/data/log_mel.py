"""A log-mel front end: windowed spectra, triangular bands evenly spaced in mel, their log power."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Frames
from nwavesdk.internal.extras import require

__all__ = ["LogMel"]

# Power added to each band, so that digital silence does not set the scale; full scale is 1.
SILENCE = 1e-4


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
