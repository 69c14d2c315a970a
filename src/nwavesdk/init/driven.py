"""The layers of a net with what drives them, and the inputs that arrive there."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import whole_number
from nwavesdk.layers import (
    H1v1Frontend,
    H1v2Frontend,
    NeuronLayer,
    Synapse,
    find_edges,
    prepare_net,
)
from nwavesdk.layers.lengths import check_lengths
from nwavesdk.net.wiring import module_title, watch_calls

__all__ = ["DrivenLayer", "Driver", "driver_inputs", "find_driven_layers", "first_batches"]

Driver = Synapse | H1v1Frontend | H1v2Frontend


@dataclass(frozen=True, eq=False)
class DrivenLayer:
    """A neuron layer, and the synapse or front end whose charge drives it.

    Attributes:
        driver_name: Name of the driver in the model.
        driver: The synapse or front end.
        layer_name: Name of the layer in the model.
        layer: The neuron layer.
    """

    driver_name: str
    driver: Driver
    layer_name: str
    layer: NeuronLayer

    def charge_and_spikes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both [B, T, *features], from rest, for the driver's input [B, T, N_in]."""
        prepare_net(self.driver)
        prepare_net(self.layer)
        cur = self.driver(x)
        cur = cur.reshape(*cur.shape[:2], *self.layer.features)
        return cur, self.layer.spikes(cur)

    def rates(self, inputs: Iterable[Tensor]) -> Tensor:
        """Spikes per step of each neuron over all inputs, [N] in float64."""
        spikes = [self.charge_and_spikes(x)[1].double().flatten(2).flatten(0, 1) for x in inputs]
        return torch.cat(spikes).mean(0)


def find_driven_layers(model: nn.Module, x: Tensor) -> list[DrivenLayer]:
    """All spiking layers that a synapse or front end drives, in their order on a batch.

    Raises:
        RuntimeError: If a synapse in front of a layer does not pass its charge to one layer,
            unchanged.
    """
    net = find_edges(model, x)
    driven = []
    for edge in net.edges:
        if edge.is_recurrent or not isinstance(edge.module, Driver):
            continue
        if edge.target is not None and edge.target.neuron.is_readout:
            continue
        if edge.target is not None and edge.target_name is not None:
            driven.append(DrivenLayer(edge.module_name, edge.module, edge.target_name, edge.target))
        elif isinstance(edge.module, Synapse) and edge.module_name in net.order:
            # A synapse after which no spiking layer runs is a read-out, and has no layer to drive.
            later = net.order[net.order.index(edge.module_name) :]
            if any(name in net.layers and not net.layers[name].neuron.is_readout for name in later):
                raise RuntimeError(
                    f"{module_title(edge.module_name, edge.module)}: its charge does not reach a "
                    "neuron layer unchanged, expected layer(synapse(x)) with nothing between and "
                    "nothing added: initialize the parts one by one, each as "
                    "SpikingSequential(synapse, layer) with the input that it gets."
                )
    return driven


def driver_inputs(model: nn.Module, driver: Driver, batches: Iterable[Tensor]) -> list[Tensor]:
    """What `driver` receives when the model runs: [B, T, N_in] for each batch.

    Single steps are joined to a sequence.
    """
    received: list[Tensor] = []
    for x in batches:
        parts: list[Tensor] = []

        def keep_input(
            module: nn.Module, values: Tensor, _: Tensor, parts: list[Tensor] = parts
        ) -> None:
            if module is driver:
                parts.append(values if values.ndim > 2 else values.reshape(-1, 1, values.shape[-1]))

        prepare_net(model)
        with watch_calls(model, keep_input, lambda *_: None):
            model(x)
        received.append(torch.cat(parts, 1))
    return received


def first_batches(caller: str, model: nn.Module, inputs: Any, count: int) -> list[Tensor]:
    """At most `count` batches of inputs, with the device and the dtype of the model's weights.

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
        TypeError: If `model` is not a module, `inputs` or a batch is none of these, or lengths are
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
