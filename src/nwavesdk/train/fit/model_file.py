"""The file of the trained model: the weights of its net, and the scales of inputs and targets.

It is written completely or not at all. Reading it cannot run code, and detects any changed bit.
"""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from nwavesdk.data import Standard
from nwavesdk.internal.files import FileError, read_bytes, write_atomically
from nwavesdk.internal.formats import UNSEALED, check_seal, read_tensors, seal
from nwavesdk.train.run_folder import reading_run_file

__all__ = ["load_model", "save_model"]


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


def load_model(path: Path, net: nn.Module, owner: str = "") -> tuple[Standard, Standard | None]:
    """Read weights into `net`.

    Args:
        path: A file written by `save_model`.
        net: A network of the same config.
        owner: Identity of the run that wrote the file.

    Returns:
        The scale of its inputs, and of its targets if they are values.

    Raises:
        FileError: If the file is missing or damaged, or belongs to another network or run.
    """
    if not path.exists():
        raise FileError(
            path,
            "does not exist: the run has not finished",
            "`nwave train --resume` continues it",
        )

    n_bytes = sum(value.nbytes for value in net.state_dict().values())
    with reading_run_file(path, "does not hold the weights of this run's network"):
        # The size limit is for weights and scales: scales have fewer values, or fit into 16 MiB.
        content = read_bytes(path, 2 * n_bytes + 2**24)
        check_seal(content, path, owner)
        tensors, _ = read_tensors(content, path)

        # All tensors other than scales are weights.
        scales = {
            name: Standard(
                tensors.pop(f"{name}.mean").numpy(), tensors.pop(f"{name}.deviation").numpy()
            )
            for name in ("standard", "targets")
            if f"{name}.mean" in tensors
        }
        net.load_state_dict({name.removeprefix("net."): value for name, value in tensors.items()})
        return scales["standard"], scales.get("targets")
