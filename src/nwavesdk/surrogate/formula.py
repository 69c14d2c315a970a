"""`Formula`: a surrogate that is one page and some numbers; the base of everything in the catalogue."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from nwavesdk.surrogate.base import Surrogate, evaluate

__all__ = ["Formula", "number"]

_STEEPEST = 1e37  # all that comes of it is still a float32
_SMALLEST, _LARGEST = 1e-18, 1e18  # products and quotients of two are still float32s


def number(default: float, low: float = _SMALLEST, high: float = _LARGEST) -> Any:
    """A parameter from `low` to `high`, whole where its default is; without it a parameter is any number above 0."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Formula(Surrogate):
    """A surrogate whose derivative is one page, `pseudo_derivative`, and whose fields are numbers within a range."""

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _checked(type(self).__name__, one, getattr(self, one.name)))

    @property
    def parameters(self) -> dict[str, float]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def constants(self) -> tuple[float, ...]:
        return tuple(self.parameters.values())

    def derivative(self, z: Tensor) -> Tensor:
        return evaluate(self, z)


def _checked(owner: str, one: Any, value: object) -> float:
    try:
        got = math.nan if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]  # what cannot is caught
    except (TypeError, ValueError, RuntimeError, OverflowError):
        got = math.nan
    kind: type[float] = type(one.default)
    low, high = one.metadata.get("low", 0.0), one.metadata.get("high", _STEEPEST)
    inside = low <= got <= high if one.metadata else low < got <= high
    if not inside or kind(got) != got:
        what = "whole number" if kind is int else "number"
        expected = f"a {what} from {low:g} to {high:g}" if one.metadata else "a finite number above 0"
        raise ValueError(f"{owner}: {one.name} must be {expected}, got {value!r} (the default is {one.default!r}).")
    return kind(got)
