"""The shape of a surrogate's derivative in three numbers: peak, area and width."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nwavesdk.surrogate import Surrogate, available

__all__ = ["DerivativeShape", "catalogue_shapes", "derivative_shape"]

# Share by which an area may still grow in the outer part of the grid.
_AREA_GROWTH = 1e-3


@dataclass(frozen=True)
class DerivativeShape:
    """The shape of a derivative.

    Attributes:
        peak: Its highest value [1 / unit of the membrane].
        area: Its integral over all membranes, which is 1 for that of a smooth step from 0 to 1.
            None if it is infinite.
        half_width: Full width at half height: of the interval around the peak in which it exceeds
            half of the peak [units of the membrane]. None if the interval is unbounded.

    Example:
        >>> from nwavesdk.surrogate import triangle
        >>> shape = derivative_shape(triangle(alpha=0.5))
        >>> shape.peak, round(shape.area, 2), round(shape.half_width, 2)
        (0.5, 0.5, 1.0)
    """

    peak: float
    area: float | None
    half_width: float | None


def derivative_shape(surrogate: Surrogate) -> DerivativeShape:
    """Measure a derivative on a grid that is fine at the threshold and reaches ±1e12.

    The grid is `z = sinh(q) / 1000` with equidistant q, so that tails of any power are weighted
    correctly.

    Args:
        surrogate: Any surrogate that is defined in float64.

    Returns:
        Peak, area (to about 1e-6, or 1e-4 for a derivative with jumps) and width at half height.

    Example:
        >>> from nwavesdk.surrogate import atan
        >>> derivative_shape(atan(alpha=2.0)).peak
        1.0
    """
    q, z, dz = _grid()
    height = surrogate.derivative(z)
    mass = height * dz
    inner = q.abs() < 28
    inner_area = torch.trapezoid(mass[inner], q[inner]).item()
    inner = q.abs() < 35
    area = torch.trapezoid(mass[inner], q[inner]).item()
    is_finite = abs(area - inner_area) <= _AREA_GROWTH * abs(area)
    top = int(height.argmax())
    width = _interval_width(z, height >= height[top] / 2, top)
    return DerivativeShape(height[top].item(), area if is_finite else None, width)


@cache
def _grid() -> tuple[Tensor, Tensor, Tensor]:
    """q, z = sinh(q) / 1000 and, for the substitution, dz / dq = cosh(q) / 1000."""
    q = torch.linspace(-35.0, 35.0, 500_001, dtype=torch.float64)
    return q, torch.sinh(q) / 1000, torch.cosh(q) / 1000


def _interval_width(z: Tensor, is_inside: Tensor, index: int) -> float | None:
    """Width of the interval of `z` around an index, or None if it reaches an end of the grid."""
    outside = (~is_inside).nonzero().flatten()
    following = int(torch.searchsorted(outside, index))
    if following in (0, len(outside)):
        return None
    return (z[outside[following] - 1] - z[outside[following - 1] + 1]).item()


def catalogue_shapes() -> list[dict[str, Any]]:
    """Name, formula, default parameters and shape of each surrogate of the catalogue.

    Example:
        >>> shapes = {shape["name"]: shape for shape in catalogue_shapes()}
        >>> shapes["fast_sigmoid"]["defaults"], round(shapes["fast_sigmoid"]["area"], 3)
        ({'slope': 25.0}, 0.08)
    """
    return [
        {
            "name": name,
            "formula": kind.formula,
            "defaults": kind().parameters,
            **vars(derivative_shape(kind())),
        }
        for name, kind in available().items()
    ]
