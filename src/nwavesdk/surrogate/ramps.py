"""Surrogates that do not fall off on both sides of the threshold: ramps, constants and waves.

A page selects with `m.where(..., z)` in its last branch so that NaN passes through as NaN.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Formula, parameter

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
class StraightThrough(Formula, formula="1"):
    """Derivative `1`: the gradient ignores the spike (snnTorch, SpikingJelly).

    Example:
        >>> StraightThrough().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([1., 1., 1.])

    References:
        Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through
        stochastic neurons for conditional computation", 2013, arXiv:1308.3432.
    """

    @staticmethod
    def pseudo_derivative(z: Any) -> Any:
        return m.where(m.abs(z) >= 0.0, 1.0, z)


@dataclass(frozen=True)
class LeakyKReLU(Formula, formula="k for z > 0, else leak"):
    """Derivative `k` for z > 0, else `leak` (SpikingJelly; snnTorch's heaviside and LSO).

    Args:
        leak: Derivative below and at the threshold, where a neuron does not spike.
        k: Derivative above the threshold.

    Example:
        >>> LeakyKReLU(leak=0.1).derivative(m.tensor([-1.0, 2.0]))
        tensor([0.1000, 1.0000])
    """

    leak: float = parameter(0.0, 0.0)
    k: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, leak: Any, k: Any) -> Any:
        return m.where(z > 0.0, k, m.where(z <= 0.0, leak, z))


@dataclass(frozen=True)
class LogTailedReLU(Formula, formula="alpha for z <= 0, 1 for z <= 1, else 1/z"):
    """Derivative `alpha` for z <= 0, 1 up to z = 1, then `1/z` (SpikingJelly).

    Args:
        alpha: Derivative below and at the threshold.

    Example:
        >>> LogTailedReLU().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0., 0., 1.])

    References:
        Z. Cai et al., "Deep learning with low precision by half-wave Gaussian quantization", 2017,
        arXiv:1702.00953.
    """

    alpha: float = parameter(0.0, 0.0)

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any) -> Any:
        return m.where(z <= 0.0, alpha, 1.0 / m.where(z <= 1.0, 1.0, z))


@dataclass(frozen=True)
class S2nn(
    Formula, formula="alpha e^(alpha z) / (1 + e^(alpha z))² for z < 0, else beta / (z + 1)"
):
    """Derivative `alpha e^(alpha z) / (1 + e^(alpha z))²` for z < 0, else `beta / (z + 1)`.

    That is a logistic density below the threshold and a logarithm's slope above (SpikingJelly).

    Args:
        alpha: Steepness below the threshold [1 / unit of the membrane].
        beta: Derivative at the threshold.

    Example:
        >>> S2nn().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4200, 1.0000, 0.6667])

    References:
        K. Suetake et al., "S³NN: Time step reduction of spiking surrogate gradients for training
        energy efficient single-step spiking neural networks", 2022, arXiv:2201.10879.
    """

    alpha: float = parameter(4.0)
    beta: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, alpha: Any, beta: Any) -> Any:
        a = m.abs(z)
        h = m.exp(-0.5 * (alpha * a))
        p = 1.0 / (1.0 + h * h)
        return m.where(z < 0.0, (alpha * h * p) * (h * p), beta / (a + 1.0))


@dataclass(frozen=True)
class HeavisideWindow(Formula, formula="1/threshold for z >= -window, else 0"):
    """Derivative `1/threshold` for z >= -window, else 0 (sinabs' Heaviside).

    Args:
        window: How far below the threshold the derivative begins [unit of the membrane]. sinabs
            documents it as relative to the threshold, but its code uses it unscaled, as here.
        threshold: Threshold of the neurons [unit of the membrane].

    Example:
        >>> HeavisideWindow().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([1., 1., 1.])
    """

    window: float = parameter(1.0, 0.0)
    threshold: float = parameter(1.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return -self.window, 1 / self.threshold

    @staticmethod
    def pseudo_derivative(z: Any, first: Any, height: Any) -> Any:
        return m.where(z < first, 0.0, m.where(z >= first, height, z))


@dataclass(frozen=True)
class SnnTorchTriangular(Formula, formula="threshold for z < 0, else -threshold"):
    """Derivative `threshold` for z < 0, else `-threshold`: what snnTorch calls triangular.

    It is here for comparisons: it moves neurons that spike in the wrong direction. `Triangle` is a
    triangle.

    Args:
        threshold: Absolute value of the derivative.

    Example:
        >>> SnnTorchTriangular().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([ 1., -1., -1.])
    """

    threshold: float = parameter(1.0)

    @staticmethod
    def pseudo_derivative(z: Any, threshold: Any) -> Any:
        return m.where(z < 0.0, threshold, m.where(z >= 0.0, -threshold, z))


@dataclass(frozen=True)
class SquarewaveFourierSeries(
    Formula, formula="4/T · (cos y + cos 3y + … n - 1 terms), y = 2 pi z / T, T = period"
):
    """Derivative `4/T · (cos y + cos 3y + … n - 1 terms)`, y = 2 pi z / T (SpikingJelly).

    It is the derivative of the first terms of the Fourier series of a square wave. It has no limit
    at ±inf, where it is NaN. As in SpikingJelly's code, n is one more than the number of terms.

    Args:
        n: Number of terms plus 1, from 2 to 7.
        period: Period of the wave [unit of the membrane].

    Example:
        >>> SquarewaveFourierSeries().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4619, 0.5000, 0.4619])
    """

    n: int = parameter(2, 2, 7)
    period: float = parameter(8.0, 1e-3)

    @property
    def constants(self) -> tuple[float, ...]:
        return 2 * math.pi / self.period, *(4 / self.period * (i < self.n) for i in range(1, 7))

    @staticmethod
    def pseudo_derivative(
        z: Any, rate: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, a6: Any
    ) -> Any:
        # cos((2i + 1) y) = 2 cos(2y) cos((2i - 1) y) - cos((2i - 3) y)
        y = rate * z
        # Far beyond all digits of a phase, the product overflows for a finite z: the phase is 0.
        c1 = m.cos(m.where(y - y == 0.0, y, z - z))
        d = 4.0 * c1 * c1 - 2.0
        c2 = d * c1 - c1
        c3 = d * c2 - c1
        c4 = d * c3 - c2
        c5 = d * c4 - c3
        c6 = d * c5 - c4
        return a1 * c1 + a2 * c2 + a3 * c3 + a4 * c4 + a5 * c5 + a6 * c6
