"""`RecordedPass`: one forward pass through a net, and its gradients under any surrogates.

Spikes of a forward pass do not depend on the surrogate, so the pass is run once. The backward pass
is repeated for each choice of surrogates. It is one adjoint recurrence per neuron layer
(`Record.charge_gradient`); between two layers, autograd computes it, as a product with the
transposed weight if there is a synapse. The graph of the pass ends at each layer, so layers may be
connected in any way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import shown
from nwavesdk.internal.tensors import leaf_nodes
from nwavesdk.layers import Record, Recording, find_edges, prepare_net
from nwavesdk.layers.masks import copy_module
from nwavesdk.net.recording import record as record_pass
from nwavesdk.surrogate import Surrogate

__all__ = ["LossFunction", "RecordedPass"]

# `loss_fn(spk, mem)`: a scalar from the spikes and membranes that the net returns.
LossFunction = Callable[[Tensor, Tensor], Tensor]


class RecordedPass:
    """A pass of a copy of a net in its present mode; the net and its state do not change.

    Args:
        net: A net with at least one layer of spiking neurons. A layer without a reset is a read-out
            if its spikes have no effect, such as `LIFLayer(..., reset_mechanism="none")` at the
            end.
        x: Input of the net: [B, T, *features], or [T, B, *features] with `time_first`.
        loss_fn: `loss_fn(spk, mem)`, a scalar from the spikes and membranes that the net returns.
        seed: Seed of the mismatch; see `prepare_net`.
        lengths: Number of steps of each recording, int64 [B]; None for all steps. The loss must not
            depend on padding.

    Attributes:
        recording: The recording of the pass.
        names: Names of the layers of spiking neurons, in the order in which they run. They do not
            include read-outs, which pass gradients on but have no surrogate.
        records: Record of each of these layers.
        uncovered: Names of modules with parameters that are neither a synapse nor a neuron layer.
            Gradients pass through them, but reports say nothing about them.
        loss: The loss.

    Raises:
        TypeError: If the net is not a module.
        ValueError: If the net has no neuron layer, if a layer runs step by step, if `x` is not a
            sequence, or if the loss depends on no layer.
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        loss_fn: LossFunction,
        *,
        seed: int | None = None,
        lengths: Tensor | None = None,
    ) -> None:
        if not isinstance(net, nn.Module):
            raise TypeError(f"gradients are recorded in a torch module, got {shown(net)}.")
        if x.ndim < 3:
            raise ValueError(
                f"a scan needs sequences [B, T, *features], got an input of shape {list(x.shape)}."
            )

        # Run a copy of the net once.
        net = copy_module(net)
        # Autograd then computes no gradients of weights and constants.
        net.requires_grad_(False)
        with torch.enable_grad():
            prepare_net(net, seed)
            leaf = x.detach().requires_grad_()
            self.recording = record_pass(net, leaf, charges=True, lengths=lengths, cut=True)
            self.loss = loss_fn(self.recording.spk, self.recording.mem)

        # Layers without a surrogate that acts are read-outs.
        self.recording = replace(self.recording, unread=_unread(self.recording, self.loss))
        self.names = tuple(self.recording.spiking)
        self.records = tuple(self.recording.spiking.values())
        if not self.records:
            raise ValueError(
                "the net has no neuron layer whose spikes have an effect, so there is no "
                "surrogate to choose."
            )

        self.uncovered = find_edges(net).uncovered
        self._layers = tuple(self.recording.layers.items())
        _require_sequences(net, self._layers)
        self._output_gradients = self._differentiate_loss()

    @property
    def surrogates(self) -> tuple[Surrogate, ...]:
        """The net's present surrogates, by layer."""
        return tuple(record.surrogate for record in self.records)

    def gradients(
        self, surrogates: Sequence[Surrogate] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """The layers from the last to the first, each with the gradient that reaches it.

        A gradient is computed when it is needed.

        Args:
            surrogates: One surrogate for each layer. [the net's surrogates]

        Yields:
            Name of a layer, and ∂L/∂(input charge of the layer), [B, T, *features].

        Raises:
            ValueError: If the number of surrogates differs from the number of layers.
        """
        chosen = self.surrogates if surrogates is None else tuple(surrogates)
        if len(chosen) != len(self.records):
            raise ValueError(
                f"the net has {len(self.records)} neuron layers, got {len(chosen)} surrogates."
            )

        received = dict(self._output_gradients)
        by_name = dict(zip(self.names, chosen, strict=True))

        for index, (name, record) in reversed([*enumerate(self._layers)]):
            # From the outputs of the layer to its charge.
            grad_spk = received.get(id(record.spk))
            grad_mem = None if record.is_readout else received.get(id(record.mem))
            if grad_spk is None and grad_mem is None:
                grad_spk = torch.zeros_like(record.spk)
            surrogate = by_name.get(name)  # a read-out has none
            charge, _ = record.charge_gradient(grad_spk, grad_mem, surrogate)

            # From the charge to the outputs of the layers before it.
            assert record.cur is not None
            self._add_gradients(record.cur, charge, index, received)
            if surrogate is not None:
                yield name, charge

    def _differentiate_loss(self) -> dict[int, Tensor]:
        """∂L/∂(outputs of layers), by `id` of the tensor."""
        if not self.loss.requires_grad or self.loss.numel() != 1:
            raise ValueError(
                "loss_fn(spk, mem) must return one number that depends on the outputs of the net."
            )
        received: dict[int, Tensor] = {}
        self._add_gradients(self.loss, None, len(self._layers), received)
        if not received:
            raise ValueError("the loss does not depend on the net's neuron layers.")
        return received

    def _add_gradients(
        self, y: Tensor, grad: Tensor | None, index: int, received: dict[int, Tensor]
    ) -> None:
        """Differentiate `y` by the outputs of all layers before it.

        Args:
            y: The charge of a layer, or the loss.
            grad: ∂L/∂y.
            index: Index of the layer; the number of layers if `y` is the loss.
            received: ∂L/∂(outputs of layers) by `id`. The gradients through `y` are added.
        """
        leaves = [leaf for _, record in self._layers[:index] for leaf in _outputs(record)]
        if not leaves or not y.requires_grad:
            return

        # The graph is kept, because the next choice of surrogates needs it again.
        grads = torch.autograd.grad(y, leaves, grad, retain_graph=True, allow_unused=True)
        for leaf, part in zip(leaves, grads, strict=True):
            if part is not None:
                before = received.get(id(leaf))
                received[id(leaf)] = part if before is None else before + part


def _outputs(record: Record) -> list[Tensor]:
    """Spikes and membrane of a layer, without repetition: a read-out returns one tensor twice."""
    return [record.spk] if record.mem is record.spk else [record.spk, record.mem]


def _unread(recording: Recording, loss: Tensor) -> frozenset[str]:
    """Names of the layers whose spikes act neither on the loss nor on any layer."""
    charges = [record.cur for record in recording.layers.values() if record.cur is not None]
    read = [loss, *charges]
    read += [node.variable for node in leaf_nodes(read)]
    return frozenset(
        name
        for name, record in recording.layers.items()
        if not (
            record.is_readout
            or record.spikes_act_inside
            or any(tensor is record.spk for tensor in read)
        )
    )


def _require_sequences(net: nn.Module, layers: Sequence[tuple[str, Record]]) -> None:
    """Reject a net in which a layer was called more than once.

    Its spikes may act on its later inputs, which the gradients of one pass do not include.
    """
    for name, record in layers:
        if not record.spk.is_leaf:
            raise ValueError(
                f"gradients are recorded of layers that get a whole sequence, {type(net).__name__} "
                f"runs {name!r} step by step, as Feedback does: train the net, and examine the "
                "gradients of its parameters."
            )
