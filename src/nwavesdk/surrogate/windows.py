"""Surrogates with a window: beyond it the gradient is zero (or one small number), which makes it sparse."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch as m  # the maths of a page: bound anew for numba and Triton

from nwavesdk.surrogate.base import Formula, number

__all__ = [
    "Boxcar",
    "PiecewiseLeakyReLU",
    "PiecewiseQuadratic",
    "Rect",
    "SparseFastSigmoid",
    "Triangle",
]


@dataclass(frozen=True)
class Triangle(Formula):
    """Derivative `alpha · max(0, 1 - k |z|)`, a triangle (Norse with k = 1, Spyx with alpha = 1).

    Args:
        alpha: height [1 / unit of the membrane].
        k: 1 / half of the base [1 / unit of the membrane].

    Example:
        >>> Triangle(alpha=0.3).derivative(m.tensor([0.0, 0.5, 2.0]))
        tensor([0.3000, 0.1500, 0.0000])

    References:
        S. K. Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic computing", 2016,
        doi:10.1073/pnas.1604850113.
        G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", 2020,
        doi:10.1038/s41467-020-17236-y.
    """

    alpha: float = number(0.3)
    k: float = number(1.0)
    formula: ClassVar[str] = "alpha · max(0, 1 - k |z|)"

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any, k: Any) -> Any:
        y = 1.0 - k * m.abs(z)
        return alpha * m.where(y <= 0.0, 0.0, y)


@dataclass(frozen=True)
class PiecewiseQuadratic(Formula):
    """Derivative `max(0, alpha - alpha² |z|)`, a triangle of area 1, of a step made of parabolas (SpikingJelly).

    Args:
        alpha: height, and 1 / half of the base [1 / unit of the membrane].
    """

    alpha: float = number(1.0)
    formula: ClassVar[str] = "max(0, alpha - alpha² |z|)"
    pseudo_derivative = staticmethod(Triangle.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha, self.alpha


@dataclass(frozen=True)
class PiecewiseLeakyReLU(Formula):
    """Derivative `1/(2w)` for |z| < w, `c` elsewhere (SpikingJelly).

    Args:
        w: half of the window [unit of the membrane].
        c: derivative outside of it [1 / unit of the membrane].
    """

    w: float = number(1.0)
    c: float = number(0.01, 0.0)
    formula: ClassVar[str] = "1/(2w) for |z| < w, else c"

    @property
    def constants(self) -> tuple[float, ...]:
        return self.w, 1 / (2 * self.w), self.c

    @staticmethod
    def pseudo_derivative(z: Any, half: Any, inside: Any, outside: Any) -> Any:
        a = m.abs(z)
        return m.where(a < half, inside, m.where(a >= half, outside, z))


@dataclass(frozen=True)
class Boxcar(Formula):
    """Derivative `height` for |z| < width/2, else 0 (Spyx).

    Args:
        width: of the window [unit of the membrane].
        height: derivative inside [1 / unit of the membrane].
    """

    width: float = number(2.0)
    height: float = number(0.5)
    formula: ClassVar[str] = "height for |z| < width/2, else 0"
    pseudo_derivative = staticmethod(PiecewiseLeakyReLU.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.width / 2, self.height, 0.0


@dataclass(frozen=True)
class Rect(Formula):
    """Derivative `alpha` for |z| < 1/(2 alpha), else 0: a boxcar of area 1 (SpikingJelly).

    Args:
        alpha: height, and 1 / width [1 / unit of the membrane].
    """

    alpha: float = number(1.0)
    formula: ClassVar[str] = "alpha for |z| < 1/(2 alpha), else 0"
    pseudo_derivative = staticmethod(PiecewiseLeakyReLU.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.5 / self.alpha, self.alpha, 0.0


@dataclass(frozen=True)
class SparseFastSigmoid(Formula):
    """Derivative `1 / (slope · |z| + 1)²` for |z| < window, else 0 (the SFS that snnTorch means).

    snnTorch's code has it for z > B instead: zero around the threshold, and with B = 1 nearly everywhere.

    Args:
        slope: steepness around 0 [1 / unit of the membrane].
        window: half of the window, B [unit of the membrane].

    References:
        N. Perez-Nieves, D. F. M. Goodman, "Sparse spiking gradient descent", 2021, arXiv:2105.08810.
    """

    slope: float = number(25.0)
    window: float = number(1.0)
    formula: ClassVar[str] = "1 / (slope · |z| + 1)² for |z| < window, else 0"

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any, window: Any) -> Any:
        a = m.abs(z)
        r = 1.0 / (slope * a + 1.0)
        return m.where(a >= window, 0.0, r * r)
