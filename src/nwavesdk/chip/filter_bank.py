"""The front end of a chip: band-pass filters side by side, from one sound to one channel for each filter."""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.chip.profile import Profile

__all__ = ["FilterBank"]

Samples = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FilterBank:
    """Butterworth band-pass filters whose centres lie in geometric steps.

    Centre k is `lowest * (highest / lowest) ** (k / (count - 1))`; its band reaches to the geometric means with the
    neighbouring centres, and as far beyond the first and the last, so that bands touch where both pass half the power.
    A bank of one filter reaches from `lowest` to `highest`.

    Args:
        sample_rate: Rate of the sound [Hz].
        lowest: Centre of the lowest band [Hz].
        highest: Centre of the highest band [Hz].
        count: Number of filters.
        order: Order of the Butterworth low-pass that each band-pass is made from; a band-pass has twice as many poles.

    Raises:
        ValueError: a number is out of its range, or the highest band does not end below half the sample rate.

    Example:
        >>> FilterBank(8000, lowest=100, highest=1600, count=5, order=2).centres.round().tolist()
        [100.0, 200.0, 400.0, 800.0, 1600.0]
    """

    sample_rate: float
    lowest: float
    highest: float
    count: int
    order: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.order < 1:
            raise ValueError(
                f"FilterBank needs count and order from 1, got {self.count} and {self.order}."
            )
        if not 0 < self.lowest < self.highest < np.inf:
            raise ValueError(
                f"FilterBank needs 0 < lowest < highest, got {self.lowest:g} Hz and {self.highest:g} Hz."
            )
        edge = float(self.edges[-1, 1])
        if not edge < self.sample_rate / 2:
            raise ValueError(
                f"The highest of {self.count} bands ends at {edge:.0f} Hz, expected below {self.sample_rate / 2:g} Hz, "
                f"half the sample rate: use a sample_rate above {2 * edge:.0f} Hz, or a chip profile with a lower "
                "filter_highest."
            )

    @classmethod
    def of(cls, profile: Profile, sample_rate: float) -> "FilterBank":
        """The bank of a chip, for sound at a rate [Hz]."""
        return cls(
            sample_rate=sample_rate, lowest=profile.number("filter_lowest"), highest=profile.number("filter_highest"),
            count=profile.count("filters"), order=profile.count("filter_order"),
        )  # fmt: skip

    @property
    def centres(self) -> Numbers:
        """Centre of each band [Hz], `[count]`."""
        if self.count == 1:
            return np.array([np.sqrt(self.lowest * self.highest)])
        centres: Numbers = np.geomspace(self.lowest, self.highest, self.count)
        return centres

    @property
    def edges(self) -> Numbers:
        """Lower and upper edge of each band [Hz], `[count, 2]`."""
        half_step = (self.highest / self.lowest) ** (0.5 / max(self.count - 1, 1))
        edges: Numbers = self.centres[:, None] * np.array([1 / half_step, half_step])
        return edges

    @cached_property
    def sections(self) -> Numbers:
        """The second-order sections of each filter, `[count, order, 6]`, numerators before denominators."""
        butter = _signal().butter
        filters = [
            butter(self.order, band, btype="bandpass", fs=self.sample_rate, output="sos")
            for band in self.edges
        ]
        sections: Numbers = np.stack(filters)
        return sections

    def response(self, frequencies: npt.ArrayLike) -> Numbers:
        """Magnitude of each filter at each frequency.

        Args:
            frequencies: Up to half the sample rate [Hz], `[F]`.

        Returns:
            Gain, `[count, F]`, about 1 at a centre and 1 / sqrt(2) at the edges.
        """
        z = np.exp(2j * np.pi * np.asarray(frequencies, np.float64) / self.sample_rate)
        powers = z ** -np.arange(3)[:, None]
        gains = (self.sections[..., :3] @ powers) / (self.sections[..., 3:] @ powers)
        magnitude: Numbers = np.abs(gains.prod(axis=1))
        return magnitude

    def __call__(self, sound: npt.ArrayLike) -> Samples:
        """The channels of a sound, from filters at rest.

        Args:
            sound: `[samples]`.

        Returns:
            `[count, samples]`.
        """
        samples = np.asarray(sound, np.float64)
        if samples.ndim != 1:
            raise ValueError(
                f"FilterBank takes one mono sound [samples], got an array of shape {list(samples.shape)}."
            )
        filtered = _signal().sosfilt
        return np.stack(
            [filtered(sections, samples).astype(np.float32) for sections in self.sections]
        )


def _signal() -> Any:
    try:
        return import_module("scipy.signal")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "scipy":
            raise
        text = (
            'scipy is not installed, and filters need it: pip install "nwavesdk[train]" brings it.'
        )
        raise ModuleNotFoundError(text, name=error.name) from None
