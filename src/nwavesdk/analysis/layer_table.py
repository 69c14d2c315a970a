"""The modules of a net with the shapes of their outputs and their parameters, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.layers import NeuronLayer
from nwavesdk.net.preparation import prepared

__all__ = ["LayerRow", "layer_lines", "layer_rows"]

# Recordings and steps of the input that shapes are measured with. Modules without time see both as
# one dimension; no layer of a usual net has 3 × 7 features first.
BATCH = 3
STEPS = 7


@dataclass(frozen=True)
class LayerRow:
    """A module without modules inside.

    Attributes:
        name: Its name in the net.
        kind: Its class.
        output: Shape of a step of its output, if it was called; the last one if it was called
            several times.
        parameters: How many numbers it learns.
        spikes: Whether it is a layer of neurons that spike.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    spikes: bool


@torch.no_grad()
def layer_rows(net: nn.Module, inputs: Sequence[int]) -> list[LayerRow]:
    """The modules of a net that have no modules inside, in the order in which they are stored.

    Args:
        net: A net that takes sequences `[B, T, *inputs]`; its mode and states stay as they are.
        inputs: Shape of one step.
    """
    leaves = {name: module for name, module in net.named_modules() if not [*module.children()]}
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
            first = outputs[0] if isinstance(outputs, tuple) else outputs
            if isinstance(first, Tensor):
                shapes[name] = _step_shape(first)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in leaves.items()]
    was_training = net.training
    net.eval()
    try:
        with torch.random.fork_rng(devices=[]), prepared(net):
            net(torch.zeros(BATCH, STEPS, *inputs))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return [
        LayerRow(
            name=name,
            kind=type(module).__name__,
            output=shapes.get(name),
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            spikes=isinstance(module, NeuronLayer) and not module.page.neuron.is_readout,
        )
        for name, module in leaves.items()
    ]


def layer_lines(rows: Sequence[LayerRow]) -> list[str]:
    """The rows as lines, and the sums of neurons and parameters."""
    cells = [("name", "module", "output of a step", "parameters")]
    cells += [(row.name, row.kind, _shape_text(row), f"{row.parameters:,}") for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {count:>{widths[3]}}"
        for name, kind, shape, count in cells
    ]
    n_neurons = sum(torch.Size(row.output or ()).numel() for row in rows if row.spikes)
    n_parameters = sum(row.parameters for row in rows)
    return [*lines, f"{n_parameters:,} parameters, {n_neurons:,} neurons that spike"]


def _step_shape(output: Tensor) -> tuple[int, ...]:
    if output.shape[0] == BATCH * STEPS:  # of a module without time
        return tuple(output.shape[1:])
    return tuple(output.shape[2:]) if output.shape[:2] == (BATCH, STEPS) else tuple(output.shape)


def _shape_text(row: LayerRow) -> str:
    return "" if row.output is None else f"[{', '.join(map(str, row.output))}]"
