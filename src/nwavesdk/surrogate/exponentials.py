"""Surrogates that fall exponentially from a kink."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch as m  # the maths of a page: bound anew for numba and Triton

from nwavesdk.surrogate.base import Formula, number

__all__ = ["PeriodicExponential", "PiecewiseExp", "SingleExponential", "SpikeRateEscape"]


@dataclass(frozen=True)
class SpikeRateEscape(Formula):
    """Derivative `slope · e^(-beta · |z - center|)` (snnTorch).

    snnTorch prints `slope · e^(-beta · |U - 1|)`, U the membrane and 1 its threshold, but evaluates it at U - 1: its
    peak lies at twice the threshold. With `center=1` this is what it does, with `center=0` what it prints.

    Args:
        beta: steepness [1 / unit of the membrane].
        slope: height [1 / unit of the membrane].
        center: where the peak lies [unit of the membrane above threshold].

    References:
        W. Gerstner, W. M. Kistler, "Spiking neuron models", 2002, doi:10.1017/CBO9780511815706.
    """

    beta: float = number(1.0)
    slope: float = number(25.0)
    center: float = number(1.0, -1e18)
    formula: ClassVar[str] = "slope · e^(-beta · |z - center|)"

    @property
    def constants(self) -> tuple[float, ...]:
        return self.center, self.beta, self.slope

    @staticmethod
    def pseudo_derivative(z: Any, center: Any, rate: Any, peak: Any) -> Any:
        h = m.exp(-0.5 * (rate * m.abs(z - center)))
        return (peak * h) * h


@dataclass(frozen=True)
class PiecewiseExp(Formula):
    """Derivative `(alpha/2) · e^(-alpha · |z|)`, of area 1 (SpikingJelly).

    Args:
        alpha: sharpness [1 / unit of the membrane].
    """

    alpha: float = number(1.0)
    formula: ClassVar[str] = "(alpha/2) · e^(-alpha · |z|)"
    pseudo_derivative = staticmethod(SpikeRateEscape.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.0, self.alpha, self.alpha / 2


@dataclass(frozen=True)
class SingleExponential(Formula):
    """Derivative `scale/w · e^(-|z|/w)` with w = width · threshold (sinabs).

    Args:
        width: where it has fallen to 1/e [thresholds].
        scale: half of its area.
        threshold: that of the neurons [unit of the membrane].

    References:
        S. B. Shrestha, G. Orchard, "SLAYER: Spike layer error reassignment in time", 2018, arXiv:1810.08646.
    """

    width: float = number(0.5, 1e-9, 1e9)
    scale: float = number(1.0)
    threshold: float = number(1.0, 1e-9, 1e9)
    formula: ClassVar[str] = "scale/w · e^(-|z|/w), w = width · threshold"
    pseudo_derivative = staticmethod(SpikeRateEscape.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        w = self.width * self.threshold
        return 0.0, 1 / w, self.scale / w


@dataclass(frozen=True)
class PeriodicExponential(Formula):
    """Derivative `scale · e^(-d/width)`, d the distance from threshold, or above it from its nearest multiple (sinabs).

    It has no limit for high membranes: at +inf it is NaN.

    Args:
        width: where it has fallen to 1/e [unit of the membrane].
        scale: height.
        threshold: that of the neurons [unit of the membrane]. The distance from its multiples counts twice.

    References:
        P. Weidel, S. Sheik, "WaveSense", 2021, arXiv:2111.01456.
    """

    width: float = number(0.5)
    scale: float = number(1.0)
    threshold: float = number(1.0, 1e-9, 1e9)
    formula: ClassVar[str] = (
        "scale · e^(-d/width), d = |z| below 0, else 2 · distance to the nearest k · threshold"
    )

    @property
    def constants(self) -> tuple[float, ...]:
        return self.threshold, 1 / self.width, self.scale

    @staticmethod
    def pseudo_derivative(z: Any, threshold: Any, rate: Any, peak: Any) -> Any:
        turns = z / threshold + 0.5
        saw = threshold * (2.0 * (turns - m.floor(turns)) - 1.0)
        h = m.exp(-0.5 * (rate * m.abs(m.where(z < 0.0, z, saw))))
        return (peak * h) * h
