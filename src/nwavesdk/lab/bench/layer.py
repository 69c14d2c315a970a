"""Cases of one neuron layer: the public call `layer(cur)` as users write it, forward and backward."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nwavesdk.lab.bench.measure import Contender
from nwavesdk.lab.bench.parity import Outcome
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.surrogate import available

__all__ = ["BYTES", "LayerCase", "copy_of", "layer_contender", "layer_input", "on_grid"]

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
            weights = torch.randn(layer.recurrent_weights.shape, generator=draw) * 0.5 / self.shape[2] ** 0.5
            layer.recurrent_weights.data.copy_(on_grid(weights))
        return layer


def on_grid(values: Tensor) -> Tensor:
    """Multiples of 2⁻¹²: sums of such weights over spikes are exact, in whatever order they are taken."""
    return (values * 4096).round() / 4096


def layer_input(case: LayerCase) -> tuple[Tensor, Tensor]:
    """Input charge that makes neurons of 20 ms fire in about 12 % of all steps (7 % with recurrence), and ∂L/∂s."""
    draw = torch.Generator().manual_seed(0)
    highest = 0.2 if case.recurrent else 0.3
    return on_grid(highest * torch.rand(case.shape, generator=draw)), torch.randn(case.shape, generator=draw)


def layer_contender(case: LayerCase, x: Tensor, grad: Tensor) -> Contender:
    """The case on its fastest solver and on the reference."""
    return Contender(_call(case, "auto", x, grad), _call(case, "reference", x, grad))


def copy_of(x: Tensor) -> Callable[[], object]:
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
