"""The shape of a surrogate's derivative in a few numbers.

Picture: the derivatives of the catalogue, one panel each, and how far their tails reach.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from nwavesdk.surrogate import Surrogate, available, text
from nwavesdk.train.theme import LIGHT, Theme, render_png

__all__ = ["DerivativeShape", "catalogue_shapes", "derivative_shape", "plot_derivatives"]

_STEADY = 1e-3  # how far an area may still grow in the last few decades


@dataclass(frozen=True)
class DerivativeShape:
    """What a derivative looks like.

    Args:
        peak: Its highest value [1 / unit of the membrane].
        area: Its integral over all membranes, 1 for that of a smooth step from 0 to 1; None where it has none.
        half_width: Width of the interval around the peak where it exceeds half of it [units of the membrane]; None
            where that has no end.
    """

    peak: float
    area: float | None
    half_width: float | None


def derivative_shape(surrogate: Surrogate) -> DerivativeShape:
    """Measure a derivative on a grid that is fine at the threshold and reaches ±1e12.

    The grid is `z = sinh(q) / 1000` with even steps of q, so that tails of any power weigh as they should.

    Args:
        surrogate: Any surrogate that is defined in float64.

    Returns:
        Peak, area (to about 1e-6; 1e-4 where there are jumps) and half width.

    Example:
        >>> from nwavesdk.surrogate import atan
        >>> derivative_shape(atan(alpha=2.0)).peak
        1.0
    """
    q = torch.linspace(-35.0, 35.0, 500_001, dtype=torch.float64)
    z = torch.sinh(q) / 1000
    height = surrogate.derivative(z)
    mass = height * torch.cosh(q) / 1000
    area, nearer = (
        torch.trapezoid(mass[inside], q[inside]).item() for inside in (q.abs() < 35, q.abs() < 28)
    )
    top = int(height.argmax())
    return DerivativeShape(
        height[top].item(),
        area if abs(area - nearer) <= _STEADY * abs(area) else None,
        _width(z, height >= height[top] / 2, top),
    )


def _width(z: Tensor, high: Tensor, top: int) -> float | None:
    """Length of the stretch of `high` that contains place `top`; None where it reaches an end."""
    low = (~high).nonzero().flatten()
    place = int(torch.searchsorted(low, top))
    if place in (0, len(low)):
        return None
    return (z[low[place] - 1] - z[low[place - 1] + 1]).item()


def catalogue_shapes() -> list[dict[str, Any]]:
    """One row for each surrogate of the catalogue: name, formula, default parameters, peak, area, half width."""
    rows: list[dict[str, Any]] = []
    for name, kind in available().items():
        measured = derivative_shape(kind())
        defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]  # surrogates of the catalogue are dataclasses
        rows.append({"name": name, "formula": kind.formula, "defaults": defaults, **vars(measured)})
    return rows


_COLUMNS, _REACH, _FAR = 6, 2.0, 1.0


def plot_derivatives(path: Path) -> None:
    """Write a PNG of all surrogates with their default parameters.

    Args:
        path: The file; its folder is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render_png(_draw, LIGHT))


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
    far = (
        surrogate.derivative(torch.tensor([_FAR], dtype=torch.float64)).item() / height.max().item()
    )
    axes.text(0.98, 0.97, f"{far:.2g}", transform=axes.transAxes, ha="right", va="top", fontsize=7)
    axes.grid()
