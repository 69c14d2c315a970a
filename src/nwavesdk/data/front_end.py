"""The front end of a chip, computed: sound of one length through the bank, rectified, averaged over time steps."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nwavesdk.chip import FilterBank
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.wav import Samples, Sound, at_rate, levelled

__all__ = ["FrontEnd"]


@dataclass(frozen=True)
class FrontEnd:
    """Sound to series, as a config wants it.

    Args:
        config: The choices.

    Example:
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> front_end(front_end.fitted((np.zeros(5000, np.float32), 8000))).shape
        (100, 16)
    """

    config: NWaveDataloaderConfig

    @cached_property
    def bank(self) -> FilterBank:
        """The filters of the chip."""
        return self.config.bank

    @cached_property
    def edges(self) -> npt.NDArray[np.int64]:
        """The samples between which time steps lie, `[T + 1]`."""
        return self.config.edges

    def fitted(self, sound: Sound) -> Samples:
        """A sound at the config's rate and level, cut or padded with silence to the whole time steps, `[samples]`."""
        length = int(self.edges[-1])
        samples = at_rate(sound, self.config.sample_rate)[:length]
        if self.config.level == "peak":
            samples = levelled(samples)
        return np.pad(samples, (0, length - len(samples)))

    def __call__(self, samples: Samples) -> Samples:
        """The mean of each rectified channel over each time step.

        Args:
            samples: From `fitted`.

        Returns:
            `[T, channels]`, never negative.
        """
        rectified = np.abs(self.bank(samples).astype(np.float64))
        sums = np.add.reduceat(rectified, self.edges[:-1], axis=1)
        return (sums / np.diff(self.edges)).T.astype(np.float32)
