"""`Noise`: what the mismatch of the modules of a net is computed from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Noise"]


@dataclass(frozen=True)
class Noise:
    """The noise that the mismatch of one module is computed from.

    It is drawn on the CPU, so that every device simulates the same chip.

    Args:
        generator: Of the numbers; None: torch's global one.
        ideal: Whether every number is 0, as on the ideal chip.

    Example:
        >>> bool((Noise.of(seed=1, place=2).normal((3,)) == Noise.of(1, 2).normal((3,))).all())
        True
        >>> Noise(ideal=True).normal((3,))
        tensor([0., 0., 0.])
    """

    generator: torch.Generator | None = None
    ideal: bool = False

    @classmethod
    def of(cls, seed: int, place: int = 0) -> "Noise":
        """The noise of module number `place` of a chip; it does not depend on other modules.

        Example:
            >>> bool((Noise.of(1, 2).normal((3,)) == Noise.of(1, 2).normal((3,))).all())
            True
        """
        words = np.random.SeedSequence([seed % 2**64, place]).generate_state(1, np.uint64)
        return cls(torch.Generator().manual_seed(int(words[0])))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Independent numbers with mean 0 and standard deviation 1."""
        return torch.zeros(shape) if self.ideal else torch.randn(shape, generator=self.generator)
