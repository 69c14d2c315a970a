"""Counts of the operations of a net, for recordings that it runs.

Design requirements:
    - Counts are exact: they equal the counts of a loop over all inputs and weights.
    - Padding after the end of a recording never counts, even if a module of the user puts time on
      a different axis: recordings run in groups of one length.
    - Modules that cannot be counted are named in the result. They never count as 0 silently.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from nwavesdk.internal.tensors import is_list, require_tensor
from nwavesdk.layers import NeuronLayer, Prepared
from nwavesdk.layers.lengths import check_lengths, complete_lengths
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.metrics.operations import EdgeOperations, LayerActivity, Operations
from nwavesdk.net import Edge, find_edges
from nwavesdk.net.calls import in_eval
from nwavesdk.net.fan_out import fan_out, has_known_fan_out, input_axes, reads_past
from nwavesdk.net.preparation import prepared
from nwavesdk.net.wiring import watch_calls

__all__ = ["OperationCounter", "count_operations", "countable_edges"]

# Recordings that run together.
_MAX_TOGETHER = 32

# Modules with parameters, but without connections. NeuroBench does not count them.
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

    A dense operation is one connection at one step. It is effective if its input and its weight are
    not 0. Effective operations are accumulates (ACs) if all inputs of the weight are -1, 0 or 1,
    else multiply-accumulates (MACs). Pools, norms, biases and the equations of neurons are not
    counted; `updates` is the number of updates of neurons.

    The net runs in `eval()`, without gradient.

    Args:
        net: Any module, called as `net(x)`.
        x: Recordings [B, T, *features]; [T, B, *features] for a net with `time_first`.
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        Yik et al. 2025, "The neurobench framework for benchmarking neuromorphic computing
        algorithms and systems", Nature Communications 16, 1545, doi:10.1038/s41467-025-56739-4,
        "Synaptic operations".

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, 20e-3), LIFSynapse(8, 2))
        >>> cost = count_operations(net, torch.eye(4)[None])
        >>> cost.dense, cost.edges[0].effective, cost.edges[0].takes_spikes, cost.updates
        (192.0, 32.0, True, 32.0)
    """
    counter = OperationCounter(net)
    counter.count(x, lengths)
    return counter.result()


@dataclass(eq=False, kw_only=True)
class _Tally:
    """An edge, and sums over all recordings."""

    edge: Edge
    is_connected: Tensor  # whether each weight is not 0, on the CPU
    dense: float = 0.0
    effective: float = 0.0
    inputs: int = 0
    nonzeros: int = 0
    is_binary: bool = True
    # By the shape of a step: effective and dense fan-outs for the longest input so far.
    fan_outs: dict[torch.Size, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def add(self, x: Tensor) -> None:
        """Add the operations for an input [..., *shape], with `input_axes` axes."""
        shape = x.shape[x.ndim - input_axes(self.edge) :]
        n_rows = x.numel() // max(math.prod(shape), 1)
        counts = _count_nonzeros(x, shape)
        effective, dense = self._fan_out(shape)

        self.dense += n_rows * dense.sum().item()
        self.effective += float((counts.double() * effective).sum())
        self.inputs += x.numel()
        self.nonzeros += int(counts.sum())
        self.is_binary = self.is_binary and _is_binary(x)

    def _fan_out(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """The fan-out over connections that are not 0, and over all, each in `shape`."""
        step_shape = shape[1:] if reads_past(self.edge) else shape
        longest = self.fan_outs.get(step_shape)
        if longest is None or len(longest[0]) < shape[0]:
            everywhere = torch.ones_like(self.is_connected)
            longest = (
                fan_out(self.edge, shape, self.is_connected),
                fan_out(self.edge, shape, everywhere),
            )
            self.fan_outs[step_shape] = longest

        # The fan-out of a step depends on the number of steps after it, so the fan-outs of a short
        # recording are the last fan-outs of a long recording.
        effective, dense = (counts[len(counts) - shape[0] :] for counts in longest)
        return effective, dense

    def result(self, recordings: int) -> EdgeOperations:
        return EdgeOperations(
            name=self.edge.name,
            dense=self.dense / recordings,
            effective=self.effective / recordings,
            takes_spikes=self.is_binary,
            input_density=self.nonzeros / max(self.inputs, 1),
            connection_sparsity=1 - self.is_connected.double().mean().item(),
        )


class OperationCounter:
    """Counts the operations of a net over many batches; see `count_operations`.

    Args:
        net: Any module. Its weights must not change until `result` is called.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> counter = OperationCounter(SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, taus=20e-3)))
        >>> for batch in (torch.eye(4)[None], torch.zeros(2, 4, 4)):
        ...     counter.count(batch)
        >>> cost = counter.result()
        >>> cost.recordings, cost.dense, cost.layers[0].updates
        (3, 128.0, 32.0)
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        edges, self._unknown = countable_edges(net)
        tallies = [
            _Tally(edge=edge, is_connected=(edge.stored_weight() != 0).cpu()) for edge in edges
        ]
        self._synapses = {t.edge.module: t for t in tallies if not t.edge.is_recurrent}
        self._recurrent = {t.edge.module: t for t in tallies if t.edge.is_recurrent}
        self._tallies = tallies
        self._spikes: Counter[NeuronLayer] = Counter()
        self._updates: Counter[NeuronLayer] = Counter()
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
        lengths = check_lengths("count_operations", complete_lengths(x, lengths), x)

        with in_eval(self._net):
            # From long to short, so that the fan-outs of the longest recordings come first.
            for length in sorted(set(lengths.tolist()), reverse=True):
                indices = (lengths == length).nonzero().flatten()
                for part in indices.split(_MAX_TOGETHER):
                    recordings = _first_steps(x.index_select(0, part), length)
                    self._run(recordings.transpose(0, 1) if is_time_first else recordings)

        self._recordings += len(x)
        self._steps += int(lengths.sum())

    def result(self) -> Operations:
        """The operations of all recordings so far.

        Raises:
            ValueError: If there was no recording.
        """
        if not self._recordings:
            raise ValueError("OperationCounter: result needs counts: call count(x) before it.")

        called = [tally for tally in self._tallies if tally.inputs]
        never_called = [tally.edge.name for tally in self._tallies if not tally.inputs]
        layers = [
            LayerActivity(
                name=name,
                neurons=math.prod(layer.features),
                updates=self._updates[layer] / self._recordings,
                rate=self._rate(layer),
            )
            for name, layer in self._net.named_modules()
            if isinstance(layer, NeuronLayer) and layer in self._updates
        ]

        return Operations(
            recordings=self._recordings,
            steps=self._steps / self._recordings,
            edges=tuple(tally.result(self._recordings) for tally in called),
            layers=tuple(layers),
            parameters=sum(parameter.numel() for parameter in self._net.parameters()),
            not_counted=(*self._unknown, *never_called),
        )

    def _rate(self, layer: NeuronLayer) -> float | None:
        return None if layer.neuron.is_readout else self._spikes[layer] / self._updates[layer]

    def _run(self, x: Tensor) -> None:
        """Run recordings of one length, and add the operations of all calls of modules."""
        # Calls with single steps, or with parts of a sequence, are joined after the pass.
        parts: dict[_Tally, list[Tensor]] = {}

        def on_synapse(module: nn.Module, received: Tensor, charge: Tensor) -> None:  # noqa: ARG001  # part of the signature
            tally = self._synapses.get(module)
            if tally is not None and reads_past(tally.edge):
                sequence = _as_sequence(received, input_axes(tally.edge))
                parts.setdefault(tally, []).append(sequence)
            elif tally is not None:
                tally.add(received)

        def on_layer(layer: NeuronLayer, cur: Tensor, fired: Tensor) -> None:  # noqa: ARG001  # part of the signature
            self._updates[layer] += fired.numel()
            if not layer.neuron.is_readout:
                self._spikes[layer] += int(fired.sum(dtype=torch.float64))
            if layer in self._recurrent:
                parts.setdefault(self._recurrent[layer], []).append(fired)

        with prepared(self._net), watch_calls(self._net, on_synapse, on_layer):
            self._net(x)

        for tally, sequences in parts.items():
            tally.add(torch.cat(sequences, 1) if len(sequences) > 1 else sequences[0])


def countable_edges(net: nn.Module) -> tuple[list[Edge], list[str]]:
    """The edges of a net whose operations can be counted, and the names of all other weights.

    Args:
        net: Any module.
    """
    in_net = find_edges(net)
    edges = [edge for edge in in_net.edges if has_known_fan_out(edge)]
    counted = {edge.module_name for edge in edges}
    unknown = [
        name
        for name, module in net.named_modules()
        if name not in counted and _has_unknown_weight(module, name in in_net.uncovered)
    ]
    return edges, unknown + [edge.name for edge in in_net.edges if edge not in edges]


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


def _count_nonzeros(x: Tensor, shape: torch.Size) -> Tensor:
    """The number of inputs [..., *shape] that are not 0, at each index of `shape`, on the CPU."""
    if x.is_sparse:
        events = x.coalesce()
        features = events.indices()[-1][events.values() != 0]
        return torch.bincount(features, minlength=shape[-1]).cpu()
    return x.reshape(-1, *shape).count_nonzero(0).cpu()


def _is_binary(x: Tensor) -> bool:
    values = x.coalesce().values() if x.is_sparse else x
    return bool(((values == 0) | (values.abs() == 1)).all())
