"""The surrogates with a formula of their own: each one small class and one row in `CATALOGUE`."""

import ast
import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch as m  # the maths of a page: bound anew for numba and Triton
from torch import Tensor

from nwavesdk.surrogate.base import Surrogate, evaluate

__all__ = ["CATALOGUE", "ATan", "FastSigmoid", "Sigmoid", "atan", "available", "fast_sigmoid", "parse", "sigmoid"]


_STEEPEST = 1e37  # all that comes of it is still a float32


@dataclass(frozen=True)
class _Formula(Surrogate):
    """A surrogate whose derivative is one page and whose parameters are finite and positive."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            try:
                number = math.nan if isinstance(value, bool | str) else float(value)
            except (TypeError, ValueError, RuntimeError):
                number = math.nan
            if not 0 < number <= _STEEPEST:
                raise ValueError(
                    f"{type(self).__name__}: {field.name} must be a finite number above 0, got {value!r} "
                    f"(the default is {field.default!r})."
                )
            object.__setattr__(self, field.name, number)

    @property
    def constants(self) -> tuple[float, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def derivative(self, z: Tensor) -> Tensor:
        return evaluate(self, z)


@dataclass(frozen=True)
class ATan(_Formula):
    """Derivative `(alpha/2) / (1 + (pi/2 · alpha · z)²)`: heavier tails than the sigmoid-like ones.

    Args:
        alpha: sharpness [1 / unit of the membrane]; higher values concentrate the gradient near 0.

    Example:
        >>> ATan(alpha=2.0).derivative(m.tensor([0.0]))
        tensor([1.])

    References:
        W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
        networks", 2021, doi:10.1109/ICCV48922.2021.00266.
    """

    alpha: float = 2.0
    formula: ClassVar[str] = "(alpha/2) / (1 + (pi/2 · alpha · z)²)"

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha / 2, math.pi / 2 * self.alpha

    @staticmethod
    def pseudo_derivative(z: Any, peak: Any, rate: Any) -> Any:
        y = rate * z
        return peak / (1.0 + y * y)


@dataclass(frozen=True)
class FastSigmoid(_Formula):
    """Derivative `1 / (slope · |z| + 1)²`: the robust default.

    Args:
        slope: steepness around 0 [1 / unit of the membrane].

    Example:
        >>> FastSigmoid(slope=25.0).derivative(m.tensor([0.0, 0.04]))
        tensor([1.0000, 0.2500])

    References:
        F. Zenke, S. Ganguli, "SuperSpike", 2018, doi:10.1162/neco_a_01086.
    """

    slope: float = 25.0
    formula: ClassVar[str] = "1 / (slope · |z| + 1)²"

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any) -> Any:
        r = 1.0 / (slope * m.abs(z) + 1.0)
        return r * r


@dataclass(frozen=True)
class Sigmoid(_Formula):
    """Derivative `k e^(-kz) / (e^(-kz) + 1)²` with k = slope, the logistic density.

    The formula is even in z and is evaluated at |z| as `k p² h²`, `h = e^(-k|z|/2)`, `p = 1 / (1 + h²)`: as printed it
    overflows to NaN for z < -88.7/k in float32, and with e^(-k|z|) in one piece the tail is lost for large k.

    Args:
        slope: steepness k [1 / unit of the membrane].

    Example:
        >>> Sigmoid(slope=25.0).derivative(m.tensor([0.0, -1e4]))
        tensor([6.2500, 0.0000])
    """

    slope: float = 25.0
    formula: ClassVar[str] = "k e^(-kz) / (e^(-kz) + 1)², k = slope"

    @staticmethod
    def pseudo_derivative(z: Any, slope: Any) -> Any:
        h = m.exp(-0.5 * (slope * m.abs(z)))
        p = 1.0 / (1.0 + h * h)
        return (slope * h * p) * (h * p)


CATALOGUE: dict[str, type[Surrogate]] = {"atan": ATan, "fast_sigmoid": FastSigmoid, "sigmoid": Sigmoid}


def atan(alpha: float = 2.0) -> ATan:
    """Spikes with the derivative of an arctangent, see `ATan`.

    Raises:
        ValueError: `alpha` is not a finite number above 0.
    """
    return ATan(alpha)


def fast_sigmoid(slope: float = 25.0) -> FastSigmoid:
    """Spikes with the derivative of a fast sigmoid, see `FastSigmoid`; the documented baseline.

    Raises:
        ValueError: `slope` is not a finite number above 0.
    """
    return FastSigmoid(slope)


def sigmoid(slope: float = 25.0) -> Sigmoid:
    """Spikes with the derivative of a logistic sigmoid, see `Sigmoid`.

    Raises:
        ValueError: `slope` is not a finite number above 0.
    """
    return Sigmoid(slope)


def available() -> dict[str, type[Surrogate]]:
    """Name and class of every surrogate in the catalogue.

    Example:
        >>> sorted(available())
        ['atan', 'fast_sigmoid', 'sigmoid']
    """
    return dict(CATALOGUE)


def parse(text: str) -> Surrogate:
    """The surrogate that `text` names, its parameters by name or in order: `"atan"`, `"atan(alpha=3)"`, `"atan(3)"`.

    Raises:
        ValueError: the name is unknown, or the parameters are not plain numbers that the surrogate takes.

    Example:
        >>> parse("fast_sigmoid(slope=10)")
        FastSigmoid(slope=10.0)
    """
    expected = f"one of {', '.join(sorted(CATALOGUE))}, as in atan or atan(alpha=3)"
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        name = call.func.id  # type: ignore[attr-defined]
        positional = [ast.literal_eval(a) for a in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        cls = CATALOGUE[name]
    except (SyntaxError, AttributeError, ValueError, KeyError, TypeError):
        raise ValueError(f"unknown surrogate {text!r}: expected {expected}.") from None
    try:
        return cls(*positional, **named)
    except TypeError:
        takes = ", ".join(f.name for f in fields(cls))  # type: ignore[arg-type]
        raise ValueError(f"surrogate {text!r} has parameters that {name} does not take: it takes {takes}.") from None
