"""The words of pages: functions that only solvers give a meaning, and the kinds of constants."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from nwavesdk.internal.checks import shown

__all__ = [
    "Bounded",
    "Kind",
    "PageError",
    "Positive",
    "Real",
    "TimeConstant",
    "decay",
    "held",
    "spike",
]


class PageError(ValueError):
    """A function cannot be the page of a neuron; the text names line and reason."""


def _word(name: str, doc: str) -> Callable[[Any], Any]:
    def word(value: Any) -> Any:
        raise RuntimeError(
            f"{name} is a word of neuron pages, which are read and never called: use it in a "
            "function decorated with @neuron."
        )

    word.__name__ = name
    word.__qualname__ = name
    word.__doc__ = doc
    return word


spike = _word("spike", "1 where the argument is above 0, else 0; its gradient is the surrogate's.")
held = _word("held", "The argument; no gradient flows through it if the layer detaches the reset.")
decay = _word("decay", "exp(-dt/tau) of the time constant tau [s].")


@dataclass(frozen=True)
class Kind:
    """What values a constant may have: any number above `low` and below `high`.

    Attributes:
        low: Lower bound, not included; None for no bound.
        high: Upper bound, not included; None for no bound.
        unit: Unit, for messages.
    """

    low: float | None = None
    high: float | None = None
    unit: str = ""

    @property
    def is_time(self) -> bool:
        """Whether the constant is a time constant, which `decay` takes."""
        return self.unit == "s"


class Bounded(Kind):
    """The kind of a constant between two numbers, as in `rho: Annotated[float, Bounded(0, 1)]`.

    Args:
        low: Lower bound, not included.
        high: Upper bound, not included.

    Raises:
        PageError: If they are not two finite numbers, the lower one first.
    """

    def __init__(self, low: float, high: float) -> None:
        are_numbers = all(isinstance(bound, int | float) for bound in (low, high))
        if not are_numbers or not -math.inf < low < high < math.inf:
            raise PageError(
                "Bounded takes two finite numbers, the lower one first, got "
                f"{shown(low)} and {shown(high)}: use Positive or Real where a bound is missing."
            )
        super().__init__(float(low), float(high))


TimeConstant = Annotated[float, Kind(low=0.0, unit="s")]
"""A time constant [s], above 0."""

Positive = Annotated[float, Kind(low=0.0)]
"""A number above 0."""

Real = Annotated[float, Kind()]
"""Any finite number."""
