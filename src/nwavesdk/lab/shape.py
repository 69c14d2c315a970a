"""The shape of a surrogate's derivative in a few numbers."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from nwavesdk.surrogate import Surrogate, available

__all__ = ["Shape", "catalogue_shapes", "shape"]

_STEADY = 1e-3  # how far an area may still grow in the last few decades


@dataclass(frozen=True)
class Shape:
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


def shape(surrogate: Surrogate) -> Shape:
    """Measure a derivative on a grid that is fine at the threshold and reaches ±1e12.

    The grid is `z = sinh(q) / 1000` with even steps of q, so that tails of any power weigh as they should.

    Args:
        surrogate: Any surrogate that is defined in float64.

    Returns:
        Peak, area (to about 1e-6; 1e-4 where there are jumps) and half width.

    Example:
        >>> from nwavesdk.surrogate import atan
        >>> shape(atan(alpha=2.0)).peak
        1.0
    """
    q = torch.linspace(-35.0, 35.0, 500_001, dtype=torch.float64)
    z = torch.sinh(q) / 1000
    height = surrogate.derivative(z)
    mass = height * torch.cosh(q) / 1000
    area, nearer = (torch.trapezoid(mass[inside], q[inside]).item() for inside in (q.abs() < 35, q.abs() < 28))
    top = int(height.argmax())
    return Shape(
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
        measured = shape(kind())
        defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]  # surrogates of the catalogue are dataclasses
        rows.append({"name": name, "formula": kind.formula, "defaults": defaults, **vars(measured)})
    return rows
