"""One forward pass through a net, from which the gradients of any surrogates follow.

Forward spikes do not depend on the surrogate. So a pass is run once, and each choice of surrogates is then one adjoint
recurrence a neuron layer (`Record.charge_gradient`) and what lies between two layers, back: for a synapse, a product
with its weight, transposed.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.surrogate import Surrogate

__all__ = ["LayerGradient", "LossFunction", "Tape"]

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""`loss_fn(spk, mem)`, from what the net returns to a scalar."""


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """What reaches one layer.

    Attributes:
        index: of the layer, from 0 for the first.
        charge: ∂L/∂ its input charge, [B, T, *features].
        weights: ∂L/∂ the parameters that make the charge, by their name in the net; empty where not asked for.
    """

    index: int
    charge: Tensor
    weights: dict[str, Tensor]


class Tape:
    """A pass of a net, in the mode the net is in, on a copy of it: the net and its state stay as they are.

    Args:
        net: A row with at least one neuron layer.
        x: Input [B, T, *features].
        loss_fn: `loss_fn(spk, mem)`, from what the net returns to a scalar.
        seed: Of mismatch, see `prepare_net`.
        weights: Whether gradients of weights will be wanted.

    Attributes:
        recording: The pass.
        names: Of the neuron layers, in the order in which they run.
        records: What each did.
        loss: The loss.

    Raises:
        TypeError: The net is no `SpikingSequential`.
        ValueError: It has no neuron layer, `x` is no sequence, or the loss does not depend on the last layer.
    """

    def __init__(
        self, net: SpikingSequential, x: Tensor, loss_fn: LossFunction, seed: int | None = None, weights: bool = False
    ) -> None:
        if not isinstance(net, SpikingSequential):
            raise TypeError(f"gradients are scanned in a SpikingSequential, got {type(net).__name__}.")
        if x.ndim < 3:
            raise ValueError(f"a scan needs sequences [B, T, *features], got an input of shape {list(x.shape)}.")
        net = copy.deepcopy(net)
        if not weights:  # constants have no gradient that could be computed by the way
            net.requires_grad_(False)
        with torch.enable_grad():
            prepare_net(net, seed)
            self.recording = net.record(x.detach().requires_grad_(), charges=True)
            self.loss = loss_fn(self.recording.spk, self.recording.mem)
        self.names = tuple(self.recording.layers)
        self.records = tuple(self.recording.layers.values())
        if not self.records:
            raise ValueError("the net has no neuron layer, so there is no surrogate to choose.")
        self._weights = _weights_of(net) if weights else [_Weights({})] * len(self.records)
        self._output = self._loss_gradient()

    @property
    def surrogates(self) -> tuple[Surrogate, ...]:
        """The net's own, by layer."""
        return tuple(record.surrogate for record in self.records)

    def gradients(self, surrogates: Sequence[Surrogate] | None = None) -> Iterator[LayerGradient]:
        """Layer for layer, from the last to the first; each is computed when it is asked for.

        Args:
            surrogates: One a layer; None: the net's own.

        Raises:
            ValueError: There are not as many surrogates as layers.
        """
        chosen = self.surrogates if surrogates is None else tuple(surrogates)
        if len(chosen) != len(self.records):
            raise ValueError(f"the net has {len(self.records)} neuron layers, got {len(chosen)} surrogates for them.")
        grad_spk, grad_mem = self._output
        for index in reversed(range(len(self.records))):
            charge, recurrent = self.records[index].charge_gradient(grad_spk, grad_mem, chosen[index])
            grad_spk, learned = self._between(index, charge, recurrent)
            grad_mem = None
            yield LayerGradient(index, charge, learned)

    def charge_gradients(self, surrogates: Sequence[Surrogate] | None = None) -> dict[str, Tensor]:
        """∂L/∂ input charge of every layer at once, by its name; see `gradients`."""
        return {self.names[gradient.index]: gradient.charge for gradient in self.gradients(surrogates)}

    def _loss_gradient(self) -> tuple[Tensor | None, Tensor | None]:
        last = self.records[-1]
        if not self.loss.requires_grad or self.loss.numel() != 1:
            raise ValueError("loss_fn(spk, mem) must give one number that depends on what the net returns.")
        spk, mem = torch.autograd.grad(self.loss, [last.spk, last.mem], retain_graph=True, allow_unused=True)
        if spk is None and mem is None:
            raise ValueError("the loss does not depend on the net's last neuron layer.")
        return spk, mem

    def _between(self, index: int, charge: Tensor, recurrent: Tensor | None) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Back through what lies before a layer: to the spikes of the layer below, and to the weights."""
        parameters, cur = self._weights[index], self.records[index].cur
        assert cur is not None
        below = [self.records[index - 1].spk] if index else []
        wanted, found = [*below, *parameters.feed.values()], list[Tensor | None]()
        if wanted:
            found += torch.autograd.grad(cur, wanted, charge, retain_graph=True, allow_unused=True)
        pairs = zip(parameters.feed, found[len(below) :], strict=True)
        learned = {name: grad for name, grad in pairs if grad is not None}
        return found[0] if index else None, learned | parameters.recurrent(recurrent)


@dataclass(frozen=True, eq=False)
class _Weights:
    """The parameters that make a layer's charge, by name: those of the rows before it, and its recurrent weights."""

    feed: dict[str, Any]
    name: str = ""
    layer: NeuronLayer | None = None

    def recurrent(self, grad: Tensor | None) -> dict[str, Tensor]:
        """The gradient of the recurrent weights, from that of the effective ones."""
        weights = None if self.layer is None else self.layer.recurrent_weights
        if self.layer is None or grad is None or weights is None or not weights.requires_grad:
            return {}
        with torch.enable_grad():
            effective = self.layer.effective_recurrent_weights()
            assert effective is not None
            (own,) = torch.autograd.grad(effective * 1, [weights], grad.to(effective))
        return {f"{self.name}.recurrent_weights": own}


def _weights_of(net: SpikingSequential) -> list[_Weights]:
    found: list[_Weights] = []
    waiting: dict[str, Any] = {}
    for name, row in net.rows():
        if isinstance(row, NeuronLayer):
            found.append(_Weights(waiting, name, None if row.recurrent_weights is None else row))
            waiting = {}
        else:
            waiting |= {f"{name}.{key}": p for key, p in row.named_parameters() if p.requires_grad}
    return found
