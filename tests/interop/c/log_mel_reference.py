"""The arithmetic of `log_mel_rt.h` in NumPy, with the tables of a `FixedLogMel`."""

import math

import numpy as np

from nwavesdk.data import Standard
from nwavesdk.interop.c.log_mel import LOG_BITS, FixedLogMel

__all__ = ["LogMelReference"]


def shift_down(values: np.ndarray, bits: int) -> np.ndarray:
    """`values / 2**bits`, rounded to the nearest integer; halves are rounded up."""
    return (values + 2 ** (bits - 1)) >> bits


def scaled(value: int, factor: int) -> int:
    """`value * factor / 2**32`, rounded down."""
    return value * factor >> 32


class LogMelReference:
    """Frames of a sound that comes in blocks, equal to the frames of C to the bit.

    Args:
        front_end: The tables.
    """

    def __init__(self, front_end: FixedLogMel) -> None:
        self.front_end = front_end
        self.tables = front_end.tables
        self.numbers = front_end.numbers
        self.minus_sines = self.tables["cosines"][self.numbers["TURN"] // 4 :]
        self.stream = front_end.log_mel.stream()
        self.levels = [self.numbers.get("FIRST_LEVEL")] * front_end.log_mel.bands
        self.past = self.numbers.get("FIRST_PAST")

    def push(self, samples: np.ndarray) -> np.ndarray:
        """The frames `[frames, bands]` that the next block of int16 samples completes."""
        differences = self.logarithms(samples) - self.tables["means"]
        frames = shift_down(differences * self.tables["factors"], 32)
        return frames.clip(-127, 127).astype(np.int8)

    def push_natural(self, samples: np.ndarray, standard: Standard) -> np.ndarray:
        """The natural logarithms of power in place of frames, on the scale of `LogMel`."""
        means = self.tables["means"] / 2**LOG_BITS - standard.mean / math.log(2)
        return (self.logarithms(samples) / 2**LOG_BITS - means) * math.log(2)

    def logarithms(self, samples: np.ndarray) -> np.ndarray:
        """The logarithms to base 2 of sums, or of their ratio to the level, `[frames, bands]`."""
        sums = self.sums(self.power(self.stream.windows(samples)))
        if self.past is None:
            return self.log2(sums + self.numbers["SILENCE"])
        levels = np.zeros_like(sums)
        for frame, powers in enumerate(sums.tolist()):
            self.past = scaled(self.past, self.numbers["DECAY"]) + 2**16
            gain = (2**32 - 1) // (self.past >> 8) << 8
            for band, power in enumerate(powers):
                self.levels[band] += scaled(power, gain) - scaled(self.levels[band], gain)
            levels[frame] = np.maximum(self.levels, self.numbers["MIN_LEVEL"])
        silences = np.vectorize(scaled, [np.int64])(levels, self.numbers["SILENCE"])
        return self.log2(sums + silences) - self.log2(levels)

    def log2(self, values: np.ndarray) -> np.ndarray:
        """The logarithm to base 2 of whole numbers from 1 to 2^63 - 1, with `LOG_BITS` bits."""
        exponents = np.zeros_like(values)
        for bits in (32, 16, 8, 4, 2, 1):
            exponents += bits * (values >> (exponents + bits) > 0)

        # The leading bit becomes bit 31. The next five bits are the step, then 16 bits between.
        left = np.maximum(31 - exponents, 0)
        right = np.maximum(exponents - 31, 0)
        mantissas = values << left >> right
        steps = mantissas >> 26 & 31
        between = mantissas >> 10 & 2**16 - 1
        below = self.tables["logarithms"][steps]
        rise = (self.tables["logarithms"][steps + 1] - below) * between >> 16
        return (exponents << LOG_BITS) + below + rise

    def sums(self, power: np.ndarray) -> np.ndarray:
        """The weighted sums `[L, bands]` of power `[L, frequencies]`."""
        first = self.tables["first"]
        counts = self.tables["counts"]
        ends = np.cumsum(counts)
        columns = []
        for band, (begin, count, end) in enumerate(zip(first, counts, ends, strict=True)):
            weights = self.tables["weights"][end - count : end]
            part = power[:, begin : begin + count]
            high = (part >> 32) @ weights
            low = (part & 2**32 - 1) @ weights
            bits = 16 + self.tables["shifts"][band]
            columns.append((high << 32 - bits) + (low >> bits))
        return np.stack(columns, axis=1)

    def power(self, windows: np.ndarray) -> np.ndarray:
        """The power `[L, width // 2 + 1]` of each frequency of windows `[L, width]`."""
        width = self.numbers["WIDTH"]
        size = self.numbers["SIZE"]
        half = self.tables["taper"][: (width + 1) // 2]
        taper = np.concatenate([half, half[: width // 2][::-1]])
        tapered = shift_down(np.asarray(windows, np.int64) * taper, self.numbers["SHIFT"])
        if size < width:
            pairs = tapered.reshape(-1, size, 2).transpose(2, 0, 1)
            return self.power_of_pairs(self.spectrum(pairs))
        spectrum = self.spectrum(np.stack([tapered, np.zeros_like(tapered)]))
        return np.square(spectrum[:, :, : width // 2 + 1]).sum(axis=0)

    def spectrum(self, values: np.ndarray) -> np.ndarray:
        """The spectrum of complex numbers, real and imaginary parts `[2, L, size]`."""
        size = self.numbers["SIZE"]
        stride = 1
        for radix in self.front_end.radices:
            points = size // (stride * radix)
            sums = self.transformed(values.reshape(2, -1, radix, points, stride))
            if points > 1:
                angles = np.outer(np.arange(radix), np.arange(points) * stride)
                sums = self.turned(sums, angles[..., None] * (self.numbers["TURN"] // size))
            values = sums.swapaxes(2, 3).reshape(values.shape)
            stride *= radix
        return values

    def transformed(self, values: np.ndarray) -> np.ndarray:
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
        angles = np.outer(roots, roots) % radix * (self.numbers["TURN"] // radix)
        real = values[:, :, :1] + self.products(plus, self.tables["cosines"][angles])
        turned = self.products(minus, self.minus_sines[angles])

        imaginary = np.stack([-turned[1], turned[0]])
        total = values.sum(axis=2, keepdims=True)
        conjugates = (real - imaginary)[:, :, ::-1]
        return np.concatenate([total, real + imaginary, conjugates], axis=2)

    def products(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The sums over the third axis of values times weights `[sums, values]`."""
        return 2 * shift_down(np.einsum("kj,cljpq->clkpq", weights, values), 32)

    def turned(self, values: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Half of complex values, turned clockwise."""
        real, imaginary = values
        cosines = self.tables["cosines"][angles]
        minus_sines = self.minus_sines[angles]
        turned_real = real * cosines - imaginary * minus_sines
        turned_imaginary = imaginary * cosines + real * minus_sines
        return shift_down(np.stack([turned_real, turned_imaginary]), 32)

    def power_of_pairs(self, spectrum: np.ndarray) -> np.ndarray:
        """The power from the spectrum of pairs of samples as complex numbers, `[2, L, size]`."""
        width = self.numbers["WIDTH"]
        size = self.numbers["SIZE"]
        frequencies = np.arange(size // 2 + 1)
        real, imaginary = spectrum[:, :, frequencies]
        mirrored_real, mirrored_imaginary = spectrum[:, :, -frequencies]

        # The sum with the mirrored conjugate has the spectrum of the even samples; the difference,
        # times -i, the spectrum of the odd samples. Both are twice as large.
        even = np.stack([real + mirrored_real, imaginary - mirrored_imaginary])
        odd = np.stack([imaginary + mirrored_imaginary, mirrored_real - real])
        even = self.turned(even, 0 * frequencies)
        odd = self.turned(odd, frequencies * (self.numbers["TURN"] // width))

        power = np.empty((spectrum.shape[1], size + 1), np.int64)
        power[:, frequencies] = np.square(even + odd).sum(axis=0)
        power[:, size - frequencies] = np.square(even - odd).sum(axis=0)
        return power
