"""The words of pages: functions that have a meaning only in solvers, and the kinds of constants."""

import math
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
    """A function cannot be the page of a neuron; the message has the line and the reason.

    Example:
        >>> from nwavesdk.layers import neuron
        >>> def ForgetfulLayer(x, v):
        ...     return spike(v + x - 1.0)
        >>> try:
        ...     neuron(ForgetfulLayer)
        ... except PageError as error:
        ...     print(str(error).partition("): ")[2])
        returns 1 value, expected 2: the spike, v after the step.
    """


def spike(z: Any) -> Any:
    """1 where z is above 0, else 0; its gradient is the surrogate's.

    Args:
        z: The value that decides on a spike, such as membrane minus threshold.

    Raises:
        RuntimeError: If it is called; pages are read.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import neuron
        >>> @neuron
        ... def IntegrateLayer(x, v, *, threshold: Positive = 1.0):
        ...     s = spike(v + x - threshold)
        ...     return s, (v + x) * (1 - held(s))
        >>> spk, mem = IntegrateLayer(1, solver="reference")(torch.full((1, 4, 1), 0.6))
        >>> spk.flatten()
        tensor([0., 1., 0., 1.])
    """
    raise _never_called("spike")


def held(value: Any) -> Any:
    """The argument; no gradient flows through it if the layer detaches the reset.

    Args:
        value: Any value of a page, mostly the spike.

    Raises:
        RuntimeError: If it is called; pages are read.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import neuron
        >>> @neuron
        ... def HoldLayer(x, v):
        ...     u = held(v) + x
        ...     return spike(u - 1.0), u
        >>> x = torch.ones(1, 3, 1, requires_grad=True)
        >>> for detach in (True, False):
        ...     layer = HoldLayer(1, detach_reset=detach, solver="reference")
        ...     _, mem = layer(x)
        ...     print(torch.autograd.grad(mem[:, -1].sum(), x)[0].flatten())
        tensor([0., 0., 1.])
        tensor([1., 1., 1.])
    """
    raise _never_called("held")


def decay(tau: Any) -> Any:
    """exp(-dt/tau), the share of a value that remains after a step of dt [s].

    Args:
        tau: A constant of the page of the kind `TimeConstant` [s].

    Raises:
        RuntimeError: If it is called; pages are read.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import neuron
        >>> @neuron
        ... def LeakLayer(x, v, *, tau: TimeConstant = 20e-3):
        ...     v = decay(tau) * v + x
        ...     return v
        >>> _, mem = LeakLayer(1, dt=1e-3, solver="reference")(torch.eye(1, 3)[..., None])
        >>> mem.flatten()
        tensor([1.0000, 0.9512, 0.9048])
    """
    raise _never_called("decay")


def _never_called(name: str) -> RuntimeError:
    return RuntimeError(
        f"{name} is a word of neuron pages, which are read and never called: use it in a "
        "function decorated with @neuron."
    )


@dataclass(frozen=True)
class Kind:
    """The range of a constant: any number above `low` and below `high`.

    Attributes:
        low: Lower bound, not included; None for no bound.
        high: Upper bound, not included; None for no bound.
        unit: Unit, for messages.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> kind = LIF_PAGES["zero"].constants["tau"].kind
        >>> kind, kind.is_time
        (Kind(low=0.0, high=None, unit='s'), True)
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

    Example:
        >>> from nwavesdk.layers import neuron
        >>> @neuron
        ... def LeakLayer(x, v, *, rho: Annotated[float, Bounded(0, 1)] = 0.9):
        ...     v = rho * v + x
        ...     return v
        >>> LeakLayer(1, rho=1.5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: LeakLayer: rho must be finite and above 0 and below 1, got 1.5: ...
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
