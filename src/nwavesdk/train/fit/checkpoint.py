"""The checkpoint of a run after each epoch.

It is written completely or not at all. Reading it cannot run code, and checks every value that a
run would continue with.
"""

import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from nwavesdk.internal.files import FileError, one_line, printable, read_bytes, write_atomically
from nwavesdk.train.config import MOVABLE, CompletedConfig
from nwavesdk.train.fit.model_file import check_tensor

__all__ = [
    "AtomicCheckpointIO",
    "EveryEpoch",
    "check_like",
    "damaged_checkpoint",
    "read_checkpoint",
]

# What every checkpoint of a run holds.
CHECKPOINT_KEYS = {
    "callbacks",
    "epoch",
    "global_step",
    "loops",
    "lr_schedulers",
    "optimizer_states",
    "state_dict",
}
# What some hold: the config of the run, Lightning's version, schedules, the scale of gradients.
OTHER_KEYS = {
    "MixedPrecision",
    "annealing",
    "pytorch-lightning_version",
    "reached",
    "run_config",
    "surrogate_schedule",
}

# A checkpoint has about four copies of the weights: this is enough for 10^9 weights.
MOST_CHECKPOINT_BYTES = 2**35


def check_like(value: object, like: object, place: str, same: Iterable[str] = ()) -> None:
    """Reject a state whose structure differs from that of another one.

    Args:
        value: Nested dicts and lists of numbers, texts and tensors.
        like: A state with the expected keys, lengths, types and shapes; its numbers do not matter.
        place: Where the value was found, for the message.
        same: Keys whose values must be equal, too.

    Raises:
        ValueError: If it differs; the text names the first place.
    """
    if isinstance(like, Mapping):
        if not isinstance(value, Mapping) or value.keys() != like.keys():
            raise ValueError(f"{place} has other keys than expected")
        for key, inner in like.items():
            name = f"{place}.{key}"
            if key in same and value[key] != inner:
                raise ValueError(f"{name} is {value[key]!r}, expected {inner!r}")
            check_like(value[key], inner, name, same)
    elif isinstance(like, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(like):
            raise ValueError(f"{place} is not a list of {len(like)}")
        for index, (each, inner) in enumerate(zip(value, like, strict=True)):
            check_like(each, inner, f"{place}.{index}", same)
    elif isinstance(like, Tensor):
        check_tensor(place, value, like)
    elif isinstance(like, bool | str | None):
        if type(value) is not type(like) or (isinstance(like, str) and value != like):
            raise ValueError(f"{place} is {printable(repr(value))[:40]}, expected {like!r}")
    elif isinstance(like, int):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{place} is {printable(repr(value))[:40]}, expected a count")
    elif not (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (math.isfinite(value) or value == like)
    ):
        raise ValueError(f"{place} is {printable(repr(value))[:40]}, expected a finite number")


# The checkpoint


def read_checkpoint(path: Path, map_location: Any = None) -> dict[str, Any]:
    """Read the tensors and plain values of a checkpoint, never anything that could run code.

    Raises:
        FileError: If the file is missing, damaged, or not the checkpoint of a run.
    """
    content = read_bytes(path, MOST_CHECKPOINT_BYTES)
    try:
        with ZipFile(io.BytesIO(content)) as file:
            if sum(member.file_size for member in file.infolist()) > len(content):
                raise ValueError("it is compressed")
            damaged = file.testzip()  # torch does not compare checksums
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        checkpoint: dict[str, Any] = torch.load(
            io.BytesIO(content), map_location=map_location or "cpu", weights_only=True
        )
        if missing := CHECKPOINT_KEYS - checkpoint.keys():
            raise ValueError(f"{', '.join(sorted(missing))} missing")
        if unknown := checkpoint.keys() - CHECKPOINT_KEYS - OTHER_KEYS:
            raise ValueError(f"{', '.join(sorted(map(str, unknown)))} unknown")
    except Exception as error:  # a damaged file can raise anything
        raise damaged_checkpoint(path, error) from error
    return checkpoint


def damaged_checkpoint(path: Path, error: Exception) -> FileError:
    """The error of a checkpoint that cannot be used, from what its use raised."""
    what = f"is damaged or not the checkpoint of this run ({one_line(error)})"
    return FileError(path, what, "restore it, or begin a new run")


class AtomicCheckpointIO(CheckpointIO):
    """Writes and reads checkpoints for Lightning.

    Args:
        config: The config of the run, which its checkpoints carry.
    """

    def __init__(self, config: CompletedConfig) -> None:
        self.config = config

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Write a checkpoint in one step; if the process is killed, the older one remains."""
        buffer = io.BytesIO()
        torch.save({**checkpoint, "run_config": self.config.model_dump_json()}, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,
        weights_only: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Read the checkpoint of this run; see `read_checkpoint`.

        Raises:
            FileError: If the file is damaged or the checkpoint of another run.
        """
        checkpoint = read_checkpoint(Path(path), map_location)
        # Checkpoints of earlier versions do not name their run.
        text = checkpoint.pop("run_config", None)
        try:
            if text is not None:
                recorded = CompletedConfig.of(json.loads(text))
                if name := self.config.difference(recorded, MOVABLE):
                    raise ValueError(f"{name} differs from config.json")
        except (ValueError, TypeError) as error:
            raise damaged_checkpoint(Path(path), error) from None
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class EveryEpoch(Checkpoint):
    """Writes the checkpoint at the end of each epoch; checks the one that a run resumes from.

    Args:
        path: The file.
        on_saved: Called whenever the file is written.

    Attributes:
        is_restoring: Whether the run resumes, and has not begun its first epoch.
    """

    def __init__(self, path: Path, on_saved: Callable[[], None] | None = None) -> None:
        self.path = path
        self.on_saved = on_saved
        # Anything at this path is read, so that a pipe or a dangling link is an error.
        self.is_restoring = os.path.lexists(path)
        self._resumed: dict[str, Any] = {}

    def on_load_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Check what the callbacks restore, and let the loaders begin with the next epoch."""
        self._resumed = checkpoint
        n_epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        _check_history(checkpoint["callbacks"]["History"], n_epochs)
        selection = checkpoint["callbacks"]["Selection"]
        like = {"epoch": 0, "score": [0.0, 0.0], "weights": pl_module.state_dict()}
        check_like(selection, like, "selection")
        if selection["epoch"] >= n_epochs:
            raise ValueError(f"the selected epoch is {selection['epoch']} of {n_epochs}")
        loaders: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by fit
        loaders.first_epoch = n_epochs

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Check what optimizer, learning rate and loops restore: Lightning does so after this."""
        if not self._resumed:
            return
        checkpoint, self._resumed = self._resumed, {}
        like = trainer.fit_loop.state_dict()
        check_like(checkpoint["loops"]["fit_loop"], like, "loops")
        (optimizer,) = checkpoint["optimizer_states"]
        _check_optimizer(optimizer, trainer.optimizers[0])
        (schedule,) = checkpoint["lr_schedulers"]
        like = trainer.lr_scheduler_configs[0].scheduler.state_dict()
        check_like(schedule, like, "learning rate", same=("total_steps",))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self.is_restoring = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the file; this runs after all other callbacks, whose state it includes."""
        trainer.save_checkpoint(self.path)
        if self.on_saved is not None:
            self.on_saved()


def _check_history(state: Mapping[str, Any], n_epochs: int) -> None:
    rows = state["rows"]
    if not isinstance(rows, list) or [row["epoch"] for row in rows] != [*range(1, n_epochs + 1)]:
        raise ValueError(f"expected metrics of {n_epochs} epochs")
    # A gradient may be infinite: with 16 bits, its step is left out.
    numbers = [value for row in rows for value in row.values()]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("expected metrics that are numbers")


def _check_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Check the state of AdamW."""
    like = optimizer.state_dict()
    groups = optimizer.param_groups
    check_like(state["param_groups"], like["param_groups"], "optimizer", same=("params",))
    steps = {index: moments["step"] for index, moments in state["state"].items()}
    like_moments = {
        index: {"step": steps.get(index), "exp_avg": weight, "exp_avg_sq": weight}
        for index, weight in enumerate(chain(*(group["params"] for group in groups)))
    }
    check_like(state["state"], like_moments, "optimizer.state")
    for index, moments in state["state"].items():
        if not float(steps[index]) > 0 or (moments["exp_avg_sq"] < 0).any():
            raise ValueError(f"optimizer.state.{index} has values below 0")
