"""`RecordedPass`: one forward pass through a net, and the gradients of any surrogates from it.

Spikes of a forward pass do not depend on the surrogate, so the pass is run once. For each choice of
surrogates, the backward pass is then one adjoint recurrence per neuron layer
(`Record.charge_gradient`). Between two layers, it is what autograd computes: for a synapse, a
product with its transposed weight. The graph of the pass ends at each layer, so layers may be
connected in any way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import shown
from nwavesdk.layers import Record, Recording, find_edges, prepare_net
from nwavesdk.layers.masks import copy_module
from nwavesdk.net.recording import record as record_pass
from nwavesdk.surrogate import Surrogate

__all__ = ["LayerGradient", "LossFunction", "RecordedPass"]

# `loss_fn(spk, mem)`, from what the net returns to a scalar.
LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """The gradient that reaches one layer.

    Attributes:
        index: Index of the layer, from 0 for the first.
        charge: ∂L/∂(input charge of the layer), [B, T, *features].
        weights: ∂L/∂(parameters that make the charge, and that of read-outs behind the layer), by
            their name in the net. Empty if they were not asked for.
    """

    index: int
    charge: Tensor
    weights: dict[str, Tensor]


class RecordedPass:
    """A pass of a copy of a net in its present mode; the net and its state do not change.

    Args:
        net: A net with at least one layer of spiking neurons. A layer without a reset whose spikes
            nothing reads is a read-out, as `LIFLayer(..., reset_mechanism="none")` at the end.
        x: Input as the net takes it: [B, T, *features], or [T, B, *features] with `time_first`.
        loss_fn: `loss_fn(spk, mem)`, from what the net returns to a scalar.
        seed: Seed of the mismatch; see `prepare_net`.
        weights: Whether gradients of weights will be needed.
        lengths: Number of steps of each recording, int64 [B]; None for all steps. The loss must not
            depend on padding.

    Attributes:
        recording: The recording of the pass.
        names: Names of the neuron layers in the order in which they run. Here and below, read-outs
            are passed over: gradients go through them, but no surrogate.
        records: Record of each of these layers.
        uncovered: Names of modules with parameters that are neither a synapse nor a neuron layer.
            Gradients pass through them, but reports say nothing about them.
        loss: The loss.

    Raises:
        TypeError: If the net is not a module.
        ValueError: If it has no neuron layer, if a layer runs step by step, if `x` is not a
            sequence, or if the loss depends on no layer.
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        loss_fn: LossFunction,
        seed: int | None = None,
        weights: bool = False,
        lengths: Tensor | None = None,
    ) -> None:
        if not isinstance(net, nn.Module):
            raise TypeError(f"gradients are recorded in a torch module, got {shown(net)}.")
        if x.ndim < 3:
            raise ValueError(
                f"a scan needs sequences [B, T, *features], got an input of shape {list(x.shape)}."
            )
        net = copy_module(net)
        if not weights:
            # Gradients of constants are not computed along the way.
            net.requires_grad_(False)
        with torch.enable_grad():
            prepare_net(net, seed)
            leaf = x.detach().requires_grad_()
            self.recording = record_pass(net, leaf, charges=True, lengths=lengths, cut=True)
            self.loss = loss_fn(self.recording.spk, self.recording.mem)
        self.recording = replace(self.recording, unread=_unread(self.recording, self.loss))
        self.names = tuple(self.recording.spiking)
        self.records = tuple(self.recording.spiking.values())
        if not self.records:
            raise ValueError(
                "the net has no neuron layer whose spikes have an effect, so there is no "
                "surrogate to choose."
            )
        edges = find_edges(net)
        self.uncovered = edges.uncovered
        self._layers = tuple(self.recording.layers.items())
        _require_sequences(net, self._layers)
        self._recurrent = {edge.module_name: edge for edge in edges.edges if edge.is_recurrent}
        self._parameters = {n: p for n, p in net.named_parameters() if p.requires_grad}
        self._output_gradients = self._differentiate_loss()

    @property
    def surrogates(self) -> tuple[Surrogate, ...]:
        """The net's present surrogates, by layer."""
        return tuple(record.surrogate for record in self.records)

    def gradients(self, surrogates: Sequence[Surrogate] | None = None) -> Iterator[LayerGradient]:
        """Layer by layer, from the last to the first; each is computed when it is asked for.

        Args:
            surrogates: One for each layer. [the net's]

        Raises:
            ValueError: If there are not as many surrogates as layers.
        """
        chosen = self.surrogates if surrogates is None else tuple(surrogates)
        if len(chosen) != len(self.records):
            raise ValueError(
                f"the net has {len(self.records)} neuron layers, got {len(chosen)} surrogates."
            )
        gradients, behind = self._output_gradients
        received = dict(gradients)
        totals = dict(behind)
        behind = dict(behind)
        by_name = dict(zip(self.names, chosen, strict=True))
        for place, (name, record) in reversed([*enumerate(self._layers)]):
            grad_spk = received.get(id(record.spk))
            grad_mem = None if record.is_readout else received.get(id(record.mem))
            if grad_spk is None and grad_mem is None:
                grad_spk = torch.zeros_like(record.spk)
            surrogate = by_name.get(name)  # a read-out has none
            charge, recurrent = record.charge_gradient(grad_spk, grad_mem, surrogate)
            assert record.cur is not None
            weights = self._add_gradients(record.cur, charge, place, received)
            weights |= self._recurrent_gradient(name, recurrent)
            for key, grad in weights.items():
                # A module that is used twice feeds two layers.
                totals[key] = totals[key] + grad if key in totals else grad
                behind[key] = totals[key]
            if surrogate is not None:
                yield LayerGradient(self.names.index(name), charge, behind)
                behind = {}

    def charge_gradients(self, surrogates: Sequence[Surrogate] | None = None) -> dict[str, Tensor]:
        """∂L/∂(input charge) of all layers, by their names; see `gradients`."""
        return {
            self.names[gradient.index]: gradient.charge for gradient in self.gradients(surrogates)
        }

    def _differentiate_loss(self) -> tuple[dict[int, Tensor], dict[str, Tensor]]:
        """∂L/∂(outputs of layers) by id of the tensor, and ∂L/∂(weights behind the last layer)."""
        if not self.loss.requires_grad or self.loss.numel() != 1:
            raise ValueError(
                "loss_fn(spk, mem) must return one number that depends on what the net returns."
            )
        received: dict[int, Tensor] = {}
        weights = self._add_gradients(self.loss, None, len(self._layers), received)
        if not received:
            raise ValueError("the loss does not depend on the net's neuron layers.")
        return received, weights

    def _add_gradients(
        self, y: Tensor, grad: Tensor | None, place: int, received: dict[int, Tensor]
    ) -> dict[str, Tensor]:
        """Differentiate `y` with respect to the outputs of the layers before `place`, and weights.

        Args:
            y: The charge of a layer, or the loss.
            grad: ∂L/∂y.
            place: Place of the layer.
            received: ∂L/∂(outputs of layers) by id; what comes from `y` is added.

        Returns:
            ∂L/∂(weights) through `y`, by name.
        """
        leaves = [leaf for _, record in self._layers[:place] for leaf in _outputs(record)]
        inputs = [*leaves, *self._parameters.values()]
        if not inputs or not y.requires_grad:
            return {}
        grads = torch.autograd.grad(y, inputs, grad, retain_graph=True, allow_unused=True)
        for leaf, part in zip(leaves, grads[: len(leaves)], strict=True):
            if part is not None:
                before = received.get(id(leaf))
                received[id(leaf)] = part if before is None else before + part
        by_name = zip(self._parameters, grads[len(leaves) :], strict=True)
        return {name: part for name, part in by_name if part is not None}

    def _recurrent_gradient(self, name: str, effective_grad: Tensor | None) -> dict[str, Tensor]:
        """The gradient of the recurrent weights of a layer, from that of the effective ones."""
        edge = self._recurrent.get(name)
        if edge is None or effective_grad is None:
            return {}
        trained = {k: p for k, p in edge.trained_parameters().items() if p.requires_grad}
        if not trained:
            return {}

        with torch.enable_grad():
            # The product gives a graph even where the effective weights are the weights.
            effective = edge.effective_weight() * 1
            grads = torch.autograd.grad(
                effective, [*trained.values()], effective_grad.to(effective)
            )
        return dict(zip(trained, grads, strict=True))


def _outputs(record: Record) -> list[Tensor]:
    """Spikes and membrane of a layer; of a read-out, which returns one tensor twice, that one."""
    return [record.spk] if record.mem is record.spk else [record.spk, record.mem]


def _unread(recording: Recording, loss: Tensor) -> frozenset[str]:
    """Names of the layers whose spikes have no effect: not on the loss, a layer, or themselves."""
    charges = [record.cur for record in recording.layers.values() if record.cur is not None]
    read = _graph_leaves([loss, *charges])
    return frozenset(
        name
        for name, record in recording.layers.items()
        if not (record.is_readout or record.spikes_act_inside or id(record.spk) in read)
    )


def _graph_leaves(tensors: Sequence[Tensor]) -> set[int]:
    """The ids of the leaves that tensors are computed from, or are."""
    leaves = {id(tensor) for tensor in tensors}
    nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        leaves.add(id(getattr(node, "variable", None)))
        behind = {node for node, _ in node.next_functions if node is not None} - seen
        seen |= behind
        nodes += behind
    return leaves


def _require_sequences(net: nn.Module, layers: Sequence[tuple[str, Record]]) -> None:
    """Reject a net in which a layer was called more than once: spikes may then come back to it."""
    for name, record in layers:
        if not record.spk.is_leaf:
            raise ValueError(
                f"gradients are recorded of layers that get a whole sequence, {type(net).__name__} "
                f"runs {name!r} step by step, as Feedback does: train it, and look at the "
                "gradients of its parameters."
            )
