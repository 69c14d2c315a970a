"""The contract of a surrogate: a hard threshold forward, a smooth derivative backward.

Requirements: forward spikes never depend on the surrogate; spikes and gradients keep dtype and device; half precision
is evaluated in float32; finite input never gives NaN. A built-in surrogate is one formula, `pseudo_derivative`, which
torch runs as it stands and which the kernels bind to their own maths (see `nwavesdk.dynamics.neuron`).


`Formula`: a surrogate that is one page and some numbers; the base of everything in the catalogue.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Formula", "Surrogate", "evaluate", "heaviside", "number", "require_floating"]


def heaviside(z: Tensor) -> Tensor:
    """The step `H(z) = 1 if z > 0 else 0`, in the dtype of `z`; H(±0) = 0 and H(NaN) = 0.

    Example:
        >>> heaviside(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 1.])
    """
    return (z > 0).to(z.dtype)


class Surrogate(ABC):
    """A spike function: `s(z)` is the Heaviside step of `z`, and its gradient is `s.derivative(z)`.

    `z` is the membrane before reset minus the threshold, a floating tensor of any shape. Subclasses are immutable
    values: comparable, hashable, picklable.

    Attributes:
        formula: the derivative in one line, for tables and reports.
        pseudo_derivative: σ'(z, *constants) as a page that torch, numba and Triton can all run, or None when σ' is
            known to torch alone (the kernels then take it as an array).

    References:
        E. O. Neftci, H. Mostafa, F. Zenke, "Surrogate gradient learning in spiking neural networks", 2019,
        doi:10.1109/MSP.2019.2931595.
    """

    formula: ClassVar[str]
    pseudo_derivative: ClassVar[Callable[..., Any] | None] = None

    @property
    def parameters(self) -> dict[str, float]:
        """Its parameters by name; none where the derivative is the user's own."""
        return {}

    @property
    def constants(self) -> tuple[float, ...]:
        """The numbers that `pseudo_derivative` takes after `z`."""
        return ()

    @abstractmethod
    def derivative(self, z: Tensor) -> Tensor:
        """The backward factor σ'(z), same shape, dtype and device as `z`.

        Raises:
            TypeError: `z` is not a floating tensor.
        """

    def __call__(self, z: Tensor) -> Tensor:
        """Spikes H(z), same shape, dtype and device as `z`, with σ'(z) as gradient.

        Raises:
            TypeError: `z` is not a floating tensor.
        """
        require_floating(self, z)
        spikes: Tensor = _Spike.apply(z, self)
        return spikes


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, surrogate: Surrogate) -> Tensor:  # noqa: ARG004
        return heaviside(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        z, ctx.surrogate = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return grad * ctx.surrogate.derivative(z), None


def require_floating(surrogate: Surrogate, z: Tensor) -> None:
    """Raise a TypeError unless `z` is a floating tensor."""
    if not isinstance(z, Tensor) or not z.is_floating_point():
        got = f"a tensor of {z.dtype}" if isinstance(z, Tensor) else type(z).__name__
        raise TypeError(
            f"{surrogate!r} needs z (membrane minus threshold) as a floating tensor, got {got}."
        )


def evaluate(surrogate: Surrogate, z: Tensor) -> Tensor:
    """`pseudo_derivative` at `z` in torch: float32 inside for half precision, the dtype of `z` outside."""
    require_floating(surrogate, z)
    wide = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
    assert surrogate.pseudo_derivative is not None
    value: Tensor = surrogate.pseudo_derivative(wide, *surrogate.constants)
    return value.to(z.dtype)


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
            object.__setattr__(
                self, one.name, _checked(type(self).__name__, one, getattr(self, one.name))
            )

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
        expected = (
            f"a {what} from {low:g} to {high:g}" if one.metadata else "a finite number above 0"
        )
        raise ValueError(
            f"{owner}: {one.name} must be {expected}, got {value!r} (the default is {one.default!r})."
        )
    return kind(got)
