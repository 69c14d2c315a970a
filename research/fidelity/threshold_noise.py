"""Noise on the thresholds, drawn for each neuron and step: shape, width, probability of a spike."""

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
        density: The density of a given width, as a surrogate of the catalogue.
        cumulative: Its integral up to z.
        log_cumulative: The logarithm of the integral, accurate far below the threshold.
    """

    density: Callable[[float], Surrogate]
    cumulative: Callable[[Tensor], Tensor]
    log_cumulative: Callable[[Tensor], Tensor]


# Width at half height of the standard distributions.
_NORMAL = math.sqrt(8 * math.log(2))
_LOGISTIC = 2 * math.acosh(3)
_LAPLACE = 2 * math.log(2)


def _laplace(z: Tensor) -> Tensor:
    tail = 0.5 * torch.exp(-z.abs())
    return torch.where(z < 0, tail, 1 - tail)


def _log_laplace(z: Tensor) -> Tensor:
    return torch.where(z < 0, z - math.log(2), torch.log1p(-0.5 * torch.exp(-z.abs())))


def _cauchy(z: Tensor) -> Tensor:
    # 1/2 + atan(z)/π would lose all digits far below the threshold.
    return torch.atan2(torch.ones_like(z), -z) / math.pi


_SHAPES = {
    "normal": _Shape(
        lambda width: gaussian(sigma=width / _NORMAL),
        # ndtr rounds the lower tail to 0; erfc keeps it.
        lambda z: 0.5 * torch.special.erfc(-_NORMAL * math.sqrt(0.5) * z),
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
"""Names of the shapes, from light to heavy tails."""


@dataclass(frozen=True)
class ThresholdNoise:
    """Independent noise on the threshold of each neuron and step.

    A neuron spikes with the probability F(z), z = u - θ.

    Args:
        shape: `"normal"`, `"logistic"`, `"laplace"` or `"cauchy"`.
        width: Width of the density at half its height [membrane], as `nwavesdk.analysis.shapes`
            measures it. A standard deviation would not work: the last shape has none.

    Raises:
        ValueError: If there is no such shape, or the width is not a finite number above 0.

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
        """The density f = F', as a surrogate."""
        return _SHAPES[self.shape].density(self.width)

    def probability(self, z: Tensor) -> Tensor:
        """Return F(z), the probability of a spike."""
        return _SHAPES[self.shape].cumulative(z / self.width)

    def log_probability(self, z: Tensor, spikes: Tensor) -> Tensor:
        """Return log F(z) where there is a spike, and log(1 - F(z)) where there is none.

        The result and its gradient are finite for all z.
        """
        return _SHAPES[self.shape].log_cumulative(torch.where(spikes > 0, z, -z) / self.width)
