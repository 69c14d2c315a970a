"""The picture of `nwave surrogates`: the derivatives of all surrogates."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.plot.theme import Theme
from nwavesdk.surrogate import Surrogate, available, text

__all__ = ["draw_derivative", "draw_derivatives"]

# The derivatives are drawn in `COLUMNS` columns, for z from -REACH to REACH.
COLUMNS = 4
REACH = 2.0


def draw_derivatives(theme: Theme) -> Figure:
    """Draw the derivatives of all surrogates with their default parameters, each in its panel."""
    surrogates = [kind() for kind in available().values()]
    rows = math.ceil(len(surrogates) / COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 0.6 + 1.7 * rows))
    figure.suptitle("σ' against z = u − threshold; one color for each kind of shape", fontsize=11)

    # Surrogates of one kind of shape are defined in one module.
    kinds = list(dict.fromkeys(type(surrogate).__module__ for surrogate in surrogates))
    hues = (*theme.hues, theme.ink)
    for index, surrogate in enumerate(surrogates):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        kind = kinds.index(type(surrogate).__module__)
        draw_derivative(axes, surrogate, hues[kind % len(hues)])
        axes.tick_params(labelsize=9, labelbottom=index + COLUMNS >= len(surrogates))
    return figure


def draw_derivative(axes: Axes, surrogate: Surrogate, color: str) -> None:
    """Draw the derivative of a surrogate, with its name and parameters as the title."""
    z = torch.linspace(-REACH, REACH, 2001, dtype=torch.float64)
    height = surrogate.derivative(z)
    axes.plot(z, height, color=color, linewidth=1.4)
    axes.fill_between(z, height, color=color, alpha=0.15, linewidth=0)

    name = text(surrogate).partition("(")[0]
    parameters = ", ".join(f"{key}={value:g}" for key, value in surrogate.parameters.items())
    axes.set_title(f"{name}\n{parameters}" if parameters else name, fontsize=9)
    axes.set_ylim(min(0.0, 1.1 * height.min().item()), 1.3 * height.max().item())
    axes.grid()
