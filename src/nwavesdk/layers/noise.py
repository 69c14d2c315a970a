"""`Noise`: the random numbers for the mismatch of the modules of a net."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Noise"]


@dataclass(frozen=True)
class Noise:
    """The random numbers for the mismatch of one module.

    It is drawn on the CPU, so that every device simulates the same chip.

    Args:
        generator: The generator of the numbers; None for torch's global generator.
        ideal: Whether every number is 0, as on the ideal chip.

    Example:
        >>> bool((Noise.of(seed=1, number=2).normal((3,)) == Noise.of(1, 2).normal((3,))).all())
        True
        >>> Noise(ideal=True).normal((3,))
        tensor([0., 0., 0.])
    """

    generator: torch.Generator | None = None
    ideal: bool = False

    @classmethod
    def of(cls, seed: int, number: int = 0) -> "Noise":
        """The noise of module `number` of a chip; it does not depend on other modules.

        Example:
            >>> bool((Noise.of(1, 2).normal((3,)) == Noise.of(1, 2).normal((3,))).all())
            True
        """
        words = np.random.SeedSequence([seed % 2**64, number]).generate_state(1, np.uint64)
        return cls(torch.Generator().manual_seed(int(words[0])))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Independent numbers with mean 0 and standard deviation 1."""
        return torch.zeros(shape) if self.ideal else torch.randn(shape, generator=self.generator)
