"""Surrogates from the user's code: a derivative, or another library's spike function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nwavesdk.internal.checks import shown
from nwavesdk.internal.tensors import leaf_nodes, require_floating, widen
from nwavesdk.surrogate.base import Surrogate, heaviside
from nwavesdk.surrogate.tails import FastSigmoid

__all__ = ["Custom", "Foreign", "as_surrogate", "custom"]

# At this distance from the threshold, every derivative is far out in its tails.
_FAR = 1e3


def custom(derivative: Callable[[Tensor], Tensor], name: str | None = None) -> "Custom":
    """A surrogate from any elementwise derivative σ'(z), written in torch.

    Args:
        derivative: The function z -> σ'(z).
        name: Name in reports and legends. [name of the function]

    Raises:
        TypeError: If `derivative` is not callable.

    Example:
        >>> triangle = custom(lambda z: torch.relu(1 - z.abs()), name="triangle")
        >>> triangle
        Custom(triangle)
        >>> triangle.derivative(torch.tensor([0.0, 0.25, 2.0]))
        tensor([1.0000, 0.7500, 0.0000])
    """
    if not callable(derivative):
        raise TypeError(
            f"custom() needs a function z -> derivative, got {type(derivative).__name__}."
        )
    return Custom(derivative, name)


def as_surrogate(spike_grad: object) -> Surrogate:
    """The surrogate that a layer's `spike_grad=` names.

    Args:
        spike_grad: A surrogate; or a callable z -> spikes, of which only the gradient is taken; or
            None for `fast_sigmoid(25)`.

    Raises:
        TypeError: If it is not None, a surrogate or callable, or if it is a class of surrogates or
            `custom` that was not called.
        ValueError: If a callable has the same value far below and far above 0, as a derivative.

    Example:
        >>> as_surrogate(None)
        FastSigmoid(slope=25.0)
        >>> as_surrogate(torch.sigmoid).derivative(torch.zeros(1))
        tensor([0.2500])
    """
    if spike_grad is None:
        return FastSigmoid()
    if isinstance(spike_grad, Surrogate):
        return spike_grad

    # A common mistake is `spike_grad=atan`, without parentheses.
    is_factory = isinstance(spike_grad, type) or spike_grad is custom
    if is_factory or not callable(spike_grad):
        got = shown(spike_grad)
        if is_factory:
            got = f"{getattr(spike_grad, '__name__', spike_grad)} itself"
        raise TypeError(
            f"spike_grad must be a surrogate, a callable z -> spikes, or None, got {got}: "
            "call the factory, as in spike_grad=atan(alpha=2.0)."
        )

    _reject_derivative(spike_grad)
    return Foreign(spike_grad)


def _reject_derivative(function: Callable[..., Any]) -> None:
    """Raise a ValueError if a function that should return spikes does not rise with z."""
    z = torch.tensor([-_FAR, _FAR])
    try:
        with torch.no_grad():
            below, above = function(z).tolist()
    except Exception:  # it needs another input; a call with real input checks it
        return
    if below == above:
        raise ValueError(
            f"spike_grad {function!r} must map z to spikes, which rise with z, got {below:g} at "
            f"z = {-_FAR:g} and at z = {_FAR:g}, as of a derivative: did you mean custom(f)?"
        )


@dataclass(frozen=True)
class Custom(Surrogate):
    """A surrogate given by its derivative, any elementwise torch function of z.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> window = Custom(lambda z: (z.abs() < 0.5).to(z.dtype))
        >>> layer = LIFLayer(1, taus=20e-3, spike_grad=window)
        >>> layer.spike_grad.derivative(torch.tensor([-1.0, 0.25]))
        tensor([0., 1.])
    """

    function: Callable[[Tensor], Tensor]
    name: str | None = None
    formula: ClassVar[str] = "given by the user"

    def __repr__(self) -> str:
        return f"Custom({self.name or getattr(self.function, '__name__', repr(self.function))})"

    def derivative(self, z: Tensor) -> Tensor:
        require_floating(self, z)
        return _call_elementwise(self.function, widen(z)).to(z.dtype)


@dataclass(frozen=True)
class Foreign(Surrogate):
    """Another library's spike function z -> spikes: its backward, our threshold forward.

    A learnable parameter of the function is trained only on the reference solver, where autograd
    runs through the function.

    Example:
        >>> soft = Foreign(lambda z: torch.sigmoid(4 * z))
        >>> z = torch.zeros(1, requires_grad=True)
        >>> soft(z + 0.1).detach(), soft.derivative(z)
        (tensor([1.]), tensor([1.]))
    """

    function: Callable[[Tensor], Tensor]
    formula: ClassVar[str] = "the gradient of a given callable"

    def learnable(self, z: Tensor) -> bool:
        """Whether the callable has learnable parameters. The test calls it with `z`.

        Raises:
            ValueError: If the callable is not elementwise, or has no gradient with respect to z.
        """
        with torch.enable_grad():
            return len(leaf_nodes([self._spikes(z.detach().requires_grad_())])) > 1

    def derivative(self, z: Tensor) -> Tensor:
        require_floating(self, z)
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            spikes = self._spikes(leaf)
            (grad,) = torch.autograd.grad(spikes, leaf, torch.ones_like(spikes))
        return grad

    def __call__(self, z: Tensor) -> Tensor:
        require_floating(self, z)
        if not torch.is_grad_enabled():
            return heaviside(z)
        spikes: Tensor = _ValueWithGradientOf.apply(heaviside(z.detach()), self._spikes(z))
        return spikes

    def _spikes(self, z: Tensor) -> Tensor:
        spikes = _call_elementwise(self.function, z)
        if z.requires_grad and not spikes.requires_grad:
            raise ValueError(f"spike_grad {self.function!r} has no gradient with respect to z.")
        return spikes


class _ValueWithGradientOf(torch.autograd.Function):
    """The value of the first argument with the gradient of the second."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, carrier: Tensor) -> Tensor:
        ctx.dtype = carrier.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad.to(ctx.dtype)


def _call_elementwise(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """`function(z)`, which may write to its argument and must keep the shape."""
    value = function(z.clone())
    if not isinstance(value, Tensor) or value.shape != z.shape:
        is_tensor = isinstance(value, Tensor)
        got = f"a tensor of shape {list(value.shape)}" if is_tensor else type(value).__name__
        raise ValueError(
            f"spike_grad {function!r} must map z elementwise: got {got} for z of shape "
            f"{list(z.shape)}."
        )
    return value
