"""The file with the state of a run, written after each epoch.

It is written completely or not at all, reading it cannot run code, and it belongs to its run.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from nwavesdk.internal.files import FileError, one_line, write_atomically

__all__ = ["AtomicCheckpointIO", "OnEpoch", "damaged_checkpoint"]

# A function that is called with the metrics of an epoch.
OnEpoch = Callable[[Mapping[str, float]], None]


def damaged_checkpoint(path: Path, error: Exception) -> FileError:
    """The error of a checkpoint that cannot be used, from the error that its use raised."""
    fault = f"is damaged or not the checkpoint of this run ({one_line(error)})"
    return FileError(path, fault, "restore it, or begin a new run")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes and reads checkpoints for Lightning.

    Lightning itself writes a file in the folder for temporary files and moves it. Between two
    disks, the move is a copy, which a kill leaves half written.

    Args:
        identity: Text that identifies the choices of a run, stored in its checkpoints; see
            `CompletedConfig.identity`.
        on_epoch: Called with the metrics of the epoch when its checkpoint is written.
    """

    def __init__(self, identity: str, on_epoch: OnEpoch | None = None) -> None:
        self.identity = identity
        self.on_epoch = on_epoch

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

        if self.on_epoch is not None:
            self.on_epoch(checkpoint["callbacks"]["History"]["rows"][-1])

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

            # torch does not compare the checksums in its zip file.
            with ZipFile(path) as archive:
                if (name := archive.testzip()) is not None:
                    raise ValueError(f"the checksum of {name} is wrong")
            if checkpoint.pop("run") != self.identity:
                raise ValueError("it was written with other choices")
        except Exception as error:  # a damaged file can raise anything
            raise damaged_checkpoint(Path(path), error) from error
        return checkpoint
