"""Counts of the operations of a net, for recordings that it runs.

Design requirements:
    - Counts are exact: they are those that a loop over inputs and weights would find.
    - Padding after the end of a recording never counts, also where a module of the user puts time
      on another axis: recordings run in groups of one length.
    - What cannot be counted is named, and never counts as 0 without a word.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from nwavesdk.internal.tensors import is_list, require_tensor
from nwavesdk.layers import NeuronLayer, Prepared
from nwavesdk.layers.lengths import check_lengths
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.metrics.operations import EdgeOperations, LayerActivity, Operations
from nwavesdk.net import Edge, find_edges
from nwavesdk.net.fan_out import fan_out, has_known_fan_out, input_axes, reads_past
from nwavesdk.net.preparation import prepared
from nwavesdk.net.wiring import watch_calls

__all__ = ["OperationCounter", "count_operations", "countable_edges"]

# Recordings that run together.
_MOST_TOGETHER = 32

# They have parameters and no connections. NeuroBench counts none of them.
_WITHOUT_CONNECTIONS = (
    SequenceNorm,
    _NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
)


def count_operations(net: nn.Module, x: Tensor, lengths: Tensor | None = None) -> Operations:
    """Count the operations of a net for some recordings, by NeuroBench's definitions.

    A dense operation is one connection at one step. It is effective if its input and its weight
    are not 0. Effective operations are accumulates (ACs) where all inputs of the weight are -1, 0
    or 1, else multiply-accumulates (MACs). Counted are synapses, linear layers, convolutions,
    delayed and recurrent weights. Zeros that a convolution pads, and steps before the first one,
    are no inputs. Pools, norms, biases and the equations of neurons are not counted; `updates` has
    the number of the latter.

    The net runs in `eval()`, without gradient.

    Args:
        net: Any module, called as `net(x)`.
        x: Recordings [B, T, *features]; [T, B, *features] for a net with `time_first`.
        lengths: Number of steps of each recording, int64 [B]; None for all steps. Later steps are
            not run.

    Raises:
        TypeError: If `x` is not a tensor, or `lengths` are not int64.
        ValueError: If there is no recording, or a length is out of its range.

    References:
        Yik et al. 2025, "The neurobench framework for benchmarking neuromorphic computing
        algorithms and systems", Nature Communications 16, 1545, doi:10.1038/s41467-025-56739-4,
        "Synaptic operations".

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, 20e-3), LIFSynapse(8, 2))
        >>> found = count_operations(net, torch.eye(4)[None])
        >>> found.dense, found.edges[0].effective, found.edges[0].takes_spikes, found.updates
        (192.0, 32.0, True, 32.0)
    """
    counter = OperationCounter(net)
    counter.count(x, lengths)
    return counter.result()


@dataclass(eq=False)
class _Tally:
    """Sums over all recordings, of one edge."""

    dense: float = 0.0
    effective: float = 0.0
    inputs: int = 0
    nonzeros: int = 0
    is_binary: bool = True


class OperationCounter:
    """Counts the operations of a net over many batches; see `count_operations`.

    Args:
        net: Any module. Its weights must not change until `result` is called.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> counter = OperationCounter(SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, taus=20e-3)))
        >>> for batch in (torch.eye(4)[None], torch.zeros(2, 4, 4)):
        ...     counter.count(batch)
        >>> found = counter.result()
        >>> found.recordings, found.dense, found.layers[0].updates
        (3, 128.0, 32.0)
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._edges, self._unknown = countable_edges(net)
        self._by_module = {edge.module: edge for edge in self._edges if not edge.is_recurrent}
        self._recurrent = {edge.module: edge for edge in self._edges if edge.is_recurrent}
        self._connections = {edge: (edge.stored_weight() != 0).cpu() for edge in self._edges}
        self._names = {
            module: name for name, module in net.named_modules() if isinstance(module, NeuronLayer)
        }
        self._tallies: dict[Edge, _Tally] = {}
        self._fan_outs: dict[tuple[Edge, torch.Size], tuple[Tensor, Tensor]] = {}
        self._longest: dict[tuple[Edge, torch.Size], int] = {}
        self._spikes: dict[NeuronLayer, float] = {}
        self._updates: dict[NeuronLayer, int] = {}
        self._recordings = 0
        self._steps = 0

    @torch.no_grad()
    def count(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Run recordings and add their operations.

        Args:
            x: Recordings, as in `count_operations`.
            lengths: Number of steps of each recording, int64 [B], or None.
        """
        if not is_list(x):
            require_tensor("count_operations", x)
        if x.ndim < 3 or not len(x):
            raise ValueError(
                "count_operations: x must be recordings [B, T, *features], got the shape "
                f"{list(x.shape)}: add the dimension that is missing, as in x[None]."
            )
        is_time_first = getattr(self._net, "time_first", False)
        x = x.transpose(0, 1) if is_time_first else x
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1])
        lengths = check_lengths("count_operations", lengths, x)
        with _in_eval(self._net):
            # From long to short: see `_fan_out`.
            for length in sorted(set(lengths.tolist()), reverse=True):
                places = (lengths == length).nonzero().flatten()
                for part in places.split(_MOST_TOGETHER):
                    recordings = _first_steps(x.index_select(0, part), length)
                    self._run(recordings.transpose(0, 1) if is_time_first else recordings)
        self._recordings += len(x)
        self._steps += int(lengths.sum())

    def result(self) -> Operations:
        """What was counted.

        Raises:
            ValueError: If nothing was.
        """
        if not self._recordings:
            raise ValueError("OperationCounter: result needs counts: call count(x) before it.")
        never_called = [edge.name for edge in self._edges if edge not in self._tallies]
        return Operations(
            recordings=self._recordings,
            steps=self._steps / self._recordings,
            edges=tuple(
                self._edge_result(edge, self._tallies[edge])
                for edge in self._edges
                if edge in self._tallies
            ),
            layers=tuple(map(self._layer_result, self._updates)),
            parameters=sum(parameter.numel() for parameter in self._net.parameters()),
            not_counted=(*self._unknown, *never_called),
        )

    def _edge_result(self, edge: Edge, tally: _Tally) -> EdgeOperations:
        return EdgeOperations(
            name=edge.name,
            dense=tally.dense / self._recordings,
            effective=tally.effective / self._recordings,
            takes_spikes=tally.is_binary,
            input_density=tally.nonzeros / max(tally.inputs, 1),
            connection_sparsity=1 - self._connections[edge].double().mean().item(),
        )

    def _layer_result(self, layer: NeuronLayer) -> LayerActivity:
        updates = self._updates[layer]
        return LayerActivity(
            name=self._names[layer],
            neurons=math.prod(layer.features),
            updates=updates / self._recordings,
            rate=None if layer.neuron.is_readout else self._spikes[layer] / updates,
        )

    def _run(self, x: Tensor) -> None:
        """Run recordings of one length, and add what their calls count."""
        # Calls with single steps, or with parts of a sequence, are joined after the pass.
        parts: dict[Edge, list[Tensor]] = {}

        def on_synapse(module: nn.Module, received: Tensor, charge: Tensor) -> None:  # noqa: ARG001  # part of the signature
            edge = self._by_module.get(module)
            if edge is None:
                return
            if reads_past(edge):
                parts.setdefault(edge, []).append(_as_sequence(received, input_axes(edge)))
            else:
                self._add(edge, received)

        def on_layer(layer: NeuronLayer, cur: Tensor, fired: Tensor) -> None:  # noqa: ARG001  # part of the signature
            self._updates[layer] = self._updates.get(layer, 0) + fired.numel()
            if not layer.neuron.is_readout:
                count = fired.sum(dtype=torch.float64).item()
                self._spikes[layer] = self._spikes.get(layer, 0.0) + count
            if layer in self._recurrent:
                parts.setdefault(self._recurrent[layer], []).append(fired)

        with prepared(self._net), watch_calls(self._net, on_synapse, on_layer):
            self._net(x)
        for edge, sequences in parts.items():
            self._add(edge, torch.cat(sequences, 1) if len(sequences) > 1 else sequences[0])

    def _add(self, edge: Edge, x: Tensor) -> None:
        """Add the operations of an edge for an input [..., *shape], with `input_axes` axes."""
        tally = self._tallies.setdefault(edge, _Tally())
        shape = x.shape[x.ndim - input_axes(edge) :]
        n_rows = x.numel() // max(math.prod(shape), 1)
        counts = _nonzeros_by_place(x, shape)
        effective, dense = self._fan_out(edge, shape)
        tally.dense += n_rows * dense.sum().item()
        tally.effective += float((counts.double() * effective).sum())
        tally.inputs += x.numel()
        tally.nonzeros += int(counts.sum())
        tally.is_binary = tally.is_binary and _is_binary(x)

    def _fan_out(self, edge: Edge, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """The fan-out over connections that are not 0, and over all, each in `shape`."""
        if not reads_past(edge):
            return self._computed_fan_out(edge, shape)
        # It depends on the steps that are left, so that of a long recording ends in that of a
        # short one.
        steps, features = shape[0], shape[1:]
        longest = max(steps, self._longest.get((edge, features), 0))
        self._longest[edge, features] = longest
        effective, dense = self._computed_fan_out(edge, torch.Size((longest, *features)))
        return effective[longest - steps :], dense[longest - steps :]

    def _computed_fan_out(self, edge: Edge, shape: torch.Size) -> tuple[Tensor, Tensor]:
        if (edge, shape) not in self._fan_outs:
            connections = self._connections[edge]
            everywhere = torch.ones_like(connections)
            found = fan_out(edge, shape, connections), fan_out(edge, shape, everywhere)
            self._fan_outs[edge, shape] = found
        return self._fan_outs[edge, shape]


def countable_edges(net: nn.Module) -> tuple[list[Edge], list[str]]:
    """The edges of a net whose operations can be counted, and the names of all other weights.

    Args:
        net: Any module.
    """
    found = find_edges(net)
    edges = [edge for edge in found.edges if has_known_fan_out(edge)]
    counted = {edge.module_name for edge in edges}
    unknown = [
        name
        for name, module in net.named_modules()
        if name not in counted and _has_unknown_weight(module, name in found.uncovered)
    ]
    return edges, unknown + [edge.name for edge in found.edges if edge not in edges]


def _has_unknown_weight(module: nn.Module, is_uncovered: bool) -> bool:
    """Whether a module has parameters of unknown use, or a matrix that it may multiply with."""
    if isinstance(module, _WITHOUT_CONNECTIONS):
        return False
    if isinstance(module, Prepared):
        return is_uncovered
    buffers = module.buffers(recurse=False)
    return is_uncovered or any(b.ndim > 1 and b.is_floating_point() for b in buffers)


def _as_sequence(x: Tensor, axes: int) -> Tensor:
    """A sequence or a step as [B, T, *features], where `axes` counts time and features."""
    x = x[None] if x.ndim < axes else x
    return x[:, None] if x.ndim == axes else x


def _first_steps(x: Tensor, length: int) -> Tensor:
    return x.narrow_copy(1, 0, length) if x.is_sparse else x[:, :length]


def _nonzeros_by_place(x: Tensor, shape: torch.Size) -> Tensor:
    """How many inputs are not 0 at each place of a row, int64 on the CPU."""
    if x.is_sparse:
        events = x.coalesce()
        places = events.indices()[-1][events.values() != 0]
        return torch.bincount(places, minlength=shape[-1]).cpu()
    return x.reshape(-1, *shape).count_nonzero(0).cpu()


def _is_binary(x: Tensor) -> bool:
    values = x.coalesce().values() if x.is_sparse else x
    return bool(((values == 0) | (values.abs() == 1)).all())


@contextlib.contextmanager
def _in_eval(net: nn.Module) -> Iterator[None]:
    """The net in `eval()` within a `with` block; afterwards, each module is as before."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, is_training in modes:
            module.training = is_training
