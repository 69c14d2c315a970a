"""Sequences that one side writes or reads as a whole, and the other part by part.

Chunks of time run one after the other. Autograd sees one scalar, the token, in place of the
sequence. So no part is stored twice, and the gradients of all parts are in one tensor.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nwavesdk.internal.tensors import is_list

__all__ = ["ForgottenSequence", "StoredSequence", "split_steps"]


def split_steps(x: Tensor, steps: int) -> Sequence[Tensor]:
    """`x` [B, T, *features] in parts of `steps` steps; of a list of events, parts are lists."""
    if not is_list(x):
        return torch.split(x, steps, 1)
    events, T = x.coalesce(), x.shape[1]
    return [events.narrow_copy(1, first, min(steps, T - first)) for first in range(0, T, steps)]


class StoredSequence:
    """A sequence that is written part by part and read as a whole; of spikes, a byte is stored.

    Args:
        T: Number of its steps.
    """

    def __init__(self, T: int) -> None:
        self.shape = torch.Size([0, T])
        self.token = torch.zeros(())
        self.values: Tensor | None = None
        self.dtype = torch.float32
        self.filled = 0
        # The gradient of the sequence, from the backward pass of the whole to that of its parts.
        self.grad: Tensor | None = None

    def append(self, part: Tensor) -> None:
        """Copy the part."""
        self.token = _Append.apply(part, self.token, self)  # type: ignore[no-untyped-call]  # torch does not type it

    def store(self, part: Tensor) -> slice:
        """Store the values of the next steps; the steps."""
        if self.values is None:
            self.dtype = part.dtype
            shape = (part.shape[0], self.shape[1], *part.shape[2:])
            self.values = part.new_empty(shape, dtype=torch.bool)
        if self.values.dtype is torch.bool and not bool((part.bool() == part).all()):
            self.values = self.values.to(self.dtype)
        steps = slice(self.filled, self.filled + part.shape[1])
        self.values[:, steps] = part
        self.filled = steps.stop
        return steps

    def read(self, token: Tensor) -> Tensor:
        """The sequence, with gradient."""
        values: Tensor = _ReadStored.apply(token, self)  # type: ignore[no-untyped-call]  # as above
        return values


class _Append(torch.autograd.Function):
    """Part -> the next token. The gradient of the part is read from that of the sequence."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, _: Tensor, sequence: StoredSequence) -> Tensor:
        ctx.sequence = sequence
        ctx.steps = sequence.store(part)
        return part.new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad_token: Tensor) -> tuple[Tensor, Tensor, None]:
        grad = ctx.sequence.grad[:, ctx.steps]
        if ctx.steps.start == 0:  # The token of a part depends on that of the part before it.
            ctx.sequence.grad = None
        return grad, grad_token, None


class _ReadStored(torch.autograd.Function):
    """Token -> sequence. The parts read their pieces from the gradient that is stored here."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, sequence: StoredSequence) -> Tensor:  # noqa: ARG004
        ctx.sequence = sequence
        assert sequence.values is not None
        return sequence.values.to(sequence.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.sequence.grad = grad
        return grad.new_zeros(()), None


class ForgottenSequence:
    """A sequence that is computed whole, read part by part, forgotten, and computed again.

    It is computed within `torch.utils.checkpoint`, which computes it again when it is read in
    backward. There, each part is read, and its gradient is written in its place. The gradients of
    all parts are that of the sequence.
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
        token: Tensor = _Forget.apply(y, self)  # type: ignore[no-untyped-call]  # as above
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
        # Not a reference to each other, which would hold the graph until Python looks for cycles.
        ctx.sequence = weakref.ref(sequence)
        if sequence.node is None:  # else this is a later run
            sequence.node = ctx
        return y.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        return ctx.sequence().gradient(), None


class _ReadPart(torch.autograd.Function):
    """Token -> part. Whatever has read the part is done when its gradient comes."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, sequence: ForgottenSequence, steps: slice) -> Tensor:  # noqa: ARG004
        ctx.sequence, ctx.steps = sequence, steps
        return sequence.part(steps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        ctx.sequence.values[:, ctx.steps] = grad
        ctx.sequence.is_value[ctx.steps] = False
        return grad.new_zeros(()), None, None
