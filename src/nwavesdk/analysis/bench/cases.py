"""Cases to time: the public call of one neuron layer, and the training step of a small net.

Both run forward and backward. The dense products of the training step are also a case.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.analysis.bench.measure import Contender, Outcome
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net

__all__ = [
    "BYTES",
    "LayerCase",
    "TrainingCase",
    "copy_call",
    "dense_products_call",
    "layer_contender",
    "layer_input",
    "round_to_grid",
    "spike_count_loss",
    "training_contender",
    "training_data",
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

    def build_layer(self, solver: str, **options: Any) -> LIFLayer:
        """The layer; its recurrent weights are on a grid and always the same.

        Args:
            solver: The layer's solver.
            options: More options of the layer, which a subclass may set.
        """
        n = self.shape[2]
        topology = "RC" if self.recurrent else "FF"
        layer = LIFLayer(n, TAU, layer_topology=topology, solver=solver, **options)
        if layer.recurrent_weights is not None:
            weights = torch.randn(n, n, generator=torch.Generator().manual_seed(1)) * 0.5 / n**0.5
            layer.recurrent_weights.data.copy_(round_to_grid(weights))
        return layer


def round_to_grid(values: Tensor) -> Tensor:
    """Round to multiples of 2⁻¹², so that sums of weights over spikes are exact in any order."""
    return (values * 4096).round() / 4096


def layer_input(case: LayerCase) -> tuple[Tensor, Tensor]:
    """Input charge and ∂L/∂s.

    The charge makes neurons of 20 ms fire in about 12 % of all steps (7 % with recurrence).
    """
    draw = torch.Generator().manual_seed(0)
    highest = 0.2 if case.recurrent else 0.3
    x = round_to_grid(highest * torch.rand(case.shape, generator=draw))
    return x, torch.randn(case.shape, generator=draw)


def layer_contender(case: LayerCase, x: Tensor, grad: Tensor) -> Contender:
    """The case on its fastest solver and on the reference."""
    return Contender(_layer_call(case, "auto", x, grad), _layer_call(case, "reference", x, grad))


def copy_call(x: Tensor) -> Callable[[], object]:
    """A copy of the input: 8 of the `BYTES` that a layer must move, so a third of its bound."""
    target = torch.empty_like(x)
    return lambda: target.copy_(x)


def _layer_call(case: LayerCase, solver: str, x: Tensor, grad: Tensor) -> Callable[[], Outcome]:
    layer = case.build_layer(solver)

    def call() -> Outcome:
        leaf = x.detach().requires_grad_()
        layer.zero_grad(set_to_none=True)
        prepare_net(layer)
        spk, _ = layer(leaf)
        spk.backward(grad)
        gradients = {name: p.grad for name, p in [("x", leaf), *layer.named_parameters()]}
        return Outcome(spk.detach(), {name: g for name, g in gradients.items() if g is not None})

    return call


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
        return [round_to_grid(torch.randn(i, o, generator=draw) * scale) for i, o, scale in pairs]


def training_data(case: TrainingCase) -> tuple[Tensor, Tensor]:
    """Input [B, T, N_in] and labels [B]."""
    draw = torch.Generator().manual_seed(3)
    noise = torch.rand(case.B, case.T, case.sizes[0], generator=draw)
    x = (noise * 4).floor() / 16 if case.density is None else (noise < case.density).float()
    return x, torch.randint(0, case.sizes[2], (case.B,), generator=draw)


def spike_count_loss(spikes: Tensor, labels: Tensor, time: int = 1) -> Tensor:
    """Cross-entropy of the spikes summed over time."""
    return nn.functional.cross_entropy(spikes.sum(time), labels)


def training_contender(case: TrainingCase, x: Tensor, labels: Tensor) -> Contender:
    """The step on the fastest solver and on the reference, with the same initial weights."""
    return Contender(
        _training_call(case, "auto", x, labels), _training_call(case, "reference", x, labels)
    )


def dense_products_call(case: TrainingCase, x: Tensor) -> Callable[[], object]:
    """The five dense products of the step, forward and backward, into preallocated memory."""
    N_in, hidden, N_out = case.sizes
    w1, w2 = case.weights()
    flat = x.reshape(-1, N_in)
    spikes = torch.rand(len(flat), hidden)
    grad1 = torch.randn(len(flat), hidden)
    grad2 = torch.randn(len(flat), N_out)
    # Forward; then the gradients of w2, of the spikes and of w1.
    factors = [(flat, w1), (spikes, w2), (spikes.t(), grad2), (grad2, w2.t()), (flat.t(), grad1)]
    outputs = [torch.empty(len(left), right.shape[1]) for left, right in factors]

    def call() -> None:
        for (left, right), out in zip(factors, outputs, strict=True):
            torch.mm(left, right, out=out)

    return call


def _training_call(
    case: TrainingCase, solver: str, x: Tensor, labels: Tensor
) -> Callable[[], Outcome]:
    N_in, hidden, N_out = case.sizes
    net = SpikingSequential(
        LIFSynapse(N_in, hidden),
        LIFLayer(hidden, TAU, solver=solver),
        LIFSynapse(hidden, N_out),
        LIFLayer(N_out, TAU, solver=solver),
    )
    weights = [module.weight for module in net if isinstance(module, LIFSynapse)]
    for weight, value in zip(weights, case.weights(), strict=True):
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
