"""The contract of a surrogate: a hard threshold forward, a smooth derivative backward.

Requirements: forward spikes never depend on the surrogate; spikes and gradients keep dtype and
device; half precision is evaluated in float32; finite input never gives NaN. A surrogate of the
catalogue is one formula, `pseudo_derivative`, which torch runs unchanged and which
`nwavesdk.solvers.dialect` translates for the kernels.
"""

import inspect
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Concatenate, ParamSpec

import torch
from torch import Tensor

from nwavesdk.internal.checks import finite_number, whole_number
from nwavesdk.internal.tensors import require_floating, require_tensor, widen

__all__ = [
    "Constants",
    "Formula",
    "Surrogate",
    "constants_of",
    "heaviside",
    "parameter",
    "surrogate_page",
]

P = ParamSpec("P")
Constants = tuple[float, ...]

# Products and quotients of two parameters within these bounds are finite in float32, and not 0.
_MIN_PARAMETER = 1e-18
_MAX_PARAMETER = 1e18
# The upper bound of a parameter that multiplies z and no other parameter.
_MAX_STEEPNESS = 1e37


def heaviside(z: Tensor) -> Tensor:
    """The step `H(z) = 1 if z > 0 else 0`, in the dtype of `z`; H(±0) = 0 and H(NaN) = 0.

    Example:
        >>> heaviside(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 1.])
    """
    require_tensor("heaviside", z, needs_values=False)
    return (z > 0).to(z.dtype)


class Surrogate(ABC):
    """A spike function: `s(z)` is the Heaviside step of `z`, and its gradient is `s.derivative(z)`.

    `z` is the membrane before reset minus the threshold, a floating tensor of any shape.
    Subclasses are immutable values: comparable, hashable, picklable.

    Attributes:
        formula: The derivative in one line, for tables and reports.
        pseudo_derivative: σ'(z, *constants) as a page that torch, numba and Triton can all run, or
            None where only torch can evaluate σ'.

    Example:
        >>> from nwavesdk.surrogate import triangle
        >>> z = torch.tensor([-0.5, 0.25, 2.0], requires_grad=True)
        >>> spikes = triangle(alpha=1.0)(z)
        >>> spikes.sum().backward()
        >>> spikes.detach(), z.grad
        (tensor([0., 1., 1.]), tensor([0.5000, 0.7500, 0.0000]))

    References:
        E. O. Neftci, H. Mostafa, F. Zenke, "Surrogate gradient learning in spiking neural
        networks", 2019, doi:10.1109/MSP.2019.2931595.
    """

    formula: ClassVar[str]
    pseudo_derivative: ClassVar[Callable[..., Any] | None] = None

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters by name; empty where the user has written the derivative."""
        return {}

    @property
    def constants(self) -> tuple[float, ...]:
        """The numbers that `pseudo_derivative` takes after `z`."""
        return ()

    @abstractmethod
    def derivative(self, z: Tensor) -> Tensor:
        """The backward factor σ'(z), with the shape, dtype and device of `z`.

        Raises:
            TypeError: If `z` is not a floating tensor.
        """

    def __call__(self, z: Tensor) -> Tensor:
        """Spikes H(z), with the shape, dtype and device of `z`, and σ'(z) as gradient.

        Raises:
            TypeError: If `z` is not a floating tensor.
        """
        require_floating(self, z, needs_values=False)
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


def parameter(default: float, least: float = _MIN_PARAMETER, most: float = _MAX_PARAMETER) -> Any:
    """A field of a `Formula` with bounds; a whole number if its default is an int."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class Formula(Surrogate):
    """A surrogate whose derivative is a page, `pseudo_derivative`, and whose fields are numbers.

    A field is a number above 0, or within the bounds of its `parameter`. A subclass passes its
    `formula` as a class argument.

    Example:
        >>> @dataclass(frozen=True)
        ... class Cosine(Formula, formula="cos(width z) for |width z| < π/2, else 0"):
        ...     width: float = 1.0
        ...     @staticmethod
        ...     def pseudo_derivative(z, width):
        ...         r = width * z
        ...         return torch.where(abs(r) < 1.5708, torch.cos(r), 0.0)
        >>> Cosine(width=2.0).derivative(torch.tensor([0.0, 0.5, 1.0]))
        tensor([1.0000, 0.5403, 0.0000])
    """

    def __init_subclass__(cls, formula: str) -> None:
        cls.formula = formula

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for entry in fields(self):
            bounds = entry.metadata or {"above": 0.0, "most": _MAX_STEEPNESS}
            value = finite_number(owner, entry.name, getattr(self, entry.name), **bounds)
            if isinstance(entry.default, int):
                whole = int(value) if value.is_integer() else value
                value = whole_number(owner, entry.name, whole, **bounds)
            object.__setattr__(self, entry.name, value)

    @property
    def parameters(self) -> dict[str, float]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def constants(self) -> tuple[float, ...]:
        return tuple(self.parameters.values())

    def derivative(self, z: Tensor) -> Tensor:
        require_floating(self, z)
        assert self.pseudo_derivative is not None
        value: Tensor = self.pseudo_derivative(widen(z), *self.constants)
        return value.to(z.dtype)


def surrogate_page(
    formula: str,
) -> Callable[[Callable[Concatenate[Any, P], Any]], Callable[P, Formula]]:
    """Make a surrogate from its page. The arguments of the page after z are its parameters.

    The result is a class of `Formula`, called as a factory: `triangle(k=2)`.

    Args:
        formula: The derivative in one line.
    """

    def declare(page: Callable[Concatenate[Any, P], Any]) -> Callable[P, Formula]:
        _, *parameters = inspect.signature(page).parameters.values()
        factory: Callable[P, Formula] = _declared(page, formula, page, parameters)
        return factory

    return declare


def constants_of(
    page: Callable[..., Any], formula: str
) -> Callable[[Callable[P, Constants]], Callable[P, Formula]]:
    """Make a surrogate from a page, which surrogates may share, and a function of its parameters.

    The function returns the constants of the page, which are its arguments after z.

    Args:
        page: The derivative, for any constants.
        formula: The derivative in one line, for the parameters.
    """

    def declare(constants: Callable[P, Constants]) -> Callable[P, Formula]:
        compute: Callable[..., Constants] = constants
        computed = property(lambda surrogate: compute(**surrogate.parameters))
        parameters = inspect.signature(constants).parameters.values()
        factory: Callable[P, Formula] = _declared(
            constants, formula, page, parameters, constants=computed
        )
        return factory

    return declare


def _declared(
    function: Callable[..., Any],
    formula: str,
    page: Callable[..., Any],
    parameters: Iterable[inspect.Parameter],
    **members: Any,
) -> Any:
    """The class of a surrogate that has the name and the docstring of a function."""
    members |= {parameter.name: parameter.default for parameter in parameters}
    members |= {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__annotations__": {parameter.name: parameter.annotation for parameter in parameters},
        "pseudo_derivative": staticmethod(page),
    }
    kind = types.new_class(
        function.__name__, (Formula,), {"formula": formula}, lambda body: body.update(members)
    )
    return dataclass(frozen=True)(kind)
