"""NWAVE's data generator: a folder of recordings as batches for a net, in three parts."""

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

    Every recording is brought to one rate and length, filtered into the channels of the chip, rectified and averaged
    over time steps. The folder is read when it is first needed, and once; what was computed is kept on disk.

    Args:
        config: The choices; or give them by name, as in `NWaveDataGen(data_parent="words", sample_rate=8000)`.

    Raises:
        TypeError: A config and choices by name, neither, or a choice that there is not.
        ValueError: See `NWaveDataloaderConfig`; on first use, a folder or file that cannot be used.

    Example:
        >>> gen = NWaveDataGen(data_parent="words", recording_duration_s=1.0, sim_time_s=10e-3)
        >>> gen.T
        100
    """

    def __init__(self, config: NWaveDataloaderConfig | None = None, /, **choices: Any) -> None:
        if config is not None and choices:
            raise TypeError(
                f"NWaveDataGen takes a config or choices by name, got both: put {list(choices)} into it."
            )
        if config is not None and not isinstance(config, NWaveDataloaderConfig):
            raise TypeError(
                f"NWaveDataGen takes an NWaveDataloaderConfig, got {config!r}; give a folder as data_parent=."
            )
        self.config = NWaveDataloaderConfig(**choices) if config is None else config

    @cached_property
    def channels(self) -> Channels:
        """All of it as arrays."""
        return generate(self.config)

    def dataloaders(self) -> tuple[Batches, Batches, Batches]:
        """The training, validation and test part.

        Returns:
            Three loaders of `(x, y)`: x float32 `[B, T, 16]`, 0 in silence, 2/π for a full-scale tone; y int64
            `[B]`, the class, or float32 `[B, T, C]`, the target. Training batches come in an order of their own each
            epoch, the first of which the seed decides.
        """
        x, y = torch.from_numpy(self.channels.x), torch.from_numpy(self.channels.y)
        train, val, test = (
            TensorDataset(x[part], y[part]) for part in map(torch.from_numpy, self.channels.split)
        )
        order = torch.Generator().manual_seed(self.config.seed)
        size = self.config.batch_size
        return (
            DataLoader(train, size, shuffle=True, generator=order),
            DataLoader(val, size),
            DataLoader(test, size),
        )

    @property
    def T(self) -> int:  # noqa: N802
        """Time steps of a series."""
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
        """What the split keeps together: `"speaker"` or `"recording"`."""
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
        return self.channels.split.map(lambda part: len({names[i] for i in part})).as_dict()
