"""Surrogates with a window, and surrogates that do not fall off on both sides of the threshold.

Zeros outside of a window make the gradient sparse. In a page, the last branch of `m.where` is z, so
that NaN remains NaN.
"""

import math
from typing import Any

import torch as m  # the functions of a page, which numba and Triton replace by theirs

from nwavesdk.surrogate.base import Constants, constants_of, parameter, surrogate_page

__all__ = [
    "boxcar",
    "heaviside_window",
    "leaky_k_relu",
    "log_tailed_relu",
    "piecewise_leaky_relu",
    "piecewise_quadratic",
    "rect",
    "s2nn",
    "snntorch_triangular",
    "sparse_fast_sigmoid",
    "squarewave_fourier_series",
    "straight_through",
    "triangle",
]


def tent(z: Any, peak: Any, rate: Any) -> Any:
    y = 1.0 - rate * m.abs(z)
    return peak * m.where(y <= 0.0, 0.0, y)


@constants_of(tent, "alpha · max(0, 1 - k |z|)")
def triangle(alpha: float = parameter(0.3), k: float = parameter(1.0)) -> Constants:
    """Derivative `alpha · max(0, 1 - k |z|)`, a triangle (Norse with k = 1, Spyx with alpha = 1).

    Args:
        alpha: Peak [1 / unit of the membrane].
        k: 1 / half of the base [1 / unit of the membrane].

    Example:
        >>> triangle(alpha=0.3).derivative(m.tensor([0.0, 0.5, 2.0]))
        tensor([0.3000, 0.1500, 0.0000])

    References:
        S. K. Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic
        computing", 2016, doi:10.1073/pnas.1604850113.
        G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
        neurons", 2020, doi:10.1038/s41467-020-17236-y.
    """
    return alpha, k


@constants_of(tent, "max(0, alpha - alpha² |z|)")
def piecewise_quadratic(alpha: float = parameter(1.0)) -> Constants:
    """Derivative `max(0, alpha - alpha² |z|)`, a triangle of area 1 (SpikingJelly).

    It is the derivative of a step that consists of two parabolas.

    Args:
        alpha: Peak, and 1 / half of the base [1 / unit of the membrane].

    Example:
        >>> piecewise_quadratic().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5000, 1.0000, 0.5000])
    """
    return alpha, alpha


def plateau(z: Any, half: Any, inside: Any, outside: Any) -> Any:
    a = m.abs(z)
    return m.where(a < half, inside, m.where(a >= half, outside, z))


@constants_of(plateau, "1/(2w) for |z| < w, else c")
def piecewise_leaky_relu(w: float = parameter(1.0), c: float = parameter(0.01, 0.0)) -> Constants:
    """Derivative `1/(2w)` for |z| < w, `c` elsewhere (SpikingJelly).

    Args:
        w: Half of the width of the window [unit of the membrane].
        c: Derivative outside of the window [1 / unit of the membrane].

    Example:
        >>> piecewise_leaky_relu().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5000, 0.5000, 0.5000])
    """
    return w, 1 / (2 * w), c


@constants_of(plateau, "height for |z| < width/2, else 0")
def boxcar(width: float = parameter(2.0), height: float = parameter(0.5)) -> Constants:
    """Derivative `height` for |z| < width/2, else 0 (Spyx).

    Args:
        width: Width of the window [unit of the membrane].
        height: Derivative inside the window [1 / unit of the membrane].

    Example:
        >>> boxcar().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.5000, 0.5000, 0.5000])
    """
    return width / 2, height, 0.0


@constants_of(plateau, "alpha for |z| < 1/(2 alpha), else 0")
def rect(alpha: float = parameter(1.0)) -> Constants:
    """Derivative `alpha` for |z| < 1/(2 alpha), else 0: a boxcar of area 1 (SpikingJelly).

    Args:
        alpha: Derivative inside the window, and 1 / its width [1 / unit of the membrane].

    Example:
        >>> rect().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0., 1., 0.])
    """
    return 0.5 / alpha, alpha, 0.0


@surrogate_page("1 / (slope · |z| + 1)² for |z| < window, else 0")
def sparse_fast_sigmoid(
    z: Any, slope: float = parameter(25.0), window: float = parameter(1.0)
) -> Any:
    """Derivative `1 / (slope · |z| + 1)²` for |z| < window, else 0 (snnTorch's SFS as documented).

    snnTorch's code has z > B in place of |z| < B: it is zero around the threshold, and with B = 1
    nearly everywhere.

    Args:
        slope: Steepness around 0 [1 / unit of the membrane].
        window: Half of the width of the window, snnTorch's B [unit of the membrane].

    Example:
        >>> sparse_fast_sigmoid().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.0055, 1.0000, 0.0055])

    References:
        N. Perez-Nieves, D. F. M. Goodman, "Sparse spiking gradient descent", 2021,
        arXiv:2105.08810.
    """
    a = m.abs(z)
    r = 1.0 / (slope * a + 1.0)
    return m.where(a >= window, 0.0, r * r)


def two_levels(z: Any, below: Any, above: Any) -> Any:
    return m.where(z > 0.0, above, m.where(z <= 0.0, below, z))


@constants_of(two_levels, "k for z > 0, else leak")
def leaky_k_relu(leak: float = parameter(0.0, 0.0), k: float = parameter(1.0)) -> Constants:
    """Derivative `k` for z > 0, else `leak` (SpikingJelly; snnTorch's heaviside and LSO).

    Args:
        leak: Derivative below and at the threshold, where a neuron does not spike.
        k: Derivative above the threshold.

    Example:
        >>> leaky_k_relu(leak=0.1).derivative(m.tensor([-1.0, 2.0]))
        tensor([0.1000, 1.0000])
    """
    return leak, k


@constants_of(two_levels, "1")
def straight_through() -> Constants:
    """Derivative `1`: the gradient ignores the spike (snnTorch, SpikingJelly).

    Example:
        >>> straight_through().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([1., 1., 1.])

    References:
        Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through
        stochastic neurons for conditional computation", 2013, arXiv:1308.3432.
    """
    return 1.0, 1.0


@surrogate_page("alpha for z <= 0, 1 for z <= 1, else 1/z")
def log_tailed_relu(z: Any, alpha: float = parameter(0.0, 0.0)) -> Any:
    """Derivative `alpha` for z <= 0, 1 up to z = 1, then `1/z` (SpikingJelly).

    Args:
        alpha: Derivative below and at the threshold.

    Example:
        >>> log_tailed_relu().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0., 0., 1.])

    References:
        Z. Cai et al., "Deep learning with low precision by half-wave Gaussian quantization", 2017,
        arXiv:1702.00953.
    """
    return m.where(z <= 0.0, alpha, 1.0 / m.where(z <= 1.0, 1.0, z))


@surrogate_page("alpha e^(alpha z) / (1 + e^(alpha z))² for z < 0, else beta / (z + 1)")
def s2nn(z: Any, alpha: float = parameter(4.0), beta: float = parameter(1.0)) -> Any:
    """Derivative `alpha e^(alpha z) / (1 + e^(alpha z))²` for z < 0, else `beta / (z + 1)`.

    It is a logistic density below the threshold and the slope of a logarithm above (SpikingJelly).

    Args:
        alpha: Steepness below the threshold [1 / unit of the membrane].
        beta: Derivative at the threshold.

    Example:
        >>> s2nn().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4200, 1.0000, 0.6667])

    References:
        K. Suetake et al., "S³NN: Time step reduction of spiking surrogate gradients for training
        energy efficient single-step spiking neural networks", 2022, arXiv:2201.10879.
    """
    # The logistic density as in `Sigmoid`.
    a = m.abs(z)
    h = m.exp(-0.5 * (alpha * a))
    p = 1.0 / (1.0 + h * h)
    return m.where(z < 0.0, (alpha * h * p) * (h * p), beta / (a + 1.0))


def step(z: Any, first: Any, below: Any, above: Any) -> Any:
    return m.where(z < first, below, m.where(z >= first, above, z))


@constants_of(step, "1/threshold for z >= -window, else 0")
def heaviside_window(
    window: float = parameter(1.0, 0.0), threshold: float = parameter(1.0)
) -> Constants:
    """Derivative `1/threshold` for z >= -window, else 0 (sinabs' Heaviside).

    Args:
        window: Distance below the threshold at which the derivative begins [unit of the membrane].
            sinabs documents it as relative to the threshold, but its code uses it unscaled, as
            here.
        threshold: Threshold of the neurons [unit of the membrane].

    Example:
        >>> heaviside_window().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([1., 1., 1.])
    """
    return -window, 0.0, 1 / threshold


@constants_of(step, "threshold for z < 0, else -threshold")
def snntorch_triangular(threshold: float = parameter(1.0)) -> Constants:
    """Derivative `threshold` for z < 0, else `-threshold`: `triangular` of snnTorch.

    It is here for comparisons: it moves neurons that spike in the wrong direction. For a triangle,
    use `triangle`.

    Args:
        threshold: Absolute value of the derivative.

    Example:
        >>> snntorch_triangular().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([ 1., -1., -1.])
    """
    return 0.0, threshold, -threshold


def squarewave_fourier_series_page(
    z: Any, rate: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, a6: Any
) -> Any:
    y = rate * z
    # For a huge finite z, the product overflows, and y - y is NaN: the phase is then 0.
    c1 = m.cos(m.where(y - y == 0.0, y, z - z))

    # With d = 2 cos 2y, cos (2k + 1)y = d cos (2k - 1)y - cos (2k - 3)y: one cosine for all terms.
    d = 4.0 * c1 * c1 - 2.0
    c2 = d * c1 - c1
    c3 = d * c2 - c1
    c4 = d * c3 - c2
    c5 = d * c4 - c3
    c6 = d * c5 - c4
    return a1 * c1 + a2 * c2 + a3 * c3 + a4 * c4 + a5 * c5 + a6 * c6


@constants_of(
    squarewave_fourier_series_page,
    "4/T · (cos y + cos 3y + … n - 1 terms), y = 2 pi z / T, T = period",
)
def squarewave_fourier_series(
    n: int = parameter(2, 2, 7), period: float = parameter(8.0, 1e-3)
) -> Constants:
    """Derivative `4/T · (cos y + cos 3y + … n - 1 terms)`, y = 2 pi z / T (SpikingJelly).

    It is the derivative of the first terms of the Fourier series of a square wave. It has no limit
    at ±inf, where it is NaN. As in SpikingJelly's code, n is one more than the number of terms.

    Args:
        n: Number of terms plus 1, from 2 to 7.
        period: Period of the wave [unit of the membrane].

    Example:
        >>> squarewave_fourier_series().derivative(m.tensor([-0.5, 0.0, 0.5]))
        tensor([0.4619, 0.5000, 0.4619])
    """
    return 2 * math.pi / period, *(4 / period * (i < n) for i in range(1, 7))
