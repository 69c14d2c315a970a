"""Files that hold the weights of a run: the checkpoint after each epoch, and the trained model.

Both are written completely or not at all. Reading them cannot run code, and checks every value that
a run would continue with.
"""

import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nwavesdk.data import Standard
from nwavesdk.internal.files import FileError, printable, read_bytes, write_atomically
from nwavesdk.internal.formats import UNSEALED, check_seal, safetensors_texts, seal
from nwavesdk.train.config import RunConfig
from nwavesdk.train.run_folder import WRITTEN_AGAIN

__all__ = [
    "AtomicCheckpointIO",
    "EveryEpoch",
    "check_like",
    "check_model_seal",
    "check_tensors",
    "damaged_checkpoint",
    "load_model",
    "read_checkpoint",
    "save_model",
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
# Choices that may change while a run is interrupted.
MOVABLE = {"data.source", "machine.accelerator"}

# A checkpoint has about four copies of the weights: this is enough for 10^9 weights.
MOST_CHECKPOINT_BYTES = 2**35


# Values


def check_tensors(tensors: Mapping[str, object], expected: Mapping[str, Tensor]) -> None:
    """Reject tensors that differ in name, type or shape from others, or that are not finite.

    Args:
        tensors: The tensors by name.
        expected: Tensors of the same names, types and shapes.

    Raises:
        ValueError: If one differs; the text names the first one.
    """
    if not isinstance(tensors, Mapping):
        raise ValueError("weights are not a table of tensors")
    if missing := expected.keys() - tensors.keys():
        raise ValueError(f"{min(missing)} is missing")
    if unknown := tensors.keys() - expected.keys():
        raise ValueError(f"{printable(min(map(str, unknown)))} is unknown")
    for name, like in expected.items():
        _check_tensor(name, tensors[name], like)


def _check_tensor(name: str, value: object, like: Tensor) -> None:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        raise ValueError(f"{name} is not a dense tensor")
    got = f"{list(value.shape)} of {value.dtype}"
    if got != (wanted := f"{list(like.shape)} of {like.dtype}"):
        raise ValueError(f"{name} has size {got}, expected {wanted}")
    if not value.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")
    # What no layer takes.
    if name.endswith("thresholds") and not (value > 0).all():
        raise ValueError(f"{name} has values that are not above 0")
    if name.endswith("log_taus") and not (value.exp().isfinite() & (value.exp() > 0)).all():
        raise ValueError(f"{name} has time constants that are 0 or infinite")


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
        _check_tensor(place, value, like)
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
    reason = printable(" ".join(str(error).split()) or type(error).__name__)[:200]
    what = f"is damaged or not the checkpoint of this run ({reason})"
    return FileError(path, what, "restore it, or begin a new run")


class AtomicCheckpointIO(CheckpointIO):
    """Writes and reads checkpoints for Lightning.

    Args:
        config: The config of the run, which its checkpoints carry.
    """

    def __init__(self, config: RunConfig) -> None:
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
                recorded = RunConfig.of(json.loads(text))
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

    Attributes:
        is_restoring: Whether the run resumes, and has not begun its first epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_restoring = os.path.lexists(path)  # what is no file is an error, not a new run
        self._resumed: dict[str, Any] = {}

    def on_load_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Check what the callbacks restore."""
        self._resumed = checkpoint
        n_epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        _check_history(checkpoint["callbacks"]["History"], n_epochs)
        selection = checkpoint["callbacks"]["Selection"]
        like = {"epoch": 0, "score": [0.0, 0.0], "weights": pl_module.state_dict()}
        check_like(selection, like, "selection")
        if selection["epoch"] >= n_epochs:
            raise ValueError(f"the selected epoch is {selection['epoch']} of {n_epochs}")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what optimizer, learning rate and loops restore: Lightning does so after this."""
        if not self._resumed:
            return
        checkpoint, self._resumed = self._resumed, {}
        like = trainer.fit_loop.state_dict()
        check_like(checkpoint["loops"]["fit_loop"], like, "loops")
        (optimizer,) = checkpoint["optimizer_states"]
        _check_optimizer(optimizer, trainer.optimizers[0], pl_module)
        (schedule,) = checkpoint["lr_schedulers"]
        like = trainer.lr_scheduler_configs[0].scheduler.state_dict()
        check_like(schedule, like, "learning rate", same=("total_steps",))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self.is_restoring = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the file; this runs after all other callbacks, whose state it includes."""
        trainer.save_checkpoint(self.path)


def _check_history(state: Mapping[str, Any], n_epochs: int) -> None:
    rows = state["rows"]
    if not isinstance(rows, list) or [row["epoch"] for row in rows] != [*range(1, n_epochs + 1)]:
        raise ValueError(f"expected metrics of {n_epochs} epochs")
    # A gradient may be infinite: with 16 bits, its step is left out.
    numbers = [value for row in rows for value in row.values()]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("expected metrics that are numbers")


def _check_optimizer(
    state: Mapping[str, Any], optimizer: torch.optim.Optimizer, module: nn.Module
) -> None:
    """Check the state of AdamW; `module` has the parameters that it trains."""
    like = optimizer.state_dict()
    check_like(state["param_groups"], like["param_groups"], "optimizer", same=("params",))
    steps = {index: moments["step"] for index, moments in state["state"].items()}
    like_moments = {
        index: {"step": steps.get(index), "exp_avg": weight, "exp_avg_sq": weight}
        for index, weight in enumerate(module.parameters())
    }
    check_like(state["state"], like_moments, "optimizer.state")
    for index, moments in state["state"].items():
        if not float(steps[index]) > 0 or (moments["exp_avg_sq"] < 0).any():
            raise ValueError(f"optimizer.state.{index} has values below 0")


# The model


def save_model(path: Path, net: nn.Module, standard: Standard) -> None:
    """Write weights as `net.…` and the scale of the inputs as `standard.…`, with a checksum.

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
    write_atomically(path, seal(save(content, {"sha256": UNSEALED})))


def load_model(path: Path, net: nn.Module, n_inputs: int) -> Standard:
    """Read weights into `net`.

    Args:
        path: A file written by `save_model`.
        net: A network of the same config.
        n_inputs: Its inputs.

    Returns:
        The scale of its inputs.

    Raises:
        FileError: If the file is missing or damaged, belongs to another network, or has values
            that are not finite.
    """
    if not path.exists():
        what = "does not exist: the run has not finished"
        raise FileError(path, what, "`nwave train --resume` continues it")
    state = net.state_dict()
    scale = torch.zeros(n_inputs)
    expected = {
        **{f"net.{name}": value for name, value in state.items()},
        "standard.mean": scale,
        "standard.deviation": scale,
    }
    n_bytes = sum(value.numel() * value.element_size() for value in expected.values())
    try:
        content = read_bytes(path, 2 * n_bytes + 2**20)
        check_model_seal(content, path)
        tensors = load(content)
        check_tensors(tensors, expected)
        if not (tensors["standard.deviation"] > 0).all():
            raise ValueError("standard.deviation has values that are not above 0")
    except FileError as error:
        raise FileError(path, error.what, WRITTEN_AGAIN) from None
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = printable(" ".join(str(error).split()))
        what = f"does not hold the weights of this run's network ({reason})"
        raise FileError(path, what, WRITTEN_AGAIN) from None
    net.load_state_dict({name: tensors[f"net.{name}"] for name in state})
    return Standard(np.asarray(tensors["standard.mean"]), np.asarray(tensors["standard.deviation"]))


def check_model_seal(content: bytes, path: Path) -> None:
    """Compare a model file with its checksum; files of earlier versions have none.

    Raises:
        FileError: If a bit differs from what was written.
    """
    texts = safetensors_texts(content, path)
    if texts:
        check_seal(content, texts.get("sha256"), path)
