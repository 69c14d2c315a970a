"""Pictures of `nwave data` and `nwave surrogates`: front end and recording, and derivatives."""

import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.analysis.filter_pictures import draw_channels, draw_response
from nwavesdk.data import FrontEnd, NWaveDataloaderConfig, decode
from nwavesdk.data.decoding import read_recording
from nwavesdk.internal.files import write_atomically
from nwavesdk.surrogate import Surrogate, available, text
from nwavesdk.train.theme import LIGHT, Theme, label_text, render_png

__all__ = ["plot_derivatives", "plot_front_end"]

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
        draw_response(response, bank, theme)
        time = np.arange(len(samples)) / bank.sample_rate
        reach = 1.1 * (float(np.abs(samples).max()) or 1.0)
        waveform.plot(time, samples, color=theme.ink, linewidth=0.5)
        waveform.set(ylabel="full scale 1", ylim=(-reach, reach))
        name = f"{recording.parent.name}/{recording.name}"
        waveform.set_title(f"A recording: {label_text(name, most=60)}")
        waveform.tick_params(labelbottom=False)
        duration = config.T * config.sim_time_s
        draw_channels(ridges, channels, duration, bank, theme)
        ridges.set_xlabel("time [s]")
        ridges.set_title(
            f"Input of the net: {bank.count} rectified channels, averaged over steps of "
            f"{config.sim_time_s * 1e3:g} ms"
        )
        for axes in (waveform, ridges):
            axes.set_xlim(0, duration)
        figure.align_ylabels()
        return figure

    write_atomically(path, render_png(draw, LIGHT), make_folders=True)


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
