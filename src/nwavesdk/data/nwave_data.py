"""NWAVE's data generator: batches of training, validation and test set from a data folder."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from nwavesdk.data.channels import Channels, generate
from nwavesdk.data.loader_config import NWaveDataloaderConfig

__all__ = ["NWaveDataGen"]

Batches = DataLoader[tuple[Tensor, ...]]


class NWaveDataGen:
    """Recordings through the filter bank of a chip, in batches.

    Every recording is brought to one rate and length, filtered into the channels of the chip,
    rectified and averaged over time steps. The folder is read once, when it is first needed, and
    computed channels are stored on disk.

    Args:
        config: The choices, which can also be given by name, as in
            `NWaveDataGen(data_parent="words", sample_rate=8000)`.

    Raises:
        TypeError: If there is a config and choices by name, or neither, or a choice does not exist.
        ValueError: See `NWaveDataloaderConfig`; on first use, if a folder or file cannot be used.

    Example:
        >>> gen = NWaveDataGen(data_parent="words", recording_duration_s=1.0, sim_time_s=10e-3)
        >>> gen.T
        100
    """

    def __init__(self, config: NWaveDataloaderConfig | None = None, /, **choices: Any) -> None:
        if config is not None and choices:
            raise TypeError(
                "NWaveDataGen takes a config or choices by name, got both: put "
                f"{list(choices)} into the config."
            )
        if config is not None and not isinstance(config, NWaveDataloaderConfig):
            raise TypeError(
                f"NWaveDataGen takes an NWaveDataloaderConfig, got {config!r}: give a folder as "
                "data_parent=."
            )
        self.config = NWaveDataloaderConfig(**choices) if config is None else config

    @cached_property
    def channels(self) -> Channels:
        """All recordings as arrays."""
        return generate(self.config)

    def dataloaders(self) -> tuple[Batches, Batches, Batches]:
        """Batches of the training, validation and test set.

        Returns:
            Three loaders of `(x, y)`: x is float32 `[B, T, 16]`, 0 in silence and 2/π for a
            full-scale tone. Most sounds are far below: multiply x by a gain, the same for all
            recordings, so that the bounded weights of a front end reach the threshold, as in
            `gain = 1 / x.quantile(0.99)` of the training set. y is the class, int64 `[B]`, or the
            target, float32 `[B, T, C]`. The training set has another order in each epoch; the seed
            decides these orders.
        """
        x = torch.from_numpy(self.channels.x)
        y = torch.from_numpy(self.channels.y)
        data = self.channels.split.map(lambda indices: TensorDataset(x[indices], y[indices]))
        order = torch.Generator().manual_seed(self.config.seed)
        size = self.config.batch_size
        return (
            DataLoader(data.train, size, shuffle=True, generator=order),
            DataLoader(data.val, size),
            DataLoader(data.test, size),
        )

    @property
    def T(self) -> int:  # noqa: N802
        """Number of time steps of a series."""
        return self.config.T

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class; empty for regression."""
        return self.channels.classes

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Path inside the folder and reason of each file that was left out."""
        return list(self.channels.skipped)

    @property
    def split_by(self) -> str:
        """What decides the split: `"folder"`, `"speaker"` or `"recording"`."""
        return self.channels.split_by

    @property
    def recordings(self) -> dict[str, int]:
        """Number of recordings in each set."""
        return self.channels.split.map(len).as_dict()

    @property
    def speakers(self) -> dict[str, int]:
        """Number of speakers in each set; empty if the split is by recording."""
        names = self.channels.speakers
        if not names:
            return {}
        return self.channels.split.map(lambda indices: len({names[i] for i in indices})).as_dict()
