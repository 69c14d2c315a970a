"""Pictures of `nwave data` and `nwave surrogates`: front end and recording, and derivatives."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nwavesdk.chip import FilterBank
from nwavesdk.data import FrontEnd, NWaveDataloaderConfig, decode
from nwavesdk.data.decoding import read_recording
from nwavesdk.internal.files import write_atomically
from nwavesdk.surrogate import Surrogate, available, text
from nwavesdk.train.theme import LIGHT, Theme, label_text, render_png

__all__ = ["plot_derivatives", "plot_front_end"]

Color = tuple[float, float, float, float]

LOWEST_GAIN = -40  # dB
FREQUENCY_TICKS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)  # Hz

# The derivatives are drawn in this many columns, for z within ±REACH. The number in a panel is the
# derivative at z = FAR relative to its peak.
COLUMNS = 6
REACH = 2.0
FAR = 1.0


def plot_front_end(path: Path, config: NWaveDataloaderConfig, recording: Path) -> None:
    """Write a PNG of the filter bank's response, and of waveform and channels of a recording.

    Args:
        path: The file. Its folder is made if it does not exist.
        config: Settings of the front end.
        recording: A wav file.

    Raises:
        RecordingError: If the recording cannot be read.
    """
    front_end = FrontEnd(config)
    data = read_recording(recording, config.max_seconds)
    samples = front_end.prepare(decode(recording, data, config.max_seconds))
    channels = front_end(samples)
    bank = config.bank

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(10, 9))
        response, waveform, ridges = figure.subplots(3, 1, height_ratios=(3, 1.3, 5))
        rainbow = LinearSegmentedColormap.from_list(
            "bands", [theme.hues[0], theme.hues[3], theme.hues[1]]
        )
        colors = [rainbow(float(place)) for place in np.linspace(0, 1, bank.count)]
        _draw_response(response, bank, colors, theme)
        time = np.arange(len(samples)) / bank.sample_rate
        reach = 1.1 * (float(np.abs(samples).max()) or 1.0)
        waveform.plot(time, samples, color=theme.ink, linewidth=0.5)
        waveform.set(ylabel="full scale 1", ylim=(-reach, reach))
        name = f"{recording.parent.name}/{recording.name}"
        waveform.set_title(f"A recording: {label_text(name, most=60)}")
        waveform.tick_params(labelbottom=False)
        _draw_channels(ridges, channels, config.sim_time_s, bank, colors, theme)
        for axes in (waveform, ridges):
            axes.set_xlim(0, config.T * config.sim_time_s)
        figure.align_ylabels()
        return figure

    write_atomically(path, render_png(draw, LIGHT), make_folders=True)


def _draw_response(axes: Axes, bank: FilterBank, colors: Sequence[Color], theme: Theme) -> None:
    highest = bank.sample_rate / 2
    frequencies = np.geomspace(bank.edges[0, 0] / 3, 0.9999 * highest, 1500)
    gains = 20 * np.log10(np.maximum(bank.response(frequencies), 1e-6))
    for gain, color in zip(gains, colors, strict=True):
        axes.plot(frequencies, gain, color=color, linewidth=1.4)
        axes.fill_between(frequencies, gain, LOWEST_GAIN, color=color, alpha=0.06, linewidth=0)
    axes.axhline(-3, color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.text(frequencies[0] * 1.04, -3, "−3 dB: bands touch", va="top", fontsize=7.5)
    axes.set_title(
        f"{bank.count} band-pass filters, Butterworth of order {bank.order}, "
        f"sound at {bank.sample_rate:,.0f} Hz"
    )
    axes.set(xlabel="frequency [Hz]", xscale="log", xlim=(frequencies[0], highest))
    axes.set(ylabel="gain [dB]", ylim=(LOWEST_GAIN, 2))
    ticks = [tick for tick in FREQUENCY_TICKS if frequencies[0] <= tick < highest]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.grid()


def _draw_channels(
    axes: Axes,
    channels: npt.NDArray[np.float32],
    step: float,
    bank: FilterBank,
    colors: Sequence[Color],
    theme: Theme,
) -> None:
    """Draw one line per channel, all on one scale, with the lowest band at the bottom."""
    time = (np.arange(len(channels)) + 0.5) * step
    scale = 2.6 / (float(channels.max()) or 1.0)
    for row, color in reversed(list(enumerate(colors))):
        height = row + scale * channels[:, row]
        # Lower bands are in front of higher ones, each on a strip that covers those behind it.
        depth = 3 * (bank.count - row)
        for face, alpha, zorder in ((theme.paper, 0.75, depth), (color, 0.3, depth + 1)):
            axes.fill_between(
                time, row, height, color=face, alpha=alpha, linewidth=0, zorder=zorder
            )
        axes.plot(time, height, color=color, linewidth=0.9, zorder=depth + 2)
    axes.set_yticks(np.arange(bank.count), [f"{center:,.0f}" for center in bank.centers])
    for label, color in zip(axes.get_yticklabels(), colors, strict=True):
        label.set_color(color)
    axes.set_title(
        f"Input of the net: {bank.count} rectified channels, averaged over steps of "
        f"{step * 1e3:g} ms"
    )
    axes.set(xlabel="time [s]", ylabel="center of the band [Hz]", ylim=(-0.4, None))
    axes.grid(axis="x")


def plot_derivatives(path: Path) -> None:
    """Write a PNG of the derivatives of all surrogates with their default parameters.

    Args:
        path: The file. Its folder is made if it does not exist.
    """
    write_atomically(path, render_png(_draw_derivatives, LIGHT), make_folders=True)


def _draw_derivatives(theme: Theme) -> Figure:
    surrogates = [kind() for kind in available().values()]
    rows = math.ceil(len(surrogates) / COLUMNS)
    figure = Figure(figsize=(2.5 * COLUMNS, 1.9 * rows), layout="none")  # type: ignore[arg-type]  # its stubs lag
    figure.subplots_adjust(left=0.03, right=0.99, bottom=0.03, top=0.92, wspace=0.2, hspace=0.5)
    figure.suptitle(
        f"σ' against membrane − threshold; the number is σ'({FAR:g}) / peak; "
        "one color for each kind of shape"
    )
    panels = list(figure.subplots(rows, COLUMNS, sharex=True).flat)
    kinds = list(dict.fromkeys(type(surrogate).__module__ for surrogate in surrogates))
    colors = (*theme.hues, theme.ink)
    for place, (axes, surrogate) in enumerate(zip(panels, surrogates, strict=False)):
        kind = kinds.index(type(surrogate).__module__)
        _draw_derivative(axes, surrogate, colors[kind % len(colors)])
        axes.tick_params(labelsize=7, labelbottom=place + COLUMNS >= len(surrogates))
    for axes in panels[len(surrogates) :]:
        axes.set_visible(False)
    return figure


def _draw_derivative(axes: Axes, surrogate: Surrogate, color: str) -> None:
    z = torch.linspace(-REACH, REACH, 2001, dtype=torch.float64)
    height = surrogate.derivative(z)
    peak = height.max().item()
    name = text(surrogate).partition("(")[0]
    parameters = ", ".join(f"{key}={value:g}" for key, value in surrogate.parameters.items())
    axes.plot(z, height, color=color, linewidth=1.4)
    axes.fill_between(z, height, color=color, alpha=0.15, linewidth=0)
    axes.set_title(f"{name}\n{parameters}" if parameters else name, fontsize=8)
    axes.set_ylim(min(0.0, 1.1 * height.min().item()), 1.3 * peak)
    far = surrogate.derivative(torch.tensor([FAR], dtype=torch.float64)).item() / peak
    axes.text(0.98, 0.97, f"{far:.2g}", transform=axes.transAxes, ha="right", va="top", fontsize=7)
    axes.grid()
