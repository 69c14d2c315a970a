"""Surrogates with power-law tails: neurons far from the threshold still learn."""

import math
from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Constants, Formula, constants_of, parameter, surrogate_page

__all__ = [
    "ATan",
    "FastSigmoid",
    "circ",
    "fake_numerical_gradient",
    "fixed_peak_atan",
    "nonzero_sign_log_abs",
    "q_pseudo_spike",
    "soft_sign",
    "super_spike",
]


@dataclass(frozen=True)
class ATan(Formula, formula="(alpha/2) / (1 + (pi/2 · alpha · z)²)"):
    """Derivative `(alpha/2) / (1 + (pi/2 · alpha · z)²)`: heavier tails than a sigmoid's.

    It is the derivative of `arctan(pi/2 · alpha · z) / pi`, a step of height 1. Its peak alpha/2
    grows with alpha; the peak of `fixed_peak_atan`, which Spyx calls arctan, does not.

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


@constants_of(ATan.pseudo_derivative, "1 / (pi · (1 + (k · pi · z)²))")
def fixed_peak_atan(k: float = parameter(2.0)) -> Constants:
    """Derivative `1 / (pi · (1 + (k · pi · z)²))`: an `ATan` with the peak 1/pi for every k (Spyx).

    It equals `ATan(2k)` divided by k pi, so a larger k narrows it and reduces its area, which is
    1/(k pi). Spyx 1.0.0 has it as `spyx.axn.arctan`; `nwavesdk.surrogate.arctan` is an alias.

    Args:
        k: Sharpness [1 / unit of the membrane].

    Example:
        >>> fixed_peak_atan().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.0293, 0.3183, 0.0293])
    """
    return 1 / math.pi, k * math.pi


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


def scaled_fast_sigmoid(z: Any, peak: Any, slope: Any) -> Any:
    r = 1.0 / (slope * m.abs(z) + 1.0)
    return peak * r * r


@constants_of(scaled_fast_sigmoid, "(alpha/2) / (1 + alpha · |z|)²")
def soft_sign(alpha: float = parameter(2.0)) -> Constants:
    """Derivative `(alpha/2) / (1 + alpha · |z|)²`: the fast sigmoid with area 1 (SpikingJelly).

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> soft_sign().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.2500, 1.0000, 0.2500])
    """
    return alpha / 2, alpha


@constants_of(scaled_fast_sigmoid, "alpha / (1 + |z|)²")
def super_spike(alpha: float = parameter(1.0)) -> Constants:
    """Derivative `alpha / (1 + |z|)²`: `alpha` times a fast sigmoid of slope 1 (SpikingJelly).

    Args:
        alpha: Peak [1 / unit of the membrane]. The width is fixed.

    Example:
        >>> super_spike().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4444, 1.0000, 0.4444])
    """
    return alpha, 1.0


@surrogate_page("alpha / (1 + alpha · |z|)")
def nonzero_sign_log_abs(z: Any, alpha: float = parameter(1.0)) -> Any:
    """Derivative `alpha / (1 + alpha · |z|)` (SpikingJelly).

    It is the derivative of the logarithm of the distance from the threshold. Its area is infinite.

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> nonzero_sign_log_abs().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.6667, 1.0000, 0.6667])
    """
    return alpha / (alpha * m.abs(z) + 1.0)


def q_pseudo_spike_page(z: Any, alpha: Any, rate: Any) -> Any:
    # A power as an exponential, in two factors as in `nwavesdk.surrogate.bells`.
    h = m.exp(-0.5 * (alpha * m.log(rate * m.abs(z) + 1.0)))
    return h * h


@constants_of(q_pseudo_spike_page, "(1 + 2/(alpha - 1) · |z|)^(-alpha)")
def q_pseudo_spike(alpha: float = parameter(2.0, 1.0001, 1000.0)) -> Constants:
    """Derivative `(1 + 2/(alpha - 1) · |z|)^(-alpha)`, of area 1 for every alpha (SpikingJelly).

    Args:
        alpha: Power of the tail, above 1.

    Example:
        >>> q_pseudo_spike().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.2500, 1.0000, 0.2500])

    References:
        S. Herranz-Celotti, J. Rouat, "Surrogate gradients design", 2022, arXiv:2202.00282.
    """
    return alpha, 2 / (alpha - 1)


def circ_page(z: Any, rate: Any) -> Any:
    y = rate * z
    r = 1.0 / m.sqrt(1.0 + y * y)
    return r * r * r


@constants_of(circ_page, "(1 + (z/alpha)²)^(-3/2)")
def circ(alpha: float = parameter(1.0)) -> Constants:
    """Derivative `(1 + (z/alpha)²)^(-3/2)` of the step `z / √(z² + alpha²)`, up to scale (Norse).

    Args:
        alpha: Width [unit of the membrane]. Here, a larger alpha is less steep.

    Example:
        >>> circ().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.7155, 1.0000, 0.7155])
    """
    return (1 / alpha,)


def fake_numerical_gradient_page(z: Any, near: Any) -> Any:
    a = m.abs(z)
    return 1.0 / m.where(a <= near, near, a)


@constants_of(fake_numerical_gradient_page, "min(1/|z|, alpha)")
def fake_numerical_gradient(alpha: float = parameter(0.3)) -> Constants:
    """Derivative `min(1/|z|, alpha)`, the step divided by the distance (SpikingJelly).

    Its area is infinite.

    Args:
        alpha: Peak [1 / unit of the membrane].

    Example:
        >>> fake_numerical_gradient().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.3000, 0.3000, 0.3000])
    """
    return (1 / alpha,)
