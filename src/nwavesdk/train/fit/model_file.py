"""The file of the trained model: the weights of its net, and the scales of inputs and targets.

It is written completely or not at all. Reading it cannot run code, and checks every value.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from nwavesdk.data import Standard
from nwavesdk.internal.files import FileError, printable, read_bytes, write_atomically
from nwavesdk.internal.formats import UNSEALED, check_seal, read_tensors, seal
from nwavesdk.train.run_folder import reading

__all__ = [
    "Scales",
    "check_tensor",
    "check_tensors",
    "load_model",
    "save_model",
]


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
        check_tensor(name, tensors[name], like)


def check_tensor(name: str, value: object, like: Tensor) -> None:
    """Reject a value that differs from a tensor in type or shape, or that no net has.

    Raises:
        ValueError: If it does; the text begins with `name`.
    """
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
    is_log = name.rpartition(".")[2].startswith("log_")
    if is_log and not (value.exp().isfinite() & (value.exp() > 0)).all():
        raise ValueError(f"{name} has logarithms of numbers that are 0 or infinite")


class Scales(NamedTuple):
    """What a model file holds next to the weights.

    Attributes:
        standard: The scale of the inputs.
        targets: The scale of the targets, if they are values.
    """

    standard: Standard
    targets: Standard | None = None


def save_model(
    path: Path,
    net: nn.Module,
    standard: Standard,
    owner: str = "",
    targets: Standard | None = None,
) -> None:
    """Write weights as `net.…` and scales as `standard.…` and `targets.…`, with a checksum.

    Args:
        path: The file, in the format of safetensors.
        net: The network.
        standard: The scale of its inputs.
        owner: Identity of the run; see `RunFolder.identity`.
        targets: The scale of its targets, if they are values.
    """
    # safetensors rejects tensors that share their memory, such as tied weights.
    content = {
        f"net.{name}": value.detach().cpu().contiguous().clone()
        for name, value in net.state_dict().items()
    }
    for name, scale in {"standard": standard, "targets": targets}.items():
        if scale is not None:
            content[f"{name}.mean"] = torch.from_numpy(scale.mean)
            content[f"{name}.deviation"] = torch.from_numpy(scale.deviation)
    write_atomically(path, seal(save(content, {"sha256": UNSEALED}), owner))


def load_model(
    path: Path, net: nn.Module, n_inputs: int, owner: str = "", n_targets: int = 0
) -> Scales:
    """Read weights into `net`.

    Args:
        path: A file written by `save_model`.
        net: A network of the same config.
        n_inputs: Its inputs.
        owner: Identity of the run that wrote the file.
        n_targets: Values of its targets; 0 for classes.

    Returns:
        The scales of its inputs and targets.

    Raises:
        FileError: If the file is missing or damaged, belongs to another network, or has values
            that are not finite.
    """
    if not path.exists():
        what = "does not exist: the run has not finished"
        raise FileError(path, what, "`nwave train --resume` continues it")
    state = net.state_dict()
    sizes = {"standard": n_inputs, **({"targets": n_targets} if n_targets else {})}
    expected = {
        **{f"net.{name}": value for name, value in state.items()},
        **{f"{name}.mean": torch.zeros(size) for name, size in sizes.items()},
        **{f"{name}.deviation": torch.zeros(size) for name, size in sizes.items()},
    }
    n_bytes = sum(value.numel() * value.element_size() for value in expected.values())
    with reading(path, "does not hold the weights of this run's network"):
        content = read_bytes(path, 2 * n_bytes + 2**20)
        check_seal(content, path, owner)
        tensors, _ = read_tensors(content, path)
        check_tensors(tensors, expected)
        for name in sizes:
            if not (tensors[f"{name}.deviation"] > 0).all():
                raise ValueError(f"{name}.deviation has values that are not above 0")
    net.load_state_dict({name: tensors[f"net.{name}"] for name in state})
    scales = {
        name: Standard(
            np.asarray(tensors[f"{name}.mean"]), np.asarray(tensors[f"{name}.deviation"])
        )
        for name in sizes
    }
    return Scales(**scales)
