"""Surrogates that fall exponentially from a kink; `bells.py` explains the square of a root."""

from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Formula, parameter

__all__ = ["PeriodicExponential", "PiecewiseExp", "SingleExponential", "SpikeRateEscape"]


@dataclass(frozen=True)
class SpikeRateEscape(Formula, formula="slope · e^(-beta · |z - center|)"):
    """Derivative `slope · e^(-beta · |z - center|)` (snnTorch).

    snnTorch documents `slope · e^(-beta · |U - 1|)` for the membrane U and a threshold of 1, but
    evaluates it at U - 1, so that its peak is at twice the threshold. `center=1` gives the formula
    of its code, `center=0` the documented one.

    Args:
        beta: Steepness [1 / unit of the membrane].
        slope: Peak [1 / unit of the membrane].
        center: Position of the peak [unit of the membrane above threshold].

    Example:
        >>> SpikeRateEscape().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([ 5.5783,  9.1970, 15.1633])

    References:
        W. Gerstner, W. M. Kistler, "Spiking neuron models", 2002, doi:10.1017/CBO9780511815706.
    """

    beta: float = parameter(1.0)
    slope: float = parameter(25.0)
    center: float = parameter(1.0, -1e18)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.center, self.beta, self.slope

    @staticmethod
    def pseudo_derivative(z: Any, center: Any, rate: Any, peak: Any) -> Any:
        h = m.exp(-0.5 * (rate * m.abs(z - center)))
        return (peak * h) * h


@dataclass(frozen=True)
class PiecewiseExp(Formula, formula="(alpha/2) · e^(-alpha · |z|)"):
    """Derivative `(alpha/2) · e^(-alpha · |z|)`, of area 1 (SpikingJelly).

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> PiecewiseExp().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.3033, 0.5000, 0.3033])
    """

    alpha: float = parameter(1.0)
    pseudo_derivative = staticmethod(SpikeRateEscape.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        return 0.0, self.alpha, self.alpha / 2


@dataclass(frozen=True)
class SingleExponential(Formula, formula="scale/w · e^(-|z|/w), w = width · threshold"):
    """Derivative `scale/w · e^(-|z|/w)` with w = width · threshold (sinabs).

    Args:
        width: Distance at which it has fallen to 1/e [thresholds].
        scale: Half of the area.
        threshold: Threshold of the neurons [unit of the membrane].

    Example:
        >>> SingleExponential().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.7358, 2.0000, 0.7358])

    References:
        S. B. Shrestha, G. Orchard, "SLAYER: Spike layer error reassignment in time", 2018,
        arXiv:1810.08646.
    """

    width: float = parameter(0.5, 1e-9, 1e9)
    scale: float = parameter(1.0)
    threshold: float = parameter(1.0, 1e-9, 1e9)
    pseudo_derivative = staticmethod(SpikeRateEscape.pseudo_derivative)

    @property
    def constants(self) -> tuple[float, ...]:
        w = self.width * self.threshold
        return 0.0, 1 / w, self.scale / w


@dataclass(frozen=True)
class PeriodicExponential(
    Formula,
    formula="scale · e^(-d/width), d = |z| below 0, else 2 · distance to the nearest k · threshold",
):
    """Derivative `scale · e^(-d/width)`, which peaks at every multiple of the threshold (sinabs).

    d is the distance from the threshold below it, and twice the distance from the nearest multiple
    of the threshold above it. The derivative has no limit at +inf, where it is NaN.

    Args:
        width: Distance d at which it has fallen to 1/e [unit of the membrane].
        scale: Peak.
        threshold: Threshold of the neurons [unit of the membrane].

    Example:
        >>> PeriodicExponential().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.3679, 1.0000, 0.1353])

    References:
        P. Weidel, S. Sheik, "WaveSense", 2021, arXiv:2111.01456.
    """

    width: float = parameter(0.5)
    scale: float = parameter(1.0)
    threshold: float = parameter(1.0, 1e-9, 1e9)

    @property
    def constants(self) -> tuple[float, ...]:
        return self.threshold, 1 / self.width, self.scale

    @staticmethod
    def pseudo_derivative(z: Any, threshold: Any, rate: Any, peak: Any) -> Any:
        turns = z / threshold + 0.5
        # Far beyond all digits of a phase, the quotient overflows for a finite z: the phase is 0.
        turns = m.where(turns - turns == 0.0, turns, z - z)
        saw = threshold * (2.0 * (turns - m.floor(turns)) - 1.0)
        h = m.exp(-0.5 * (rate * m.abs(m.where(z < 0.0, z, saw))))
        return (peak * h) * h
