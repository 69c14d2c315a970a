"""The power spectrum of windows of samples in integers: a mixed-radix Fourier transform.

Products are summed in 64 bits and rounded once, so that no order of additions changes a bit. The
transform is Stockham's: each stage reads one buffer and writes another, and the last stage leaves
the frequencies in order.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.checks import whole_number

__all__ = ["TAPER_BITS", "Integers", "PowerTransform", "shift_down"]

Integers = npt.NDArray[np.int64]

# The work of a stage grows with its radix, and its number of points must fit 32 bits.
MAX_RADIX = 61
MAX_WIDTH = 2**15

# Twice a value of the spectrum must fit 32 bits; a part is for rounding.
MAX_VALUE = 0.9 * 2**30

TAPER_BITS = 16


def shift_down(values: Integers, bits: int) -> Integers:
    """`values / 2**bits`, rounded to the nearest integer; halves are rounded up."""
    return np.asarray((values + 2 ** (bits - 1)) >> bits, np.int64)


def prime_factors(number: int) -> Iterator[int]:
    """The prime factors of a number, in ascending order."""
    factor = 2
    while number > 1:
        while number % factor == 0:
            yield factor
            number //= factor
        factor += 1


class PowerTransform:
    """The power of each frequency of tapered windows, in integers.

    A window of an even width is transformed as half as many complex numbers.

    Args:
        width: Samples of a window.

    Attributes:
        size: Number of complex values of the transform.
        radices: The radix of each stage.
        turn: Number of steps of a full turn, in the table of cosines.
        cosines: The cosine of each step of a turn and a quarter, times 2^31 - 1.
        minus_sines: The negative sine, which is the cosine a quarter of a turn later.
        taper: The weight of each sample, with `TAPER_BITS` bits after the point, `[width]`.
        fraction_bits: Bits after the point of a tapered sample.
        scale: Factor of the spectrum in integers.

    Raises:
        ValueError: If the width is too large, or has a large prime factor.

    Example:
        >>> transform = PowerTransform(400)
        >>> transform.size, transform.radices, transform.scale
        (200, (2, 2, 2, 5, 5), 128.0)
        >>> transform.power(np.full((1, 400), 100)).shape
        (1, 201)
    """

    def __init__(self, width: int) -> None:
        whole_number("FixedLogMel", "samples of a window", width, most=MAX_WIDTH)
        self.width = width
        self.size = width if width % 2 else width // 2
        self.radices = (*prime_factors(self.size),)
        largest_factor = max(self.radices)
        if largest_factor > MAX_RADIX:
            raise ValueError(
                f"FixedLogMel: a window of {width} samples has the prime factor {largest_factor}, "
                f"expected factors of at most {MAX_RADIX}: train with another --window, such as "
                f"{2 ** round(math.log2(width))} samples."
            )

        self.turn = math.lcm(width, 4)
        turns = np.arange(self.turn + self.turn // 4) / self.turn
        self.cosines = np.rint(np.cos(2 * np.pi * turns) * (2**31 - 1)).astype(np.int64)
        self.minus_sines = self.cosines[self.turn // 4 :]
        taper = np.rint(np.hanning(width) * (2**TAPER_BITS - 1)).astype(np.int64)
        self.taper = np.maximum(taper, taper[::-1])  # symmetric to the bit

        # All stages but the last one halve their sums.
        halvings = len(self.radices) - 1
        loudest = self.taper.reshape(self.size, -1) / 2.0 ** (TAPER_BITS - 15)
        largest = np.linalg.norm(loudest, axis=1).sum() / 2.0**halvings
        room = math.floor(math.log2(MAX_VALUE / largest))
        self.fraction_bits = min(room, TAPER_BITS - 1)
        self.scale = 2.0 ** (self.fraction_bits - halvings)

    def power(self, windows: npt.ArrayLike) -> Integers:
        """The power of each frequency, times the square of `scale`.

        Args:
            windows: Samples of 16 bits, `[L, width]`.

        Returns:
            `[L, width // 2 + 1]`, below 2^60.
        """
        tapered = np.asarray(windows, np.int64) * self.taper
        samples = shift_down(tapered, TAPER_BITS - self.fraction_bits)
        if self.size < self.width:
            pairs = samples.reshape(-1, self.size, 2).transpose(2, 0, 1)
            return self._power_of_pairs(self._spectrum(pairs))

        spectrum = self._spectrum(np.stack([samples, np.zeros_like(samples)]))
        return squares(spectrum[:, :, : self.width // 2 + 1])

    def _spectrum(self, values: Integers) -> Integers:
        """The spectrum of complex numbers, real and imaginary parts `[2, L, size]`."""
        stride = 1
        for radix in self.radices:
            points = self.size // (stride * radix)
            sums = self._sums(values.reshape(2, -1, radix, points, stride))
            if points > 1:
                angles = np.outer(np.arange(radix), np.arange(points) * stride)
                sums = self._turned(sums, angles[..., None] * (self.turn // self.size))
            values = sums.swapaxes(2, 3).reshape(values.shape)
            stride *= radix
        return values

    def _sums(self, values: Integers) -> Integers:
        """The Fourier transforms over the third axis, `[2, L, radix, points, stride]`."""
        radix = values.shape[2]
        if radix == 2:
            return np.stack([values.sum(axis=2), values[:, :, 0] - values[:, :, 1]], axis=2)

        # A root of unity and its conjugate share the products.
        half = radix // 2
        others = values[:, :, 1:]
        plus = (others + others[:, :, ::-1])[:, :, :half]
        minus = (others - others[:, :, ::-1])[:, :, :half]
        roots = np.arange(1, half + 1)
        angles = np.outer(roots, roots) % radix * (self.turn // radix)
        real = values[:, :, :1] + self._products(plus, self.cosines[angles])
        turned = self._products(minus, self.minus_sines[angles])

        imaginary = np.stack([-turned[1], turned[0]])
        total = values.sum(axis=2, keepdims=True)
        conjugates = (real - imaginary)[:, :, ::-1]
        return np.concatenate([total, real + imaginary, conjugates], axis=2)

    def _products(self, values: Integers, weights: Integers) -> Integers:
        """The sums over the third axis of values times weights `[sums, values]`."""
        return 2 * shift_down(np.einsum("kj,cljpq->clkpq", weights, values), 32)

    def _turned(self, values: Integers, angles: Integers) -> Integers:
        """Half of complex values, turned clockwise."""
        real, imaginary = values
        cosines = self.cosines[angles]
        minus_sines = self.minus_sines[angles]
        turned_real = real * cosines - imaginary * minus_sines
        turned_imaginary = imaginary * cosines + real * minus_sines
        return shift_down(np.stack([turned_real, turned_imaginary]), 32)

    def _power_of_pairs(self, spectrum: Integers) -> Integers:
        """The power from the spectrum of pairs of samples as complex numbers, `[2, L, size]`."""
        frequencies = np.arange(self.size // 2 + 1)
        real, imaginary = spectrum[:, :, frequencies]
        mirrored_real, mirrored_imaginary = spectrum[:, :, -frequencies]

        # The sum with the mirrored conjugate has the spectrum of the even samples; the difference,
        # times -i, the spectrum of the odd samples. Both are twice as large.
        even = np.stack([real + mirrored_real, imaginary - mirrored_imaginary])
        odd = np.stack([imaginary + mirrored_imaginary, mirrored_real - real])
        even = self._turned(even, 0 * frequencies)
        odd = self._turned(odd, frequencies * (self.turn // self.width))

        power = np.empty((spectrum.shape[1], self.size + 1), np.int64)
        power[:, frequencies] = squares(even + odd)
        power[:, self.size - frequencies] = squares(even - odd)
        return power


def squares(values: Integers) -> Integers:
    """The squares of the absolute values of complex numbers `[2, ...]`."""
    return np.asarray(np.square(values).sum(axis=0), np.int64)
