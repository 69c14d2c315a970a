"""Draws the pictures of the documentation.

python -m docs.pictures.make [NAME ...], in the folder of the repository
"""

import json
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from docs.pictures.augmentation import augmentation
from docs.pictures.data import data
from docs.pictures.explanation import depth, staircase
from docs.pictures.pages import chip, exchange, recipes, your_neuron
from nwavesdk import encoding, loss, plot
from nwavesdk.init import fluct_init
from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    LIFSynapse,
    ThresholdBatchNorm,
    TimeBatchNorm,
    keep_blocks,
    keep_n_of_m,
    prepare_net,
)
from nwavesdk.net import Branches, Residual, SpikingSequential
from nwavesdk.solvers.sparse.delays_reference import delay_kernel
from research import planted_delays

FOLDER = Path(__file__).parent
INK, BLUE, ORANGE = "#30343b", "#2b6cb0", "#d9662b"
T = 96


def wave() -> Tensor:
    """A value from 0 to 1 that changes over time, [1, T, 1]."""
    time = torch.arange(T) / T
    value = 0.5 + 0.3 * torch.sin(2 * math.pi * time) + 0.15 * torch.sin(10 * math.pi * time)
    return value[None, :, None]


def encoders() -> Figure:
    """What each encoder of `nwavesdk.encoding` makes of one value."""
    figure = Figure(figsize=(10, 8.4), layout="constrained")
    panels = figure.subplots(4, 2).flatten()
    generator = torch.Generator().manual_seed(1)
    ramp = torch.linspace(0, 1, 33)[None]
    _draw_values(panels[0], encoding.encode_rate(ramp, 48, generator), "rate: value = probability")
    rates = 300 * ramp
    spikes = encoding.encode_poisson(rates, 48, generator=generator)
    _draw_values(panels[1], spikes, "Poisson: 0 to 300 Hz, steps of 1 ms")
    _draw_values(panels[2], encoding.encode_latency(ramp, 48), "latency: the larger, the earlier")
    _draw_values(panels[3], encoding.encode_phase(ramp, 16, 8), "phase: bits, two periods of eight")
    _draw_changes(panels[4], "delta", encoding.encode_delta, encoding.decode_delta)
    step_forward = encoding.encode_step_forward, encoding.decode_step_forward
    _draw_changes(panels[5], "step forward", *step_forward)
    _draw_fields(panels[6])
    activations = encoding.encode_population(wave(), 8, axis=2)
    panels[7].imshow(activations[0].T, aspect="auto", origin="lower", cmap="Blues")
    panels[7].plot(8 * wave().flatten() * 0.75 + 0.5, color=ORANGE, linewidth=1)
    panels[7].set(title="population: activations of a value over time", xlabel="step")
    panels[7].set_ylabel("neuron")
    return figure


def _draw_values(axes: Axes, spikes: Tensor, title: str) -> None:
    """Draw the spikes of values from 0 to 1, [1, steps, values]."""
    step, neuron = spikes[0].nonzero(as_tuple=True)
    values = neuron / (spikes.shape[2] - 1)
    axes.scatter(step, values, s=14, marker="|", color=BLUE, linewidths=1.1)
    axes.set(title=title, xlabel="step", ylabel="value")


def _draw_changes(
    axes: Axes, title: str, encode: Callable[..., Tensor], decode: Callable[..., Tensor]
) -> None:
    """Draw a value, what the decoder makes of its spikes, and the spikes below."""
    x, threshold = wave(), 0.06
    x[:, 60:] += 0.25  # a jump
    spikes = encode(x, threshold)
    axes.plot(x.flatten(), color=INK, linewidth=1, label="value")
    decoded = decode(spikes, threshold, x[:, 0]).flatten()
    axes.step(torch.arange(T), decoded, where="mid", color=BLUE, linewidth=1, label="decoded")
    for channel, (name, color) in enumerate((("ON", BLUE), ("OFF", ORANGE))):
        count = spikes[0, :, channel]
        (step,) = count.nonzero(as_tuple=True)
        height = torch.full((len(step),), -0.1 - 0.12 * channel)
        axes.scatter(step, height, s=30 * count[step], marker="|", color=color, label=name)
    axes.set(title=f"{title}: threshold {threshold}", xlabel="step", ylabel="value")
    axes.legend(loc="upper left", ncols=4, fontsize=7)
    axes.set_ylim(-0.3, 1.45)


def _draw_fields(axes: Axes) -> None:
    values = torch.linspace(0, 1, 201)[:, None]
    axes.plot(values, encoding.encode_population(values, 8), linewidth=1.2)
    axes.set(title="population: eight receptive fields", xlabel="value", ylabel="activation")


def delays() -> Figure:
    """Shares of a delay, reflection at the borders, and planted delays after training."""
    figure = Figure(figsize=(10, 3.1), layout="constrained")
    panels = figure.subplots(1, 3)
    steps = torch.arange(9)
    curves = {
        "linear": ("linear", 1.0),
        "width 2": ("gaussian", 2.0),
        "width 0.5": ("gaussian", 0.5),
    }
    for (name, (interpolation, width)), color in zip(
        curves.items(), (INK, BLUE, ORANGE), strict=True
    ):
        shares = delay_kernel(torch.tensor(3.25), 8, interpolation, width)
        panels[0].plot(steps, shares, marker="o", markersize=4, color=color, label=name)
    panels[0].axvline(3.25, color=INK, linewidth=0.8, linestyle=":")
    panels[0].set(title="shares of a delay of 3.25 steps", xlabel="step", ylabel="share")
    panels[0].legend(fontsize=8)
    synapse = DelayedSynapse(200, 1, 24)
    stored = torch.linspace(-16, 40, 200)
    synapse.scaled_delays.data = stored[:, None] / 32
    panels[1].plot(stored, synapse.delays.detach(), color=BLUE)
    panels[1].axvspan(0, 24, color=INK, alpha=0.08)
    panels[1].set(title="reflection beyond 0 and max_delay = 24", xlabel="stored [steps]")
    panels[1].set_ylabel("delay [steps]")
    _draw_planted(panels[2])
    return figure


def _draw_planted(axes: Axes) -> None:
    """Draw learned over planted delays, with the size of the planted weight."""
    torch.manual_seed(0)
    teacher = planted_delays.readout(16, 8, 20, learn_delays=False).eval()
    student = planted_delays.readout(16, 8, 20, interpolation="gaussian")
    planted_delays.train(student, teacher, 250)
    planted, learned = (net[0].delays.detach().flatten() for net in (teacher, student))
    axes.plot([0, 20], [0, 20], color=INK, linewidth=0.8)
    size = 40 * teacher[0].weight.detach().abs().flatten()
    axes.scatter(planted, learned, s=size, color=ORANGE, alpha=0.6, linewidths=0)
    axes.set(title="learned from the data of a net", xlabel="planted delay [steps]")
    axes.set_ylabel("learned delay [steps]")


def nets() -> Figure:
    """The membrane of a neuron over two calls, by who prepares, and spikes of a net."""
    figure = Figure(figsize=(10, 3.1), layout="constrained")
    axes, raster = figure.subplots(1, 2, width_ratios=(1, 1.3))
    charge = torch.full((1, 40, 1), 0.04)
    for title, color, offset in (("never prepared", BLUE, 0.0), ("prepare_net once", ORANGE, 1.2)):
        layer = LIFLayer(1, 20e-3)
        if color == ORANGE:
            prepare_net(layer)
        mem = torch.cat([layer(charge)[1], layer(charge)[1]], 1)[0, :, 0]
        axes.plot(mem + offset, color=color, label=title)
    axes.axvline(39.5, color=INK, linewidth=0.8, linestyle=":")
    axes.set(title="membrane in two calls of 40 steps", xlabel="step", yticks=[], ylim=(-0.1, 2.7))
    axes.legend(fontsize=8, loc="upper left")
    torch.manual_seed(0)
    fast, slow = (SpikingSequential(LIFSynapse(40, 20), LIFLayer(20, tau)) for tau in (2e-3, 40e-3))
    net = SpikingSequential(Branches(fast, slow), Residual(LIFSynapse(40, 40), LIFLayer(40, 10e-3)))
    bursts = (torch.rand(1, 120, 40) < 0.15 * (torch.arange(120) % 60 < 30)[:, None]).float()
    layers = net.record(bursts).spiking
    names = {"fast branch": "0.0.1", "slow branch": "0.1.1", "residual": "1.body.1"}
    spikes = torch.cat([layers[name].spk[0].detach() for name in names.values()], 1)
    plot.raster(spikes, raster)
    raster.set(title="spikes of Branches and Residual", yticks=[10, 30, 60], ylabel="")
    raster.set_yticklabels(list(names))
    return figure


def sparsity() -> Figure:
    """The weights that each mask keeps of one matrix."""
    figure = Figure(figsize=(10, 2.7), layout="constrained")
    weight = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    masks = {
        "all": torch.ones_like(weight),
        "largest quarter": weight.abs() >= weight.abs().flatten().kthvalue(384).values,
        "2 of every 8 in a row": keep_n_of_m(weight, 2, 8, axis=1),
        "a quarter of blocks 4 × 4": keep_blocks(weight, (4, 4), 0.25),
    }
    for axes, (title, mask) in zip(figure.subplots(1, 4), masks.items(), strict=True):
        axes.imshow((weight * mask).abs(), cmap="Blues", aspect="auto")
        axes.set(title=title, xticks=[], yticks=[])
    return figure


def normalization() -> Figure:
    """Firing rates of eight layers by the scale of their weights, without and with norms."""
    norms: dict[str, Callable[[int], nn.Module]] = {
        "no norm": lambda _: nn.Identity(),
        "TimeBatchNorm": TimeBatchNorm,
        "ThresholdBatchNorm, alpha=0.5": lambda n: ThresholdBatchNorm(n, alpha=0.5),
    }
    figure = Figure(figsize=(10, 3), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (title, norm) in zip(panels, norms.items(), strict=True):
        for scale, color in zip((0.3, 1, 3), (ORANGE, INK, BLUE), strict=True):
            # Lines that lie on each other stay visible.
            axes.plot(
                range(1, 9), _rates(norm, scale), color=color, linewidth=4 - scale, marker="."
            )
        axes.set(title=title, xlabel="layer", ylim=(-0.02, 0.6))
    panels[0].set_ylabel("firing rate")
    panels[0].legend([f"weights × {scale}" for scale in (0.3, 1, 3)], fontsize=8)
    return figure


def _rates(norm: Callable[[int], nn.Module], scale: float) -> list[float]:
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for _ in range(8):
        synapse = LIFSynapse(100, 100)
        synapse.weight.data *= scale
        modules += [synapse, norm(100), LIFLayer(100, 20e-3)]
    recording = SpikingSequential(*modules).record((torch.rand(16, 100, 100) < 0.05).float())
    return [rate.item() for rate in recording.rates().values()]


def convolution() -> Figure:
    """A recording of `examples/moving_bars.py`, and what the trained net makes of it."""
    example = runpy.run_path(str(FOLDER.parents[1] / "examples" / "moving_bars.py"))
    torch.manual_seed(0)
    net = example["build"]()
    example["train"](net)
    frames, direction = example["draw_batch"](1)
    recording = net.record(frames)
    layers = list(recording.layers.values())
    # The channel that fires most, and the number of channels that fire at a place.
    most = int(layers[0].spk.mean((0, 1, 3, 4)).argmax())
    images = {
        "frames": frames[0, :, 0],
        f"layer 1, channel {most}": layers[0].spk[0, :, most].detach(),
        "layer 2, all channels": layers[1].spk[0].detach().sum(1),
    }
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    shown_steps = range(1, 13, 2)
    panels = figure.subplots(3, len(shown_steps) + 2)
    for row, (title, sequence) in zip(panels, images.items(), strict=True):
        for axes, step in zip(row, shown_steps, strict=False):
            axes.imshow(sequence[step], cmap="Blues")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, fontsize=8)
    for axes, step in zip(panels[0], shown_steps, strict=False):
        axes.set_title(f"step {step}", fontsize=8)
    for axes in panels[:, -2:].flatten():
        axes.remove()
    axes = figure.add_subplot(panels[0, 0].get_gridspec()[:, -2:])
    for name, membrane in zip(example["DIRECTIONS"], recording.mem[0].detach().T, strict=True):
        axes.plot(membrane, label=name, linewidth=1.2)
    truth = example["DIRECTIONS"][int(direction)]
    axes.set_title(f"membranes: it moves {truth}", fontsize=9)
    axes.set_xlabel("step")
    axes.legend(fontsize=7)
    return figure


def plots() -> Figure:
    """What each function of `nwavesdk.plot` draws: a net with random weights, a moving bar."""
    torch.manual_seed(4)
    x = encoding.encode_rate(torch.full((1, 40), 0.1), 100)
    delayed = DelayedSynapse(40, 30, max_delay=20)
    net = SpikingSequential(delayed, LIFLayer(30, 20e-3), LIFSynapse(30, 12), LIFLayer(12, 20e-3))
    fluct_init(net, x)
    for synapse in (delayed, net[2]):
        synapse.weight.data *= 1.8
    recording = net.record(x)
    hidden, output = recording.spiking.values()
    figure = Figure(figsize=(10, 11), layout="constrained")
    grid = figure.add_gridspec(5, 2, width_ratios=(3, 1))
    spikes = hidden.spk[0]
    plot.raster(spikes, figure.add_subplot(grid[0, 0]), dt=1e-3).set_title("raster")
    plot.rates(spikes, figure.add_subplot(grid[0, 1]), dt=1e-3).set_title("rates")
    busy = output.spk[0].sum(0).argsort(descending=True)[:2]
    traces = figure.add_subplot(grid[1, 0])
    plot.membranes(
        output.mem[0][:, busy], traces, spikes=output.spk[0][:, busy], threshold=1.0, dt=1e-3
    )
    traces.set_title("membranes")
    plot.delays(delayed, figure.add_subplot(grid[1, 1])).set_title("delays")
    plot.weights(net[2], figure.add_subplot(grid[2, 0])).set_title("weights")
    kernels = torch.nn.Conv2d(2, 4, 5)
    plot.weights(kernels, figure.add_subplot(grid[2, 1])).set_title("weights of a convolution")
    values = torch.randn(100, 3).cumsum(0) / 10
    plot.series(values, figure.add_subplot(grid[3, 0]), dt=1e-3).set_title("series")
    values = torch.randn(50, 16)
    plot.series(values, figure.add_subplot(grid[3, 1])).set_title("series of many columns")
    frames = moving_bar()
    plot.event_frames(frames, figure.add_subplot(grid[4, :]), dt=5e-3).set_title("event frames")
    return figure


def moving_bar() -> Tensor:
    """Events of a bar that moves to the right, ON in front and OFF behind, [T, 2, H, W]."""
    frames = torch.zeros(30, 2, 24, 32)
    for t in range(30):
        frames[t, 0, 2:22, t + 2] = 1 + t % 2
        frames[t, 1, 6:18, t] = 1
    return frames


def losses() -> Figure:
    """How losses pull at the membranes and spikes of the right class, step by step."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    (output, of_membranes), (of_spikes, of_times) = figure.subplots(2, 2)
    time = torch.arange(60.0)
    right = 0.9 * torch.sin(time / 7) + 0.3 * torch.sin(time / 2.5) + 0.4
    wrong = 0.6 * torch.sin(time / 9 + 2) + 0.5
    mem = torch.stack([right, wrong], 1)[None].requires_grad_()
    spk = torch.zeros(1, 60, 2)
    spk[0, [9, 14, 40, 49], 0] = 1
    spk[0, [5, 24, 31], 1] = 1
    plot.membranes(mem[0], output, spikes=spk[0])
    output.set(title="output of two classes; blue is right", xlabel="")
    label = torch.tensor([0])
    for over_time in ("mean", "max", "last", "logsumexp"):
        value = loss.membrane_cross_entropy(mem, label, over_time=over_time)
        _draw_pull(of_membranes, value, mem, over_time)
    _draw_pull(of_membranes, loss.tet_loss(mem, label), mem, "TET")
    of_membranes.set_title("pull at the right membrane, in shares of the largest")
    spk.requires_grad_()
    for name in ("rate_cross_entropy", "count_cross_entropy", "first_spike_cross_entropy"):
        _draw_pull(of_spikes, getattr(loss, name)(spk, label), spk, name)
    of_spikes.set_title("pull at the right spikes")
    wanted = torch.zeros(1, 60, 2)
    wanted[0, [20, 40], 0] = 1
    for tau in (2e-3, 10e-3):
        distance = loss.van_rossum_distance(spk, wanted, tau)
        _draw_pull(of_times, distance, spk, f"van Rossum, τ = {tau * 1e3:g} ms")
    for step in (20, 40):
        of_times.axvline(step, color=INK, linewidth=0.8, linestyle=":")
    of_times.set_title("pull at the right spikes, wanted at the dotted lines")
    for axes in (of_membranes, of_spikes, of_times):
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.legend(fontsize=7)
    of_spikes.set_xlabel("step")
    of_times.set_xlabel("step")
    return figure


def _draw_pull(axes: Axes, value: Tensor, x: Tensor, name: str) -> None:
    """Draw the negative gradient of a loss at the first neuron of x [1, T, N]."""
    (gradient,) = torch.autograd.grad(value, x)
    pull = -gradient[0, :, 0]
    axes.plot(pull / pull.abs().max(), label=name, linewidth=1.2)


def recurrence() -> Figure:
    """Validation accuracy and gradient norms of recurrent nets; from `benchmarks.recurrence`."""
    results = FOLDER.parents[1] / "benchmarks" / "results" / "recurrence.json"
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    accuracy, norms = figure.subplots(1, 2)
    for run in json.loads(results.read_text(encoding="utf-8")):
        is_bounded = run["max_loop_gain"] is not None
        bound = "bounded" if is_bounded else "exact gradient"
        style = {
            "color": ORANGE if run["surrogate"].startswith("atan") else BLUE,
            "linestyle": "-" if is_bounded else ":",
            "label": f"{run['surrogate']}, {bound}" if run["seed"] == 0 else None,
        }
        epochs = range(1, len(run["validation"]) + 1)
        accuracy.plot(epochs, run["validation"], **style)
        norms.semilogy(epochs, run["largest_norm"], **style)
    accuracy.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    accuracy.legend(fontsize=8)
    norms.set(xlabel="epoch", ylabel="largest gradient norm before clipping")
    return figure


PICTURES = {
    "augmentation": augmentation,
    "chip": chip,
    "convolution": convolution,
    "data": data,
    "delays": delays,
    "depth": depth,
    "encoders": encoders,
    "losses": losses,
    "nets": nets,
    "nir": exchange,
    "normalization": normalization,
    "plots": plots,
    "recurrence": recurrence,
    "sparsity": sparsity,
    "staircase": staircase,
    "recipes": recipes,
    "your_neuron": your_neuron,
}


def main() -> None:
    """Draw the pictures that the command line names, or all."""
    for name in sys.argv[1:] or PICTURES:
        path = FOLDER / f"{name}.png"
        picture = PICTURES[name]()
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.savefig(path, dpi=1050 / picture.get_figwidth())
        # A palette makes the file a third as large.
        Image.open(path).quantize(48, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
