"""The space of a search: one dimension for each field that varies, as numbers or as choices."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nwavesdk.internal.checks import shown
from nwavesdk.internal.imports import require
from nwavesdk.internal.model import FrozenModel, expect

__all__ = ["Dimension", "Space", "flat_space"]

# More choices would not be tried by a search that anybody waits for.
MOST_CHOICES = 1000

# A share of a range that no step of a grid hits by chance.
INSIDE = 0.381966

Whole = Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Number = Annotated[Whole | Real, expect("a finite number")]

KEYS = {"choices", "high", "log", "low", "step"}


class Dimension(FrozenModel):
    """What a field may be: one of some choices, or a number from `low` to `high`.

    Numbers are whole if both ends are written without a point.

    Args:
        choices: The choices, of any kind that JSON has.
        low: The smallest number.
        high: The largest number.
        log: Whether the logarithm of the number is searched evenly.
        step: Distance between numbers, counted from `low`.

    Example:
        >>> Dimension.of({"low": 16, "high": 64, "step": 16}).contains(48)
        True
    """

    choices: Annotated[tuple[Any, ...], Field(min_length=1, max_length=MOST_CHOICES)] | None = None
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            self._check_choices()
        elif self.low is None or self.high is None:
            raise ValueError(
                "low, high: expected choices, or both a low and a high end, as in "
                "{ low = 1e-3, high = 1e-1, log = true }"
            )
        else:
            self._check_range(self.low, self.high)
        return self

    def _check_choices(self) -> None:
        numbers = {"low": self.low, "high": self.high, "step": self.step, "log": self.log or None}
        for name, value in numbers.items():
            if value is not None:
                raise ValueError(f"{name}: has no effect with choices, got {value}: leave it out")
        labels = [_label(choice) for choice in self.choices or ()]
        for place, label in enumerate(labels):
            if label in labels[:place]:
                raise ValueError(f"choices: got {label} twice, expected different ones")

    def _check_range(self, low: float, high: float) -> None:
        if low >= high:
            raise ValueError(f"high: expected more than low, which is {low}, got {high}")
        if self.log and low <= 0:
            raise ValueError(f"low: expected more than 0 with log = true, got {low}")
        if self.step is None:
            return
        if self.log:
            raise ValueError("step: has no effect with log = true: leave one of them out")
        if not 0 < self.step <= high - low:
            raise ValueError(
                f"step: expected more than 0 and at most high - low, which is {high - low:g}, "
                f"got {self.step}"
            )
        if self.is_whole and not isinstance(self.step, int):
            raise ValueError(f"step: expected a whole number, as low and high are, got {self.step}")
        if (high - low) / self.step > 2**53:
            raise ValueError(f"step: expected a larger one, got {self.step}")

    @property
    def is_whole(self) -> bool:
        """Whether the numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def distribution(self) -> Any:
        """The dimension in the terms of Optuna, which has texts in place of choices."""
        distributions = require("optuna.distributions", "hpo")
        if self.choices is not None:
            return distributions.CategoricalDistribution([_label(one) for one in self.choices])
        if self.is_whole:
            step = 1 if self.step is None else self.step
            return distributions.IntDistribution(self.low, self.high, self.log, step)
        return distributions.FloatDistribution(self.low, self.high, self.log, self.step)

    def to_optuna(self, value: Any) -> Any:
        """A value of the dimension in the terms of Optuna."""
        return value if self.choices is None else _label(value)

    def from_optuna(self, value: Any) -> Any:
        """A value of the dimension from that of Optuna."""
        if self.choices is None:
            return int(value) if self.is_whole else float(value)
        return next(choice for choice in self.choices if _label(choice) == value)

    def contains(self, value: Any) -> bool:
        """Whether a value that was read from a file is one of the dimension."""
        if self.choices is not None:
            return _label(value) in [_label(choice) for choice in self.choices]
        assert self.low is not None
        assert self.high is not None
        is_number = isinstance(value, int if self.is_whole else int | float)
        if not is_number or isinstance(value, bool):
            return False
        return bool(self.low <= value <= self.high)

    def samples(self) -> list[Any]:
        """Values that show whether a field takes the dimension: all choices, or ends and inside."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.is_whole:
            return [self.low, self.high]
        return [self.low, self.high, self.low + INSIDE * (self.high - self.low)]

    def position(self, value: Any) -> float:
        """Where a value is between the ends, from 0 to 1."""
        if self.choices is not None:
            labels = [_label(choice) for choice in self.choices]
            return labels.index(_label(value)) / max(1, len(labels) - 1)
        assert self.low is not None
        assert self.high is not None
        low, high, at = (
            (math.log(one) for one in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return float((at - low) / (high - low))

    def text(self, value: Any) -> str:
        """A value as reports show it."""
        if isinstance(value, float):
            return f"{value:.4g}"
        return value if isinstance(value, str) else _label(value)


# The dimensions by field, in the order of the file.
Space = Mapping[str, Dimension]


def flat_space(content: Mapping[str, Any]) -> dict[str, Any]:
    """Dimensions by the full names of their fields, whether TOML read a dot as nesting or not.

    Example:
        >>> flat_space({"net": {"tau": {"low": 1e-3, "high": 1e-2}}})
        {'net.tau': {'low': 0.001, 'high': 0.01}}
    """
    flat: dict[str, Any] = {}
    for name, value in content.items():
        is_section = isinstance(value, Mapping) and value and not value.keys() & KEYS
        inner = flat_space(value) if is_section else {"": value}
        for field, dimension in inner.items():
            flat[f"{name}.{field}" if field else name] = dimension
    return flat


def _label(value: Any) -> str:
    """A choice as a text, which differs between choices that differ."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    try:
        return value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"choices: expected values that JSON has, got {shown(value)}") from None
