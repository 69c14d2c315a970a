"""The batches of a run, for Lightning."""

from collections.abc import Callable

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from nwavesdk.data import Batch
from nwavesdk.data.batches import BatchOrder, batches_of
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.seeds import stream_seed

__all__ = ["Loaders"]


class Loaders(LightningDataModule):
    """The training and the validation set in batches.

    Args:
        data: The data.
        batch_size: Recordings per batch.
        seed: The run's seed.
        val_batch_size: Recordings per batch of the validation set. [`batch_size`]
        workers: Processes that make batches.
        on_start: Called in each of these processes; see `batches_of`.
        has_batch_norm: Whether the net may have batch norm; see `BatchOrder`.

    Attributes:
        first_epoch: Epochs before the one that the training begins with: those of a checkpoint.
    """

    def __init__(
        self,
        data: RunData,
        batch_size: int,
        seed: int,
        val_batch_size: int | None = None,
        workers: int = 0,
        on_start: Callable[[], object] | None = None,
        *,
        has_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.seed = seed
        self.workers = workers
        self.on_start = on_start
        self.has_batch_norm = has_batch_norm
        self.first_epoch = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """Every recording, in an order that is a function of the seed and the epoch."""
        trainer = self.trainer
        assert trainer is not None
        order = BatchOrder(
            self.data.train,
            self.batch_size,
            stream_seed(self.seed, "order"),
            trainer.world_size,
            trainer.global_rank,
            has_batch_norm=self.has_batch_norm,
        )
        # Workers read their first batches before Lightning sets the epoch of a resumed run.
        order.set_epoch(self.first_epoch)
        return batches_of(self.data.train, self.batch_size, order, self.workers, self.on_start)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation set in its order, or the share of this process.

        Raises:
            ValueError: If there are more processes than recordings.
        """
        trainer = self.trainer
        assert trainer is not None
        n, world = len(self.data.val), trainer.world_size
        if n < world:
            raise ValueError(
                f"machine.devices: got {world} processes for {n} recordings of the validation set, "
                "expected at least one each: use fewer --devices or --nodes."
            )
        # Each recording once: `DistributedSampler` would give some to two processes.
        share = range(trainer.global_rank, n, world)
        return batches_of(self.data.val, self.val_batch_size, share, self.workers, self.on_start)
