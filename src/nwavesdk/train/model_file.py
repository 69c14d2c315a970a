"""The file of a trained model: its weights and the scale of its features, as safetensors."""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from nwavesdk.data import Standard, write_atomically

__all__ = ["load_model", "save_model"]


def save_model(path: Path, net: nn.Module, standard: Standard) -> None:
    """Write weights as `net.…` and the scale as `standard.…`.

    Args:
        path: The file.
        net: The network.
        standard: The scale its inputs were brought to.
    """
    content = {f"net.{name}": value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
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
        raise ValueError(f"{path} is not there: the run has not finished; `nwave train --resume` goes on with it.")
    try:
        content = load_file(path)
        mean, deviation = (np.asarray(content.pop(f"standard.{name}")) for name in ("mean", "deviation"))
        net.load_state_dict({name.removeprefix("net."): value for name, value in content.items()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{path} does not hold the weights of this run's network: {text}") from None
    return Standard(mean, deviation)
