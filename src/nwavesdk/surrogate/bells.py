"""Surrogates shaped like a bell: smooth, with tails that fall exponentially or faster.

Here and in `exponentials.py` an exponential is evaluated as the square of `h`, its root, and
multiplied as `(peak * h) * h`: `e^(-y)` in one piece underflows where the product does not.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Formula, parameter

__all__ = ["Erf", "Gaussian", "HeaviErfc", "MultiGaussian", "Sigmoid", "Tanh"]


@dataclass(frozen=True)
class Sigmoid(Formula, formula="k e^(-kz) / (e^(-kz) + 1)², k = slope"):
    """Derivative `k e^(-kz) / (e^(-kz) + 1)²` with k = slope, the logistic density.

    The formula is even in z and is evaluated at |z| as `k p² h²` with `h = e^(-k|z|/2)` and
    `p = 1 / (1 + h²)`. As printed it overflows to NaN for z < -88.7/k in float32.

    Args:
        slope: Steepness k [1 / unit of the membrane].

    Example:
        >>> Sigmoid(slope=25.0).derivative(m.tensor([0.0, -1e4]))
        tensor([6.2500, 0.0000])
    """

    slope: float = 25.0

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any) -> Any:
        h = m.exp(-0.5 * (slope * m.abs(z)))
        p = 1.0 / (1.0 + h * h)
        return (slope * h * p) * (h * p)


@dataclass(frozen=True)
class Tanh(Formula, formula="1 - tanh²(k z)"):
    """Derivative `1 - tanh²(k z)`, with the peak 1 for every k (Norse, Spyx).

    Args:
        k: Steepness [1 / unit of the membrane].

    Example:
        >>> Tanh().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.7864, 1.0000, 0.7864])
    """

    k: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, k: Any) -> Any:
        h = m.exp(-(k * m.abs(z)))
        y = 2.0 * h / (1.0 + h * h)
        return y * y


@dataclass(frozen=True)
class Gaussian(Formula, formula="scale · e^(-(z - mu)² / (2 sigma²)) / (sigma √(2 pi))"):
    """Derivative `scale · N(z; mu, sigma)`, a normal density (sinabs).

    Args:
        mu: Position of the peak [unit of the membrane above threshold].
        sigma: Standard deviation [unit of the membrane].
        scale: Area.

    Example:
        >>> Gaussian().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4839, 0.7979, 0.4839])
    """

    mu: float = parameter(0.0, -1e18)
    sigma: float = parameter(0.5)
    scale: float = parameter(1.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return (
            self.mu,
            1 / (self.sigma * math.sqrt(2)),
            self.scale / (self.sigma * math.sqrt(2 * math.pi)),
        )

    @staticmethod
    def pseudo_derivative(z: Any, mu: Any, rate: Any, peak: Any) -> Any:
        y = rate * (z - mu)
        h = m.exp(-0.5 * (y * y))
        return (peak * h) * h


@dataclass(frozen=True)
class Erf(Formula, formula="alpha/√pi · e^(-(alpha z)²)"):
    """Derivative `alpha/√pi · e^(-(alpha z)²)` (SpikingJelly).

    It equals `Gaussian` with sigma = 1 / (alpha √2).

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> Erf().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4151, 1.1284, 0.4151])
    """

    alpha: float = parameter(2.0)
    pseudo_derivative = staticmethod(Gaussian.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.0, self.alpha, self.alpha / math.sqrt(math.pi)


@dataclass(frozen=True)
class HeaviErfc(Formula, formula="2/√pi · e^(-(k z)²)"):
    """Derivative `2/√pi · e^(-(k z)²)`, with one peak for every k (Norse).

    Args:
        k: Sharpness [1 / unit of the membrane].

    Example:
        >>> HeaviErfc().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.8788, 1.1284, 0.8788])
    """

    k: float = parameter(1.0)
    pseudo_derivative = staticmethod(Gaussian.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.0, self.k, 2 / math.sqrt(math.pi)


@dataclass(frozen=True)
class MultiGaussian(
    Formula,
    formula="scale · ((1+h) N(z; 0, sigma) - h N(z; sigma, s sigma) - h N(z; -sigma, s sigma))",
):
    """Derivative `scale · ((1 + h) N(0, sigma) - h N(sigma, s sigma) - h N(-sigma, s sigma))`.

    N(mu, sigma) is the normal density at z. The derivative is negative at some distance from the
    threshold (sinabs).

    Args:
        sigma: Standard deviation of the peak [unit of the membrane].
        h: Share of each of the two bells that are subtracted.
        s: Width of these two bells relative to sigma.
        scale: A factor. The area is `scale (1 - h)`.

    Example:
        >>> MultiGaussian().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5177, 0.8782, 0.5177])

    References:
        B. Yin, F. Corradi, S. M. Bohté, "Accurate and efficient time-domain classification with
        adaptive spiking recurrent neural networks", 2021, doi:10.1038/s42256-021-00397-w.
    """

    sigma: float = parameter(0.5)
    h: float = parameter(0.15, 0.0)
    s: float = parameter(6.0, 1e-3, 1e3)
    scale: float = parameter(1.0)

    @property
    def constants(self) -> tuple[float, ...]:
        wide = self.s * self.sigma
        unit = self.scale / math.sqrt(2 * math.pi)
        return (
            self.sigma,
            1 / (self.sigma * math.sqrt(2)),
            1 / (wide * math.sqrt(2)),
            (1 + self.h) * unit / self.sigma,
            self.h * unit / wide,
        )

    @staticmethod
    def pseudo_derivative(
        z: Any, sigma: Any, rate: Any, side_rate: Any, peak: Any, side: Any
    ) -> Any:
        y = rate * z
        left = side_rate * (z + sigma)
        right = side_rate * (z - sigma)
        h = m.exp(-0.5 * (y * y))
        a = m.exp(-0.5 * (left * left))
        b = m.exp(-0.5 * (right * right))
        return (peak * h) * h - side * (a * a + b * b)
