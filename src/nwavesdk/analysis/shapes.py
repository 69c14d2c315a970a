"""The shape of a surrogate's derivative in three numbers: peak, area and width."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nwavesdk.surrogate import Surrogate, available

__all__ = ["DerivativeShape", "catalogue_shapes", "derivative_shape"]

# An area is finite if the part of the grid with |q| > INNER adds no more than this share of it.
INNER = 28
AREA_GROWTH = 1e-3


@dataclass(frozen=True)
class DerivativeShape:
    """The shape of a derivative.

    Attributes:
        peak: The highest value of the derivative [1 / unit of the membrane].
        area: Integral of the derivative over all membranes, 1 for the derivative of a smooth step
            from 0 to 1. None if it is infinite.
        half_width: Full width at half maximum: the width of the interval around the peak in which
            the derivative exceeds half of the peak [units of the membrane]. None if the interval is
            unbounded.

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

    Args:
        surrogate: Any surrogate that is defined in float64.

    Returns:
        Peak, area (to about 1e-6, or 1e-4 for a derivative with jumps) and width at half height.

    Example:
        >>> from nwavesdk.surrogate import atan
        >>> derivative_shape(atan(alpha=2.0)).peak
        1.0
    """
    # With z as a function of q, the area is ∫ derivative(z) (dz / dq) dq.
    q, z, dz = _grid()
    height = surrogate.derivative(z)
    mass = height * dz
    area = torch.trapezoid(mass, q).item()
    inner = q.abs() < INNER
    growth = abs(area - torch.trapezoid(mass[inner], q[inner]).item())

    # `lower` has all points below half of the peak, in order. The last one before the peak and the
    # first one after it enclose the interval.
    top = int(height.argmax())
    lower = (height < height[top] / 2).nonzero().flatten()
    end = int(torch.searchsorted(lower, top))
    is_bounded = 0 < end < len(lower)

    return DerivativeShape(
        peak=height[top].item(),
        area=area if growth <= AREA_GROWTH * abs(area) else None,
        half_width=(z[lower[end] - 1] - z[lower[end - 1] + 1]).item() if is_bounded else None,
    )


@cache
def _grid() -> tuple[Tensor, Tensor, Tensor]:
    """The grid: q, z = sinh(q) / 1000 and dz / dq = cosh(q) / 1000."""
    q = torch.linspace(-35.0, 35.0, 500_001, dtype=torch.float64)
    return q, torch.sinh(q) / 1000, torch.cosh(q) / 1000


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
