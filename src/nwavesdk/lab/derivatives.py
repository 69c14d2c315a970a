"""Picture: the derivatives of the catalogue, one panel each, and how far their tails reach."""

import math
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.surrogate import Surrogate, available, text
from nwavesdk.train.pictures import LIGHT, Theme, render

__all__ = ["plot_derivatives"]

_COLUMNS, _REACH, _FAR = 6, 2.0, 1.0


def plot_derivatives(path: Path) -> None:
    """Write a PNG of all surrogates with their default parameters.

    Args:
        path: The file; its folder is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(_draw, LIGHT))


def _draw(theme: Theme) -> Figure:
    surrogates = [kind() for kind in available().values()]
    rows = math.ceil(len(surrogates) / _COLUMNS)
    figure = Figure(figsize=(2.5 * _COLUMNS, 1.9 * rows), layout="none")  # type: ignore[arg-type]  # its stubs lag
    figure.subplots_adjust(left=0.03, right=0.99, bottom=0.03, top=0.92, wspace=0.2, hspace=0.5)
    figure.suptitle(
        f"σ' against membrane − threshold; the number is σ'({_FAR:g}) / peak; one colour for each kind of shape"
    )
    panels = list(figure.subplots(rows, _COLUMNS, sharex=True).flat)
    shapes = list(dict.fromkeys(type(s).__module__ for s in surrogates))
    hues = (*theme.hues, theme.ink)
    for place, (axes, surrogate) in enumerate(zip(panels, surrogates, strict=False)):
        _panel(axes, surrogate, hues[shapes.index(type(surrogate).__module__) % len(hues)])
        axes.tick_params(labelsize=7, labelbottom=place + _COLUMNS >= len(surrogates))
    for axes in panels[len(surrogates) :]:
        axes.set_visible(False)
    return figure


def _panel(axes: Axes, surrogate: Surrogate, hue: str) -> None:
    z = torch.linspace(-_REACH, _REACH, 2001, dtype=torch.float64)
    height = surrogate.derivative(z)
    name = text(surrogate).partition("(")[0]
    parameters = ", ".join(f"{key}={value:g}" for key, value in surrogate.parameters.items())
    axes.plot(z, height, color=hue, linewidth=1.4)
    axes.fill_between(z, height, color=hue, alpha=0.15, linewidth=0)
    axes.set_title(f"{name}\n{parameters}" if parameters else name, fontsize=8)
    axes.set_ylim(min(0.0, 1.1 * height.min().item()), 1.3 * height.max().item())
    far = surrogate.derivative(torch.tensor([_FAR], dtype=torch.float64)).item() / height.max().item()
    axes.text(0.98, 0.97, f"{far:.2g}", transform=axes.transAxes, ha="right", va="top", fontsize=7)
    axes.grid()
