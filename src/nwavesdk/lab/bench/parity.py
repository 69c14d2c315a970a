"""Whether two ways to run a net did the same; a benchmark tells no time of one that did not."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["TOLERANCE", "Outcome", "Parity", "compare"]

TOLERANCE = 3e-5  # of the largest gradient expected, or of 1: GRADIENT[float32] in tests/tolerances.py


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one forward and backward pass gave."""

    spikes: Tensor
    gradients: dict[str, Tensor]


@dataclass(frozen=True)
class Parity:
    """How far an outcome is from the one expected.

    Attributes:
        agrees: every spike equal, every gradient within `TOLERANCE`.
        spikes_differ: number of spikes that differ.
        gradient_error: largest difference, as a share of the largest gradient expected, or of 1.
        rate: spikes per neuron and step, expected.
    """

    agrees: bool
    spikes_differ: int
    gradient_error: float
    rate: float

    def as_json(self) -> dict[str, Any]:
        """The four facts by name."""
        return asdict(self)


def compare(got: Callable[[], Outcome], expected: Callable[[], Outcome]) -> Parity:
    """Run both once and compare.

    Raises:
        ValueError: they gave gradients of different things.
    """
    a, b = got(), expected()
    if a.gradients.keys() != b.gradients.keys():
        raise ValueError(f"gradients of {sorted(a.gradients)} against gradients of {sorted(b.gradients)}.")
    differ = int((a.spikes != b.spikes).sum())
    error = max((_error(a.gradients[k], b.gradients[k]) for k in a.gradients), default=0.0)
    return Parity(differ == 0 and error <= TOLERANCE, differ, error, float(b.spikes.mean()))


def _error(got: Tensor, expected: Tensor) -> float:
    error = (got.double() - expected.double()).abs().max()
    if not bool(torch.isfinite(error)):
        return float("inf")
    return float(error / expected.double().abs().max().clamp(min=1.0))
