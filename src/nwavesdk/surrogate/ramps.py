"""Surrogates that do not fall on both sides of the threshold: those of ramps, and what is no bump at all."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch as m  # the maths of a page: bound anew for numba and Triton

from nwavesdk.surrogate.base import Formula, number

__all__ = [
    "HeavisideWindow",
    "LeakyKReLU",
    "LogTailedReLU",
    "S2nn",
    "SnnTorchTriangular",
    "SquarewaveFourierSeries",
    "StraightThrough",
]


@dataclass(frozen=True)
class StraightThrough(Formula):
    """Derivative 1: the gradient passes the spike as if it were not there (snnTorch, SpikingJelly).

    References:
        Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through stochastic neurons for
        conditional computation", 2013, arXiv:1308.3432.
    """

    formula: ClassVar[str] = "1"

    @staticmethod
    def pseudo_derivative(z: Any) -> Any:
        return m.where(m.abs(z) >= 0.0, 1.0, z)


@dataclass(frozen=True)
class LeakyKReLU(Formula):
    """Derivative `k` where the neuron spikes, `leak` elsewhere (SpikingJelly; snnTorch's heaviside and LSO).

    Args:
        leak: derivative below threshold, and at it, where no neuron here spikes.
        k: derivative above.

    Example:
        >>> LeakyKReLU(leak=0.1).derivative(m.tensor([-1.0, 2.0]))
        tensor([0.1000, 1.0000])
    """

    leak: float = number(0.0, 0.0)
    k: float = number(1.0)
    formula: ClassVar[str] = "k for z > 0, else leak"

    @staticmethod
    def pseudo_derivative(z: Any, leak: Any, k: Any) -> Any:
        return m.where(z > 0.0, k, m.where(z <= 0.0, leak, z))


@dataclass(frozen=True)
class LogTailedReLU(Formula):
    """Derivative `alpha` for z <= 0, 1 up to z = 1, then `1/z` (SpikingJelly).

    Args:
        alpha: derivative below threshold.

    References:
        Z. Cai et al., "Deep learning with low precision by half-wave Gaussian quantization", 2017, arXiv:1702.00953.
    """

    alpha: float = number(0.0, 0.0)
    formula: ClassVar[str] = "alpha for z <= 0, 1 for z <= 1, else 1/z"

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any) -> Any:
        return m.where(z <= 0.0, alpha, 1.0 / m.where(z <= 1.0, 1.0, z))


@dataclass(frozen=True)
class S2nn(Formula):
    """Derivative `alpha e^(alpha z) / (1 + e^(alpha z))²` for z < 0, else `beta / (z + 1)`.

    That is a logistic density below the threshold and a logarithm's slope above (SpikingJelly).

    Args:
        alpha: steepness below threshold [1 / unit of the membrane].
        beta: derivative at threshold.

    References:
        K. Suetake et al., "S³NN: Time step reduction of spiking surrogate gradients for training energy efficient
        single-step spiking neural networks", 2022, arXiv:2201.10879.
    """

    alpha: float = number(4.0)
    beta: float = number(1.0)
    formula: ClassVar[str] = "alpha e^(alpha z) / (1 + e^(alpha z))² for z < 0, else beta / (z + 1)"

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any, beta: Any) -> Any:
        a = m.abs(z)
        h = m.exp(-0.5 * (alpha * a))
        p = 1.0 / (1.0 + h * h)
        return m.where(z < 0.0, (alpha * h * p) * (h * p), beta / (a + 1.0))


@dataclass(frozen=True)
class HeavisideWindow(Formula):
    """Derivative `1/threshold` for z >= -window, else 0 (sinabs' Heaviside).

    Args:
        window: how far below threshold the derivative begins [unit of the membrane]. (sinabs' text says that it is
            relative to the threshold, its code takes it as it is, and so does this.)
        threshold: that of the neurons [unit of the membrane].
    """

    window: float = number(1.0, 0.0)
    threshold: float = number(1.0)
    formula: ClassVar[str] = "1/threshold for z >= -window, else 0"

    @property
    def constants(self) -> tuple[float, ...]:
        return -self.window, 1 / self.threshold

    @staticmethod
    def pseudo_derivative(z: Any, first: Any, height: Any) -> Any:
        return m.where(z < first, 0.0, m.where(z >= first, height, z))


@dataclass(frozen=True)
class SnnTorchTriangular(Formula):
    """Derivative `threshold` below threshold and `-threshold` from it on: what snnTorch calls triangular.

    For comparisons: it tells neurons that spike to go the wrong way. A triangle is `Triangle`.

    Args:
        threshold: its absolute value.
    """

    threshold: float = number(1.0)
    formula: ClassVar[str] = "threshold for z < 0, else -threshold"

    @staticmethod
    def pseudo_derivative(z: Any, threshold: Any) -> Any:
        return m.where(z < 0.0, threshold, m.where(z >= 0.0, -threshold, z))


@dataclass(frozen=True)
class SquarewaveFourierSeries(Formula):
    """Derivative `4/T · Σ cos((2i - 1) · 2 pi z / T)` for i from 1 to n - 1, T = period (SpikingJelly).

    That of a square wave, as the first terms of its Fourier series: a sum of waves, with no limit at ±inf, where it is
    NaN. As in SpikingJelly's code, n is one more than the number of terms.

    Args:
        n: from 2 to 7.
        period: of the wave [unit of the membrane].
    """

    n: int = number(2, 2, 7)
    period: float = number(8.0, 1e-3)
    formula: ClassVar[str] = "4/T · (cos y + cos 3y + … n - 1 terms), y = 2 pi z / T, T = period"

    @property
    def constants(self) -> tuple[float, ...]:
        return 2 * math.pi / self.period, *(4 / self.period * (i < self.n) for i in range(1, 7))

    @staticmethod
    def pseudo_derivative(
        z: Any, rate: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, a6: Any
    ) -> Any:
        c1 = m.cos(rate * z)
        d = 4.0 * c1 * c1 - 2.0
        c2 = d * c1 - c1
        c3 = d * c2 - c1
        c4 = d * c3 - c2
        c5 = d * c4 - c3
        c6 = d * c5 - c4
        return a1 * c1 + a2 * c2 + a3 * c3 + a4 * c4 + a5 * c5 + a6 * c6
