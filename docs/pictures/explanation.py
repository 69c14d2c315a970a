"""The pictures of `docs/explanation/surrogates.md`: a loss that is a staircase, and depth."""

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from nwavesdk.analysis import scan_slopes
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.surrogate import atan, fast_sigmoid

__all__ = ["depth", "staircase"]

INK, BLUE, ORANGE = "#30343b", "#2b6cb0", "#d9662b"
STEPS, WANTED = 60, 5  # of one neuron: steps, and the spikes that it should make


def _count_spikes(weights: Tensor, *, detach_reset: bool) -> Tensor:
    """Spikes of a LIF neuron that gets a constant charge, for each weight."""
    layer = LIFLayer(1, taus=20e-3, spike_grad=atan(alpha=2.0), detach_reset=detach_reset)
    prepare_net(layer)
    charge = weights[:, None, None] * torch.full((1, STEPS, 1), 0.1)
    return layer(charge)[0].sum((1, 2))


def _expected_loss(weights: Tensor, width: float = 0.3, draws: int = 1500) -> Tensor:
    """Mean loss of the same neuron with Cauchy noise on its threshold in each step."""
    generator = torch.Generator().manual_seed(0)
    decay = torch.exp(torch.tensor(-1 / 20))
    v = torch.zeros(draws, len(weights))
    count = torch.zeros_like(v)
    for _ in range(STEPS):
        noise = torch.empty_like(v).cauchy_(sigma=width / 2, generator=generator)
        u = decay * v + 0.1 * weights
        spike = (u - 1 > noise).float()
        v = u - spike
        count += spike
    return ((count - WANTED) ** 2).mean(0)


def staircase() -> Figure:
    """The loss of one weight, hard and with noise, and what backward gives."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, slopes = figure.subplots(1, 2)
    weights = torch.linspace(0, 2, 801).requires_grad_()
    shown = weights.detach()
    slopes.plot(shown, torch.zeros_like(shown), color=INK, label="derivative of the hard loss")
    for detach_reset, color in ((True, BLUE), (False, "#9ec1e6")):
        loss = (_count_spikes(weights, detach_reset=detach_reset) - WANTED) ** 2
        (gradient,) = torch.autograd.grad(loss.sum(), weights)
        label = f"surrogate gradient, reset {'detached' if detach_reset else 'included'}"
        slopes.plot(shown, gradient, color=color, linewidth=1, label=label)
    losses.plot(shown, loss.detach(), color=INK, label="hard threshold")
    expected = _expected_loss(shown)
    losses.plot(shown, expected, color=ORANGE, label="mean over noisy thresholds")
    losses.set(title="loss of one weight", xlabel="weight", ylabel="(spikes − 5)²")
    smooth = torch.gradient(expected, spacing=(shown,))[0]
    smooth = nn.functional.avg_pool1d(smooth[None], 41, 1, 20)[0]
    slopes.plot(shown, smooth, color=ORANGE, label="derivative of that mean")
    slopes.set(title="derivatives", xlabel="weight")
    for axes in (losses, slopes):
        axes.legend(fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def depth() -> Figure:
    """The gradient that reaches each of eight layers, by slope."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for _ in range(8):
        modules += [LIFSynapse(64, 64), LIFLayer(64, taus=20e-3)]
    net = SpikingSequential(*modules)
    x = (torch.rand(16, 60, 64) < 0.1).float()
    slopes = (1, 2, 5, 25, 100)
    scan = scan_slopes(
        net, x, lambda spk, _: (spk.mean(1) ** 2).sum(), [fast_sigmoid(k) for k in slopes]
    )
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = ("#9ec1e6", BLUE, INK, ORANGE, "#f0b38f")
    for slope, norm, color in zip(slopes, scan.norm, colors, strict=True):
        axes.semilogy(range(1, 9), norm / norm[-1], color=color, marker=".", label=f"slope {slope}")
    axes.set(title="gradient of a layer, as a multiple of the last layer's", xlabel="layer")
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
