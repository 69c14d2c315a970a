"""Cases to time: the public call of one neuron layer, and the training step of a small net.

Both run forward and backward. Each case also has calls that bound its time from below.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.instrument.measure import Contender, Outcome
from nwavesdk.layers import LIFLayer, LIFSynapse, NeuronLayer, SpikingSequential, prepare_net

__all__ = [
    "BYTES",
    "LayerCase",
    "TrainingCase",
    "add_lower_bound",
    "build_contender",
    "spike_count_loss",
]

# Bytes per neuron-step: x is read, spikes and mem are written; the gradient and one saved number
# are read, and ∂L/∂x is written.
BYTES = 24
TAU = 20e-3


@dataclass(frozen=True)
class LayerCase:
    """A layer to time.

    Args:
        shape: B, T, N.
        recurrent: Whether the layer has `recurrent_weights`.
    """

    shape: tuple[int, int, int]
    recurrent: bool = False

    @property
    def name(self) -> str:
        """A name such as `layer/64x100x512/fast_sigmoid/fixed`."""
        size = "x".join(map(str, self.shape))
        kind = "recurrent" if self.recurrent else "layer"
        return f"{kind}/{size}/fast_sigmoid/fixed"

    def make_layer(self, **options: Any) -> NeuronLayer:
        """The layer with its constants."""
        return LIFLayer(self.shape[2], TAU, **options)

    def build_layer(self, solver: str, **options: Any) -> NeuronLayer:
        """The layer; its recurrent weights are on a grid and always the same.

        Args:
            solver: The layer's solver.
            options: More options of the layer, which a subclass may set.
        """
        n = self.shape[2]
        topology = "RC" if self.recurrent else "FF"
        layer = self.make_layer(layer_topology=topology, solver=solver, **options)
        if layer.recurrent_weights is not None:
            weights = torch.randn(n, n, generator=torch.Generator().manual_seed(1)) * 0.5 / n**0.5
            layer.recurrent_weights.data.copy_(_round_to_grid(weights))
        return layer

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Input charge and ∂L/∂s.

        The charge makes neurons of 20 ms fire in about 12 % of all steps (7 % with recurrence).
        """
        draw = torch.Generator().manual_seed(0)
        x = torch.rand(self.shape, generator=draw) * (0.2 if self.recurrent else 0.3)
        return _round_to_grid(x), torch.randn(self.shape, generator=draw)

    def build_call(self, solver: str, x: Tensor, grad: Tensor) -> Callable[[], Outcome]:
        """Forward and backward of the layer."""
        layer = self.build_layer(solver)

        def call() -> Outcome:
            leaf = x.detach().requires_grad_()
            layer.zero_grad(set_to_none=True)
            prepare_net(layer)
            spk, _ = layer(leaf)
            spk.backward(grad)
            gradients = {name: p.grad for name, p in [("x", leaf), *layer.named_parameters()]}
            return Outcome(spk.detach(), {k: g for k, g in gradients.items() if g is not None})

        return call

    def bound_calls(self, x: Tensor) -> dict[str, Callable[[], object]]:
        """A copy of the input: 8 of the `BYTES` that a layer must move, so a third of its bound."""
        target = torch.empty_like(x)
        return {"copy": lambda: target.copy_(x)}


@dataclass(frozen=True)
class TrainingCase:
    """A net N_in – hidden – N_out of LIF neurons, with Adam and a loss of its spike counts.

    Args:
        B: Batch.
        T: Steps.
        sizes: N_in, hidden, N_out.
        density: Share of inputs that are 1; the others are 0. None for dense input, which consists
            of multiples of 1/16 below 1/4.
    """

    B: int = 64
    T: int = 100
    sizes: tuple[int, int, int] = (700, 256, 20)
    density: float | None = 0.03

    @property
    def name(self) -> str:
        """A name such as `training/64x100/700-256-20/density 0.03`."""
        kind = "dense input" if self.density is None else f"density {self.density:g}"
        return f"training/{self.B}x{self.T}/{'-'.join(map(str, self.sizes))}/{kind}"

    def weights(self) -> list[Tensor]:
        """Both weights [N_in, N_out], on a grid and always the same."""
        draw = torch.Generator().manual_seed(2)
        mean_square = 14 / 1024 if self.density is None else self.density  # of an input
        scales = (0.4 / (self.sizes[0] * mean_square) ** 0.5, 2.3 / self.sizes[1] ** 0.5)
        pairs = zip(self.sizes, self.sizes[1:], scales, strict=False)
        return [_round_to_grid(torch.randn(i, o, generator=draw) * scale) for i, o, scale in pairs]

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Input [B, T, N_in] and labels [B]."""
        draw = torch.Generator().manual_seed(3)
        noise = torch.rand(self.B, self.T, self.sizes[0], generator=draw)
        x = (noise * 4).floor() / 16 if self.density is None else (noise < self.density).float()
        return x, torch.randint(0, self.sizes[2], (self.B,), generator=draw)

    def build_call(self, solver: str, x: Tensor, labels: Tensor) -> Callable[[], Outcome]:
        """The step of a new net with the initial weights of the case."""
        N_in, hidden, N_out = self.sizes
        net = SpikingSequential(
            LIFSynapse(N_in, hidden),
            LIFLayer(hidden, TAU, solver=solver),
            LIFSynapse(hidden, N_out),
            LIFLayer(N_out, TAU, solver=solver),
        )
        weights = [module.weight for module in net if isinstance(module, LIFSynapse)]
        for weight, value in zip(weights, self.weights(), strict=True):
            weight.data.copy_(value)
        optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)

        def call() -> Outcome:
            optimizer.zero_grad()
            prepare_net(net)
            spk, _ = net(x)
            torch.autograd.backward(spike_count_loss(spk, labels))
            optimizer.step()
            gradients = {str(k): w.grad for k, w in enumerate(weights) if w.grad is not None}
            return Outcome(spk.detach(), gradients)

        return call

    def bound_calls(self, x: Tensor) -> dict[str, Callable[[], object]]:
        """The five dense products of the step, forward and backward, into preallocated memory."""
        w1, w2 = self.weights()
        flat = x.reshape(-1, self.sizes[0])
        spikes = torch.rand(len(flat), self.sizes[1])
        grad1 = torch.randn(len(flat), self.sizes[1])
        grad2 = torch.randn(len(flat), self.sizes[2])
        # Forward; then the gradients of w2, of the spikes and of w1.
        pairs = [(flat, w1), (spikes, w2), (spikes.t(), grad2), (grad2, w2.t()), (flat.t(), grad1)]
        outputs = [torch.empty(len(left), right.shape[1]) for left, right in pairs]

        def call() -> None:
            for (left, right), out in zip(pairs, outputs, strict=True):
                torch.mm(left, right, out=out)

        return {"products": call}


def build_contender(case: LayerCase | TrainingCase, x: Tensor, target: Tensor) -> Contender:
    """The case on its fastest solver and on the reference, with its `draw_data`."""
    return Contender(case.build_call("auto", x, target), case.build_call("reference", x, target))


def add_lower_bound(row: dict[str, Any], case: LayerCase | TrainingCase) -> dict[str, Any]:
    """Add a lower bound of the time, `floor_ms`, to a row; returns the row.

    For a layer, it is the time of moving its `bytes` at the speed of a copy; for a training step,
    the time of its dense products.
    """
    times = row["times_ms"]
    if isinstance(case, LayerCase) and not case.recurrent:
        row["bytes"] = BYTES * math.prod(case.shape)
        if "copy" in times:
            # A copy moves 8 bytes per neuron-step.
            row["floor_ms"] = times["copy"]["median"] * BYTES / 8
    elif "products" in times:
        row["floor_ms"] = times["products"]["median"]
    return row


def spike_count_loss(spikes: Tensor, labels: Tensor, time: int = 1) -> Tensor:
    """Cross-entropy of the spikes summed over time."""
    return nn.functional.cross_entropy(spikes.sum(time), labels)


def _round_to_grid(values: Tensor) -> Tensor:
    """Round to multiples of 2⁻¹², so that sums of weights over spikes are exact in any order."""
    return (values * 4096).round() / 4096
