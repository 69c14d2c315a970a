"""`RecordedPass`: one forward pass through a net, and the gradients of any surrogates from it.

Spikes of a forward pass do not depend on the surrogate, so the pass is run once. For each choice of
surrogates, the backward pass is then one adjoint recurrence per neuron layer
(`Record.charge_gradient`). Between two layers, it is what autograd computes: for a synapse, a
product with its transposed weight.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.layers import NeuronLayer, SpikingSequential, find_edges, prepare_net
from nwavesdk.layers.masks import copy_module
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
        net: A net with at least one layer of spiking neurons.
        x: Input [B, T, *features].
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
        TypeError: If the net is not a `SpikingSequential`.
        ValueError: If it has no neuron layer, if `x` is not a sequence, or if the loss does not
            depend on the last layer.
    """

    def __init__(
        self,
        net: SpikingSequential,
        x: Tensor,
        loss_fn: LossFunction,
        seed: int | None = None,
        weights: bool = False,
        lengths: Tensor | None = None,
    ) -> None:
        if not isinstance(net, SpikingSequential):
            raise TypeError(
                f"gradients are recorded in a SpikingSequential, got {type(net).__name__}."
            )
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
            self.recording = net.record(leaf, charges=True, lengths=lengths)
            self.loss = loss_fn(self.recording.spk, self.recording.mem)
        self.names = tuple(self.recording.spiking)
        self.records = tuple(self.recording.spiking.values())
        if not self.records:
            raise ValueError("the net has no neuron layer, so there is no surrogate to choose.")
        edges = find_edges(net)
        self.uncovered = edges.uncovered
        self._layers = tuple(self.recording.layers.items())
        self._recurrent = {edge.module_name: edge for edge in edges.edges if edge.is_recurrent}
        self._feeding_parameters = _feeding_parameters(net)
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
        grad_spk, grad_mem = self._output_gradients
        index = len(self.records)
        behind: dict[str, Tensor] = {}
        for place in reversed(range(len(self._layers))):
            name, record = self._layers[place]
            index -= not record.is_readout
            surrogate = None if record.is_readout else chosen[index]
            charge, recurrent = record.charge_gradient(grad_spk, grad_mem, surrogate)
            grad_spk, weights = self._pass_back(place, charge)
            grad_mem = None  # A layer hands only its spikes on.
            weights |= self._recurrent_gradient(name, recurrent)
            if record.is_readout:
                behind |= weights
                continue
            yield LayerGradient(index, charge, behind | weights)
            behind = {}

    def charge_gradients(self, surrogates: Sequence[Surrogate] | None = None) -> dict[str, Tensor]:
        """∂L/∂(input charge) of all layers, by their names; see `gradients`."""
        return {
            self.names[gradient.index]: gradient.charge for gradient in self.gradients(surrogates)
        }

    def _differentiate_loss(self) -> tuple[Tensor | None, Tensor | None]:
        """∂L/∂spk and ∂L/∂mem of the last layer."""
        _, last = self._layers[-1]
        if not self.loss.requires_grad or self.loss.numel() != 1:
            raise ValueError(
                "loss_fn(spk, mem) must return one number that depends on what the net returns."
            )
        # A read-out returns one tensor twice.
        outputs = [last.spk] if last.is_readout else [last.spk, last.mem]
        grads = torch.autograd.grad(self.loss, outputs, retain_graph=True, allow_unused=True)
        grad_spk, grad_mem = (*grads, None)[:2]
        if grad_spk is None and grad_mem is None:
            raise ValueError("the loss does not depend on the net's last neuron layer.")
        return grad_spk, grad_mem

    def _pass_back(self, place: int, charge: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Gradients of the spikes of the layer below, if there is one, and of the weights."""
        cur = self._layers[place][1].cur
        assert cur is not None
        below = [self._layers[place - 1][1].spk] if place else []
        parameters = self._feeding_parameters[place]
        inputs = [*below, *parameters.values()]
        if not inputs:
            return None, {}
        grads = torch.autograd.grad(cur, inputs, charge, retain_graph=True, allow_unused=True)
        by_name = zip(parameters, grads[len(below) :], strict=True)
        weights = {name: grad for name, grad in by_name if grad is not None}
        return grads[0] if below else None, weights

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


def _feeding_parameters(net: SpikingSequential) -> list[dict[str, nn.Parameter]]:
    """For each neuron layer, the trainable parameters between it and the layer before, by name."""
    by_layer: list[dict[str, nn.Parameter]] = []
    pending: dict[str, nn.Parameter] = {}
    for name, module in net.modules_in_order():
        if isinstance(module, NeuronLayer):
            by_layer.append(pending)
            pending = {}
            continue
        for key, parameter in module.named_parameters():
            if parameter.requires_grad:
                pending[f"{name}.{key}"] = parameter
    return by_layer
