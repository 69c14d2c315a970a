"""The front end of a chip: parallel band-pass filters, from a sound to one channel per filter."""

from dataclasses import KW_ONLY, dataclass
from functools import cache, cached_property
from importlib.resources import files
from types import ModuleType

import numpy as np
import numpy.typing as npt

from nwavesdk.chip.profile import Profile
from nwavesdk.internal.checks import positive_number
from nwavesdk.internal.imports import require

__all__ = ["FilterBank", "FilterBankStream"]

Samples = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FilterBank:
    """Butterworth band-pass filters whose centers are in geometric progression.

    Center k is `lowest * (highest / lowest) ** (k / (count - 1))`. Neighboring bands meet where
    both pass half of the power. A bank of one filter reaches from `lowest` to `highest`.

    Args:
        sample_rate: Rate of the sound [Hz].
        lowest: Center of the lowest band [Hz].
        highest: Center of the highest band [Hz].
        count: Number of filters.
        order: Order, by the convention of scipy; a band-pass has twice as many poles.

    Raises:
        ValueError: If a number is out of its range, or the highest band does not end below half the
            sample rate.

    Example:
        >>> bank = FilterBank(8000, lowest=100, highest=1600, count=5, order=2)
        >>> bank.centers.round().tolist()
        [100.0, 200.0, 400.0, 800.0, 1600.0]
    """

    sample_rate: float
    _: KW_ONLY
    lowest: float
    highest: float
    count: int
    order: int

    def __post_init__(self) -> None:
        positive_number("FilterBank", "sample_rate", self.sample_rate, "Hz")
        if self.count < 1 or self.order < 1:
            raise ValueError(
                f"FilterBank needs a count and an order of at least 1, got {self.count} and "
                f"{self.order}."
            )

        if not 0 < self.lowest < self.highest < np.inf:
            raise ValueError(
                f"FilterBank needs 0 < lowest < highest, got {self.lowest:g} Hz and "
                f"{self.highest:g} Hz."
            )

        # Above half the sample rate, the sound has no frequencies.
        edge = float(self.edges[-1, 1])
        if not edge < self.sample_rate / 2:
            raise ValueError(
                f"The highest of {self.count} bands ends at {edge:.0f} Hz, expected below "
                f"{self.sample_rate / 2:g} Hz, half the sample rate: use a sample_rate above "
                f"{2 * edge:.0f} Hz, or a chip profile with a lower filter_highest."
            )

    @classmethod
    def of(cls, profile: Profile, sample_rate: float) -> "FilterBank":
        """The bank of a chip, for sound at a rate [Hz]."""
        return cls(
            sample_rate=sample_rate,
            lowest=profile.number("filter_lowest"),
            highest=profile.number("filter_highest"),
            count=profile.count("filters"),
            order=profile.count("filter_order"),
        )

    @property
    def centers(self) -> Numbers:
        """Center of each band [Hz], `[count]`."""
        return (
            np.array([np.sqrt(self.lowest * self.highest)])
            if self.count == 1
            else np.geomspace(self.lowest, self.highest, self.count)
        )

    @property
    def edges(self) -> Numbers:
        """Lower and upper edge of each band [Hz], `[count, 2]`."""
        half_step = (self.highest / self.lowest) ** (0.5 / max(self.count - 1, 1))
        edges: Numbers = self.centers[:, None] * np.array([1 / half_step, half_step])
        return edges

    @cached_property
    def sections(self) -> Numbers:
        """Second-order sections of each filter, `[count, order, 6]`: numerator, denominator."""
        butter = require("scipy.signal", "train").butter
        return np.stack(
            [
                butter(self.order, band, btype="bandpass", fs=self.sample_rate, output="sos")
                for band in self.edges
            ]
        )

    def response(self, frequencies: npt.ArrayLike) -> Numbers:
        """The gain of each filter at each frequency.

        Args:
            frequencies: Up to half the sample rate [Hz], `[F]`.

        Returns:
            Magnitudes, `[count, F]`, about 1 at a center and 1 / sqrt(2) at the edges.
        """
        # z on the unit circle, and its powers 0, -1 and -2, [3, F].
        z = np.exp(2j * np.pi * np.asarray(frequencies, np.float64) / self.sample_rate)
        powers = z ** -np.arange(3)[:, None]

        # A section is its numerator and its denominator, three coefficients each.
        gains = (self.sections[..., :3] @ powers) / (self.sections[..., 3:] @ powers)
        magnitudes: Numbers = np.abs(gains.prod(axis=1))
        return magnitudes

    def __call__(self, sound: npt.ArrayLike) -> Samples:
        """The channels of a sound, from filters at rest.

        Args:
            sound: `[samples]`.

        Returns:
            `[count, samples]`.
        """
        return self.stream().push(sound)

    def stream(self) -> "FilterBankStream":
        """The bank for a sound that comes in blocks, from filters at rest."""
        return FilterBankStream(self)


class FilterBankStream:
    """The channels of a sound that comes in blocks; together they equal the whole, bit for bit.

    Args:
        bank: The filters.

    Example:
        >>> bank = FilterBank(8000, lowest=100, highest=1600, count=5, order=2)
        >>> stream = bank.stream()
        >>> sound = np.sin(np.arange(100))
        >>> blocks = [stream.push(sound[:3]), stream.push(sound[3:])]
        >>> bool((np.concatenate(blocks, axis=1) == bank(sound)).all())
        True
    """

    def __init__(self, bank: FilterBank) -> None:
        # As the kernel takes them; see `filter_samples`.
        self._sections = np.ascontiguousarray(bank.sections.transpose(1, 2, 0))
        self._delays = np.zeros((bank.order, 2, bank.count))

    def push(self, block: npt.ArrayLike) -> Samples:
        """The channels of the next block.

        Args:
            block: `[samples]`, of any length.

        Returns:
            `[count, samples]`.

        Raises:
            ValueError: If the block is not mono.
        """
        # Always a copy: the kernel is compiled for arrays that can be written.
        samples = np.array(block, np.float64, order="C")
        if samples.ndim != 1:
            raise ValueError(
                "FilterBank takes a mono sound [samples], got an array of shape "
                f"{list(samples.shape)}: average its channels, or take one."
            )

        channels = np.empty((self._delays.shape[2], len(samples)), np.float32)
        _kernels().filter_samples(samples, self._sections, self._delays, channels)
        return channels


@cache
def _kernels() -> ModuleType:
    # Imported on first use, because it imports numba and torch.
    from nwavesdk.solvers.kernel_cache import load_python_kernels

    text = files("nwavesdk.chip").joinpath("filter_kernel.py").read_text("utf-8")
    return load_python_kernels("filters", text)
