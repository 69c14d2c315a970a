"""Who drives whom: the neuron layer that receives the charge of a synapse or front end, found by running the net.

The first batches of whatever a user has at hand: a tensor, a pair of inputs and targets, a list, a DataLoader.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.layers import (
    H1v1Frontend,
    H1v2Frontend,
    NeuronLayer,
    Synapse,
    find_edges,
    prepare_net,
)
from nwavesdk.layers.edges import module_title, watch_calls

__all__ = ["Driver", "Pair", "find_pairs", "first_batches", "inputs_of"]

Driver = Synapse | H1v1Frontend | H1v2Frontend


@dataclass(frozen=True, eq=False)
class Pair:
    """A synapse or front end, and the layer that its charge drives.

    Attributes:
        name: of the driver in the model.
        driver: the synapse or front end.
        layer_name: of the layer in the model.
        layer: the neuron layer.
    """

    name: str
    driver: Driver
    layer_name: str
    layer: NeuronLayer

    def spikes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Charge and spikes [B, T, *features] of the layer for the driver's input [B, T, N_in], from rest."""
        prepare_net(self.driver)
        prepare_net(self.layer)
        cur = self.driver(x)
        cur = cur.reshape(*cur.shape[:2], *self.layer.features)
        return cur, self.layer.spikes(cur)


def find_pairs(model: nn.Module, x: Tensor) -> list[Pair]:
    """All pairs in the order in which they run on the batch `x`; a read-out, after which no layer runs, has none.

    Raises:
        RuntimeError: the charge of a synapse reaches no layer as it is, or reaches several.
    """
    net = find_edges(model, x)
    synapses = [edge for edge in net.edges if not edge.is_recurrent]
    for edge in synapses:
        runs = edge.module_name in net.order
        behind = net.order[net.order.index(edge.module_name) :] if runs else ()
        has_layer_behind = any(name in net.layers for name in behind)
        if isinstance(edge.module, Synapse) and edge.target is None and has_layer_behind:
            raise RuntimeError(
                f"{module_title(edge.module_name, edge.module)}: its charge reaches no neuron layer as it is, expected "
                "layer(synapse(x)) with nothing between and nothing added: initialize the parts one by one, each as "
                "SpikingSequential(synapse, layer) with the input that it gets."
            )
    return [
        Pair(edge.module_name, edge.module, edge.target_name, edge.target)
        for edge in synapses
        if isinstance(edge.module, Driver)
        and edge.target is not None
        and edge.target_name is not None
    ]


def _ignore_layer(layer: NeuronLayer, charge: Tensor, spikes: Tensor) -> None:
    """Layers are not watched."""


def inputs_of(model: nn.Module, driver: Driver, batches: Iterable[Tensor]) -> list[Tensor]:
    """What `driver` receives, [B, T, N_in] for each batch; single steps are joined to a sequence."""
    received: list[Tensor] = []
    for x in batches:
        parts: list[Tensor] = []

        def keep_input(
            module: nn.Module, got: Tensor, _: Tensor, parts: list[Tensor] = parts
        ) -> None:
            if module is driver:
                parts.append(got if got.ndim > 2 else got.reshape(-1, 1, got.shape[-1]))

        prepare_net(model)
        with watch_calls(model, keep_input, _ignore_layer):
            model(x)
        received.append(torch.cat(parts, 1))
    return received


def first_batches(caller: str, model: nn.Module, inputs: Any, count: int) -> list[Tensor]:
    """At most `count` batches of inputs, where the model's weights are and in their dtype.

    Args:
        caller: for error messages.
        model: whose weights say where to and in which dtype.
        inputs: one batch [B, T, N_in], or one tuple (inputs, targets), or an iterable of either.
        count: the most batches.

    Raises:
        TypeError: `model` is no module, or `inputs` or a batch is none of these.
        ValueError: there is no batch, or a batch is empty, not finite or no sequence.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
    if isinstance(inputs, Tensor | tuple):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise TypeError(
            f"{caller}: inputs must be a batch [B, T, N_in] or an iterable of batches, got {type(inputs).__name__}."
        )
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(()))
    batches = [_inputs(caller, batch).to(like) for batch in itertools.islice(inputs, count)]
    if not batches:
        raise ValueError(f"{caller}: inputs hold no batch, expected one at least.")
    for x in batches:
        if x.ndim < 3:
            raise ValueError(
                f"{caller}: inputs must be sequences [B, T, N_in], got a batch of shape {list(x.shape)}."
            )
        if not x.numel() or not bool(torch.isfinite(x).all()):
            raise ValueError(
                f"{caller}: inputs must be finite and not empty, got a batch of shape {list(x.shape)}."
            )
    return batches


def _inputs(caller: str, batch: Any) -> Tensor:
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{caller}: a batch must be a tensor or (inputs, targets), got {type(x).__name__}."
        )
    return x
