"""Surrogates that fall exponentially or faster: smooth bells, and peaks with a kink.

An exponential is evaluated as the square of `h`, its root, and multiplied as `(peak * h) * h`:
`e^(-y)` in one piece underflows where the product does not.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Constants, Formula, constants_of, parameter, surrogate_page

__all__ = [
    "Sigmoid",
    "erf",
    "gaussian",
    "heavi_erfc",
    "multi_gaussian",
    "periodic_exponential",
    "piecewise_exp",
    "single_exponential",
    "spike_rate_escape",
    "tanh",
]


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


@surrogate_page("1 - tanh²(k z)")
def tanh(z: Any, k: float = parameter(1.0)) -> Any:
    """Derivative `1 - tanh²(k z)`, with the peak 1 for every k (Norse, Spyx).

    Args:
        k: Steepness [1 / unit of the membrane].

    Example:
        >>> tanh().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.7864, 1.0000, 0.7864])
    """
    h = m.exp(-(k * m.abs(z)))
    y = 2.0 * h / (1.0 + h * h)
    return y * y


def bell(z: Any, mu: Any, rate: Any, peak: Any) -> Any:
    y = rate * (z - mu)
    h = m.exp(-0.5 * (y * y))
    return (peak * h) * h


@constants_of(bell, "scale · e^(-(z - mu)² / (2 sigma²)) / (sigma √(2 pi))")
def gaussian(
    mu: float = parameter(0.0, -1e18), sigma: float = parameter(0.5), scale: float = parameter(1.0)
) -> Constants:
    """Derivative `scale · N(z; mu, sigma)`, a normal density (sinabs).

    Args:
        mu: Position of the peak [unit of the membrane above threshold].
        sigma: Standard deviation [unit of the membrane].
        scale: Area.

    Example:
        >>> gaussian().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4839, 0.7979, 0.4839])
    """
    return (
        mu,
        1 / (sigma * math.sqrt(2)),
        scale / (sigma * math.sqrt(2 * math.pi)),
    )


@constants_of(bell, "alpha/√pi · e^(-(alpha z)²)")
def erf(alpha: float = parameter(2.0)) -> Constants:
    """Derivative `alpha/√pi · e^(-(alpha z)²)` (SpikingJelly).

    It equals `gaussian` with sigma = 1 / (alpha √2).

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> erf().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4151, 1.1284, 0.4151])
    """
    return 0.0, alpha, alpha / math.sqrt(math.pi)


@constants_of(bell, "2/√pi · e^(-(k z)²)")
def heavi_erfc(k: float = parameter(1.0)) -> Constants:
    """Derivative `2/√pi · e^(-(k z)²)`, with one peak for every k (Norse).

    Args:
        k: Sharpness [1 / unit of the membrane].

    Example:
        >>> heavi_erfc().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.8788, 1.1284, 0.8788])
    """
    return 0.0, k, 2 / math.sqrt(math.pi)


def three_bells(z: Any, sigma: Any, rate: Any, side_rate: Any, peak: Any, side: Any) -> Any:
    y = rate * z
    left = side_rate * (z + sigma)
    right = side_rate * (z - sigma)
    h = m.exp(-0.5 * (y * y))
    a = m.exp(-0.5 * (left * left))
    b = m.exp(-0.5 * (right * right))
    return (peak * h) * h - side * (a * a + b * b)


@constants_of(
    three_bells, "scale · ((1+h) N(z; 0, sigma) - h N(z; sigma, s sigma) - h N(z; -sigma, s sigma))"
)
def multi_gaussian(
    sigma: float = parameter(0.5),
    h: float = parameter(0.15, 0.0),
    s: float = parameter(6.0, 1e-3, 1e3),
    scale: float = parameter(1.0),
) -> Constants:
    """Derivative `scale · ((1 + h) N(0, sigma) - h N(sigma, s sigma) - h N(-sigma, s sigma))`.

    N(mu, sigma) is the normal density at z. The derivative is negative at some distance from the
    threshold (sinabs).

    Args:
        sigma: Standard deviation of the peak [unit of the membrane].
        h: Share of each of the two bells that are subtracted.
        s: Width of these two bells relative to sigma.
        scale: A factor. The area is `scale (1 - h)`.

    Example:
        >>> multi_gaussian().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5177, 0.8782, 0.5177])

    References:
        B. Yin, F. Corradi, S. M. Bohté, "Accurate and efficient time-domain classification with
        adaptive spiking recurrent neural networks", 2021, doi:10.1038/s42256-021-00397-w.
    """
    wide = s * sigma
    unit = scale / math.sqrt(2 * math.pi)
    return (
        sigma,
        1 / (sigma * math.sqrt(2)),
        1 / (wide * math.sqrt(2)),
        (1 + h) * unit / sigma,
        h * unit / wide,
    )


def cusp(z: Any, center: Any, rate: Any, peak: Any) -> Any:
    h = m.exp(-0.5 * (rate * m.abs(z - center)))
    return (peak * h) * h


@constants_of(cusp, "slope · e^(-beta · |z - center|)")
def spike_rate_escape(
    beta: float = parameter(1.0),
    slope: float = parameter(25.0),
    center: float = parameter(1.0, -1e18),
) -> Constants:
    """Derivative `slope · e^(-beta · |z - center|)` (snnTorch).

    snnTorch documents `slope · e^(-beta · |U - 1|)` for the membrane U and a threshold of 1, but
    evaluates it at U - 1, so that its peak is at twice the threshold. `center=1` is the formula of
    its code, `center=0` the documented formula.

    Args:
        beta: Steepness [1 / unit of the membrane].
        slope: Peak [1 / unit of the membrane].
        center: Position of the peak [unit of the membrane above threshold].

    Example:
        >>> spike_rate_escape().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([ 5.5783,  9.1970, 15.1633])

    References:
        W. Gerstner, W. M. Kistler, "Spiking neuron models", 2002, doi:10.1017/CBO9780511815706.
    """
    return center, beta, slope


@constants_of(cusp, "(alpha/2) · e^(-alpha · |z|)")
def piecewise_exp(alpha: float = parameter(1.0)) -> Constants:
    """Derivative `(alpha/2) · e^(-alpha · |z|)`, of area 1 (SpikingJelly).

    Args:
        alpha: Sharpness [1 / unit of the membrane].

    Example:
        >>> piecewise_exp().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.3033, 0.5000, 0.3033])
    """
    return 0.0, alpha, alpha / 2


@constants_of(cusp, "scale/w · e^(-|z|/w), w = width · threshold")
def single_exponential(
    width: float = parameter(0.5, 1e-9, 1e9),
    scale: float = parameter(1.0),
    threshold: float = parameter(1.0, 1e-9, 1e9),
) -> Constants:
    """Derivative `scale/w · e^(-|z|/w)` with w = width · threshold (sinabs).

    Args:
        width: Distance at which it has fallen to 1/e [thresholds].
        scale: Half of the area.
        threshold: Threshold of the neurons [unit of the membrane].

    Example:
        >>> single_exponential().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.7358, 2.0000, 0.7358])

    References:
        S. B. Shrestha, G. Orchard, "SLAYER: Spike layer error reassignment in time", 2018,
        arXiv:1810.08646.
    """
    w = width * threshold
    return 0.0, 1 / w, scale / w


def periodic_exponential_page(z: Any, threshold: Any, rate: Any, peak: Any) -> Any:
    # For a huge finite z, the quotient overflows, and the difference is NaN: the phase is then 0.
    turns = z / threshold + 0.5
    turns = m.where(turns - turns == 0.0, turns, z - z)

    # Above the threshold, a saw from -threshold to threshold, which is 0 at multiples of it.
    saw = threshold * (2.0 * (turns - m.floor(turns)) - 1.0)
    h = m.exp(-0.5 * (rate * m.abs(m.where(z < 0.0, z, saw))))
    return (peak * h) * h


@constants_of(
    periodic_exponential_page,
    "scale · e^(-d/width), d = |z| below 0, else 2 · distance to the nearest k · threshold",
)
def periodic_exponential(
    width: float = parameter(0.5),
    scale: float = parameter(1.0),
    threshold: float = parameter(1.0, 1e-9, 1e9),
) -> Constants:
    """Derivative `scale · e^(-d/width)`, which peaks at every multiple of the threshold (sinabs).

    d is the distance from the threshold below it, and twice the distance from the nearest multiple
    of the threshold above it. The derivative has no limit at +inf, where it is NaN.

    Args:
        width: Distance d at which it has fallen to 1/e [unit of the membrane].
        scale: Peak.
        threshold: Threshold of the neurons [unit of the membrane].

    Example:
        >>> periodic_exponential().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.3679, 1.0000, 0.1353])

    References:
        P. Weidel, S. Sheik, "WaveSense", 2021, arXiv:2111.01456.
    """
    return threshold, 1 / width, scale
