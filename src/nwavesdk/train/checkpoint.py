"""Checkpoints of a run: written whole or not at all, after every epoch, and read without unpickling.

The file of a trained model: its weights and the scale of its features, as safetensors.
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

_PARTS = {"epoch", "global_step", "loops", "optimizer_states", "state_dict"}


class AtomicCheckpointIO(CheckpointIO):
    """How Lightning writes and reads a checkpoint here."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Write it in one step: a kill leaves the older one."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,
        weights_only: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Read tensors and plain values; never anything that could run code.

        Raises:
            BrokenRunError: The file is damaged, or is no checkpoint of a run.
        """
        try:
            with ZipFile(path) as file:
                if (part := file.testzip()) is not None:  # torch itself does not look at check sums
                    raise ValueError(f"the check sum of {part} is wrong")
            checkpoint: dict[str, Any] = torch.load(
                path, map_location=map_location or "cpu", weights_only=True
            )
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


def save_model(path: Path, net: nn.Module, standard: Standard) -> None:
    """Write weights as `net.…` and the scale as `standard.…`.

    Args:
        path: The file.
        net: The network.
        standard: The scale its inputs were brought to.
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
        path: A file of `save_model`.
        net: A network of the same config.

    Returns:
        The scale for its inputs.

    Raises:
        ValueError: The file is missing or damaged, or belongs to another network.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} is not there: the run has not finished; `nwave train --resume` goes on with it."
        )
    try:
        content = load_file(path)
        mean, deviation = (
            np.asarray(content.pop(f"standard.{name}")) for name in ("mean", "deviation")
        )
        net.load_state_dict({name.removeprefix("net."): value for name, value in content.items()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(
            f"{path} does not hold the weights of this run's network: {text}"
        ) from None
    return Standard(mean, deviation)
