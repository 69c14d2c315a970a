"""Checkpoints of a run: written whole or not at all, after every epoch, and read without unpickling."""

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from nwavesdk.data import write_atomically
from nwavesdk.train.broken_run import BrokenRunError

__all__ = ["AtomicCheckpointIO", "EveryEpoch"]

_PARTS = {"epoch", "global_step", "loops", "optimizer_states", "state_dict"}


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
            BrokenRunError: The file is damaged, or is no checkpoint of a run.
        """
        try:
            with ZipFile(path) as file:
                if (part := file.testzip()) is not None:  # torch itself does not look at check sums
                    raise ValueError(f"the check sum of {part} is wrong")
            checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
            if missing := _PARTS - checkpoint.keys():
                raise ValueError(f"{', '.join(sorted(missing))} missing")
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # a damaged file can raise anything
            told = " ".join(str(error).split())[:200]
            raise BrokenRunError(
                f"{path} is damaged, or no checkpoint of a run ({told}): restore it, or begin a new run."
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
