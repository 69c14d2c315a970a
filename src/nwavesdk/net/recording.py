"""One pass of any net, with a record of each neuron layer in it, or only with its spikes."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.layers.lengths import mean_rate
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import prepared_modules
from nwavesdk.layers.record import Record, Recording

__all__ = ["SpikeRecording", "record", "record_spikes"]

# What runs in place of a layer's `forward` or `spikes`: it gets name, layer and charge.
LayerCall = Callable[[str, NeuronLayer, Tensor], Any]


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
    calls: dict[str, list[Record]] = {}

    def call(name: str, layer: NeuronLayer, cur: Tensor) -> tuple[Tensor, Tensor]:
        made = layer.record(cur, charges)
        made = made.cut() if cut else made
        calls.setdefault(name, []).append(made)
        return made.spk, made.mem

    def spikes(name: str, layer: NeuronLayer, cur: Tensor) -> Tensor:
        return call(name, layer, cur)[0]

    spk, mem = _run_with(call, spikes, model, x, lengths)
    layers = {name: _joined(name, records).with_lengths(lengths) for name, records in calls.items()}
    return Recording(spk, mem, layers, lengths)


@dataclass(frozen=True, eq=False)
class SpikeRecording:
    """The spikes of one pass of a net.

    Attributes:
        spk: What the net returns as spikes.
        mem: What the net returns as membrane.
        spiking: Spikes of each layer that is no read-out, `[B, T, *features]`, by its name in the
            net; with gradient.
        lengths: Number of steps of each recording, int64 [B]; None if there is no padding.
    """

    spk: Tensor
    mem: Tensor
    spiking: dict[str, Tensor]
    lengths: Tensor | None

    @property
    def hidden(self) -> list[str]:
        """The names of all layers that spike, but for one that is the output of the net."""
        return [name for name, spk in self.spiking.items() if spk is not self.spk]

    def rates(self) -> dict[str, Tensor]:
        """Mean spikes per valid step and neuron of each layer, by its name, with gradient."""
        return {name: mean_rate(spk, self.lengths).float() for name, spk in self.spiking.items()}


def record_spikes(model: nn.Module, x: Tensor, lengths: Tensor | None = None) -> SpikeRecording:
    """Run one pass of a prepared net and keep the spikes of its layers.

    The pass takes no longer than one without a record. `record` also keeps states, so its layers
    compute membranes that nothing in the net reads.

    Args:
        model: Any module; it returns `spk, mem` or a tensor.
        x: Its input.
        lengths: Number of steps of each recording, int64 [B], or None; as for `record`.

    Raises:
        TypeError: If `model` is not a module, or returns something else.
        RuntimeError: If a layer gets a whole sequence more than once in the pass.
    """
    calls: dict[str, list[Tensor]] = {}
    are_steps: dict[str, bool] = {}

    def keep(name: str, layer: NeuronLayer, cur: Tensor, spk: Tensor) -> None:
        if layer.neuron.is_readout:
            return
        is_step = cur.ndim < len(layer.features) + 2
        are_steps[name] = is_step and are_steps.get(name, True)
        calls.setdefault(name, []).append(spk)

    def call(name: str, layer: NeuronLayer, cur: Tensor) -> tuple[Tensor, Tensor]:
        spk, mem = type(layer).forward(layer, cur)
        keep(name, layer, cur, spk)
        return spk, mem

    def spikes(name: str, layer: NeuronLayer, cur: Tensor) -> Tensor:
        spk = type(layer).spikes(layer, cur)
        keep(name, layer, cur, spk)
        return spk

    spk, mem = _run_with(call, spikes, model, x, lengths)
    spiking = {}
    for name, parts in calls.items():
        if len(parts) > 1 and not are_steps[name]:
            raise _repeated(name, len(parts))
        spiking[name] = parts[0] if len(parts) == 1 else torch.stack(parts, 1)
    return SpikeRecording(spk, mem, spiking, lengths)


def _run_with(
    call: LayerCall,
    spikes: LayerCall,
    model: nn.Module,
    x: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One pass in which `call` and `spikes` run each neuron layer; spikes and membranes."""
    restorers = [module.state_restorer() for module in prepared_modules(model, "record")]
    try:
        with _replaced_calls(model, call, spikes):
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
    return spk, mem


@contextlib.contextmanager
def _replaced_calls(model: nn.Module, call: LayerCall, spikes: LayerCall) -> Iterator[None]:
    """Within a `with` block, other functions run the neuron layers, and nothing is checkpointed."""
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
        raise _repeated(name, len(records))
    return Record.of_steps(records)


def _repeated(name: str, count: int) -> RuntimeError:
    return RuntimeError(
        f"record: layer {name!r} got a sequence {count} times in one pass, expected once: use one "
        "layer for each, or call it step by step."
    )
