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

# The derivatives are drawn in this many columns, for z within ±REACH. A panel of the picture of all
# has, as a number, the derivative at z = FAR relative to its peak.
COLUMNS = 6
REACH = 2.0
FAR = 1.0


def plot_derivatives(path: Path, top: float | None = None) -> None:
    """Write a PNG of the derivatives of all surrogates with their default parameters.

    Args:
        path: The file. Its folder is made if it does not exist.
        top: End of the y axis of all panels, where higher derivatives are cut. [each panel has its
            own axis]
    """
    picture = render_png(lambda theme: _draw_derivatives(theme, top), LIGHT)
    write_atomically(path, picture, make_folders=True)


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

    write_atomically(path, render_png(draw, LIGHT), make_folders=True)


def _draw_derivatives(theme: Theme, top: float | None) -> Figure:
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
        far = f"{_relative_height(surrogate, FAR):.2g}"
        axes.text(0.98, 0.97, far, transform=axes.transAxes, ha="right", va="top", fontsize=7)
        if top is not None:
            axes.set_ylim(0, top)
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
    axes.grid()


def _relative_height(surrogate: Surrogate, z: float) -> float:
    """The derivative at `z` as a multiple of its peak."""
    grid = torch.linspace(-REACH, REACH, 2001, dtype=torch.float64)
    height = surrogate.derivative(torch.tensor([z], dtype=torch.float64)).item()
    return height / surrogate.derivative(grid).max().item()
