"""The layers of a net with the synapses that drive them, and the inputs of these synapses."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from nwavesdk.internal.checks import whole_number
from nwavesdk.layers import (
    Edge,
    H1v1Frontend,
    H1v2Frontend,
    NetEdges,
    NeuronLayer,
    Prepared,
    SpikingSequential,
    TemporalConv,
    find_edges,
    prepare_net,
)
from nwavesdk.layers.lengths import check_lengths
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.net.wiring import is_synapse, module_title, watch_calls

__all__ = [
    "DrivenLayer",
    "driver_inputs",
    "find_driven_layers",
    "first_batches",
    "weights_before_norms",
]


NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, SequenceNorm)


@dataclass(frozen=True, eq=False)
class DrivenLayer:
    """A neuron layer, and the module whose charge drives it.

    Attributes:
        edge: The edge from the driver to the layer.
        layer_name: Name of the layer in the model.
        layer: The neuron layer.
    """

    edge: Edge
    layer_name: str
    layer: NeuronLayer

    @property
    def driver_name(self) -> str:
        """Name of the driver in the model."""
        return self.edge.module_name

    @property
    def driver(self) -> Any:
        """The synapse, front end, linear layer or convolution."""
        return self.edge.module

    def charge(self, x: Tensor) -> Tensor:
        """Charge [B, T, *features] from rest, for the driver's input [B, T, *inputs]."""
        prepare_net(self.driver)
        # Modules without time see batch and time as one dimension.
        takes_time = isinstance(self.driver, Prepared)
        cur: Tensor = self.driver(x if takes_time else x.flatten(0, 1))
        return cur.reshape(*x.shape[:2], *self.layer.features)

    def charge_and_spikes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both [B, T, *features], from rest, for the driver's input [B, T, *inputs]."""
        cur = self.charge(x)
        prepare_net(self.layer)
        return cur, self.layer.spikes(cur)

    def rates(self, inputs: Iterable[Tensor]) -> Tensor:
        """Spikes per step of each neuron over all inputs, [N] in float64."""
        spikes = [self.charge_and_spikes(x)[1].double().flatten(2).flatten(0, 1) for x in inputs]
        return torch.cat(spikes).mean(0)


def find_driven_layers(model: nn.Module, x: Tensor) -> list[DrivenLayer]:
    """All spiking layers that a weight drives, in their order on a batch.

    Raises:
        RuntimeError: If a weight in front of a layer does not pass its charge to one layer,
            unchanged.
    """
    net = find_edges(model, x)
    normalized = weights_before_norms(model)
    driven = []
    for edge in net.edges:
        if edge.is_recurrent or (edge.target is not None and edge.target.neuron.is_readout):
            continue

        if edge.target is not None and edge.target_name is not None:
            driven.append(DrivenLayer(edge, edge.target_name, edge.target))
            continue

        # Front ends, weights in front of a norm, and weights of a read-out need no layer.
        is_frontend = isinstance(edge.module, H1v1Frontend | H1v2Frontend)
        has_other_rule = is_frontend or edge.module_name in normalized
        if not has_other_rule and _runs_before_neurons(net, edge.module_name):
            raise RuntimeError(
                f"{module_title(edge.module_name, edge.module)}: its charge does not reach a "
                "neuron layer unchanged, expected layer(synapse(x)) with nothing between and "
                "nothing added: initialize each pair of synapse and layer alone, as "
                "SpikingSequential(synapse, layer) with its input. To pool, pool "
                "spikes; nwavesdk.init.fan_in_init takes any net."
            )
    return driven


def _runs_before_neurons(net: NetEdges, name: str) -> bool:
    """Whether a spiking layer runs after a synapse; if none does, it is a read-out."""
    later = net.order[net.order.index(name) :] if name in net.order else ()
    return any(name in net.layers and not net.layers[name].neuron.is_readout for name in later)


def weights_before_norms(model: nn.Module) -> tuple[str, ...]:
    """Names of the weights with a norm between them and their layer, in each `SpikingSequential`.

    The norm sets the scale of the charge.
    """
    weights: dict[str, None] = {}
    for name, net in model.named_modules():
        if not isinstance(net, SpikingSequential):
            continue

        # The last weight whose charge has not reached neurons.
        weight: str | None = None
        for name_in_net, module in net.modules_in_order():
            if is_synapse(module):
                weight = f"{name}.{name_in_net}" if name else name_in_net
            elif isinstance(module, NeuronLayer):
                weight = None
            elif isinstance(module, NORMS) and weight is not None:
                weights[weight] = None
    return tuple(weights)


def driver_inputs(model: nn.Module, driver: nn.Module, batches: Iterable[Tensor]) -> list[Tensor]:
    """The inputs of `driver` when the model runs, [B, T, *inputs] for each batch.

    Single steps are joined to a sequence.
    """
    received: list[Tensor] = []
    for x in batches:
        parts: list[Tensor] = []

        # Defaults bind the values of this round of the loop.
        def keep_input(
            module: nn.Module,
            values: Tensor,
            _: Tensor,
            parts: list[Tensor] = parts,
            sizes: tuple[int, ...] = tuple(x.shape[:2]),
        ) -> None:
            if module is driver:
                parts.append(_as_sequence(module, values, sizes))

        prepare_net(model)
        with watch_calls(model, keep_input, lambda *_: None):
            model(x)
        received.append(torch.cat(parts, 1))
    return received


def _as_sequence(module: nn.Module, values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The input of one call as [B, T, *inputs]; `sizes` are B and T of the net's input.

    It may be a sequence, one step [B, *inputs] or [*inputs], or, for modules without time, all
    steps of a sequence along the first dimension, [B * T, *inputs].
    """
    # Dimensions of the inputs of a step.
    axes = 1
    if isinstance(module, _ConvNd):
        axes = len(module.kernel_size) + 1
    elif isinstance(module, TemporalConv):
        axes = len(module.kernel) + 1

    leading = values.ndim - axes
    if leading > 1:
        return values
    steps = values if leading else values[None]
    is_folded = not isinstance(module, Prepared) and len(steps) == math.prod(sizes)
    return steps.reshape(*sizes, *steps.shape[1:]) if is_folded else steps[:, None]


def first_batches(caller: str, model: nn.Module, inputs: Any, count: int) -> list[Tensor]:
    """At most `count` batches of inputs, on the device and in the dtype of the model's weights.

    Args:
        caller: Name of the function that the user called, for error messages.
        model: The model.
        inputs: One batch [B, T, N_in], or one tuple (inputs, targets), or an iterable of either,
            such as a DataLoader. A tuple may have an attribute `lengths`, as `Batch` of
            `nwavesdk.data` has.
        count: Largest number of batches.

    Returns:
        Batches without padding: a batch with lengths is split by them.

    Raises:
        TypeError: If `model` is not a module, `inputs` or a batch has another type, or lengths are
            not int64.
        ValueError: If there is no batch, a batch is empty, not finite or not a sequence, or a
            length is not from 1 to T.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
    if isinstance(inputs, Tensor | tuple):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise TypeError(
            f"{caller}: inputs must be a batch [B, T, N_in] or an iterable of batches, got "
            f"{type(inputs).__name__}."
        )

    count = whole_number(caller, "max_batches", count)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(()))
    batches: list[Tensor] = []
    for batch in itertools.islice(inputs, count):
        x = _batch_inputs(caller, batch).to(like)
        lengths = getattr(batch, "lengths", None)
        batches += [x] if lengths is None else _split_by_length(caller, x, lengths)

    if not batches:
        raise ValueError(f"{caller}: inputs have no batch, expected at least one.")
    return batches


def _split_by_length(caller: str, x: Tensor, lengths: Tensor) -> list[Tensor]:
    """The recordings without padding, in one batch for each length."""
    lengths = check_lengths(caller, lengths, x)
    return [x[lengths == steps, :steps] for steps in sorted(set(lengths.tolist()))]


def _batch_inputs(caller: str, batch: Any) -> Tensor:
    """The inputs of one batch: finite sequences."""
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{caller}: a batch must be a tensor or (inputs, targets), got {type(x).__name__}."
        )
    if x.ndim < 3 or not x.numel() or not bool(torch.isfinite(x).all()):
        expected = "sequences [B, T, N_in]" if x.ndim < 3 else "finite and not empty"
        raise ValueError(
            f"{caller}: inputs must be {expected}, got a batch of shape {list(x.shape)}."
        )
    return x
