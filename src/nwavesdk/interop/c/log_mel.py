"""Log-mel frames in integers, equal to the bit to the C code that `log_mel_text` writes.

The power of a band is a 64-bit number. Its logarithm to base 2 has `LOG_BITS` bits after the point.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nwavesdk.data import Frames, LogMel, Standard
from nwavesdk.data.front_end import FIRST_POWER, MIN_POWER, RELATIVE_SILENCE, SILENCE
from nwavesdk.data.recordings import PRIOR_FRAMES
from nwavesdk.internal.checks import finite_number, positive_number
from nwavesdk.interop.c.log_mel_transform import Integers, PowerTransform, shift_down

if TYPE_CHECKING:
    from nwavesdk.train import TrainedRun

__all__ = [
    "LOG_BITS",
    "LOG_STEPS",
    "LOG_TABLE",
    "FixedLogMel",
    "MelBands",
    "RunningLevel",
    "fixed_log_mel",
]

# Bits after the point of a logarithm, of the weight of a frequency, and of the weight of the past.
LOG_BITS = 15
WEIGHT_BITS = 16
PAST_BITS = 16

# The table of logarithms has this number of steps from 1 to 2, and is linear between them.
LOG_STEPS = 32
LOG_TABLE: Integers = np.rint(
    np.log2(1 + np.arange(LOG_STEPS + 1) / LOG_STEPS) * 2**LOG_BITS
).astype(np.int64)

# The weight of the past must fit 32 bits.
MAX_MEMORY_FRAMES = 2**15

# A factor of the scale of a run must fit 32 bits.
MIN_RESOLUTION = 2.0**-14
MAX_MEAN = 2.0**30
LARGEST_VALUE = 127

LOW_WORD = 2**32 - 1


def log2_fixed(values: Integers) -> Integers:
    """The logarithm to base 2 of whole numbers from 1 to 2^63 - 1, with `LOG_BITS` bits."""
    exponents = np.zeros_like(values)
    for bits in (32, 16, 8, 4, 2, 1):
        exponents += bits * (values >> (exponents + bits) > 0)

    # The leading bit becomes bit 31. The next five bits are the step, then 16 bits between steps.
    left, right = np.maximum(31 - exponents, 0), np.maximum(exponents - 31, 0)
    mantissas = values << left >> right
    steps = mantissas >> 26 & LOG_STEPS - 1
    between = mantissas >> 10 & 2**16 - 1
    below = LOG_TABLE[steps]
    rise = (LOG_TABLE[steps + 1] - below) * between >> 16
    return np.asarray((exponents << LOG_BITS) + below + rise, np.int64)


def multiplied_high(value: int, factor: int) -> int:
    """`value * factor / 2**32`, rounded down."""
    return value * factor >> 32


class MelBands:
    """The sums of power in bands, in integers.

    Args:
        filters: The weight of each frequency in each band, from 0 to 1, `[frequencies, bands]`.

    Attributes:
        first: The first frequency of each band, `[bands]`.
        counts: Frequencies of each band, `[bands]`.
        shifts: The weights of a band are larger by this power of two, `[bands]`.
        weights: Weights with `WEIGHT_BITS` bits after the point, `[frequencies, bands]`.
    """

    def __init__(self, filters: Frames) -> None:
        exact = filters.astype(np.float64)
        room = np.floor(-np.log2(exact.max(axis=0)))
        self.shifts: Integers = room.clip(0, WEIGHT_BITS).astype(np.int64)
        weights = np.rint(exact * 2.0 ** (WEIGHT_BITS + self.shifts)).astype(np.int64)
        self.weights: Integers = np.minimum(weights, 2**WEIGHT_BITS - 1)

        is_used = self.weights > 0
        self.first = is_used.argmax(axis=0)
        self.counts = len(is_used) - is_used[::-1].argmax(axis=0) - self.first

    def sums(self, power: Integers) -> Integers:
        """The weighted sums `[L, bands]` of power `[L, frequencies]`."""
        high = (power >> 32) @ self.weights
        low = (power & LOW_WORD) @ self.weights
        bits = WEIGHT_BITS + self.shifts
        return (high << 32 - bits) + (low >> bits)


class RunningLevel:
    """The mean power of past frames, in integers; see `nwavesdk.data.recordings.RunningMean`.

        m[t] = m[t-1] + (f[t] - m[t-1]) / w[t],  w[t] = d w[t-1] + 1

    Args:
        bands: Bands of a frame.
        memory: Time constant [frames].
        unit: The integer sum of a band with power 1.

    Attributes:
        shift: Bits by which the sum of a band is shifted down, so that the sum of all bands fits.
        unit: The level of power 1.
        decay: d with 32 bits after the point.
        first: The level before the first frame.
        first_past: The weight of the past before the first frame, w, with `PAST_BITS` bits.
        least: The smallest level.
        silence: Power added to each band, relative to the level, with 32 bits after the point.
    """

    def __init__(self, bands: int, memory: float, unit: float) -> None:
        finite_number("FixedLogMel", "level_memory [frames]", memory, most=MAX_MEMORY_FRAMES)
        self.shift = (bands - 1).bit_length()
        bands_per_sum = bands / 2**self.shift
        self.unit = unit * bands_per_sum
        self.decay = round(math.exp(-1 / memory) * 2**32)
        self.first = round(FIRST_POWER * self.unit)
        self.least = round(MIN_POWER * self.unit)
        self.first_past = round(PRIOR_FRAMES * 2**PAST_BITS)
        self.silence = round(RELATIVE_SILENCE / bands_per_sum * 2**32)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._mean = self.first
        self._past = self.first_past

    def push(self, sums: Integers) -> tuple[Integers, Integers]:
        """The level at each of the next frames, and the power that silence adds to each band.

        Args:
            sums: The power in each band, `[L, bands]`.

        Returns:
            Both `[L, 1]`.
        """
        levels = []
        for power in (sums >> self.shift).sum(axis=1).tolist():
            self._past = multiplied_high(self._past, self.decay) + 2**PAST_BITS
            gain = LOW_WORD // (self._past >> 8) << 8
            self._mean -= multiplied_high(self._mean, gain)
            self._mean += multiplied_high(power, gain)
            levels.append(max(self._mean, self.least))

        silences = [multiplied_high(level, self.silence) for level in levels]
        return np.array(levels, np.int64)[:, None], np.array(silences, np.int64)[:, None]


class FixedLogMel:
    """Log-mel frames of a sound that comes in blocks, as integers on the scale of a net.

        frame = (ln(power) - mean) / (deviation * step),  rounded, from -127 to 127

    Args:
        log_mel: The front end of a run.
        standard: The scale of its features.
        step: The input of the net for 1 in a frame.

    Raises:
        ValueError: If the arithmetic does not cover the window, the memory of the level, or the
            scale.

    Example:
        >>> standard = Standard(np.full(32, -8, np.float32), np.full(32, 2, np.float32))
        >>> front_end = FixedLogMel(LogMel(16_000), standard, step=1 / 32)
        >>> frames = front_end.push(np.zeros(560, np.int16))
        >>> frames.shape, int(frames[0, 0])  # 32 (ln(1e-4) + 8) / 2
        ((2, 32), -19)
    """

    def __init__(self, log_mel: LogMel, standard: Standard, step: float) -> None:
        positive_number("FixedLogMel", "step", step)
        self.log_mel = log_mel
        self.transform = PowerTransform(log_mel.width)
        self.bands = MelBands(log_mel.filters)

        # The sum of a band with power 1, which is a sound of full scale.
        energy = float(np.square(np.hanning(log_mel.width)).sum())
        unit = energy * (2**15 * self.transform.scale) ** 2
        self.silence = round(SILENCE * unit)
        self.level: RunningLevel | None = None
        self.log_unit = math.log2(unit)
        if log_mel.level_memory is not None:
            memory = log_mel.level_memory / log_mel.hop
            self.level = RunningLevel(log_mel.bands, memory, unit)
            self.log_unit -= math.log2(self.level.unit)

        # The logarithm minus a mean, times a factor, has 32 bits after the point.
        resolution = standard.deviation * np.float64(step)
        name = "least deviation times step"
        finite_number("FixedLogMel", name, resolution.min(), above=MIN_RESOLUTION)
        factors = math.log(2) / resolution * 2.0 ** (32 - LOG_BITS)
        self.factors = np.rint(factors).astype(np.int64)
        means = (standard.mean / math.log(2) + self.log_unit) * 2**LOG_BITS
        self.means = np.rint(means.clip(-MAX_MEAN, MAX_MEAN)).astype(np.int64)
        self.reset()

    def reset(self) -> None:
        """Begin a new sound."""
        self._stream = self.log_mel.stream()
        if self.level is not None:
            self.level.reset()

    def push(self, samples: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """The frames that the next block of a sound completes.

        Args:
            samples: Samples of 16 bits, `[samples]`, of any length.

        Returns:
            `[frames, bands]`, from -127 to 127.

        Raises:
            ValueError: If the samples are not of 16 bits, or the sound is not mono.
        """
        logarithms = self._logarithms(samples)
        frames = shift_down((logarithms - self.means) * self.factors, 32)
        return frames.clip(-LARGEST_VALUE, LARGEST_VALUE).astype(np.int8)

    def push_logarithms(self, samples: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The natural logarithms of power in place of frames, on the scale of `LogMel`.

        Args:
            samples: As for `push`.

        Returns:
            `[frames, bands]`.
        """
        logarithms = self._logarithms(samples).astype(np.float64) / 2**LOG_BITS
        return np.asarray((logarithms - self.log_unit) * math.log(2), np.float64)

    def _logarithms(self, samples: npt.ArrayLike) -> Integers:
        """The logarithms to base 2 of sums, or of their ratio to the level, `[frames, bands]`."""
        block = np.asarray(samples)
        if block.dtype != np.int16 or block.ndim != 1:
            raise ValueError(
                f"FixedLogMel takes the samples of a mono sound as int16 [samples], got "
                f"{block.dtype} {list(block.shape)}: multiply samples of full scale 1 by 32,767, "
                "and round them."
            )

        sums = self.bands.sums(self.transform.power(self._stream.windows(block)))
        if self.level is None:
            return log2_fixed(sums + self.silence)
        levels, silences = self.level.push(sums)
        return log2_fixed(sums + silences) - log2_fixed(levels)


def fixed_log_mel(trained: "TrainedRun", step: float) -> FixedLogMel:
    """The front end of a run, in integers.

    Args:
        trained: The run.
        step: The input of the net for 1 in a frame.

    Raises:
        ValueError: If the run was not trained on log-mel frames of sound, if it scales a recording
            by its loudest sample, its mean or its deviation, or see `FixedLogMel`.
    """
    log_mel = trained.front_end
    if isinstance(log_mel, LogMel) and trained.scales_past_only:
        return FixedLogMel(log_mel, trained.input.standard, step)
    raise ValueError(
        f"fixed_log_mel: {trained.name} filters sound for a chip, or scales each recording by its "
        f"loudest sample, its mean or its deviation, known only at the end of the sound (got level "
        f"{trained.config.option('data.level')}, center {trained.input.center}, standardize "
        f"{trained.input.standardize}): train with `nwave train --level running`."
    )
