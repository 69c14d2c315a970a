"""The picture of a neuron: step, burst, firing rates, and the derivatives along the burst."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from nwavesdk.analysis.neurons import REGULAR_SPIKES, STEP_FACTOR, NeuronResponses, Response
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers.catalogue import CataloguedNeuron
from nwavesdk.plot.theme import LIGHT, Theme, render_png
from nwavesdk.surrogate import text

__all__ = ["plot_neuron"]

Part = Literal["step", "burst"]

# A part of the picture is a column of this width [inches].
WIDTH = 4.5
ROW_HEIGHT = 1.35
# The first row, of the membrane, is this many times as high as the others.
MEMBRANE_ROW = 1.8
# Rows below those of the states: the rates, which take both, or two derivatives.
ROWS_BELOW = 2
# Peaks before a reset are cut at this share of the range of membrane and threshold above it.
PEAK = 0.5


def plot_neuron(
    path: Path, neuron: CataloguedNeuron, responses: NeuronResponses, part: Part | None = None
) -> None:
    """Write a PNG of what a neuron does.

    Args:
        path: The file. Its folder is made if it does not exist.
        neuron: The neuron.
        responses: What it does; see `neuron_responses`.
        part: `"step"` for constant drives alone, or `"burst"`. [both, below name and constants]
    """

    def draw(theme: Theme) -> Figure:
        return _draw_neuron(neuron, responses, theme, part)

    write_atomically(path, render_png(draw, LIGHT))


def _draw_neuron(
    neuron: CataloguedNeuron, responses: NeuronResponses, theme: Theme, part: Part | None = None
) -> Figure:
    """One part, or both side by side below a title."""
    n_rows = len(responses.step.states) + (0 if responses.rates is None else ROWS_BELOW)
    height = ROW_HEIGHT * (MEMBRANE_ROW + n_rows - 1)
    if part is not None:
        figure = Figure(figsize=(WIDTH, 0.7 + height))
        _draw_part(figure, neuron, responses, part, theme)
        return figure
    figure = Figure(figsize=(2 * WIDTH, 1.3 + height))
    values = ", ".join(f"{name}={value:.4g}" for name, value in responses.constants.items())
    figure.suptitle(f"{neuron.name}: {neuron.summary}\n{values}", fontsize=9)
    columns = figure.subfigures(1, 2, squeeze=False)
    _draw_part(columns[0, 0], neuron, responses, "step", theme)
    _draw_part(columns[0, 1], neuron, responses, "burst", theme)
    return figure


def _draw_part(
    figure: FigureBase,
    neuron: CataloguedNeuron,
    responses: NeuronResponses,
    part: Part,
    theme: Theme,
) -> None:
    """A row per state, and the rates or the derivatives below them."""
    response = responses.step if part == "step" else responses.burst
    n_states = len(response.states)
    n_rows = n_states + (0 if responses.rates is None else ROWS_BELOW)
    grid = figure.add_gridspec(n_rows, 1, height_ratios=[MEMBRANE_ROW, *[1.0] * (n_rows - 1)])
    panels = [figure.add_subplot(grid[row]) for row in range(n_states)]
    title = f"Constant drive of {response.x.max():.3g}"
    if part == "burst":
        title = f"Burst of {np.count_nonzero(response.x)} inputs of {response.x.max():.3g}"
    count = "" if responses.rates is None else f": {response.spikes.sum():.0f} spikes"
    _draw_membrane(panels[0], response, neuron, responses.dt, theme)
    panels[0].set_title(title + count)
    _draw_states(panels[1:], response, neuron, responses.dt, theme)
    if responses.rates is not None and part == "burst":
        panels += [figure.add_subplot(grid[row]) for row in range(n_states, n_rows)]
        _draw_derivatives(panels[n_states:], responses, theme)
    _share_time(panels, len(response.x) * responses.dt)
    if responses.rates is not None and part == "step":
        rates = figure.add_subplot(grid[n_states:])
        _draw_rates(rates, responses, theme)
        rates.set_xlabel(_with_unit("constant drive", neuron.input.unit))
    figure.align_ylabels()


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else f"{name} (no unit)"


def _draw_membrane(
    axes: Axes, response: Response, neuron: CataloguedNeuron, dt: float, theme: Theme
) -> None:
    """The first state with its threshold, spikes above it and inputs below it."""
    v = next(iter(response.states.values()))
    time = _time(response, dt)
    at = np.flatnonzero(response.spikes)
    peaks = v[at]
    low, high = float(v.min()), float(v.max())
    if response.u is not None and response.threshold is not None:
        _draw_threshold(axes, time, response.threshold, theme)
        low, high = min(low, response.threshold.min()), max(high, response.threshold.max())
        peaks = np.minimum(response.u[at], high + PEAK * (high - low))
        high = max([high, *peaks])
        axes.plot(time[at], peaks, "o", color=theme.hues[0], markersize=2.5)
    # In the step of a spike, the line goes up to the membrane before the reset, and down again.
    line = np.insert(time, at, time[at]), np.insert(v, at, peaks)
    axes.plot(*line, color=theme.hues[0], linewidth=1.3)
    reach = (high - low) or 1.0
    axes.vlines(time[at], high + 0.12 * reach, high + 0.24 * reach, color=theme.ink, linewidth=1.0)
    inputs = time[response.x != 0]
    axes.vlines(inputs, low - 0.2 * reach, low - 0.12 * reach, color=theme.hues[1], linewidth=1.0)
    axes.text(inputs[0], low - 0.16 * reach, "input ", ha="right", va="center", fontsize=7)
    axes.set_ylim(low - 0.24 * reach, high + 0.28 * reach)
    axes.set_ylabel(_with_unit(neuron.states[0].name, neuron.states[0].unit))
    axes.grid(axis="y")


def _draw_threshold(axes: Axes, time: np.ndarray, threshold: np.ndarray, theme: Theme) -> None:
    """The threshold of each step, with its name below its end."""
    axes.plot(time, threshold, color=theme.ink, linewidth=0.8, linestyle="--")
    axes.annotate(
        "threshold",
        (time[-1], threshold[-1]),
        xytext=(0, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7,
    )


def _draw_states(
    panels: Sequence[Axes], response: Response, neuron: CataloguedNeuron, dt: float, theme: Theme
) -> None:
    """Each state after the first in its own panel."""
    others = neuron.states[1:]
    for axes, state, hue in zip(panels, others, theme.hues[2:] * len(others), strict=False):
        axes.plot(_time(response, dt), response.states[state.name], color=hue, linewidth=1.3)
        axes.set_ylabel(_with_unit(state.name, state.unit))
        if state.text:
            axes.set_title(f"{state.name}: {state.text.rstrip('.')}", fontsize=8)
        axes.grid(axis="y")


def _draw_rates(axes: Axes, responses: NeuronResponses, theme: Theme) -> None:
    assert responses.drives is not None
    assert responses.rates is not None
    axes.plot(responses.drives, responses.rates, color=theme.hues[0], linewidth=1.5)
    for drive, name in (
        (responses.drive, f"least for {REGULAR_SPIKES} spikes"),
        (STEP_FACTOR * responses.drive, "drawn above"),
    ):
        axes.axvline(drive, color=theme.ink, linewidth=0.8, linestyle=":")
        axes.annotate(
            name,
            (drive, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=7,
        )
    axes.set_title("Firing rate")
    axes.set(ylabel="spikes per second", xlim=(0, responses.drives[-1]))
    axes.set_ylim(0, None)
    axes.grid(axis="y")


def _draw_derivatives(panels: Sequence[Axes], responses: NeuronResponses, theme: Theme) -> None:
    """The surrogate's derivative along the burst, and the gradient that it makes."""
    burst = responses.burst
    assert burst.slope is not None
    assert burst.gradient is not None
    assert responses.surrogate is not None
    slope, gradient = panels
    time = _time(burst, responses.dt)
    for axes, values, hue in ((slope, burst.slope, 1), (gradient, burst.gradient, 3)):
        axes.plot(time, values, color=theme.hues[hue], linewidth=1.2)
        axes.fill_between(time, values, color=theme.hues[hue], alpha=0.15, linewidth=0)
        axes.grid(axis="y")
    slope.set_ylabel("σ'(z)")
    slope.set_title(f"Derivative of the spike, {text(responses.surrogate)}")
    gradient.set_ylabel("∂spikes/∂x")
    gradient.set_title("Derivative of the number of spikes by each charge")


def _share_time(panels: Sequence[Axes], duration: float) -> None:
    for axes in panels:
        axes.set_xlim(0, 1e3 * duration)
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("time [ms]")


def _time(response: Response, dt: float) -> np.ndarray:
    """The middle of each step [ms]."""
    return 1e3 * dt * (np.arange(len(response.x)) + 0.5)
