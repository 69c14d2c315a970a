"""Pictures of surrogates: of one derivative, and of all, as `nwave surrogates` draws them."""

import math
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.internal.files import write_atomically
from nwavesdk.plot.theme import LIGHT, Theme, render_png
from nwavesdk.surrogate import Surrogate, available, text

__all__ = ["plot_derivative", "plot_derivatives"]

# The derivatives are drawn in this many columns, for z within ±REACH.
COLUMNS = 4
REACH = 2.0


def plot_derivatives(path: Path, top: float | None = None) -> None:
    """Write a PNG of the derivatives of all surrogates with their default parameters.

    Args:
        path: The file. Its folder is made if it does not exist.
        top: End of the y axis of all panels, where higher derivatives are cut. [each panel has its
            own axis]
    """
    picture = render_png(lambda theme: _draw_derivatives(theme, top), LIGHT)
    write_atomically(path, picture)


def plot_derivative(path: Path, surrogate: Surrogate) -> None:
    """Write a PNG of the derivative of one surrogate.

    Args:
        path: The file. Its folder is made if it does not exist.
        surrogate: The surrogate.
    """

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(5, 2.6), layout="constrained")
        axes = figure.subplots()
        _draw_derivative(axes, surrogate, theme.hues[0])
        axes.set_xlabel("z = u − threshold")
        axes.set_ylabel("σ'(z)")
        return figure

    write_atomically(path, render_png(draw, LIGHT))


def _draw_derivatives(theme: Theme, top: float | None) -> Figure:
    surrogates = [kind() for kind in available().values()]
    rows = math.ceil(len(surrogates) / COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 0.6 + 1.7 * rows))
    figure.suptitle("σ' against z = u − threshold; one color for each kind of shape", fontsize=11)
    panels = list(figure.subplots(rows, COLUMNS, sharex=True).flat)
    kinds = list(dict.fromkeys(type(surrogate).__module__ for surrogate in surrogates))
    colors = (*theme.hues, theme.ink)
    for place, (axes, surrogate) in enumerate(zip(panels, surrogates, strict=False)):
        kind = kinds.index(type(surrogate).__module__)
        _draw_derivative(axes, surrogate, colors[kind % len(colors)])
        if top is not None:
            axes.set_ylim(0, top)
        axes.tick_params(labelsize=9, labelbottom=place + COLUMNS >= len(surrogates))
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
    axes.set_title(f"{name}\n{parameters}" if parameters else name, fontsize=9)
    axes.set_ylim(min(0.0, 1.1 * height.min().item()), 1.3 * peak)
    axes.grid()
