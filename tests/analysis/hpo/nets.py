"""Builders of nets for tests of `HPOWrapper`."""

from typing import Any

from torch import nn

from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential


def build(model_cfg: dict[str, Any]) -> nn.Module:
    """A net of one hidden layer; a hidden size of 13 is an error in training."""
    n_outputs = model_cfg.get("n_outputs", 3)
    net = SpikingSequential(
        LIFSynapse(16, model_cfg["hidden"]),
        LIFLayer(model_cfg["hidden"], 20e-3),
        Dropout(0.1),
        LIFSynapse(model_cfg["hidden"], n_outputs),
        LIFLayer(n_outputs, 20e-3),
    )
    if model_cfg["hidden"] == 13:
        net[0].weight.register_hook(fail)
    return net


def fail(_: object) -> None:
    raise RuntimeError("thirteen neurons")


class Other(nn.Module):
    """A model with other outputs."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Any) -> Any:
        return self.output(x)
