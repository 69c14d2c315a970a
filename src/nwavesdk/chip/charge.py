"""Weights as the integers that the chip stores: uniform, symmetric, over the chip's range.

The charge law: how much charge a spike through a weight puts on a membrane.

How one chip differs from the next: standard normal noise, and what is made of it.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nwavesdk.internal.checks import whole_number

__all__ = [
    "ChargeLaw",
    "ExpansiveCharge",
    "LinearCharge",
    "Noise",
    "Quantizer",
    "TableCharge",
    "lognormal_factors",
]


@dataclass(frozen=True)
class Quantizer:
    """`bits` bits over [-limit, limit]: the levels are step · q, q = -(2^(bits-1) - 1) … 2^(bits-1) - 1.

    Raises:
        ValueError: `bits` is not a whole number from 2 to 8.

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
        """Distance of two levels, in units of the weight."""
        return self.limit / float(2 ** (self.bits - 1) - 1)

    def integers(self, weight: Tensor) -> Tensor:
        """The stored integers of `weight`, as int8; a tie goes to the even level."""
        return torch.round(weight.clamp(-self.limit, self.limit) / self.step).to(torch.int8)

    def quantize(self, weight: Tensor) -> Tensor:
        """The weights that the stored integers stand for."""
        return self.integers(weight).to(weight.dtype) * self.step

    def inside(self, weight: Tensor) -> Tensor:
        """1 where the straight-through gradient passes, 0 outside of the range."""
        top = self.quantize(
            weight.new_tensor(self.limit)
        )  # rounding may put the highest level above the limit
        return ((weight.abs() <= self.limit) | (weight.abs() <= top)).to(weight.dtype)


class ChargeLaw(Protocol):
    """A rising function of the weight that is 0 at 0, with its derivative; both keep shape and dtype."""

    def charge(self, weight: Tensor) -> Tensor:
        """Charge on the membrane per spike [threshold charge of the profile's unit]."""

    def slope(self, weight: Tensor) -> Tensor:
        """D charge / d weight."""

    def weight(self, charge: Tensor) -> Tensor:
        """The weight that gives `charge`."""


@dataclass(frozen=True)
class LinearCharge:
    """`gain · w`."""

    gain: float = 1.0

    def charge(self, weight: Tensor) -> Tensor:
        return self.gain * weight

    def slope(self, weight: Tensor) -> Tensor:
        return torch.full_like(weight, self.gain)

    def weight(self, charge: Tensor) -> Tensor:
        return charge / self.gain


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

    def weight(self, charge: Tensor) -> Tensor:
        return torch.asinh(charge / self._scale) / self.steepness

    @property
    def _scale(self) -> float:
        return self.gain * self.limit / math.sinh(self.steepness * self.limit)


@dataclass(frozen=True)
class TableCharge:
    """Measured points, with straight lines between them and beyond the outermost.

    Args:
        weights: rising; when all are 0 or above, the law is taken as odd and the table as its right half.
        charges: rising, one for each weight; 0 at weight 0.

    Raises:
        ValueError: lengths differ, there are less than two points, one does not rise, or charge at 0 is not 0.

    Example:
        >>> TableCharge((0.0, 0.5, 1.0), (0.0, 0.2, 1.0)).charge(torch.tensor([-0.75, 0.25]))
        tensor([-0.6000,  0.1000])
    """

    weights: tuple[float, ...]
    charges: tuple[float, ...]

    def __post_init__(self) -> None:
        w, q = self.weights, self.charges
        if len(w) != len(q) or len(w) < 2:
            raise ValueError(
                f"a charge table needs as many charges as weights, two at least, got {len(q)} for {len(w)}."
            )
        for name, values in (("weights", w), ("charges", q)):
            if not all(a < b for a, b in pairwise(values)):
                raise ValueError(f"the {name} of a charge table must rise, got {list(values)}.")
        if 0.0 not in w or q[w.index(0.0)] != 0:
            raise ValueError("a charge table needs the point of weight 0 and charge 0.")
        if w[0] == 0:
            object.__setattr__(self, "weights", (*(-x for x in w[:0:-1]), *w))
            object.__setattr__(self, "charges", (*(-x for x in q[:0:-1]), *q))

    def charge(self, weight: Tensor) -> Tensor:
        w, q, piece = self._pieces(weight)
        return q[piece] + self.slope(weight) * (weight - w[piece])

    def slope(self, weight: Tensor) -> Tensor:
        w, q, piece = self._pieces(weight)
        return (q.diff() / w.diff())[piece]

    def weight(self, charge: Tensor) -> Tensor:
        return TableCharge(self.charges, self.weights).charge(charge)

    def _pieces(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points, and for each weight the index of the piece on which it lies."""
        w, q = weight.new_tensor(self.weights), weight.new_tensor(self.charges)
        return w, q, torch.bucketize(weight.detach(), w[1:-1], right=True)


@dataclass(frozen=True)
class Noise:
    """Where the mismatch of one module comes from: drawn on the CPU, so that every device sees the same chip.

    Args:
        generator: of the numbers; None: torch's global one.
        ideal: every number is 0, the chip is as it was designed.
    """

    generator: torch.Generator | None = None
    ideal: bool = False

    @classmethod
    def of(cls, seed: int, place: int = 0) -> "Noise":
        """The noise of a chip's module number `place`, whatever other modules draw.

        Example:
            >>> bool((Noise.of(1, 2).normal((3,)) == Noise.of(1, 2).normal((3,))).all())
            True
        """
        words = np.random.SeedSequence([seed % 2**64, place]).generate_state(1, np.uint64)
        return cls(torch.Generator().manual_seed(int(words[0])))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Independent numbers of mean 0 and standard deviation 1."""
        return torch.zeros(shape) if self.ideal else torch.randn(shape, generator=self.generator)


def lognormal_factors(shape: tuple[int, ...], spread: float, noise: Noise | None = None) -> Tensor:
    """Factors exp(spread · noise), of median 1."""
    return torch.exp(spread * (noise or Noise()).normal(shape))
