"""The front end of a chip: a sound through its filter bank, also in blocks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import Samples, Sound, normalize_peak, resample
from nwavesdk.data.loader_config import NWaveDataloaderConfig

__all__ = ["FrontEnd", "FrontEndStream"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FrontEnd:
    """The front end of a chip: a sound through the filter bank, rectified, averaged over steps.

    Args:
        config: The choices.

    Example:
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> front_end(front_end.prepare((np.zeros(5000, np.float32), 8000))).shape
        (100, 16)
    """

    config: NWaveDataloaderConfig

    def prepare(self, sound: Sound) -> Samples:
        """A sound at the config's rate and level, cut or padded with silence to whole time steps.

        Returns:
            `[samples]`.
        """
        length = int(self.config.edges[-1])
        samples = resample(sound, self.config.sample_rate)[:length]
        if self.config.level == "peak":
            samples = normalize_peak(samples)
        return np.pad(samples, (0, length - len(samples)))

    def __call__(self, samples: Samples) -> Samples:
        """The mean of each rectified channel over each time step.

        Args:
            samples: From `prepare`.

        Returns:
            `[T, channels]`, never negative.
        """
        return FrontEndStream(self.config).push(samples)

    def stream(self) -> "FrontEndStream":
        """The front end for a sound that comes in blocks, from filters at rest.

        Raises:
            ValueError: If the config's level is `"peak"`.
        """
        if self.config.level == "peak":
            raise ValueError(
                "FrontEnd: level='peak' scales a sound by its loudest sample, which is known only "
                "at its end, got 'peak', expected 'as_is' for sound in blocks: use level='as_is'."
            )
        return FrontEndStream(self.config)


class FrontEndStream:
    """The steps of a sound that comes in blocks: together those of the whole, bit for bit.

    The sound has the config's rate. Its steps do not end with the config's duration.

    Args:
        config: The choices.

    Example:
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> stream = front_end.stream()
        >>> [len(stream.push(np.zeros(n, np.float32))) for n in (79, 1, 0, 200)]
        [0, 1, 0, 2]
    """

    def __init__(self, config: NWaveDataloaderConfig) -> None:
        self._config = config
        self._filters = config.bank.stream()
        # Rectified samples that are not averaged yet, and the step and sample where they begin.
        self._waiting = np.zeros((config.bank.count, 0))
        self._step = 0
        self._sample = 0

    def push(self, block: npt.ArrayLike) -> Array:
        """The steps that the next block completes.

        Args:
            block: `[samples]`, of any length.

        Returns:
            `[steps, channels]`, never negative.

        Raises:
            ValueError: If the block is not mono.
        """
        rectified = np.abs(self._filters.push(block).astype(np.float64))
        if self._waiting.shape[1]:
            rectified = np.concatenate([self._waiting, rectified], axis=1)
        edges = self._complete_edges(rectified.shape[1])
        # Each step is summed in one call, so that the order of its sum is that of the whole sound.
        sums = np.add.reduceat(rectified[:, : edges[-1]], edges[:-1], axis=1)
        self._waiting = rectified[:, edges[-1] :].copy()
        self._step += len(edges) - 1
        self._sample += edges[-1]
        return (sums / np.diff(edges)).T.astype(np.float32)

    def _complete_edges(self, n_waiting: int) -> npt.NDArray[np.int64]:
        """Where the complete steps begin and the last one ends, in the samples that wait."""
        most = int(n_waiting / (self._config.sim_time_s * self._config.sample_rate)) + 2
        edges = self._config.first_samples(self._step + np.arange(most + 1)) - self._sample
        return edges[edges <= n_waiting]
