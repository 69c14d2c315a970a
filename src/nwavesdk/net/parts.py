"""Sequences between pieces of a net, some of which run on whole sequences, others in chunks."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from nwavesdk.internal.tensors import is_list

__all__ = ["ForgottenSequence", "spikes_in_bytes", "split_steps"]


def split_steps(x: Tensor, steps: int) -> Sequence[Tensor]:
    """`x` [B, T, *features] in parts of `steps` steps; of a list of events, parts are lists."""
    if not is_list(x):
        return torch.split(x, steps, 1)

    events, T = x.coalesce(), x.shape[1]
    return [events.narrow_copy(1, first, min(steps, T - first)) for first in range(0, T, steps)]


def spikes_in_bytes() -> saved_tensors_hooks:
    """Within a `with` block, autograd saves a tensor of spikes as bytes."""
    return saved_tensors_hooks(_pack, _unpack)


def _pack(tensor: Tensor) -> Tensor | tuple[Tensor, torch.dtype]:
    are_spikes = tensor.bool()
    return (are_spikes, tensor.dtype) if bool((are_spikes == tensor).all()) else tensor


def _unpack(saved: Tensor | tuple[Tensor, torch.dtype]) -> Tensor:
    return saved if isinstance(saved, Tensor) else saved[0].to(saved[1])


class ForgottenSequence:
    """A sequence that is computed whole, read part by part, forgotten, and computed again.

    It is computed within `torch.utils.checkpoint`, which computes it again when it is read in
    backward. Autograd sees one scalar, the token, in its place. In backward, each part is read, and
    its gradient is written in its place, so that all of them are in one tensor.
    """

    def __init__(self) -> None:
        self.shape = torch.Size()
        self.token = torch.zeros(())
        self.values: Tensor | None = None
        # Which steps of the values are not replaced by their gradient.
        self.is_value = torch.ones(0, dtype=torch.bool)
        # Where autograd has saved the sequence; None if it needs no gradient.
        self.node: Any = None

    def write(self, y: Tensor) -> Tensor:
        """The token of the sequence [B, T, *features]; the last call within the checkpoint."""
        if self.node is None:
            self.shape = y.shape
            self.values = y.detach()
            self.is_value = torch.ones(y.shape[1], dtype=torch.bool)
        token: Tensor = _Forget.apply(y, self)  # type: ignore[no-untyped-call]  # torch does not type it
        return token

    def forget(self) -> None:
        """Free the memory of the sequence until backward needs it."""
        if self.token.requires_grad:
            self.values = None

    def read(self, steps: slice, token: Tensor) -> Tensor:
        """The values of some steps, with gradient."""
        values: Tensor = _ReadPart.apply(token, self, steps)  # type: ignore[no-untyped-call]  # as above
        return values

    def part(self, steps: slice) -> Tensor:
        """The values of some steps."""
        # A backward pass that was not completed leaves gradients.
        if self.values is None or not bool(self.is_value[steps].all()):
            (y,) = self.node.saved_tensors

            # A copy, because the operation that computed it may have saved it as well.
            self.values = y.detach().clone()
            self.is_value.fill_(True)
        return self.values[:, steps]

    def gradient(self) -> Tensor:
        """The gradient of the sequence, which is free then."""
        grad = self.values
        assert grad is not None

        grad[:, self.is_value] = 0  # Nothing depends on these steps.
        self.values = None
        return grad


class _Forget(torch.autograd.Function):
    """Sequence -> token. The gradients of the parts have been written to the sequence."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, sequence: ForgottenSequence) -> Tensor:
        ctx.save_for_backward(y)

        # A weak reference: a cycle would hold the graph until Python's garbage collector runs.
        ctx.sequence = weakref.ref(sequence)
        if sequence.node is None:  # else this is a later run
            sequence.node = ctx
        return y.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        return ctx.sequence().gradient(), None


class _ReadPart(torch.autograd.Function):
    """Token -> part. When the gradient of a part arrives, its values are not needed any more."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, sequence: ForgottenSequence, steps: slice) -> Tensor:  # noqa: ARG004  # the edge of the graph
        ctx.sequence, ctx.steps = sequence, steps
        return sequence.part(steps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        ctx.sequence.values[:, ctx.steps] = grad
        ctx.sequence.is_value[ctx.steps] = False
        return grad.new_zeros(()), None, None
