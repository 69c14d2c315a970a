"""Weights on a chip: stored integers, the charge of a spike, and mismatch between chips.

Quantization is uniform and symmetric over the range of the chip. The charge law is the charge that
a spike through a weight puts on a membrane. Mismatch is computed from standard normal noise.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nwavesdk.internal.checks import whole_number

__all__ = [
    "ExpansiveCharge",
    "LinearCharge",
    "Quantizer",
    "TableCharge",
    "lognormal_factors",
]


@dataclass(frozen=True)
class Quantizer:
    """`bits` bits over [-limit, limit].

    The levels are step · q with q = -(2^(bits-1) - 1) … 2^(bits-1) - 1.

    Args:
        bits: Bits of a weight, from 2 to 8.
        limit: Largest magnitude of a weight.

    Raises:
        ValueError: If `bits` is not a whole number from 2 to 8.

    Example:
        >>> Quantizer(bits=2, limit=0.9).quantize(torch.tensor([-2.0, 0.3, 0.5]))
        tensor([-0.9000,  0.0000,  0.9000])
    """

    bits: int
    limit: float

    def __post_init__(self) -> None:
        whole_number("Quantizer", "quantization_bits", self.bits, least=2, most=8)

    @property
    def step(self) -> float:
        """The distance of two levels, in units of the weight."""
        return self.limit / float(2 ** (self.bits - 1) - 1)

    def integers(self, weight: Tensor) -> Tensor:
        """The stored integers of `weight` as int8; a tie becomes the even level."""
        return torch.round(weight.clamp(-self.limit, self.limit) / self.step).to(torch.int8)

    def quantize(self, weight: Tensor) -> Tensor:
        """The weights that the stored integers represent."""
        return self.integers(weight).to(weight.dtype) * self.step

    def inside(self, weight: Tensor) -> Tensor:
        """1 where the straight-through gradient passes, 0 outside of the range."""
        # Rounding may put the highest level above the limit; the gradient passes there too.
        highest = self.quantize(weight.new_tensor(self.limit))
        magnitude = weight.abs()
        return ((magnitude <= self.limit) | (magnitude <= highest)).to(weight.dtype)


@dataclass(frozen=True)
class LinearCharge:
    """`gain · w`.

    Example:
        >>> LinearCharge(gain=0.5).charge(torch.tensor([-0.5, 1.0]))
        tensor([-0.2500,  0.5000])
    """

    gain: float = 1.0

    def charge(self, weight: Tensor) -> Tensor:
        return self.gain * weight

    def slope(self, weight: Tensor) -> Tensor:
        return torch.full_like(weight, self.gain)

    def weight(self, charge: Tensor) -> Tensor:
        return charge / self.gain


@dataclass(frozen=True)
class ExpansiveCharge:
    """`gain · limit · sinh(a w) / sinh(a limit)` with steepness a: odd, smooth, flat near 0.

    Example:
        >>> law = ExpansiveCharge(gain=1.0, steepness=2.0, limit=1.0)
        >>> law.charge(torch.tensor([0.25, 0.5, 1.0]))
        tensor([0.1437, 0.3240, 1.0000])
    """

    gain: float
    steepness: float
    limit: float

    def charge(self, weight: Tensor) -> Tensor:
        return self._scale * torch.sinh(self.steepness * weight)

    def slope(self, weight: Tensor) -> Tensor:
        return self._scale * self.steepness * torch.cosh(self.steepness * weight)

    def weight(self, charge: Tensor) -> Tensor:
        return torch.asinh(charge / self._scale) / self.steepness

    @property
    def _scale(self) -> float:
        return self.gain * self.limit / math.sinh(self.steepness * self.limit)


@dataclass(frozen=True)
class TableCharge:
    """Measured points, with straight lines between them and beyond the outermost ones.

    Args:
        weights: Rising; if all are 0 or above, the law is odd and the table is its right half.
        charges: Rising, one for each weight; 0 at weight 0.

    Raises:
        ValueError: If there are fewer than two points, they do not rise, or the charge at 0 is not
            0.

    Example:
        >>> TableCharge((0.0, 0.5, 1.0), (0.0, 0.2, 1.0)).charge(torch.tensor([-0.75, 0.25]))
        tensor([-0.6000,  0.1000])
    """

    weights: tuple[float, ...]
    charges: tuple[float, ...]

    def __post_init__(self) -> None:
        columns = {"weights": self.weights, "charges": self.charges}
        if len(self.weights) != len(self.charges) or len(self.weights) < 2:
            raise ValueError(
                "a charge table needs as many charges as weights, two at least, got "
                f"{len(self.charges)} for {len(self.weights)}."
            )

        for name, values in columns.items():
            if not all(a < b for a, b in pairwise(values)):
                raise ValueError(f"the {name} of a charge table must rise, got {list(values)}.")
        if (0.0, 0.0) not in zip(self.weights, self.charges, strict=True):
            raise ValueError("a charge table needs the point of weight 0 and charge 0.")

        if self.weights[0] == 0:
            # Mirror the right half, without its point at 0.
            for name, values in columns.items():
                object.__setattr__(self, name, (*(-v for v in values[:0:-1]), *values))

    def charge(self, weight: Tensor) -> Tensor:
        weights, charges, piece = self._pieces(weight)
        return charges[piece] + self.slope(weight) * (weight - weights[piece])

    def slope(self, weight: Tensor) -> Tensor:
        weights, charges, piece = self._pieces(weight)
        return (charges.diff() / weights.diff())[piece]

    def weight(self, charge: Tensor) -> Tensor:
        return TableCharge(self.charges, self.weights).charge(charge)

    def _pieces(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The points of the table, and for each weight the index of the piece that contains it."""
        weights = weight.new_tensor(self.weights)
        charges = weight.new_tensor(self.charges)
        # The outermost pieces reach to infinity, so their outer points are not boundaries.
        return weights, charges, torch.bucketize(weight.detach(), weights[1:-1], right=True)


def lognormal_factors(noise: Tensor, spread: float) -> Tensor:
    """Factors exp(spread · noise), whose median is 1.

    Args:
        noise: Independent numbers with mean 0 and standard deviation 1.
        spread: Standard deviation of the logarithm of the factors.

    Example:
        >>> factors = lognormal_factors(torch.randn(10_000), spread=0.1)
        >>> round(float(factors.median()), 1)
        1.0
    """
    return torch.exp(spread * noise)
