"""The modules of a net with the shapes of their outputs and their parameters."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.analysis.text_table import text_table
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.masks import copy_module
from nwavesdk.net.preparation import prepared

__all__ = ["layer_lines", "layer_records"]

# Recordings and steps of the input with which shapes are measured. Modules without time see both as
# one dimension of size 21, which no layer of a usual net has as its first dimension.
BATCH = 3
STEPS = 7


@torch.no_grad()
def layer_records(net: nn.Module, inputs: Sequence[int]) -> list[dict[str, Any]]:
    """The modules of a net that have no modules inside, in the order in which they are stored.

    Args:
        net: A net for sequences `[B, T, *inputs]`. It does not change.
        inputs: Shape of one step.

    Returns:
        For each module: `name`, its name in the net; `kind`, its class; `output`, the shape of one
        step of its output, None if it was not called; `parameters`, the number of values that it
        learns; and `spikes`, whether it is a layer of neurons that spike.
    """
    net = copy_module(net).eval()
    leaves = {name: module for name, module in net.named_modules() if not [*module.children()]}
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def store_shape(module: nn.Module, _: Any, outputs: Any) -> None:
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        if isinstance(first, Tensor):
            shapes[module] = _step_shape(first)

    for module in leaves.values():
        module.register_forward_hook(store_shape)
    with torch.random.fork_rng(devices=[]), prepared(net):
        net(torch.zeros(BATCH, STEPS, *inputs))

    return [
        {
            "name": name,
            "kind": type(module).__name__,
            "output": shapes.get(module),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "spikes": isinstance(module, NeuronLayer) and not module.page.neuron.is_readout,
        }
        for name, module in leaves.items()
    ]


def layer_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """The records of `layer_records` as lines, and the sums of neurons and parameters."""
    rows = [["name", "module", "output of a step", "parameters"]]
    for record in records:
        shape = str([*(record["output"] or ())])
        rows.append([record["name"], record["kind"], shape, f"{record['parameters']:,}"])

    n_parameters = sum(record["parameters"] for record in records)
    n_neurons = sum(math.prod(record["output"] or (0,)) for record in records if record["spikes"])
    total = f"{n_parameters:,} parameters, {n_neurons:,} neurons that spike"
    return [*text_table(rows), total]


def _step_shape(output: Tensor) -> tuple[int, ...]:
    """The shape of one step of an output: [B, T, ...], [B * T, ...] or without batch and time."""
    if output.shape[0] == BATCH * STEPS:  # of a module without time
        return tuple(output.shape[1:])
    return tuple(output.shape[2:]) if output.shape[:2] == (BATCH, STEPS) else tuple(output.shape)
