"""`record`: one pass of any net, with a record of each neuron layer in it."""

import contextlib
from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import prepared_modules
from nwavesdk.layers.record import Record, Recording

__all__ = ["record"]


def record(
    model: nn.Module,
    x: Tensor,
    charges: bool = False,
    lengths: Tensor | None = None,
    cut: bool = False,
) -> Recording:
    """Run one pass of a net and record each neuron layer; if it fails, all states are as before.

    The pass runs in one piece, also with `checkpoint=`. The single steps of a layer that a module
    calls in a loop become one record.

    Args:
        model: Any module; it returns `spk, mem` or a tensor.
        x: Its input.
        charges: Whether to hold the input charge of each layer (`Record.cur`).
        lengths: Number of steps of each recording, int64 [B], or None. A model that gets lengths
            must take them as `model(x, lengths)`; the recording and its records hold them.
        cut: Whether the graph ends at each layer: spikes and membranes are then its leaves, and the
            gradient of a charge goes back to those of the layers that it comes from.

    Raises:
        TypeError: If `model` is not a module, or returns something else.
        RuntimeError: If a layer gets a whole sequence more than once in the pass.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear, self.lif = nn.Linear(3, 8), LIFLayer(8, taus=20e-3)
        ...     def forward(self, x):
        ...         return self.lif(self.linear(x))
        >>> recording = record(Net(), torch.zeros(2, 5, 3), charges=True)
        >>> recording.layers["lif"].cur.shape
        torch.Size([2, 5, 8])
    """
    modules = prepared_modules(model, "record")
    restorers = [module.state_restorer() for module in modules]
    calls: dict[str, list[Record]] = {}
    try:
        with _recorded(model, charges, cut, calls):
            outputs = model(x) if lengths is None else model(x, lengths)
    except BaseException:
        for restore in restorers:
            restore()
        raise
    spk, mem = outputs if isinstance(outputs, tuple) and len(outputs) == 2 else (outputs, outputs)
    if not isinstance(spk, Tensor) or not isinstance(mem, Tensor):
        raise TypeError(
            f"record: {type(model).__name__} must return a tensor or `spk, mem`, got "
            f"{type(outputs).__name__}."
        )
    layers = {name: _joined(name, records).with_lengths(lengths) for name, records in calls.items()}
    return Recording(spk, mem, layers, lengths)


@contextlib.contextmanager
def _recorded(
    model: nn.Module, charges: bool, cut: bool, calls: dict[str, list[Record]]
) -> Iterator[None]:
    """Within a `with` block, each call of a neuron layer adds its record to `calls`."""

    def call(name: str, layer: NeuronLayer, cur: Tensor) -> tuple[Tensor, Tensor]:
        made = layer.record(cur, charges)
        made = made.cut() if cut else made
        calls.setdefault(name, []).append(made)
        return made.spk, made.mem

    def spikes(name: str, layer: NeuronLayer, cur: Tensor) -> Tensor:
        return call(name, layer, cur)[0]

    layers = {n: layer for n, layer in model.named_modules() if isinstance(layer, NeuronLayer)}
    pieces = [module for module in model.modules() if getattr(module, "checkpoint", None)]
    steps = [module.checkpoint for module in pieces]
    for name, layer in layers.items():
        vars(layer)["forward"] = partial(call, name, layer)
        vars(layer)["spikes"] = partial(spikes, name, layer)
    for module in pieces:
        vars(module)["checkpoint"] = None
    try:
        yield
    finally:
        for layer in layers.values():
            del vars(layer)["forward"], vars(layer)["spikes"]
        for module, length in zip(pieces, steps, strict=True):
            vars(module)["checkpoint"] = length


def _joined(name: str, records: list[Record]) -> Record:
    """The record of all calls of a layer in one pass."""
    if len(records) == 1:
        return records[0]
    if any(not each.is_single_step for each in records):
        raise RuntimeError(
            f"record: layer {name!r} got a sequence {len(records)} times in one pass, expected "
            "once: use one layer for each, or call it step by step."
        )
    return Record.of_steps(records)
