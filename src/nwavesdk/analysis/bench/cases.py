"""Cases of one neuron layer: the public call `layer(cur)` as users write it, forward and backward.

The training step of a whole net, and the dense products alone that it contains.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.analysis.bench.measure import Contender, Outcome
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.surrogate import available

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

BYTES = 24  # of a neuron-step: x read, spikes and mem written; gradient and one kept number read, ∂L/∂x written
TAU = 20e-3


@dataclass(frozen=True)
class LayerCase:
    """A layer to time.

    Args:
        shape: B, T, N.
        surrogate: Its name in the catalogue, with default parameters.
        learn: Train taus and thresholds too.
        recurrent: With `recurrent_weights`.
    """

    shape: tuple[int, int, int]
    surrogate: str = "fast_sigmoid"
    learn: bool = False
    recurrent: bool = False

    @property
    def name(self) -> str:
        """As in `layer/64x100x512/fast_sigmoid/fixed`."""
        size, kind = "x".join(map(str, self.shape)), "recurrent" if self.recurrent else "layer"
        return f"{kind}/{size}/{self.surrogate}/{'learnable' if self.learn else 'fixed'}"

    def layer(self, solver: str) -> LIFLayer:
        """The layer, its recurrent weights on a grid and the same every time."""
        layer = LIFLayer(
            self.shape[2], TAU, spike_grad=available()[self.surrogate](), learn_taus=self.learn,
            learn_thresholds=self.learn, layer_topology="RC" if self.recurrent else "FF", solver=solver,
        )  # fmt: skip
        if layer.recurrent_weights is not None:
            draw = torch.Generator().manual_seed(1)
            weights = (
                torch.randn(layer.recurrent_weights.shape, generator=draw)
                * 0.5
                / self.shape[2] ** 0.5
            )
            layer.recurrent_weights.data.copy_(round_to_grid(weights))
        return layer


def round_to_grid(values: Tensor) -> Tensor:
    """Multiples of 2⁻¹²: sums of such weights over spikes are exact, in whatever order they are taken."""
    return (values * 4096).round() / 4096


def layer_input(case: LayerCase) -> tuple[Tensor, Tensor]:
    """Input charge that makes neurons of 20 ms fire in about 12 % of all steps (7 % with recurrence), and ∂L/∂s."""
    draw = torch.Generator().manual_seed(0)
    highest = 0.2 if case.recurrent else 0.3
    return round_to_grid(highest * torch.rand(case.shape, generator=draw)), torch.randn(
        case.shape, generator=draw
    )


def layer_contender(case: LayerCase, x: Tensor, grad: Tensor) -> Contender:
    """The case on its fastest solver and on the reference."""
    return Contender(_call(case, "auto", x, grad), _call(case, "reference", x, grad))


def copy_call(x: Tensor) -> Callable[[], object]:
    """A copy of the input: 8 of the `BYTES` that a layer must move, so a third of its floor."""
    target = torch.empty_like(x)
    return lambda: target.copy_(x)


def _call(case: LayerCase, solver: str, x: Tensor, grad: Tensor) -> Callable[[], Outcome]:
    layer = case.layer(solver)

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
    """A net N_in – hidden – N_out of LIF neurons, trained by Adam on the cross-entropy of its spike counts.

    Args:
        B: Batch.
        T: Steps.
        sizes: N_in, hidden, N_out.
        density: Share of inputs that are 1, the others 0; None is dense input, multiples of 1/16 below 1/4.
    """

    B: int = 64
    T: int = 100
    sizes: tuple[int, int, int] = (700, 256, 20)
    density: float | None = 0.03

    @property
    def name(self) -> str:
        """As in `training/64x100/700-256-20/density 0.03`."""
        told = "dense input" if self.density is None else f"density {self.density:g}"
        return f"training/{self.B}x{self.T}/{'-'.join(map(str, self.sizes))}/{told}"

    def weights(self) -> list[Tensor]:
        """Both weights [N_in, N_out], the same every time, on a grid."""
        draw = torch.Generator().manual_seed(2)
        power = 14 / 1024 if self.density is None else self.density  # mean square of an input
        scales = (0.4 / (self.sizes[0] * power) ** 0.5, 2.3 / self.sizes[1] ** 0.5)
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
    """The step on the fastest solver and on the reference; neither moves its weights when compared."""
    return Contender(_step(case, "auto", x, labels), _step(case, "reference", x, labels))


def dense_products_call(case: TrainingCase, x: Tensor) -> Callable[[], object]:
    """The five dense products of the step, forward and backward, into memory that is there already."""
    N_in, hidden, N_out = case.sizes
    rows = case.B * case.T
    w1, w2 = case.weights()
    flat, spikes = x.reshape(rows, N_in), torch.rand(rows, hidden)
    u1, u2 = torch.empty(rows, hidden), torch.empty(rows, N_out)
    g1, g2 = torch.randn(rows, hidden), torch.randn(rows, N_out)
    d1, d2, ds = torch.empty_like(w1), torch.empty_like(w2), torch.empty_like(spikes)

    def call() -> None:
        torch.mm(flat, w1, out=u1)
        torch.mm(spikes, w2, out=u2)
        torch.mm(spikes.t(), g2, out=d2)
        torch.mm(g2, w2.t(), out=ds)
        torch.mm(flat.t(), g1, out=d1)

    return call


def _step(case: TrainingCase, solver: str, x: Tensor, labels: Tensor) -> Callable[[], Outcome]:
    _, hidden, N_out = case.sizes
    net = SpikingSequential(
        LIFSynapse(case.sizes[0], hidden), LIFLayer(hidden, TAU, solver=solver),
        LIFSynapse(hidden, N_out), LIFLayer(N_out, TAU, solver=solver),
    )  # fmt: skip
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
        return Outcome(
            spk.detach(), {str(k): w.grad for k, w in enumerate(weights) if w.grad is not None}
        )

    return call
