"""Sound to frames of logarithmic power in mel bands.

A sound may also come in blocks: all frames together then equal the frames of the whole sound, bit
for bit.
"""

import math
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Frames
from nwavesdk.data.source import Samples
from nwavesdk.internal.checks import finite_number
from nwavesdk.internal.imports import require

__all__ = ["MIN_CHANGE", "LogMel", "LogMelStream", "RunningMean", "is_steady"]

# The taper of a shorter window would be zero, or nearly zero.
MIN_WINDOW_SAMPLES = 4

# A long sound is processed in blocks of this many samples, to limit the memory of its spectra.
BLOCK_SAMPLES = 2**18

# Power added to each band, so that digital silence does not set the scale; full scale is 1.
SILENCE = 1e-4

# Relative to the running mean of a band: the power added to it, its mean before a sound begins, and
# its smallest mean.
RELATIVE_SILENCE = 0.03
FIRST_POWER = 3e-4
MIN_POWER = 1e-7

# Weight of the mean before the first frame in a running mean, in frames.
PRIOR_FRAMES = 10.0

# Deviation of frames over time, root mean square over bands, below which a sound is steady
# [natural logarithm of power]: 0.4 dB. Stationary noise has more, about 2 dB in frames of 25 ms.
MIN_CHANGE = 0.1


@dataclass(frozen=True)
class LogMel:
    """Sound to frames of logarithmic power in mel bands.

    Args:
        sample_rate: Rate of the sound [Hz].
        bands: Number of bands.
        window: Length of a frame [s].
        hop: Distance between frames [s].
        level_memory: Time constant of the running mean by which the power of each band is divided
            [s]; None for none.

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
    _: KW_ONLY
    window: float = 25e-3
    hop: float = 10e-3
    # Not in the repr, which names the cached frames of earlier versions.
    level_memory: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("sample_rate", "bands", "window", "hop"):
            finite_number("LogMel", name, getattr(self, name), above=0)
        if self.level_memory is not None:
            finite_number("LogMel", "level_memory", self.level_memory, above=0)
        if self.width < MIN_WINDOW_SAMPLES or self.step < 1:
            raise ValueError(
                f"LogMel: a window of {self.window:g} s and a hop of {self.hop:g} s have "
                f"{self.width} and {self.step} samples at {self.sample_rate} Hz, expected at least "
                f"{MIN_WINDOW_SAMPLES} and 1: raise them, or sample_rate."
            )

    @property
    def width(self) -> int:
        """Samples of a frame."""
        return round(self.window * self.sample_rate)

    @property
    def step(self) -> int:
        """Samples from the beginning of a frame to the beginning of the next frame."""
        return round(self.hop * self.sample_rate)

    def __call__(self, sound: Samples) -> Frames:
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

    def end_of(self, frame: int) -> float:
        """Time at which the last sample of a frame has arrived [s]; the first frame is 0."""
        return (frame * self.step + self.width) / self.sample_rate

    def stream(self) -> "LogMelStream":
        """The frames of a sound that comes in blocks."""
        return LogMelStream(self)

    def power_of(self, windows: Samples) -> Frames:
        """The power in each band for each window of samples.

        Args:
            windows: `[L, width]`.

        Returns:
            `[L, bands]`; a row does not depend on the other windows.
        """
        taper, energy = self._taper
        spectra = require("scipy.fft", "train").rfft(windows * taper, axis=1)
        power = np.abs(spectra) ** 2 / energy

        # [L, 1, F] @ [F, bands] is one product for each frame. BLAS adds up [L, F] @ [F, bands] in
        # an order that depends on L.
        return np.asarray((power[:, None] @ self.filters)[:, 0], np.float32)

    @cached_property
    def _taper(self) -> tuple[npt.NDArray[np.float32], np.float32]:
        """The factor of each sample of a window, `[width]`, and the sum of their squares."""
        taper = np.hanning(self.width).astype(np.float32)
        return taper, np.sum(taper**2)

    @cached_property
    def filters(self) -> npt.NDArray[np.float32]:
        """The weight of each frequency in each band, `[width // 2 + 1, bands]`."""
        # The centers of bands are evenly spaced in mel. A band rises from the center of the band
        # below, and falls to the center of the band above.
        highest = 2595 * np.log10(1 + self.sample_rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, highest, self.bands + 2) / 2595) - 1)
        low, center, high = np.lib.stride_tricks.sliding_window_view(edges, 3).T[..., None]

        frequencies = np.fft.rfftfreq(self.width, 1 / self.sample_rate)
        rising = (frequencies - low) / (center - low)
        falling = (high - frequencies) / (high - center)
        filters = np.minimum(rising, falling).clip(0)

        # A band that is narrower than the distance between two frequencies may contain no
        # frequency: it gets the nearest one.
        empty = np.flatnonzero(filters.sum(axis=1) == 0)
        filters[empty, np.abs(frequencies - center[empty]).argmin(axis=1)] = 1
        return np.ascontiguousarray(filters.T, np.float32)


def is_steady(frames: Frames) -> bool:
    """Whether a sound hardly changes over time, such as silence, noise near it or a constant tone.

    Args:
        frames: Log-mel frames, `[L, bands]`.
    """
    # In float32, the sum over a long sound would lose digits.
    change = frames - frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    return bool(np.vdot(change, change) < MIN_CHANGE**2 * change.size)


class RunningMean:
    """The mean of each feature over the frames so far, in which older frames count less.

        m[t] = s[t] / w[t],  s[t] = d s[t-1] + f[t],  w[t] = d w[t-1] + 1,  d = exp(-1 / memory)

    Before the first frame, w is `PRIOR_FRAMES` and s / w is `mean`.

    Args:
        mean: The mean of each feature before the first frame, `[F]`.
        memory: Time constant [frames].

    Example:
        >>> frames = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
        >>> whole = RunningMean(np.zeros(2, np.float32), memory=300).push(frames)
        >>> in_pieces = RunningMean(np.zeros(2, np.float32), memory=300)
        >>> pieces = [in_pieces.push(frames[:4]), in_pieces.push(frames[4:])]
        >>> np.array_equal(np.concatenate(pieces), whole)
        True
    """

    def __init__(self, mean: Frames, memory: float) -> None:
        self._decay = math.exp(-1 / memory)
        # The sums of each feature and the sum of the weights, which a filter decays.
        self._state = self._decay * PRIOR_FRAMES * np.append(mean, 1.0).astype(np.float64)[None]

    def push(self, frames: Frames) -> Frames:
        """The mean at each of the next frames `[L, F]`; a frame counts in its own mean.

        Returns:
            `[L, F]`, the same for frames in pieces of any length, bit for bit.
        """
        if len(frames) == 0:
            return frames  # lfilter returns another state then

        filtered = require("scipy.signal", "train").lfilter
        weighted = np.ones((len(frames), frames.shape[1] + 1))
        weighted[:, :-1] = frames
        sums, self._state = filtered([1.0], [1.0, -self._decay], weighted, axis=0, zi=self._state)
        return np.asarray(sums[:, :-1] / sums[:, -1:], np.float32)


class LogMelStream:
    """The frames of a sound that comes in blocks, equal to the frames of the whole sound.

    Args:
        front_end: The front end that computes the frames.

    Example:
        >>> stream = LogMel(8000, window=25e-3, hop=10e-3).stream()
        >>> [len(stream.push(np.zeros(n, np.float32))) for n in (199, 1, 0, 240)]
        [0, 1, 0, 3]
    """

    def __init__(self, front_end: LogMel) -> None:
        self._front_end = front_end
        self._level: RunningMean | None = None
        if front_end.level_memory is not None:
            self._level = RunningMean(
                np.full(front_end.bands, FIRST_POWER, np.float32),
                front_end.level_memory / front_end.hop,
            )
        self._waiting = np.zeros(0, np.float32)
        # Number of samples to skip before the next frame, if the hop is longer than the window.
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

        power = self._front_end.power_of(self.windows(samples))
        if self._level is None:
            return np.asarray(np.log(power + SILENCE), np.float32)
        level = self._level.push(power).clip(MIN_POWER)
        return np.asarray(np.log(power / level + RELATIVE_SILENCE), np.float32)

    def windows(self, samples: Samples) -> Samples:
        """The windows that the next samples complete, before the taper.

        Args:
            samples: `[samples]`, of any length.

        Returns:
            `[windows, width]`.
        """
        waiting = np.concatenate([self._waiting, samples])
        width = self._front_end.width
        starts = range(self._gap, len(waiting) - width + 1, self._front_end.step)
        windows = [waiting[start : start + width] for start in starts]

        # The next window begins at `end`, which may be after the waiting samples.
        end = self._gap + len(starts) * self._front_end.step
        self._gap = max(0, end - len(waiting))
        self._waiting = waiting[end:].copy()
        return np.array(windows, np.float32).reshape(-1, width)
