"""Batches of a run: shuffled by seed and epoch for training, in order for everything else."""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from nwavesdk.data import Series
from nwavesdk.train.parts import Parts
from nwavesdk.train.seed import stream

__all__ = ["Loaders", "tensors"]

Batches = DataLoader[tuple[Tensor, ...]]


class Loaders(LightningDataModule):
    """The training and the validation part in batches; the test part is not its business.

    Args:
        parts: The data.
        batch_size: Recordings a batch.
        seed: The run's seed.
        val_batch_size: Recordings a batch of the validation part; where each batch hears another chip, few make many
            chips. [as in training]
    """

    def __init__(self, parts: Parts, batch_size: int, seed: int, val_batch_size: int | None = None) -> None:
        super().__init__()
        self.parts = parts
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.seed = seed

    def train_dataloader(self) -> Batches:
        """Every recording once, in an order that is a function of the seed and the epoch."""
        data = tensors(self.parts.train)
        trainer = self.trainer
        assert trainer is not None
        sampler: DistributedSampler[int] = DistributedSampler(
            data, num_replicas=trainer.world_size, rank=trainer.global_rank, seed=stream(self.seed, "order")
        )
        return DataLoader(data, self.batch_size, sampler=sampler)

    def val_dataloader(self) -> Batches:
        """The validation part as it is."""
        return DataLoader(tensors(self.parts.val), self.val_batch_size)


def tensors(series: Series) -> TensorDataset:
    """A part as tensors: input `[B, T, F]` and labels `[B]`."""
    return TensorDataset(torch.from_numpy(series.x), torch.from_numpy(series.labels))
