"""The batches of a run, for Lightning."""

from functools import partial
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from nwavesdk.data import Batch
from nwavesdk.data.batches import BatchOrder, batches_of
from nwavesdk.presets import LAYERED
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.net_file import load_module
from nwavesdk.train.fit.seeds import stream_seed

__all__ = ["Loaders"]

# Recordings per validation batch if training draws chips; small, so that it uses several.
VAL_BATCH = 16


class Loaders(LightningDataModule):
    """The training and the validation set in batches.

    Args:
        data: The data.
        config: The config of the run.
    """

    def __init__(self, data: RunData, config: CompletedConfig) -> None:
        super().__init__()
        self.data = data
        self.config = config
        self.first_epoch = 0
        self.is_layered = config.net.name in LAYERED
        on_start = None if self.is_layered else partial(load_module, config.page)
        self._batches_of = partial(batches_of, workers=config.machine.workers, on_start=on_start)

    def state_dict(self) -> dict[str, Any]:
        """The epoch with which a resumed run begins."""
        assert self.trainer is not None
        return {"first_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first_epoch = state_dict["first_epoch"]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Every recording, in an order that is a function of the seed and the epoch."""
        assert self.trainer is not None
        batch_size = self.config.learning.batch_size
        order = BatchOrder(
            self.data.train,
            batch_size,
            stream_seed(self.config.seed, "order"),
            self.trainer.world_size,
            self.trainer.global_rank,
            has_batch_norm=not self.is_layered,  # a page may have batch norms
        )
        # Workers read their first batches before Lightning sets the epoch of a resumed run.
        order.set_epoch(self.first_epoch)
        return self._batches_of(self.data.train, batch_size, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation set in its order, or the share of this process.

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

        chip = self.config.chip
        draws_chips = chip is not None and chip.training == "mismatch"
        batch_size = VAL_BATCH if draws_chips else self.config.learning.batch_size
        # Each recording once: `DistributedSampler` would give some to two processes.
        share = range(self.trainer.global_rank, n, world)
        return self._batches_of(self.data.val, batch_size, share)
