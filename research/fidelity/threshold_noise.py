"""Noise on a neuron's threshold, drawn anew in each step: its shape, its width, and how likely a spike then is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nwavesdk.surrogate import Surrogate, atan, gaussian, piecewise_exp, sigmoid

__all__ = ["SHAPES", "ThresholdNoise"]


class _Shape(NamedTuple):
    """A family of symmetric densities whose width at half height is 1.

    Attributes:
        density: of a given width, as the surrogate of the catalogue that it is.
        cumulative: its integral up to z.
        log_cumulative: the logarithm of that, exact far below the threshold.
    """

    density: Callable[[float], Surrogate]
    cumulative: Callable[[Tensor], Tensor]
    log_cumulative: Callable[[Tensor], Tensor]


_NORMAL = math.sqrt(8 * math.log(2))
_LOGISTIC = 2 * math.acosh(3)
_LAPLACE = 2 * math.log(2)


def _laplace(z: Tensor) -> Tensor:
    tail = 0.5 * torch.exp(-z.abs())
    return torch.where(z < 0, tail, 1 - tail)


def _log_laplace(z: Tensor) -> Tensor:
    return torch.where(z < 0, z - math.log(2), torch.log1p(-0.5 * torch.exp(-z.abs())))


def _cauchy(z: Tensor) -> Tensor:
    return (
        torch.atan2(torch.ones_like(z), -z) / math.pi
    )  # 1/2 + atan(z)/pi would lose all digits far below


_SHAPES = {
    "normal": _Shape(
        lambda width: gaussian(sigma=width / _NORMAL),
        lambda z: (
            0.5 * torch.special.erfc(-_NORMAL * math.sqrt(0.5) * z)
        ),  # ndtr rounds its tail away
        lambda z: torch.special.log_ndtr(_NORMAL * z),
    ),
    "logistic": _Shape(
        lambda width: sigmoid(_LOGISTIC / width),
        lambda z: torch.sigmoid(_LOGISTIC * z),
        lambda z: torch.nn.functional.logsigmoid(_LOGISTIC * z),
    ),
    "laplace": _Shape(
        lambda width: piecewise_exp(_LAPLACE / width),
        lambda z: _laplace(_LAPLACE * z),
        lambda z: _log_laplace(_LAPLACE * z),
    ),
    "cauchy": _Shape(
        lambda width: atan(4 / (math.pi * width)),
        lambda z: _cauchy(2 * z),
        lambda z: _cauchy(2 * z).log(),
    ),
}
SHAPES = tuple(_SHAPES)
"""Names of the shapes, from light tails to heavy ones."""


@dataclass(frozen=True)
class ThresholdNoise:
    """What is added to a threshold, for each neuron and step by itself: a spike has the probability F(z), z = u - θ.

    Args:
        shape: `"normal"`, `"logistic"`, `"laplace"` or `"cauchy"`.
        width: Of the density at half its height [units of the membrane], as `nwavesdk.analysis.shapes` measures it. (A
            standard deviation would not do: the last shape has none.)

    Raises:
        ValueError: There is no such shape, or the width is not a finite number above 0.

    Example:
        >>> ThresholdNoise("logistic", 0.5).probability(torch.tensor([0.0, 10.0]))
        tensor([0.5000, 1.0000])
    """

    shape: str
    width: float

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(
                f"ThresholdNoise: shape must be one of {', '.join(SHAPES)}, got {self.shape!r}."
            )
        if not (isinstance(self.width, int | float) and 0 < self.width < math.inf):
            raise ValueError(
                f"ThresholdNoise: width must be a finite number above 0, got {self.width!r}."
            )

    @property
    def density(self) -> Surrogate:
        """Its density f = F', as a surrogate."""
        return _SHAPES[self.shape].density(self.width)

    def probability(self, z: Tensor) -> Tensor:
        """F(z), the probability of a spike."""
        return _SHAPES[self.shape].cumulative(z / self.width)

    def log_probability(self, z: Tensor, spikes: Tensor) -> Tensor:
        """Of what has happened: log F(z) for a spike, log(1 - F(z)) for none; finite, with its gradient, at any z."""
        return _SHAPES[self.shape].log_cumulative(torch.where(spikes > 0, z, -z) / self.width)
