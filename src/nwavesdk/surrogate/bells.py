"""Surrogates shaped like a bell: smooth, with tails that fall exponentially or faster."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch as m  # the maths of a page: bound anew for numba and Triton

from nwavesdk.surrogate.base import Formula, number

__all__ = ["Erf", "Gaussian", "HeaviErfc", "MultiGaussian", "Sigmoid", "Tanh"]


@dataclass(frozen=True)
class Sigmoid(Formula):
    """Derivative `k e^(-kz) / (e^(-kz) + 1)²` with k = slope, the logistic density.

    The formula is even in z and is evaluated at |z| as `k p² h²`, `h = e^(-k|z|/2)`, `p = 1 / (1 + h²)`: as printed it
    overflows to NaN for z < -88.7/k in float32, and with e^(-k|z|) in one piece the tail is lost for large k. The bells
    and exponentials here are all made of the square of a root for that reason.

    Args:
        slope: steepness k [1 / unit of the membrane].

    Example:
        >>> Sigmoid(slope=25.0).derivative(m.tensor([0.0, -1e4]))
        tensor([6.2500, 0.0000])
    """

    slope: float = 25.0
    formula: ClassVar[str] = "k e^(-kz) / (e^(-kz) + 1)², k = slope"

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any) -> Any:
        h = m.exp(-0.5 * (slope * m.abs(z)))
        p = 1.0 / (1.0 + h * h)
        return (slope * h * p) * (h * p)


@dataclass(frozen=True)
class Tanh(Formula):
    """Derivative `1 - tanh²(k z)`, of height 1 whatever k is (Norse, Spyx).

    Args:
        k: steepness [1 / unit of the membrane].
    """

    k: float = number(1.0)
    formula: ClassVar[str] = "1 - tanh²(k z)"

    @staticmethod
    def pseudo_derivative(z: Any, k: Any) -> Any:
        h = m.exp(-(k * m.abs(z)))
        y = 2.0 * h / (1.0 + h * h)
        return y * y


@dataclass(frozen=True)
class Gaussian(Formula):
    """Derivative `scale · N(z; mu, sigma)`, a normal density (sinabs).

    Args:
        mu: where its peak lies [unit of the membrane above threshold].
        sigma: standard deviation [unit of the membrane].
        scale: its area.
    """

    mu: float = number(0.0, -1e18)
    sigma: float = number(0.5)
    scale: float = number(1.0)
    formula: ClassVar[str] = "scale · e^(-(z - mu)² / (2 sigma²)) / (sigma √(2 pi))"

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
class Erf(Formula):
    """Derivative `alpha/√pi · e^(-(alpha z)²)`: `Gaussian` with sigma = 1 / (alpha √2) (SpikingJelly).

    Args:
        alpha: sharpness [1 / unit of the membrane].
    """

    alpha: float = number(2.0)
    formula: ClassVar[str] = "alpha/√pi · e^(-(alpha z)²)"
    pseudo_derivative = staticmethod(Gaussian.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.0, self.alpha, self.alpha / math.sqrt(math.pi)


@dataclass(frozen=True)
class HeaviErfc(Formula):
    """Derivative `2/√pi · e^(-(k z)²)`, of one height whatever k is (Norse).

    Args:
        k: sharpness [1 / unit of the membrane].
    """

    k: float = number(1.0)
    formula: ClassVar[str] = "2/√pi · e^(-(k z)²)"
    pseudo_derivative = staticmethod(Gaussian.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.0, self.k, 2 / math.sqrt(math.pi)


@dataclass(frozen=True)
class MultiGaussian(Formula):
    """Derivative `scale · ((1 + h) N(z; 0, sigma) - h N(z; sigma, s sigma) - h N(z; -sigma, s sigma))` (sinabs).

    It is negative at some distance from threshold.

    Args:
        sigma: standard deviation of the peak [unit of the membrane].
        h: share of the two bells that are subtracted.
        s: how many times as wide these are.
        scale: a factor; the area is `scale (1 - h)`.

    References:
        B. Yin, F. Corradi, S. M. Bohté, "Accurate and efficient time-domain classification with adaptive spiking
        recurrent neural networks", 2021, doi:10.1038/s42256-021-00397-w.
    """

    sigma: float = number(0.5)
    h: float = number(0.15, 0.0)
    s: float = number(6.0, 1e-3, 1e3)
    scale: float = number(1.0)
    formula: ClassVar[str] = (
        "scale · ((1+h) N(z; 0, sigma) - h N(z; sigma, s sigma) - h N(z; -sigma, s sigma))"
    )

    @property
    def constants(self) -> tuple[float, ...]:
        wide, root = self.s * self.sigma, math.sqrt(2)
        unit = self.scale / math.sqrt(2 * math.pi)
        peak, side = (1 + self.h) * unit / self.sigma, self.h * unit / wide
        return self.sigma, 1 / (self.sigma * root), 1 / (wide * root), peak, side

    @staticmethod
    def pseudo_derivative(
        z: Any, sigma: Any, rate: Any, side_rate: Any, peak: Any, side: Any
    ) -> Any:
        y = rate * z
        left, right = side_rate * (z + sigma), side_rate * (z - sigma)
        h = m.exp(-0.5 * (y * y))
        a = m.exp(-0.5 * (left * left))
        b = m.exp(-0.5 * (right * right))
        return (peak * h) * h - side * (a * a + b * b)
