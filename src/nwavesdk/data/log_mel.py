"""A plain log-mel front end: windowed spectra, triangular bands evenly spaced in mel, logarithm of their power."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Frames
from nwavesdk.internal.extras import require

__all__ = ["LogMel"]

FLOOR = 1e-4
"""Power below which a band counts as silent, so that digital silence does not set the scale; full scale is 1."""


@dataclass(frozen=True)
class LogMel:
    """Sound to frames of log power in mel bands.

    Args:
        sample_rate: Rate of the sound that is given [Hz].
        bands: Number of bands.
        window: Length of a frame [s].
        hop: Distance between frames [s].

    Raises:
        ValueError: A number is not positive.

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
        """Frames of a mono sound.

        Args:
            sound: Samples, `[samples]`, full scale 1; one window at least is made by silence behind it.

        Returns:
            Natural logarithm of the power, `[L, bands]`.
        """
        width, step = (
            round(self.window * self.sample_rate),
            max(1, round(self.hop * self.sample_rate)),
        )
        sound = np.pad(sound, (0, max(0, width - len(sound))))
        pieces = np.lib.stride_tricks.sliding_window_view(sound, width)[::step]
        taper = np.hanning(width).astype(np.float32)
        spectra = require("scipy.fft", "train").rfft(pieces * taper, axis=1)
        power = np.abs(spectra) ** 2 / np.sum(taper**2)
        frames: Frames = np.log(power @ self._filters(width).T + FLOOR).astype(np.float32)
        return frames

    def _filters(self, width: int) -> npt.NDArray[np.float32]:
        top = 2595 * np.log10(1 + self.sample_rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, top, self.bands + 2) / 2595) - 1)
        low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        frequencies = np.fft.rfftfreq(width, 1 / self.sample_rate)
        rising, falling = (
            (frequencies - low) / (centre - low),
            (high - frequencies) / (high - centre),
        )
        filters = np.clip(np.minimum(rising, falling), 0, None)
        # A band narrower than the distance between two frequencies can miss them all: it takes the nearest one.
        empty = np.flatnonzero(filters.sum(axis=1) == 0)
        filters[empty, np.abs(frequencies[None, :] - centre[empty]).argmin(axis=1)] = 1
        return filters.astype(np.float32)
