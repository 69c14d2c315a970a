"""Weights as the integers that the chip stores: uniform, symmetric, over the chip's range."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Quantizer"]


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
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise ValueError(f"quantization_bits must be a whole number from 2 to 8 or None, got {self.bits!r}.")

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
        top = self.quantize(weight.new_tensor(self.limit))  # rounding may put the highest level above the limit
        return ((weight.abs() <= self.limit) | (weight.abs() <= top)).to(weight.dtype)
