"""`RoundedInput`: the inputs of a net on a grid of small integers."""

import math

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import positive_number, whole_number
from nwavesdk.internal.tensors import require_floating

__all__ = ["RoundedInput", "best_steps", "largest_integer", "round_to_grid"]

MIN_BITS, MAX_BITS = 2, 8
# Steps that are tried, in powers of two: coarser and finer than the step that saturates no value.
_COARSER, _FINER = 7, 8


class RoundedInput(nn.Module):
    """Rounds inputs to a grid: `y = step · clamp(round(x / step), -largest, largest)`.

    A half is rounded to the even number. `largest` is 2^(bits - 1) - 1. The gradient is 1.

    Args:
        step: The distance of two values, a power of two.
        bits: Number of bits, from 2 to 8.

    Attributes:
        step: The distance of two values. It is in `state_dict`.
        bits: Number of bits.

    Shape:
        Any; returns the same shape.

    Raises:
        ValueError: If `step` is not a power of two, or `bits` is out of its range.
        TypeError: If the input is not floating.

    Example:
        >>> RoundedInput(0.5)(torch.tensor([0.3, 0.25, -1.6, 1000.0]))
        tensor([ 0.5000,  0.0000, -1.5000, 63.5000])
    """

    step_size: Tensor

    def __init__(self, step: float, bits: int = 8) -> None:
        super().__init__()
        owner = type(self).__name__
        step = positive_number(owner, "step", step)
        if math.frexp(step)[0] != 0.5:
            raise ValueError(
                f"{owner}: step must be a power of two, got {step:g}: pass "
                f"{2.0 ** round(math.log2(step)):g}, for example."
            )

        self.bits = whole_number(owner, "bits", bits, least=MIN_BITS, most=MAX_BITS)
        self.register_buffer("step_size", torch.tensor(step, dtype=torch.float32))

    @property
    def step(self) -> float:
        """The distance of two values."""
        return float(self.step_size)

    def forward(self, x: Tensor) -> Tensor:
        """The rounded input; see the class."""
        require_floating(type(self).__name__, x)
        return round_to_grid(x, self.step_size.to(x.dtype), largest_integer(self.bits))

    def extra_repr(self) -> str:
        return f"step={self.step:g}, bits={self.bits}"


def largest_integer(bits: int) -> int:
    """The largest integer of a symmetric grid: 127 for 8 bits."""
    return int(2 ** (bits - 1)) - 1


def round_to_grid(x: Tensor, steps: Tensor, largest: float) -> Tensor:
    """`x` on the grid of `steps`, half to even and saturating, with a gradient of 1 everywhere."""
    rounded = (x / steps).round().clamp(-largest, largest) * steps
    if not x.requires_grad:
        return rounded

    # The difference is 0 and carries the gradient. `x + (rounded - x)` would round again.
    return rounded.detach() + (x - x.detach())


@torch.no_grad()
def best_steps(columns: Tensor, largest: float, power: Tensor | None = None) -> Tensor:
    """The powers of two whose grids are nearest to the values of each column.

    The squared error includes saturation. If several steps have the same error, as for whole
    numbers, the largest is chosen. A column of zeros has the step 1.

    Args:
        columns: Finite values, float [n, C].
        largest: The largest integer of the grid.
        power: How much each row counts [n]; None for equal rows.

    Returns:
        The steps, float64 [C].

    Example:
        >>> best_steps(torch.tensor([[1.0, 0.1], [-3.0, 0.7]]), largest=127)
        tensor([1.0000, 0.0078], dtype=torch.float64)
    """
    values = columns.double()
    row_weights = 1.0 if power is None else power[:, None]
    peak = values.abs().amax(0)
    _, exponent = torch.frexp(peak / largest)
    exponent = torch.where(peak > 0, exponent, 0)

    best = torch.zeros_like(peak)
    least_error = torch.full_like(peak, torch.inf)
    for shift in range(_COARSER, -_FINER - 1, -1):
        steps = torch.ldexp(torch.ones_like(peak), exponent + shift)
        error = ((values - round_to_grid(values, steps, largest)).square() * row_weights).sum(0)
        best = torch.where(error < least_error, steps, best)
        least_error = torch.minimum(error, least_error)
    return best.where(peak > 0, 1.0)
