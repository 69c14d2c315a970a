"""Surrogates with a window, outside of which the gradient is zero or one small number.

Zeros make the gradient sparse.
"""

from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Formula, parameter

__all__ = [
    "Boxcar",
    "PiecewiseLeakyReLU",
    "PiecewiseQuadratic",
    "Rect",
    "SparseFastSigmoid",
    "Triangle",
]


@dataclass(frozen=True)
class Triangle(Formula, formula="alpha · max(0, 1 - k |z|)"):
    """Derivative `alpha · max(0, 1 - k |z|)`, a triangle (Norse with k = 1, Spyx with alpha = 1).

    Args:
        alpha: Peak [1 / unit of the membrane].
        k: 1 / half of the base [1 / unit of the membrane].

    Example:
        >>> Triangle(alpha=0.3).derivative(m.tensor([0.0, 0.5, 2.0]))
        tensor([0.3000, 0.1500, 0.0000])

    References:
        S. K. Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic
        computing", 2016, doi:10.1073/pnas.1604850113.
        G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
        neurons", 2020, doi:10.1038/s41467-020-17236-y.
    """

    alpha: float = parameter(0.3)
    k: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any, k: Any) -> Any:
        y = 1.0 - k * m.abs(z)
        return alpha * m.where(y <= 0.0, 0.0, y)


@dataclass(frozen=True)
class PiecewiseQuadratic(Formula, formula="max(0, alpha - alpha² |z|)"):
    """Derivative `max(0, alpha - alpha² |z|)`, a triangle of area 1 (SpikingJelly).

    It is the derivative of a step that consists of two parabolas.

    Args:
        alpha: Peak, and 1 / half of the base [1 / unit of the membrane].

    Example:
        >>> PiecewiseQuadratic().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5000, 1.0000, 0.5000])
    """

    alpha: float = parameter(1.0)
    pseudo_derivative = staticmethod(Triangle.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha, self.alpha


@dataclass(frozen=True)
class PiecewiseLeakyReLU(Formula, formula="1/(2w) for |z| < w, else c"):
    """Derivative `1/(2w)` for |z| < w, `c` elsewhere (SpikingJelly).

    Args:
        w: Half of the width of the window [unit of the membrane].
        c: Derivative outside of the window [1 / unit of the membrane].

    Example:
        >>> PiecewiseLeakyReLU().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5000, 0.5000, 0.5000])
    """

    w: float = parameter(1.0)
    c: float = parameter(0.01, 0.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.w, 1 / (2 * self.w), self.c

    @staticmethod
    def pseudo_derivative(z: Any, half: Any, inside: Any, outside: Any) -> Any:
        a = m.abs(z)
        return m.where(a < half, inside, m.where(a >= half, outside, z))


@dataclass(frozen=True)
class Boxcar(Formula, formula="height for |z| < width/2, else 0"):
    """Derivative `height` for |z| < width/2, else 0 (Spyx).

    Args:
        width: Width of the window [unit of the membrane].
        height: Derivative inside the window [1 / unit of the membrane].

    Example:
        >>> Boxcar().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5000, 0.5000, 0.5000])
    """

    width: float = parameter(2.0)
    height: float = parameter(0.5)
    pseudo_derivative = staticmethod(PiecewiseLeakyReLU.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.width / 2, self.height, 0.0


@dataclass(frozen=True)
class Rect(Formula, formula="alpha for |z| < 1/(2 alpha), else 0"):
    """Derivative `alpha` for |z| < 1/(2 alpha), else 0: a boxcar of area 1 (SpikingJelly).

    Args:
        alpha: Derivative inside the window, and 1 / its width [1 / unit of the membrane].

    Example:
        >>> Rect().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0., 1., 0.])
    """

    alpha: float = parameter(1.0)
    pseudo_derivative = staticmethod(PiecewiseLeakyReLU.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.5 / self.alpha, self.alpha, 0.0


@dataclass(frozen=True)
class SparseFastSigmoid(Formula, formula="1 / (slope · |z| + 1)² for |z| < window, else 0"):
    """Derivative `1 / (slope · |z| + 1)²` for |z| < window, else 0 (snnTorch's SFS as documented).

    snnTorch's code has z > B in place of |z| < B: it is zero around the threshold, and with B = 1
    nearly everywhere.

    Args:
        slope: Steepness around 0 [1 / unit of the membrane].
        window: Half of the width of the window, snnTorch's B [unit of the membrane].

    Example:
        >>> SparseFastSigmoid().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.0055, 1.0000, 0.0055])

    References:
        N. Perez-Nieves, D. F. M. Goodman, "Sparse spiking gradient descent", 2021,
        arXiv:2105.08810.
    """

    slope: float = parameter(25.0)
    window: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any, window: Any) -> Any:
        a = m.abs(z)
        r = 1.0 / (slope * a + 1.0)
        return m.where(a >= window, 0.0, r * r)
