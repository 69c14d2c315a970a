"""Checkpoints of a run: written whole or not at all, after every epoch, and read without unpickling."""

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from nwavesdk.data import write_atomically

__all__ = ["AtomicCheckpointIO", "EveryEpoch"]


class AtomicCheckpointIO(CheckpointIO):
    """How Lightning writes and reads a checkpoint here."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write it in one step: a kill leaves the older one."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Read tensors and plain values; never anything that could run code.

        Raises:
            ValueError: The file is damaged, or holds anything else.
        """
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError, KeyError) as error:
            raise ValueError(
                f"{path} is damaged, or holds more than tensors and plain values ({type(error).__name__}): "
                "restore it, or begin a new run."
            ) from error
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


class EveryEpoch(Checkpoint):
    """Keeps the state at the end of the latest epoch.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Runs after all other callbacks, so their state of this epoch is in it."""
        trainer.save_checkpoint(self.path)
