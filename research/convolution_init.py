"""With which weights deep nets of convolutions fire; `docs/convolution.md` has some of the tables.

Run: python -m research.convolution_init

Four convolutions of 16 channels, 3 x 3, with LIF neurons in images of 16 x 16, without pooling or
with pooling after the first two. Inputs are random spikes.
"""

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.init import fan_in_init
from nwavesdk.layers import LIFLayer
from nwavesdk.net import SpikingSequential
from nwavesdk.surrogate import parse

__all__ = ["main"]

POOLS = {"none": nn.Identity, "average": nn.AvgPool2d, "largest": nn.MaxPool2d}
GAINS = (None, 1.0, 2.0, 3.0)
TAUS = (5, 20, 100)
RATES = (0.02, 0.1)
SURROGATES = ("fast_sigmoid(25)", "fast_sigmoid(5)", "atan(2)")
STEPS = 100
SIZE = 16


def build(gain: float | None, tau: int, surrogate: str, pool: str = "none") -> SpikingSequential:
    """The net; a gain of None is torch's initialization."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    size = SIZE
    for layer, channels in enumerate((2, 16, 16, 16)):
        neurons = LIFLayer((16, size, size), tau * 1e-3, spike_grad=parse(surrogate))
        modules += [nn.Conv2d(channels, 16, 3, padding=1), neurons]
        if layer < 2 and pool != "none":
            modules.append(POOLS[pool](2))
            size //= 2
    net = SpikingSequential(*modules)
    if gain is not None:
        fan_in_init(net, gain, seed=0)
    return net


def draw_spikes(rate: float) -> Tensor:
    """Random spikes [B, T, 2, H, W]."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(2, STEPS, 2, SIZE, SIZE, generator=generator) < rate).float()


def show_rates() -> None:
    """Print the rates of the first and of the last layer."""
    gains = " | ".join(f"gain {gain:g}" for gain in GAINS[1:])
    print(f"| pooling | input | τ [steps] | torch | {gains} |")
    print("|---|---|---|" + "---|" * len(GAINS))
    for pool, rate, tau in itertools.product(POOLS, RATES, TAUS):
        x = draw_spikes(rate)
        cells = []
        for gain in GAINS:
            with torch.no_grad():
                layers = build(gain, tau, SURROGATES[0], pool).record(x).layers.values()
            first, *_, last = (float(layer.spk.mean()) for layer in layers)
            cells.append(f"{first:.1%} → {last:.1%}")
        print(f"| {pool} | {rate:.0%} | {tau} | {' | '.join(cells)} |", flush=True)


def show_gradients() -> None:
    """Print by how much the gradient of charges grows from a layer to the one before it."""
    print("| surrogate | " + " | ".join(f"τ = {tau} steps" for tau in TAUS) + " |")
    print("|---|" + "---|" * len(TAUS))
    x = draw_spikes(0.1).requires_grad_()
    for surrogate in SURROGATES:
        cells = [f"{growth(build(2.0, tau, surrogate), x):.2f}" for tau in TAUS]
        print(f"| `{surrogate}` | {' | '.join(cells)} |", flush=True)


def growth(net: SpikingSequential, x: Tensor) -> float:
    """The factor per layer, on its way back, of the norm of a random gradient."""
    norms: list[Tensor] = []

    def note_gradient(_: nn.Module, gradients: Any) -> None:
        norms.append(gradients[0].norm())

    for module in net:
        if isinstance(module, nn.Conv2d):
            module.register_full_backward_pre_hook(note_gradient)
    spk, _ = net(x)
    upstream = torch.randn(spk.shape, generator=torch.Generator().manual_seed(2))
    torch.autograd.grad(spk, x, upstream)
    # From the last layer to the first.
    return float((norms[-1] / norms[0]) ** (1 / (len(norms) - 1)))


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    show_rates()
    print()
    show_gradients()


if __name__ == "__main__":
    main()
