"""The checkpoint of a run after each epoch.

It is written completely or not at all, reading it cannot run code, and it belongs to its run.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from nwavesdk.internal.files import FileError, one_line, write_atomically

__all__ = ["AtomicCheckpointIO", "EpochCheckpoint", "damaged_checkpoint"]


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
