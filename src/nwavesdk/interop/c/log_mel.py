"""The tables and numbers of a log-mel front end in integers, which `log_mel_rt.h` computes with.

A window is a mixed-radix Fourier transform, sums of power in bands, and logarithms. The runtime
header describes the arithmetic; products are summed in 64 bits and rounded once. Numbers and tables
have the names of the header, without its prefix.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nwavesdk.data import LogMel, Standard
from nwavesdk.data.front_end import FIRST_POWER, MIN_POWER, PRIOR_FRAMES, RELATIVE_SILENCE, SILENCE
from nwavesdk.internal.checks import finite_number, positive_number, whole_number
from nwavesdk.train import TrainedRun

__all__ = ["LOG_BITS", "FixedLogMel", "fixed_log_mel"]

Integers = npt.NDArray[np.int64]

# Bits after the point of a logarithm, of a taper, and of the weight of a frequency or of the past.
LOG_BITS = 15
TAPER_BITS = 16
WEIGHT_BITS = 16

# The table of logarithms has this number of steps from 1 to 2, and is linear between them.
LOG_STEPS = 32

# The work of a stage grows with its radix, and its number of points must fit 32 bits.
MAX_RADIX = 61
MAX_WIDTH = 2**15

# Twice a value of the spectrum must fit 32 bits; a part is for rounding.
MAX_VALUE = 0.9 * 2**30

# The weight of the past must fit 32 bits, and a factor of the scale of a run, too.
MAX_MEMORY_FRAMES = 2**15
MIN_RESOLUTION = 2.0**-14
MAX_MEAN = 2.0**30


class FixedLogMel:
    """A log-mel front end in integers, whose frames are on the scale of a net.

        frame = (ln(power) - mean) / (deviation * step),  rounded, from -127 to 127

    Args:
        log_mel: The front end of a run.
        standard: The scale of its features.
        step: The input of the net for 1 in a frame.

    Attributes:
        log_mel: The front end of the run.
        radices: The radix of each stage of the transform.
        numbers: Its numbers, by their names.
        tables: Its tables, by their names.

    Raises:
        ValueError: If the arithmetic does not cover the window, the memory of the level, or the
            scale.

    Example:
        >>> standard = Standard(np.full(32, -8, np.float32), np.full(32, 2, np.float32))
        >>> front_end = FixedLogMel(LogMel(16_000), standard, step=1 / 32)
        >>> front_end.numbers["SIZE"], front_end.radices
        (200, (2, 2, 2, 5, 5))
    """

    def __init__(self, log_mel: LogMel, standard: Standard, step: float) -> None:
        positive_number("FixedLogMel", "step", step)
        width = whole_number("FixedLogMel", "samples of a window", log_mel.width, most=MAX_WIDTH)
        self.log_mel = log_mel
        self.numbers = {"WIDTH": width, "HOP": log_mel.step, "BANDS": log_mel.bands}
        self.tables: dict[str, Integers] = {}

        scale = self._add_transform(width)
        self._add_bands(log_mel.filters.astype(np.float64))

        # The sum of a band with power 1, which is a sound of full scale.
        energy = float(np.square(np.hanning(width)).sum())
        unit = energy * (2**15 * scale) ** 2
        if log_mel.level_memory is None:
            self.numbers["SILENCE"] = round(SILENCE * unit)
        else:
            self._add_level(log_mel.level_memory / log_mel.hop, unit)
            unit = 1.0  # a band is divided by its mean
        self._add_scale(standard, step, math.log2(unit))

    def _add_transform(self, width: int) -> float:
        """The Fourier transform; returns the factor of the spectrum in integers.

        A window of an even width is transformed as half as many complex numbers.
        """
        size = width if width % 2 else width // 2
        self.radices = (*_prime_factors(size),)
        largest_factor = max(self.radices)
        if largest_factor > MAX_RADIX:
            raise ValueError(
                f"FixedLogMel: a window of {width} samples has the prime factor {largest_factor}, "
                f"expected factors of at most {MAX_RADIX}: train with another --window, such as "
                f"{2 ** round(math.log2(width))} samples."
            )

        # The negative sine is the cosine a quarter of a turn later.
        turn = math.lcm(width, 4)
        turns = np.arange(turn + turn // 4) / turn
        self.tables["cosines"] = np.rint(np.cos(2 * np.pi * turns) * (2**31 - 1)).astype(np.int64)
        taper = np.rint(np.hanning(width) * (2**TAPER_BITS - 1)).astype(np.int64)
        taper = np.maximum(taper, taper[::-1])  # symmetric to the bit
        self.tables["taper"] = taper[: width // 2 + 1]

        # All stages but the last one halve their sums.
        halvings = len(self.radices) - 1
        loudest = taper.reshape(size, -1) / 2.0 ** (TAPER_BITS - 15)
        largest = np.linalg.norm(loudest, axis=1).sum() / 2.0**halvings
        fraction_bits = min(math.floor(math.log2(MAX_VALUE / largest)), TAPER_BITS - 1)
        self.numbers |= {"SIZE": size, "TURN": turn, "SHIFT": TAPER_BITS - fraction_bits}
        return float(2.0 ** (fraction_bits - halvings))

    def _add_bands(self, filters: npt.NDArray[np.float64]) -> None:
        """The weights of bands, from the weights of frequencies [frequencies, bands] up to 1.

        The weights of a band are larger by a power of two, so that they use all bits.
        """
        shifts = np.floor(-np.log2(filters.max(axis=0))).clip(0, WEIGHT_BITS).astype(np.int64)
        weights = np.rint(filters * 2.0 ** (WEIGHT_BITS + shifts)).astype(np.int64)
        weights = np.minimum(weights, 2**WEIGHT_BITS - 1).T

        is_used = weights > 0
        first = is_used.argmax(axis=1)
        end = is_used.shape[1] - is_used[:, ::-1].argmax(axis=1)
        ranges = zip(weights, first, end, strict=True)
        self.tables |= {"shifts": shifts, "first": first, "counts": end - first}
        self.tables["weights"] = np.concatenate([row[a:b] for row, a, b in ranges])

    def _add_level(self, memory: float, unit: float) -> None:
        """The running mean of the power of each band; see `nwavesdk.data.front_end.RunningMean`.

            m[t] = m[t-1] + (f[t] - m[t-1]) / w[t],  w[t] = d w[t-1] + 1

        The silence that is added to a band is a fraction of its mean, with 32 bits.

        Args:
            memory: Time constant [frames].
            unit: The integer sum of a band with power 1.
        """
        finite_number("FixedLogMel", "level_memory [frames]", memory, most=MAX_MEMORY_FRAMES)
        self.numbers |= {
            "SILENCE": round(RELATIVE_SILENCE * 2**32),
            "DECAY": round(math.exp(-1 / memory) * 2**32),
            "FIRST_LEVEL": round(FIRST_POWER * unit),
            "MIN_LEVEL": round(MIN_POWER * unit),
            "FIRST_PAST": round(PRIOR_FRAMES * 2**WEIGHT_BITS),
        }

    def _add_scale(self, standard: Standard, step: float, log_unit: float) -> None:
        """The scale of the logarithms, where `log_unit` is the logarithm of power 1."""
        steps = 1 + np.arange(LOG_STEPS + 1) / LOG_STEPS
        means = (standard.mean / math.log(2) + log_unit) * 2**LOG_BITS

        # The logarithm minus a mean, times a factor, has 32 bits after the point.
        resolution = standard.deviation * np.float64(step)
        name = "least deviation times step"
        finite_number("FixedLogMel", name, float(resolution.min()), above=MIN_RESOLUTION)
        tables = {
            "logarithms": np.log2(steps) * 2**LOG_BITS,
            "means": means.clip(-MAX_MEAN, MAX_MEAN),
            "factors": math.log(2) / resolution * 2.0 ** (32 - LOG_BITS),
        }
        self.tables |= {key: np.rint(values).astype(np.int64) for key, values in tables.items()}


def _prime_factors(number: int) -> Iterator[int]:
    """The prime factors of a number, in ascending order."""
    factor = 2
    while number > 1:
        while number % factor == 0:
            yield factor
            number //= factor
        factor += 1


def fixed_log_mel(trained: TrainedRun, step: float) -> FixedLogMel:
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
        f"{getattr(trained.config.data, 'level', None)}, center {trained.input.center}, "
        f"standardize {trained.input.standardize}): train with `nwave train --level running`."
    )
