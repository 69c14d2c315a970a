"""One pass of any net, with a record of each neuron layer in it, or only with its spikes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.layers.lengths import mean_rate
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import prepared_modules
from nwavesdk.layers.record import Record, Recording
from nwavesdk.net.calls import Outputs, replaced

__all__ = ["SpikeRecording", "record", "record_spikes"]

# A function that replaces the method `forward` or `spikes` of a layer. It gets the method, the
# layer and the charge. It returns the output of the method and the record of the call.
LayerCall = Callable[[Callable[..., Any], NeuronLayer, Tensor], tuple[Any, Any]]


def record(
    model: nn.Module,
    x: Tensor,
    charges: bool = False,
    lengths: Tensor | None = None,
    cut: bool = False,
) -> Recording:
    """Run one pass of a net and record each neuron layer; if it fails, all states are as before.

    The single steps of a layer that a module calls in a loop become one record.

    Args:
        model: Any module; it returns `spk, mem` or a tensor.
        x: Its input.
        charges: Whether to hold the input charge of each layer (`Record.cur`).
        lengths: Steps of each recording, int64 [B], or None, for `model(x, lengths)`.
        cut: Whether the graph ends at each layer, so that spikes and membranes are leaves.

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

    def call(method: Any, layer: NeuronLayer, cur: Tensor) -> tuple[Any, Record]:
        part = layer.record(cur, charges)
        part = part.cut() if cut else part

        # `forward` returns spikes and membranes, `spikes` only spikes.
        is_forward = method is type(layer).forward
        return (part.spk, part.mem) if is_forward else part.spk, part

    spk, mem, records = _run_with(call, Record.of_steps, model, x, lengths)
    layers = {name: record.with_lengths(lengths) for name, record in records.items()}
    return Recording(spk=spk, mem=mem, layers=layers, lengths=lengths)


@dataclass(frozen=True, eq=False)
class SpikeRecording:
    """The spikes of one pass of a net.

    Attributes:
        spk: The spikes that the net returns.
        mem: The membranes that the net returns.
        spiking: Spikes of each layer that is not a read-out, `[B, T, *features]`, by its name in
            the net; with gradient.
        lengths: Number of steps of each recording, int64 [B]; None if there is no padding.
    """

    spk: Tensor
    mem: Tensor
    spiking: dict[str, Tensor]
    lengths: Tensor | None

    @property
    def hidden(self) -> list[str]:
        """The names of all layers that spike, except for the output layer of the net."""
        return [name for name, spk in self.spiking.items() if spk is not self.spk]

    def rates(self) -> dict[str, Tensor]:
        """Mean spikes per valid step and neuron of each layer, by its name, with gradient."""
        return {name: mean_rate(spk, self.lengths).float() for name, spk in self.spiking.items()}


def record_spikes(model: nn.Module, x: Tensor, lengths: Tensor | None = None) -> SpikeRecording:
    """Run one pass of a prepared net and record the spikes of its layers.

    The pass takes no longer than one without a record. `record` also records states, so its
    layers compute membranes that nothing in the net reads.

    Args:
        model: Any module; it returns `spk, mem` or a tensor.
        x: Its input.
        lengths: Number of steps of each recording, int64 [B], or None; as for `record`.

    Raises:
        TypeError: If `model` is not a module, or returns something else.
        RuntimeError: If a layer gets a whole sequence more than once in the pass.
    """

    def call(method: Any, layer: NeuronLayer, cur: Tensor) -> tuple[Any, Tensor | None]:
        output = method(layer, cur)
        spk = output if isinstance(output, Tensor) else output[0]
        return output, None if layer.neuron.is_readout else spk

    spk, mem, spiking = _run_with(call, partial(torch.stack, dim=1), model, x, lengths)
    return SpikeRecording(spk, mem, spiking, lengths)


def _run_with(
    call: LayerCall,
    join_steps: Callable[[list[Any]], Any],
    model: nn.Module,
    x: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Spikes, membranes and records of one pass in which `call` runs each neuron layer."""
    parts: dict[str, list[Any]] = {}
    are_steps: dict[str, bool] = {}

    def run(name: str, layer: NeuronLayer, method: Any, cur: Tensor) -> Any:
        output, part = call(method, layer, cur)

        if part is not None:
            parts.setdefault(name, []).append(part)
            # A sequence has batch and time before its features, a single step has no time.
            are_steps[name] = are_steps.get(name, True) and cur.ndim < len(layer.features) + 2
        return output

    spk, mem = _run_replaced(run, model, x, lengths)

    for name, calls in parts.items():
        if len(calls) > 1 and not are_steps[name]:
            raise RuntimeError(
                f"record: layer {name!r} got a sequence {len(calls)} times in one pass, expected "
                "once: use one layer for each sequence, or call it step by step."
            )

    joined = {n: calls[0] if len(calls) == 1 else join_steps(calls) for n, calls in parts.items()}
    return spk, mem, joined


def _run_replaced(
    run: Callable[..., Any], model: nn.Module, x: Tensor, lengths: Tensor | None
) -> Outputs:
    """One pass in which `run` runs each neuron layer, and nothing is checkpointed."""
    restorers = [module.state_restorer() for module in prepared_modules(model, "record")]

    changes: list[tuple[nn.Module, str, Any]] = []
    for name, module in model.named_modules():
        if isinstance(module, NeuronLayer):
            for key, method in (("forward", type(module).forward), ("spikes", type(module).spikes)):
                changes.append((module, key, partial(run, name, module, method)))
        elif getattr(module, "checkpoint", None):
            changes.append((module, "checkpoint", None))

    try:
        with replaced(changes):
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
