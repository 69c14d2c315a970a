"""The batches of a run, for Lightning."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from nwavesdk.data import Batch, Series, Split
from nwavesdk.data.batches import BatchOrder, batches_of
from nwavesdk.presets import LAYERED
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.net_file import load_module
from nwavesdk.train.fit.seeds import stream_seed

__all__ = ["Loaders", "loaders_of_run"]

# Recordings per validation batch if training draws chips: small, so that validation uses several
# chips.
VAL_BATCH = 16


class Loaders(LightningDataModule):
    """The training and the validation set in batches.

    Args:
        data: The data.
        batch_size: Recordings per batch of a process.
        seed: Seed of the orders of the training set.
        has_batch_norm: Whether the net may have batch norms; see `BatchOrder`.
        val_batch_size: Recordings per batch of the validation set; None for `batch_size`.
        workers: Processes that prepare batches.
        on_start: Called in each of these processes when it begins.
    """

    def __init__(
        self,
        data: Split[Series],
        *,
        batch_size: int,
        seed: int,
        has_batch_norm: bool = True,
        val_batch_size: int | None = None,
        workers: int = 0,
        on_start: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.seed = seed
        self.has_batch_norm = has_batch_norm
        self.first_epoch = 0
        self._batches_of = partial(batches_of, workers=workers, on_start=on_start)

    def state_dict(self) -> dict[str, Any]:
        """The epoch with which a resumed run begins."""
        assert self.trainer is not None
        return {"first_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first_epoch = state_dict["first_epoch"]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Every recording, in an order that is a function of the seed and the epoch."""
        assert self.trainer is not None
        order = BatchOrder(
            self.data.train,
            self.batch_size,
            self.seed,
            replicas=self.trainer.world_size,
            rank=self.trainer.global_rank,
            has_batch_norm=self.has_batch_norm,
        )

        # Workers read their first batches before Lightning sets the epoch of a resumed run.
        order.set_epoch(self.first_epoch)
        return self._batches_of(self.data.train, self.batch_size, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation set in its order, or the share of this process in it.

        Raises:
            ValueError: If there are more processes than recordings.
        """
        assert self.trainer is not None
        n, world = len(self.data.val), self.trainer.world_size
        if n < world:
            raise ValueError(
                f"machine.devices: got {world} processes for {n} recordings of the validation set, "
                "expected at least one each: use fewer --devices or --nodes."
            )

        # Each recording once: `DistributedSampler` would pass some to two processes.
        share = range(self.trainer.global_rank, n, world)
        return self._batches_of(self.data.val, self.val_batch_size, share)


def loaders_of_run(data: Split[Series], config: CompletedConfig) -> Loaders:
    """The batches of a run."""
    is_layered = config.net.name in LAYERED
    draws_chips = config.chip is not None and config.chip.training == "mismatch"
    return Loaders(
        data,
        batch_size=config.learning.batch_size,
        seed=stream_seed(config.seed, "order"),
        has_batch_norm=not is_layered,  # a page may have batch norms
        val_batch_size=VAL_BATCH if draws_chips else None,
        workers=config.machine.workers,
        on_start=None if is_layered else partial(load_module, config.page),
    )
