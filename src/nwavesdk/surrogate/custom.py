"""Surrogates of the user's own: a derivative, or somebody else's spike function of which only the gradient is taken."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nwavesdk.surrogate.base import Surrogate, heaviside, require_floating
from nwavesdk.surrogate.tails import FastSigmoid

__all__ = ["Custom", "Foreign", "as_surrogate", "custom"]


@dataclass(frozen=True)
class Custom(Surrogate):
    """A surrogate given by its derivative, any elementwise torch function of z."""

    function: Callable[[Tensor], Tensor]
    formula: ClassVar[str] = "given by the user"

    def derivative(self, z: Tensor) -> Tensor:
        require_floating(self, z)
        half = z.dtype in (torch.float16, torch.bfloat16)
        return _checked(self.function, z.float() if half else z).to(z.dtype)


@dataclass(frozen=True)
class Foreign(Surrogate):
    """A spike function z -> spikes of another library: its own backward, our threshold forward.

    A learnable parameter inside it is trained where autograd runs through it, which is on the reference solver.
    """

    function: Callable[[Tensor], Tensor]
    formula: ClassVar[str] = "the gradient of a given callable"

    def learnable(self, z: Tensor) -> bool:
        """Whether there is something to train in the callable, seen by calling it with `z`.

        Raises:
            ValueError: the callable is not elementwise, or has no gradient with respect to z.
        """
        with torch.enable_grad():
            return len(_leaves(self._spikes(z.detach().requires_grad_()))) > 1

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
        spikes: Tensor = _Exchange.apply(heaviside(z.detach()), self._spikes(z))
        return spikes

    def _spikes(self, z: Tensor) -> Tensor:
        spikes = _checked(self.function, z)
        if z.requires_grad and not spikes.requires_grad:
            raise ValueError(f"spike_grad {self.function!r} has no gradient with respect to z.")
        return spikes


def _leaves(tensor: Tensor) -> set[Any]:
    """The nodes of the graph behind `tensor` that accumulate a gradient."""
    leaves, seen, unseen = set(), set(), [tensor.grad_fn]
    while unseen:
        node = unseen.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(node)
        unseen += [before for before, _ in node.next_functions]
    return leaves


class _Exchange(torch.autograd.Function):
    """The value of the first argument with the gradient of the second."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, carrier: Tensor) -> Tensor:
        ctx.dtype = carrier.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad.to(ctx.dtype)


def _checked(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    value = function(z.clone())  # it may write to what it gets
    if not isinstance(value, Tensor) or value.shape != z.shape:
        got = (
            f"a tensor of shape {list(value.shape)}"
            if isinstance(value, Tensor)
            else type(value).__name__
        )
        raise ValueError(
            f"spike_grad {function!r} must map z elementwise: got {got} for z of shape {list(z.shape)}."
        )
    return value


def custom(derivative: Callable[[Tensor], Tensor]) -> Custom:
    """A surrogate from any elementwise derivative σ'(z), written in torch.

    Raises:
        TypeError: `derivative` is not callable.

    Example:
        >>> triangle = custom(lambda z: torch.relu(1 - z.abs()))
        >>> triangle.derivative(torch.tensor([0.0, 0.25, 2.0]))
        tensor([1.0000, 0.7500, 0.0000])
    """
    if not callable(derivative):
        raise TypeError(
            f"custom() needs a function z -> derivative, got {type(derivative).__name__}."
        )
    return Custom(derivative)


def as_surrogate(spike_grad: object) -> Surrogate:
    """What a layer's `spike_grad=` means: None is `fast_sigmoid(25)`, a callable z -> spikes gives its gradient.

    Raises:
        TypeError: it is neither None, nor a surrogate, nor callable.
    """
    if spike_grad is None:
        return FastSigmoid()
    if isinstance(spike_grad, Surrogate):
        return spike_grad
    uncalled = isinstance(spike_grad, type) or spike_grad is custom
    if uncalled or not callable(spike_grad):
        got = f"{spike_grad.__name__} itself" if uncalled else repr(spike_grad)  # type: ignore[attr-defined]
        raise TypeError(
            f"spike_grad must be a surrogate, a callable z -> spikes, or None, got {got}: "
            "call the factory, as in spike_grad=atan(alpha=2.0)."
        )
    return Foreign(spike_grad)
