"""The pictures of `docs/explanation/surrogates.md`: a loss that is a staircase, and depth."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from nwavesdk.analysis import SlopeScan, scan_slopes
from nwavesdk.data import NetInput, Series, Standard, choose_split, load_digits
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential, prepare_net
from nwavesdk.loss import membrane_cross_entropy
from nwavesdk.surrogate import Surrogate, atan, fast_sigmoid

__all__ = ["depth", "staircase"]

INK, BLUE, ORANGE, PALE = "#30343b", "#2b6cb0", "#d9662b", "#6f9fd0"
FONT = 12
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


def _label(axes: Axes, position: tuple[float, float], text: str, color: str) -> None:
    """Write the name of a line next to it, in its color."""
    axes.text(*position, text, color=color, fontsize=FONT)


def _tidy(axes: Axes, **texts: str) -> None:
    axes.set_title(texts.pop("title"), fontsize=FONT, loc="left")
    for name, text in texts.items():
        axes.set(**{name: text})
    axes.xaxis.label.set_size(FONT)
    axes.yaxis.label.set_size(FONT)
    axes.tick_params(labelsize=FONT)
    axes.spines[["top", "right"]].set_visible(False)


def staircase() -> Figure:
    """The loss of one weight, hard and with noise, and what backward gives."""
    figure = Figure(figsize=(7, 7.2), layout="constrained")
    losses, slopes = figure.subplots(2, 1, sharex=True)
    weights = torch.linspace(0, 2, 801).requires_grad_()
    shown = weights.detach()
    slopes.axhline(0, color=INK)
    for detach_reset, color in ((True, BLUE), (False, PALE)):
        loss = (_count_spikes(weights, detach_reset=detach_reset) - WANTED) ** 2
        (gradient,) = torch.autograd.grad(loss.sum(), weights)
        largest = gradient.abs().max()
        slopes.plot(shown, gradient / largest, color=color, linewidth=1.2)
        print(f"surrogate gradient, detach_reset={detach_reset}: at most {largest:.0f}")
    losses.plot(shown, loss.detach(), color=INK)
    expected = _expected_loss(shown)
    losses.plot(shown, expected, color=ORANGE)
    smooth = torch.gradient(expected, spacing=(shown,))[0]
    smooth = nn.functional.avg_pool1d(smooth[None], 41, 1, 20, count_include_pad=False)[0]
    slopes.plot(shown, smooth / smooth.abs().max(), color=ORANGE)
    print(f"derivative of the mean: at most {smooth.abs().max():.0f}")
    _label(losses, (0.55, 21), "hard threshold", INK)
    _label(losses, (0.95, 28), "mean over noisy thresholds", ORANGE)
    _tidy(losses, title="loss of one weight", ylabel="(spikes − 5)²")
    _label(slopes, (0.03, 0.06), "hard loss: 0", INK)
    _label(slopes, (0.03, 0.75), "mean over noisy thresholds", ORANGE)
    _label(slopes, (0.03, 0.55), "surrogate, reset detached", BLUE)
    _label(slopes, (0.03, 0.35), "surrogate, reset included", PALE)
    title = "derivatives, each as a multiple of its largest value"
    _tidy(slopes, title=title, xlabel="weight")
    return figure


def deep_net(tau: float) -> SpikingSequential:
    """Eight layers of 64 neurons and a read-out, for frames of spoken digits."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for inputs in (13, *[64] * 7):
        modules += [LIFSynapse(inputs, 64), LIFLayer(64, tau, dt=10e-3)]
    return SpikingSequential(*modules, LIFSynapse(64, 10), LILayer(10, tau=100e-3, dt=10e-3))


def scan_digits(net: SpikingSequential, surrogates: list[Surrogate]) -> SlopeScan:
    """The gradient of each layer on 64 spoken digits, for each surrogate."""
    digits = load_digits()
    split = choose_split(digits.keys, digits.labels, digits.classes).indices
    recordings = digits.take(split.train)
    x, y, lengths = Series(recordings, NetInput(standard=Standard.fit(recordings))).batch(range(64))
    return scan_slopes(
        net,
        x,
        lambda _, mem: membrane_cross_entropy(mem, y, lengths=lengths),
        surrogates,
        lengths=lengths,
    )


def depth() -> Figure:
    """The gradient that reaches each of eight layers, by slope; for two time constants, printed."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    fast: list[Surrogate] = [fast_sigmoid(slope) for slope in (0.5, 1, 2, 5, 25)]
    area: list[Surrogate] = [atan(alpha) for alpha in (2, 10, 50)]
    for tau in (50e-3, 10e-3):  # the last one is drawn
        scan = scan_digits(deep_net(tau), fast + area)
        print(f"tau {tau * 1e3:g} ms, gradient of the first layer / the last; usable neurons")
        for surrogate, norm, usable in zip(fast + area, scan.norm, scan.usable, strict=True):
            print(f"  {surrogate}: {norm[0] / norm[-1]:.2g}; {usable[0]:.0%}")
    colors = (PALE, BLUE, INK, ORANGE, "#a33b1f")
    titles = ("peak of 1: fast_sigmoid", "area of 1: atan")
    for axes, chosen, norms, title in zip(
        panels, (fast, area), (scan.norm[: len(fast)], scan.norm[len(fast) :]), titles, strict=True
    ):
        for surrogate, norm, color in zip(chosen, norms, colors, strict=False):
            axes.semilogy(range(1, 9), norm / norm[-1], color=color, marker=".")
            value = next(iter(vars(surrogate).values()))
            position = 0.8, norm[0] / norm[-1]
            axes.text(*position, f"{value:g}", color=color, ha="right", va="center", fontsize=FONT)
        _tidy(axes, title=title, xlabel="layer")
        axes.set_xlim(-0.6, 8.3)
        axes.set_xticks(range(1, 9))
    panels[0].set_ylabel("gradient / last layer's", fontsize=FONT)
    return figure
