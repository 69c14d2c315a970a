"""Delays of connections: how they are checked, drawn, stored and read, of synapses and layers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nwavesdk.internal.checks import choice, finite_number, positive_number, shown, whole_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers.prepare import DIVERGED

__all__ = ["DelayRange", "delay_range", "first_width", "narrowed"]

# float32 stores delays up to here to 1/256 of a step.
_MOST_STEPS = 1 << 16
# A delay in seconds this near to a whole number of steps is that number [steps].
_ROUNDING = 1e-6

# Width of the Gaussian at the end of training [steps], as in Hammouamri et al. 2024.
_FINAL_WIDTH = 0.5


@dataclass(frozen=True)
class DelayRange:
    """Delays from 0 to `max_delay`, and how they are stored.

    They are stored in units of `scale`, the smallest power of two of at least `max_delay` steps.
    Values near 1 suit the learning rates of weights, and a power of two keeps whole steps exact.

    Attributes:
        owner: Name of the module, for error messages.
        max_delay: Largest delay [steps].
        step: Length of a step in the unit in which delays are given: 1, or dt [s].
        unit: That unit, for messages.
    """

    owner: str
    max_delay: int
    step: float = 1.0
    unit: str = "steps"

    @property
    def scale(self) -> float:
        """The unit of stored delays [steps]."""
        return 2.0 ** math.ceil(math.log2(self.max_delay))

    def store(self, delays: Tensor) -> Tensor:
        """What is stored of delays [steps]."""
        return delays / self.scale

    def read(self, stored: Tensor) -> Tensor:
        """Delays [steps] from 0 to `max_delay`, with a gradient of ±`scale` everywhere.

        A value that an optimizer has put beyond a border is reflected there, and its gradient
        changes sign. So no delay is stuck at a border.
        """
        largest = self.max_delay / self.scale
        # A triangular wave: 0 … largest counts up, largest … 2 largest counts down.
        place = stored.remainder(2 * largest)
        return self.scale * torch.where(place > largest, 2 * largest - place, place)

    def draw(self, shape: tuple[int, ...], whole: bool) -> Tensor:
        """Uniform delays [steps] from torch's global generator."""
        if whole:
            return torch.randint(self.max_delay + 1, shape).to(torch.get_default_dtype())
        return self.max_delay * torch.rand(shape)

    def given(self, delays: object, shape: tuple[int, ...], name: str = "delays") -> Tensor:
        """An argument as delays [steps]: one number, or a tensor of `shape`.

        Raises:
            TypeError: If it is a sparse, nested, masked, quantized or meta tensor.
            ValueError: If it has another shape, or is not from 0 to `max_delay`.
        """
        if isinstance(delays, Tensor):
            require_tensor(f"{self.owner}: {name}", delays)
        try:
            if isinstance(delays, bool):
                raise TypeError
            values = torch.as_tensor(delays, dtype=torch.float64).detach().cpu()
        except (TypeError, ValueError, RuntimeError, OverflowError):
            values = torch.tensor(math.nan)
        allowed = [(), shape, *([shape[:1]] if shape[1] == 1 else [])]
        if tuple(values.shape) not in allowed:
            raise ValueError(
                f"{self.owner}: {name} must be one number or have the shape {list(allowed[-1])}, "
                f"got the shape {list(values.shape)}: give one per connection, or one per input "
                'with per="input".'
            )
        steps = _near_whole(values / self.step)
        if not bool(((steps >= 0) & (steps <= self.max_delay)).all()):
            raise ValueError(
                f"{self.owner}: {name} must be from 0 to max_delay, "
                f"{self.max_delay * self.step:g} [{self.unit}], got {shown(delays)}."
            )
        steps = steps.to(torch.get_default_dtype())
        return steps.expand(shape).clone() if not steps.ndim else steps.reshape(shape)

    def check(self, stored: Tensor, name: str = "delays") -> None:
        """Raise a RuntimeError if stored delays are not finite."""
        if not bool(torch.isfinite(stored.detach()).all()):
            raise RuntimeError(f"{self.owner}: {name} are not finite: {DIVERGED}")


def _near_whole(steps: Tensor) -> Tensor:
    """Delays [steps], without the rounding of a division by dt."""
    whole = steps.round()
    return torch.where((steps - whole).abs() < _ROUNDING, whole, steps)


def delay_range(owner: str, max_delay: object, unit: object, dt: object) -> DelayRange:
    """The range of delays by the arguments of a module.

    Args:
        owner: Name of the module.
        max_delay: Largest delay in `unit`; in seconds, it is rounded up to whole steps.
        unit: `"steps"` or `"seconds"`.
        dt: Length of a step [s] for `"seconds"`, else None.

    Raises:
        ValueError: If one is out of its range, or `dt` is missing or has no use.
    """
    if choice(owner, "unit", unit, ("steps", "seconds")) == "steps":
        if dt is not None:
            raise ValueError(
                f"{owner}: dt has no use for delays in steps, got {shown(dt)}: leave it out, or "
                'give delays in seconds and unit="seconds".'
            )
        return DelayRange(owner, whole_number(owner, "max_delay", max_delay, most=_MOST_STEPS))
    if dt is None:
        raise ValueError(
            f"{owner}: delays in seconds need the length of a step, got dt=None: give dt [s]."
        )
    step = positive_number(owner, "dt", dt, "s")
    largest = positive_number(owner, "max_delay", max_delay, "s")
    steps = float(_near_whole(torch.tensor(largest / step, dtype=torch.float64)))
    if steps > _MOST_STEPS:
        raise ValueError(
            f"{owner}: max_delay must be up to {_MOST_STEPS:,} steps of dt={step:g} s, got "
            f"{shown(max_delay)} s."
        )
    return DelayRange(owner, math.ceil(steps), step, "s")


def first_width(owner: str, width: object, max_delay: int) -> float:
    """The width of the Gaussian at the start of training [steps]; None is half of `max_delay`.

    Raises:
        ValueError: If it is not a finite number above 0.
    """
    if width is None:
        return max(max_delay / 2, _FINAL_WIDTH)
    return positive_number(owner, "width", width, "steps")


def narrowed(owner: str, width: float, progress: object) -> float:
    """The width [steps] after a share `progress` of the narrowing: width^(1-p) · 0.5^p.

    Raises:
        ValueError: If `progress` is not from 0 to 1.
    """
    p = finite_number(owner, "progress", progress, least=0, most=1)
    return float(width ** (1 - p) * _FINAL_WIDTH**p)
