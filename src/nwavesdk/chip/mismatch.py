"""How one chip differs from the next: standard normal noise, and what is made of it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Noise", "lognormal_factors"]


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
