"""The charge law: how much charge a spike through a weight puts on a membrane."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ChargeLaw", "ExpansiveCharge", "LinearCharge"]


class ChargeLaw(Protocol):
    """An odd function of the weight, with its derivative; both keep shape and dtype."""

    def charge(self, weight: Tensor) -> Tensor:
        """Charge on the membrane per spike [threshold charge of the profile's unit]."""

    def slope(self, weight: Tensor) -> Tensor:
        """D charge / d weight."""


@dataclass(frozen=True)
class LinearCharge:
    """`gain · w`."""

    gain: float = 1.0

    def charge(self, weight: Tensor) -> Tensor:
        return self.gain * weight

    def slope(self, weight: Tensor) -> Tensor:
        return torch.full_like(weight, self.gain)


@dataclass(frozen=True)
class ExpansiveCharge:
    """`gain · limit · sinh(a w) / sinh(a limit)`: odd and smooth, weak for small weights."""

    gain: float
    steepness: float
    limit: float

    def charge(self, weight: Tensor) -> Tensor:
        return self._scale * torch.sinh(self.steepness * weight)

    def slope(self, weight: Tensor) -> Tensor:
        return self._scale * self.steepness * torch.cosh(self.steepness * weight)

    @property
    def _scale(self) -> float:
        return self.gain * self.limit / math.sinh(self.steepness * self.limit)
