"""How one transistor differs from the next."""

import torch
from torch import Tensor

__all__ = ["lognormal_factors"]


def lognormal_factors(shape: tuple[int, ...], spread: float, generator: torch.Generator | None = None) -> Tensor:
    """Factors exp(spread · noise) of median 1, drawn on the CPU so that every device sees the same chip."""
    return torch.exp(spread * torch.randn(shape, generator=generator))
