"""The power spectrum of windows of samples in integers: a mixed-radix Fourier transform.

All sums of products are exact in 64 bits and are rounded once, so that the order of additions does
not change a bit. The transform is Stockham's: each stage reads one buffer and writes another, and
the last stage leaves the frequencies in order.
"""

import math
from itertools import count

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.checks import whole_number

__all__ = ["FAST_RADICES", "TAPER_BITS", "Integers", "PowerTransform", "shift_down"]

Integers = npt.NDArray[np.int64]

# The work of a stage grows with its radix.
MAX_RADIX = 61
MAX_WIDTH = 2**15

# Radices with their own code come first; the number of stages matters, so 4 is before 2.
FAST_RADICES = (4, 2, 5)

# The sum and the difference of two values of the spectrum, and rounding, must fit 32 bits.
MAX_SPECTRUM = 0.99 * 2**30

TAPER_BITS = 16


def shift_down(values: Integers, bits: int) -> Integers:
    """`values / 2**bits`, rounded to the nearest integer; halves are rounded up."""
    return np.asarray((values + (1 << bits >> 1)) >> bits, np.int64)


def prime_factors(number: int) -> list[int]:
    """The prime factors of a number from 1, in ascending order."""
    for factor in range(2, math.isqrt(number) + 1):
        if number % factor == 0:
            return [factor, *prime_factors(number // factor)]
    return [number] if number > 1 else []


def has_small_factors(width: int) -> bool:
    """Whether the transform of a window has no stage of a large radix."""
    return max(prime_factors(width)) <= MAX_RADIX


class PowerTransform:
    """The power of each frequency of tapered windows, in integers.

    A window of an even width is transformed as half as many complex numbers.

    Args:
        width: Samples of a window.
        sample_rate: Rate of the samples [Hz], for the message of an error.

    Attributes:
        size: Complex numbers of the transform.
        radices: The radix of each stage.
        fraction_bits: Bits after the point of a tapered sample.
        scale: A value of the spectrum of the integer samples is multiplied by this.

    Raises:
        ValueError: If the width is too large, or has a large prime factor.

    Example:
        >>> transform = PowerTransform(400, 16_000)
        >>> transform.size, transform.radices, transform.scale
        (200, (4, 2, 5, 5), 128.0)
        >>> transform.power(np.full((1, 400), 100)).shape
        (1, 201)
    """

    def __init__(self, width: int, sample_rate: int) -> None:
        whole_number("FixedLogMel", "samples of a window", width, most=MAX_WIDTH)
        if not has_small_factors(width):
            near = next(
                near
                for distance in count(1)
                for near in (width + distance, width - distance)
                if has_small_factors(near)
            )
            raise ValueError(
                f"FixedLogMel: a window of {width} samples has the prime factor "
                f"{max(prime_factors(width))}, expected factors of at most {MAX_RADIX}: train with "
                f"a window of {near} samples, {near / sample_rate:.9g} s."
            )

        self.width = width
        self.is_even = width % 2 == 0
        self.size = width // 2 if self.is_even else width
        self.radices = self._radices()

        # The table of cosines has the angles of the window, and a right angle. It is longer than
        # a turn, because a cosine at a later angle serves as sine.
        self.turn = math.lcm(width, 4)
        turns = np.arange(self.turn + self.turn // 4) % self.turn
        mirrored = np.minimum(turns, self.turn - turns)
        to_right_angle = np.minimum(mirrored, self.turn // 2 - mirrored)
        sizes = np.cos(2 * np.pi * to_right_angle / self.turn) * (2**31 - 1)
        signs = np.where(4 * mirrored > self.turn, -1, 1)
        self.cosines: Integers = signs * np.rint(sizes).astype(np.int64)

        taper = np.rint(np.hanning(width) * (2**TAPER_BITS - 1)).astype(np.int64)
        half = taper[: (width + 1) // 2]
        self.taper: Integers = np.concatenate([half, half[: width // 2][::-1]])
        bits = math.floor(math.log2(MAX_SPECTRUM / self._max_spectrum()))
        self.fraction_bits = min(bits, TAPER_BITS - 1)
        self.scale = 2.0 ** (self.fraction_bits - len(self.radices) + 1)

    def power(self, windows: npt.ArrayLike) -> Integers:
        """The power of each frequency, times the square of `scale`.

        Args:
            windows: Samples of 16 bits, `[L, width]`.

        Returns:
            `[L, width // 2 + 1]`, below 2^60.
        """
        tapered = np.asarray(windows, np.int64) * self.taper
        samples = shift_down(tapered, TAPER_BITS - self.fraction_bits)
        if self.is_even:
            pairs = samples.reshape(-1, self.size, 2).transpose(2, 0, 1)
            return self._power_of_pairs(self._transform(pairs))

        spectrum = self._transform(np.stack([samples, np.zeros_like(samples)]))
        used = spectrum[:, :, : self.width // 2 + 1]
        return np.asarray(np.square(used).sum(axis=0), np.int64)

    def _power_of_pairs(self, spectrum: Integers) -> Integers:
        """The power from the spectrum of pairs of samples as complex numbers, `[2, L, size]`."""
        frequencies = np.arange(self.size // 2 + 1)
        mirrored = self.size - frequencies
        ahead, behind = spectrum[:, :, frequencies], spectrum[:, :, mirrored % self.size]

        # The sum with the mirrored conjugate has the spectrum of the even samples; the difference,
        # times -i, the spectrum of the odd samples. Both are twice as large.
        even = np.stack([ahead[0] + behind[0], ahead[1] - behind[1]])
        odd = np.stack([ahead[1] + behind[1], behind[0] - ahead[0]])
        even = self._turned(even, np.zeros_like(frequencies))
        odd = self._turned(odd, frequencies * (self.turn // self.width))

        power = np.empty((*spectrum.shape[1:-1], self.size + 1), np.int64)
        power[:, frequencies] = np.square(even + odd).sum(axis=0)
        power[:, mirrored] = np.square(even - odd).sum(axis=0)
        return power

    def _transform(self, values: Integers) -> Integers:
        """The spectrum of complex numbers, real and imaginary parts `[2, L, size]`."""
        points = self.size
        for radix in self.radices:
            points //= radix
            stride = values.shape[-1] // (points * radix)
            sums = self._sums(values.reshape(2, -1, radix, points, stride))
            if points > 1:
                angles = np.outer(np.arange(radix), np.arange(points))
                sums = self._turned(sums, angles[..., None] * (self.turn // (points * radix)))
            values = sums.swapaxes(2, 3).reshape(values.shape)
        return values

    def _sums(self, values: Integers) -> Integers:
        """The transforms over the third axis, `[2, L, radix, ...]`."""
        radix = values.shape[2]
        if radix % 2 == 0:
            half = radix // 2
            plus = values[:, :, :half] + values[:, :, half:]
            minus = values[:, :, :half] - values[:, :, half:]
            if radix == 4:
                quarter = np.stack([minus[1, :, 1], -minus[0, :, 1]])  # times -i
                first, second = plus[:, :, 0], plus[:, :, 1]
                sums = [first + second, minus[:, :, 0] + quarter]
                sums += [first - second, minus[:, :, 0] - quarter]
                return np.stack(sums, axis=2)
            return np.concatenate([plus, minus], axis=2)

        # A root of unity and its conjugate share products.
        first, later = values[:, :, :1], values[:, :, 1:]
        half = radix // 2
        plus = later[:, :, :half] + later[:, :, : half - 1 : -1]
        minus = later[:, :, :half] - later[:, :, : half - 1 : -1]
        roots = np.arange(1, half + 1)
        angles = np.outer(roots, roots) % radix * (self.turn // radix)
        real = self._weighted(plus, self.cosines[angles]) + first
        turned = self._weighted(minus, self.cosines[angles + self.turn // 4])
        imaginary = np.stack([-turned[1], turned[0]])  # times i
        total = first + plus.sum(axis=2, keepdims=True)
        return np.concatenate([total, real + imaginary, (real - imaginary)[:, :, ::-1]], axis=2)

    def _weighted(self, values: Integers, weights: Integers) -> Integers:
        """The sums over the third axis of values times weights `[sums, radix // 2]`."""
        return 2 * shift_down(np.einsum("clj...,kj->clk...", values, weights), 32)

    def _turned(self, values: Integers, angles: Integers) -> Integers:
        """Half of the complex `values`, turned clockwise by angles of the table of cosines."""
        cosine, minus_sine = self.cosines[angles], self.cosines[angles + self.turn // 4]
        real = values[0] * cosine - values[1] * minus_sine
        imaginary = values[1] * cosine + values[0] * minus_sine
        return shift_down(np.stack([real, imaginary]), 32)

    def _radices(self) -> tuple[int, ...]:
        """The radices of all stages, those with their own code first."""
        rest, radices = self.size, []
        for radix in FAST_RADICES:
            while rest % radix == 0:
                radices.append(radix)
                rest //= radix
        return (*radices, *prime_factors(rest))

    def _max_spectrum(self) -> float:
        """The largest value of all stages, for samples without bits after the point."""
        parts = self.taper.reshape(self.size, -1) * 0.5  # full scale is 2^15, a taper is 2^16
        bounds = np.sqrt(np.square(parts).sum(axis=1))
        points, largest = self.size, 0.0
        for radix in self.radices:
            points //= radix
            stages = bounds.reshape(radix, points, -1)
            sums = np.broadcast_to(stages.sum(axis=0), stages.shape)
            largest = max(largest, float(sums.max()))
            bounds = sums.swapaxes(0, 1).ravel() / 2
        return largest
