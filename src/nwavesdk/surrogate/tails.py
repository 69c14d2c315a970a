"""Surrogates with power-law tails: neurons far from the threshold still learn."""

import math
from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Formula, parameter

__all__ = [
    "ATan",
    "Circ",
    "FakeNumericalGradient",
    "FastSigmoid",
    "FixedPeakATan",
    "NonzeroSignLogAbs",
    "QPseudoSpike",
    "SoftSign",
    "SuperSpike",
]


@dataclass(frozen=True)
class ATan(Formula, formula="(alpha/2) / (1 + (pi/2 · alpha · z)²)"):
    """Derivative `(alpha/2) / (1 + (pi/2 · alpha · z)²)`: heavier tails than a sigmoid's.

    It is the derivative of `arctan(pi/2 · alpha · z) / pi`, a step of height 1. Its peak alpha/2
    grows with alpha; the peak of `FixedPeakATan`, which Spyx calls arctan, does not.

    Args:
        alpha: Sharpness [1 / unit of the membrane]. Larger values concentrate the gradient near 0.

    Example:
        >>> ATan(alpha=2.0).derivative(m.tensor([0.0]))
        tensor([1.])

    References:
        W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of
        spiking neural networks", 2021, doi:10.1109/ICCV48922.2021.00266.
    """

    alpha: float = 2.0

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha / 2, math.pi / 2 * self.alpha

    @staticmethod
    def pseudo_derivative(z: Any, peak: Any, rate: Any) -> Any:
        y = rate * z
        return peak / (1.0 + y * y)


@dataclass(frozen=True)
class FixedPeakATan(Formula, formula="1 / (pi · (1 + (k · pi · z)²))"):
    """Derivative `1 / (pi · (1 + (k · pi · z)²))`: an `ATan` with the peak 1/pi for every k (Spyx).

    It equals `ATan(2k)` divided by k pi, so a larger k narrows it and reduces its area, which is
    1/(k pi). Spyx 1.0.0 has it as `spyx.axn.arctan`; `nwavesdk.surrogate.arctan` is an alias.

    Args:
        k: Sharpness [1 / unit of the membrane].

    Example:
        >>> FixedPeakATan().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.0293, 0.3183, 0.0293])
    """

    k: float = parameter(2.0)
    pseudo_derivative = staticmethod(ATan.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 1 / math.pi, self.k * math.pi


@dataclass(frozen=True)
class FastSigmoid(Formula, formula="1 / (slope · |z| + 1)²"):
    """Derivative `1 / (slope · |z| + 1)²`: the robust default.

    Args:
        slope: Steepness around 0 [1 / unit of the membrane].

    Example:
        >>> FastSigmoid(slope=25.0).derivative(m.tensor([0.0, 0.04]))
        tensor([1.0000, 0.2500])

    References:
        F. Zenke, S. Ganguli, "SuperSpike", 2018, doi:10.1162/neco_a_01086.
    """

    slope: float = 25.0

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any) -> Any:
        r = 1.0 / (slope * m.abs(z) + 1.0)
        return r * r


@dataclass(frozen=True)
class SoftSign(Formula, formula="(alpha/2) / (1 + alpha · |z|)²"):
    """Derivative `(alpha/2) / (1 + alpha · |z|)²`: the fast sigmoid with area 1 (SpikingJelly).

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> SoftSign().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.2500, 1.0000, 0.2500])
    """

    alpha: float = parameter(2.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha / 2, self.alpha

    @staticmethod
    def pseudo_derivative(z: Any, peak: Any, slope: Any) -> Any:
        r = 1.0 / (slope * m.abs(z) + 1.0)
        return peak * r * r


@dataclass(frozen=True)
class SuperSpike(Formula, formula="alpha / (1 + |z|)²"):
    """Derivative `alpha / (1 + |z|)²`: `alpha` times a fast sigmoid of slope 1 (SpikingJelly).

    Args:
        alpha: Peak [1 / unit of the membrane]. The width is fixed.

    Example:
        >>> SuperSpike().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4444, 1.0000, 0.4444])
    """

    alpha: float = parameter(1.0)
    pseudo_derivative = staticmethod(SoftSign.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha, 1.0


@dataclass(frozen=True)
class NonzeroSignLogAbs(Formula, formula="alpha / (1 + alpha · |z|)"):
    """Derivative `alpha / (1 + alpha · |z|)` (SpikingJelly).

    It is the derivative of the logarithm of the distance from the threshold. Its area is infinite.

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> NonzeroSignLogAbs().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.6667, 1.0000, 0.6667])
    """

    alpha: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any) -> Any:
        return alpha / (alpha * m.abs(z) + 1.0)


@dataclass(frozen=True)
class QPseudoSpike(Formula, formula="(1 + 2/(alpha - 1) · |z|)^(-alpha)"):
    """Derivative `(1 + 2/(alpha - 1) · |z|)^(-alpha)`, of area 1 for every alpha (SpikingJelly).

    Args:
        alpha: Power of the tail, above 1.

    Example:
        >>> QPseudoSpike().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.2500, 1.0000, 0.2500])

    References:
        S. Herranz-Celotti, J. Rouat, "Surrogate gradients design", 2022, arXiv:2202.00282.
    """

    alpha: float = parameter(2.0, 1.0001, 1000.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha, 2 / (self.alpha - 1)

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any, rate: Any) -> Any:
        h = m.exp(-0.5 * (alpha * m.log(rate * m.abs(z) + 1.0)))
        return h * h


@dataclass(frozen=True)
class Circ(Formula, formula="(1 + (z/alpha)²)^(-3/2)"):
    """Derivative `(1 + (z/alpha)²)^(-3/2)` of the step `z / √(z² + alpha²)`, up to scale (Norse).

    Args:
        alpha: Width [unit of the membrane]. Unlike elsewhere, a larger alpha is less steep.

    Example:
        >>> Circ().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.7155, 1.0000, 0.7155])
    """

    alpha: float = parameter(1.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return (1 / self.alpha,)

    @staticmethod
    def pseudo_derivative(z: Any, rate: Any) -> Any:
        y = rate * z
        r = 1.0 / m.sqrt(1.0 + y * y)
        return r * r * r


@dataclass(frozen=True)
class FakeNumericalGradient(Formula, formula="min(1/|z|, alpha)"):
    """Derivative `min(1/|z|, alpha)`, the step divided by the distance (SpikingJelly).

    Its area is infinite.

    Args:
        alpha: Peak [1 / unit of the membrane].

    Example:
        >>> FakeNumericalGradient().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.3000, 0.3000, 0.3000])
    """

    alpha: float = parameter(0.3)

    @property
    def constants(self) -> tuple[float, ...]:
        return (1 / self.alpha,)

    @staticmethod
    def pseudo_derivative(z: Any, near: Any) -> Any:
        a = m.abs(z)
        return 1.0 / m.where(a <= near, near, a)
