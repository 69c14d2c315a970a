"""The checkpoint of a run after each epoch, the epoch that it keeps, and when that ends a run.

The file is written completely or not at all, reading it cannot run code, and it belongs to its run.
"""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from nwavesdk.internal.files import FileError, one_line, write_atomically

__all__ = [
    "AtomicCheckpointIO",
    "EpochCheckpoint",
    "Patience",
    "Selection",
    "damaged_checkpoint",
]

# The metric that `Patience` watches: the number of the epoch that `Selection` keeps.
KEPT_EPOCH = "kept_epoch"


def damaged_checkpoint(path: Path, error: Exception) -> FileError:
    """The error of a checkpoint that cannot be used, from what its use raised."""
    fault = f"is damaged or not the checkpoint of this run ({one_line(error)})"
    return FileError(path, fault, "restore it, or begin a new run")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes and reads checkpoints for Lightning.

    Lightning itself writes a file in the folder for temporary files and moves it. From one disk to
    another, this is a copy, which a kill leaves half written.

    Args:
        identity: Identity of the run, which its checkpoints carry; see `RunConfig.identity`.
    """

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Write a checkpoint in one step; if the process is killed, the older one remains."""
        buffer = io.BytesIO()
        torch.save({**checkpoint, "run": self.identity}, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = "cpu",
        weights_only: bool | None = True,  # noqa: ARG002  # never code
    ) -> dict[str, Any]:
        """Read the tensors and plain values of a checkpoint, never anything that could run code.

        Raises:
            FileError: If the file is missing, damaged, or the checkpoint of another run.
        """
        try:
            checkpoint = super().load_checkpoint(path, map_location, weights_only=True)
            if checkpoint.pop("run") != self.identity:
                raise ValueError("config.json describes another run")
        except Exception as error:  # a damaged file can raise anything
            raise damaged_checkpoint(Path(path), error) from error
        return checkpoint


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint of the last epoch.

    Args:
        path: The file, which each epoch replaces.
        on_saved: Called whenever it is written.
    """

    def __init__(self, path: Path, on_saved: Callable[[], None]) -> None:
        super().__init__(
            path.parent.absolute(),
            path.stem,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        self.on_saved = on_saved

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.on_saved()


class Selection(Callback):
    """Keeps the weights of the best or of the last epoch.

    The best epoch has the highest score of the task on the validation set and, among equals, the
    lowest validation loss. Its weights are part of the checkpoint, so that one file holds the
    whole state of a run. (Lightning's ModelCheckpoint compares one number, and would keep them in
    a second file, whose score it forgets in a run that was moved.)

    Args:
        measure: The score; see `TrainingTask.score`.
        keeps_last: Whether each epoch replaces the one before, not only a better one.

    Attributes:
        epoch: The epoch that is kept, from 0; -1 before the first.
        score: Its score on the validation set and its negative validation loss.
        weights: Its weights, on the CPU.
    """

    def __init__(self, measure: str, *, keeps_last: bool = False) -> None:
        self.measure = measure
        self.keeps_last = keeps_last
        self.epoch = -1
        self.score = (-math.inf, 0.0)
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare this epoch with the one that is kept."""
        metrics = trainer.callback_metrics
        score = (metrics[f"val_{self.measure}"].item(), -metrics["val_loss"].item())
        if self.keeps_last or score > self.score or self.epoch < 0:
            self.epoch = trainer.current_epoch
            self.score = score
            weights = pl_module.state_dict().items()
            self.weights = {name: value.detach().cpu().clone() for name, value in weights}
        pl_module.log(KEPT_EPOCH, float(self.epoch), logger=False, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "score": self.score, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)


class Patience(EarlyStopping):
    """Ends a run whose best epoch is not replaced any more.

    Args:
        patience: Epochs without a better one after which the run ends.
    """

    def __init__(self, patience: int) -> None:
        super().__init__(KEPT_EPOCH, patience=patience, mode="max")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Stop a resumed run that had already decided to stop, which Lightning forgets."""
        trainer.should_stop = self.wait_count >= self.patience
