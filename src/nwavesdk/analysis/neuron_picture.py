"""The picture of a neuron: step, burst, firing rates, and the derivatives along the burst."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.analysis.neurons import REGULAR_SPIKES, STEP_FACTOR, NeuronResponses, Response
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers.catalogue import CataloguedNeuron
from nwavesdk.plot.theme import LIGHT, Theme, render_png
from nwavesdk.surrogate import text

__all__ = ["plot_neuron"]

WIDTH = 10.0
ROW_HEIGHT = 1.35
# The first row, of the membrane, is this many times as high as the others.
MEMBRANE_ROW = 1.8


def plot_neuron(path: Path, neuron: CataloguedNeuron, responses: NeuronResponses) -> None:
    """Write a PNG of what a neuron does.

    Args:
        path: The file. Its folder is made if it does not exist.
        neuron: The neuron.
        responses: What it does; see `neuron_responses`.
    """

    def draw(theme: Theme) -> Figure:
        return _draw_neuron(neuron, responses, theme)

    write_atomically(path, render_png(draw, LIGHT), make_folders=True)


def _draw_neuron(neuron: CataloguedNeuron, responses: NeuronResponses, theme: Theme) -> Figure:
    """Step and burst in two columns with a row per state; below, rates and derivatives."""
    n_states = len(responses.step.states)
    n_rows = n_states + (0 if responses.rates is None else 2)
    heights = [MEMBRANE_ROW, *[1.0] * (n_rows - 1)]
    figure = Figure(figsize=(WIDTH, 1.3 + ROW_HEIGHT * sum(heights)))
    grid = figure.add_gridspec(n_rows, 2, height_ratios=heights)
    values = ", ".join(f"{name}={value:.4g}" for name, value in responses.constants.items())
    figure.suptitle(f"{neuron.name}: {neuron.summary}\n{values}", fontsize=10)
    burst = responses.burst
    titles = {
        f"Constant drive of {responses.step.x.max():.3g}": responses.step,
        f"Burst of {np.count_nonzero(burst.x)} inputs of {burst.x.max():.3g}": burst,
    }
    for column, (title, response) in enumerate(titles.items()):
        panels = [figure.add_subplot(grid[row, column]) for row in range(n_states)]
        _draw_membrane(panels[0], response, neuron, responses.dt, theme)
        _draw_states(panels[1:], response, responses.dt, theme)
        count = "" if responses.rates is None else f": {response.spikes.sum():.0f} spikes"
        panels[0].set_title(title + count)
        spikes = ", spikes" if count else ""
        panels[0].set_ylabel(_with_unit(neuron.states[0].name, neuron.states[0].unit) + spikes)
        if response is burst and responses.rates is not None:
            slopes = [figure.add_subplot(grid[row, 1]) for row in (n_rows - 2, n_rows - 1)]
            _draw_derivatives(slopes, responses, theme)
            panels += slopes
        _share_time(panels, len(response.x) * responses.dt)
    if responses.rates is not None:
        rates = figure.add_subplot(grid[n_states:, 0])
        _draw_rates(rates, responses, theme)
        rates.set_xlabel(_with_unit("constant drive", neuron.input.unit))
    figure.align_ylabels()
    return figure


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


def _draw_membrane(
    axes: Axes, response: Response, neuron: CataloguedNeuron, dt: float, theme: Theme
) -> None:
    """The first state, with spikes above it and inputs below it."""
    v = next(iter(response.states.values()))
    time = _time(response, dt)
    axes.plot(time, v, color=theme.hues[0], linewidth=1.3)
    low, high = float(v.min()), float(v.max())
    constant = neuron.page.constants.get("threshold")
    threshold = None if constant is None else constant.default
    if threshold is not None:
        axes.axhline(threshold, color=theme.ink, linewidth=0.8, linestyle="--")
        place = axes.get_yaxis_transform()
        axes.text(
            0.995,
            threshold,
            "threshold",
            transform=place,
            ha="right",
            va="bottom",
            fontsize=7,
        )
        low, high = min(low, threshold), max(high, threshold)
    reach = (high - low) or 1.0
    spikes = time[response.spikes > 0]
    axes.vlines(spikes, high + 0.12 * reach, high + 0.24 * reach, color=theme.ink, linewidth=1.0)
    inputs = time[response.x != 0]
    axes.vlines(inputs, low - 0.2 * reach, low - 0.12 * reach, color=theme.hues[1], linewidth=1.0)
    axes.text(inputs[0], low - 0.16 * reach, "input ", ha="right", va="center", fontsize=7)
    axes.set_ylim(low - 0.24 * reach, high + 0.28 * reach)
    axes.grid(axis="y")


def _draw_states(panels: Sequence[Axes], response: Response, dt: float, theme: Theme) -> None:
    others = list(response.states.items())[1:]
    for axes, (name, values), hue in zip(
        panels, others, theme.hues[2:] * len(others), strict=False
    ):
        axes.plot(_time(response, dt), values, color=hue, linewidth=1.3)
        axes.set_ylabel(name)
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
