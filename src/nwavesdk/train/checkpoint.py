"""Files that hold the weights of a run: the checkpoint after each epoch, and the trained model.

Both are written completely or not at all, and reading them cannot run code.
"""

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from nwavesdk.data import Standard
from nwavesdk.internal.files import write_atomically
from nwavesdk.train.run_folder import BrokenRunError

__all__ = ["AtomicCheckpointIO", "EveryEpoch", "load_model", "save_model"]

# What every checkpoint of Lightning holds.
CHECKPOINT_KEYS = {"epoch", "global_step", "loops", "optimizer_states", "state_dict"}


class AtomicCheckpointIO(CheckpointIO):
    """Writes and reads checkpoints for Lightning."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Write a checkpoint in one step; if the process is killed, the older one remains."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,
        weights_only: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Read tensors and plain values, never anything that could run code.

        Raises:
            BrokenRunError: If the file is damaged or not the checkpoint of a run.
        """
        try:
            with ZipFile(path) as file:
                damaged = file.testzip()  # torch does not compare checksums
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
            checkpoint: dict[str, Any] = torch.load(
                path, map_location=map_location or "cpu", weights_only=True
            )
            if missing := CHECKPOINT_KEYS - checkpoint.keys():
                raise ValueError(f"{', '.join(sorted(missing))} missing")
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # a damaged file can raise anything
            reason = " ".join(str(error).split())[:200]
            raise BrokenRunError(
                f"{path} is damaged or not the checkpoint of a run ({reason}): "
                "restore it, or begin a new run."
            ) from error
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class EveryEpoch(Checkpoint):
    """Writes the checkpoint at the end of each epoch, over the one before.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the file; this runs after all other callbacks, whose state it includes."""
        trainer.save_checkpoint(self.path)


def save_model(path: Path, net: nn.Module, standard: Standard) -> None:
    """Write weights as `net.…` and the scale of the inputs as `standard.…`.

    Args:
        path: The file, in the format of safetensors.
        net: The network.
        standard: The scale of its inputs.
    """
    content = {
        f"net.{name}": value.detach().cpu().contiguous() for name, value in net.state_dict().items()
    }
    content["standard.mean"] = torch.from_numpy(standard.mean)
    content["standard.deviation"] = torch.from_numpy(standard.deviation)
    write_atomically(path, save(content))


def load_model(path: Path, net: nn.Module) -> Standard:
    """Read weights into `net`.

    Args:
        path: A file written by `save_model`.
        net: A network of the same config.

    Returns:
        The scale of its inputs.

    Raises:
        ValueError: If the file is missing or damaged, or belongs to another network.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist: the run has not finished; `nwave train --resume` continues it."
        )
    try:
        content = load_file(path)
        mean = np.asarray(content.pop("standard.mean"))
        deviation = np.asarray(content.pop("standard.deviation"))
        net.load_state_dict({name.removeprefix("net."): value for name, value in content.items()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} does not hold the weights of this run's network: {reason}"
        ) from None
    return Standard(mean, deviation)
