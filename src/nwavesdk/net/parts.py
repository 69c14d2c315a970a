"""Sequences that are written or read part by part, as chunks of time run one after the other.

Autograd sees one scalar per part, the token, in place of the part. So no part is stored twice, and
gradients of parts are read from, or written to, one tensor of the whole sequence.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.internal.tensors import is_list

__all__ = [
    "ForgottenPart",
    "ForgottenSequence",
    "StoredSequence",
    "WrittenSequence",
    "split_steps",
]


def split_steps(x: Tensor, steps: int) -> Sequence[Tensor]:
    """`x` [B, T, *features] in parts of `steps` steps; of a list of events, parts are lists."""
    if not is_list(x):
        return torch.split(x, steps, 1)
    whole = x.coalesce()
    step = whole.indices()[1]
    parts = []
    for first in range(0, x.shape[1], steps):
        is_inside = (step >= first) & (step < first + steps)
        indices = whole.indices()[:, is_inside]
        indices[1] -= first
        size = (x.shape[0], min(steps, x.shape[1] - first), *x.shape[2:])
        part = torch.sparse_coo_tensor(
            indices, whole.values()[is_inside], size, is_coalesced=True, check_invariants=False
        )
        parts.append(part)
    return parts


class WrittenSequence:
    """A sequence that is written part by part; `torch.cat` would store every part twice.

    Autograd sees one scalar per part, the token, in place of the part. The backward pass of the
    whole sequence stores its gradient here, and the token of each part reads its piece from it.
    """

    def __init__(self, first: Tensor, steps: int) -> None:
        self.tensor = first.new_empty(first.shape[0], steps, *first.shape[2:])
        self.filled = 0
        self.tokens: list[Tensor] = []
        self.grad: Tensor | None = None
        self.unread = 0

    def write(self, steps: slice, part: Tensor) -> None:
        """Store the values of some steps."""
        self.tensor[:, steps] = part

    def append(self, part: Tensor) -> None:
        """Copy the part."""
        self.tokens.append(_Append.apply(self, part))  # type: ignore[no-untyped-call]  # torch does not type it

    def joined(self) -> Tensor:
        """The sequence, with gradients for every part."""
        whole: Tensor = _Join.apply(self, *self.tokens)  # type: ignore[no-untyped-call]  # as above
        return whole


class _Append(torch.autograd.Function):
    """Part -> token. The gradient of the part is read from the gradient of the sequence."""

    @staticmethod
    def forward(ctx: Any, sequence: WrittenSequence, part: Tensor) -> Tensor:
        ctx.sequence = sequence
        ctx.steps = slice(sequence.filled, sequence.filled + part.shape[1])
        sequence.write(ctx.steps, part)
        sequence.filled += part.shape[1]
        return part.new_empty(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[None, Tensor]:
        sequence = ctx.sequence
        grad = sequence.grad[:, ctx.steps]
        sequence.unread -= 1
        if not sequence.unread:
            sequence.grad = None
        return None, grad


class _Join(torch.autograd.Function):
    """Tokens -> the sequence, whose memory then belongs to the caller alone."""

    @staticmethod
    def forward(ctx: Any, sequence: WrittenSequence, *tokens: Tensor) -> Tensor:
        ctx.sequence = sequence
        ctx.count = len(tokens)
        tensor = sequence.tensor
        sequence.tensor = tokens[0]
        return tensor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ctx.sequence.grad = grad
        ctx.sequence.unread = ctx.count
        return None, *[grad.new_empty(())] * ctx.count


class StoredSequence(WrittenSequence):
    """A sequence that is written part by part and read as a whole; of spikes, a byte is stored.

    Autograd sees one scalar in place of the sequence.
    """

    def __init__(self, first: Tensor, steps: int) -> None:
        super().__init__(first, steps)
        self.dtype = first.dtype
        self.tensor = self.tensor.bool()

    def write(self, steps: slice, part: Tensor) -> None:
        if self.tensor.dtype is torch.bool and not bool((part.bool() == part).all()):
            self.tensor = self.tensor.to(self.dtype)
        self.tensor[:, steps] = part

    def token(self) -> Tensor:
        """What autograd sees."""
        token: Tensor = _Gather.apply(*self.tokens)  # type: ignore[no-untyped-call]  # as above
        return token

    def read(self, token: Tensor) -> Tensor:
        """The sequence, with gradient."""
        values: Tensor = _ReadStored.apply(token, self)  # type: ignore[no-untyped-call]  # as above
        return values


class _Gather(torch.autograd.Function):
    """Tokens of the parts -> the token of the sequence."""

    @staticmethod
    def forward(ctx: Any, *tokens: Tensor) -> Tensor:
        ctx.count = len(tokens)
        return tokens[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(grad for _ in range(ctx.count))


class _ReadStored(torch.autograd.Function):
    """Token -> sequence. The parts read their pieces from the gradient that is stored here."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, sequence: StoredSequence) -> Tensor:  # noqa: ARG004
        ctx.sequence = sequence
        return sequence.tensor.to(sequence.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.sequence.grad = grad
        ctx.sequence.unread = len(ctx.sequence.tokens)
        return grad.new_zeros(()), None


class ForgottenSequence:
    """A sequence that is computed whole, read part by part, forgotten, and computed again.

    It is computed within `torch.utils.checkpoint`, which computes it again when it is read in
    backward. Autograd sees one scalar per part, the token. In backward, each part is read, and its
    gradient is written in its place. The gradients of all parts are that of the sequence.

    Args:
        steps: Number of steps of a part.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.shape = torch.Size()
        self.firsts = range(0)
        self.tokens: tuple[Tensor, ...] = ()
        self.values: Tensor | None = None
        # Where autograd has saved the sequence; None if it needs no gradient.
        self.node: Any = None
        # First steps of the parts that have been replaced by their gradients.
        self.replaced: set[int] = set()

    def split(self, y: Tensor) -> tuple[Tensor, ...]:
        """The tokens of the sequence [B, T, *features]; the last call within the checkpoint."""
        firsts = range(0, y.shape[1], self.steps)
        if self.node is None:
            self.shape = y.shape
            self.firsts = firsts
            self.values = y.detach()
        tokens: tuple[Tensor, ...] = _Split.apply(self, y, len(firsts))  # type: ignore[no-untyped-call]  # as above
        return tokens

    def parts(self) -> "list[ForgottenPart]":
        """The sequence in parts."""
        T = self.shape[1]
        return [
            ForgottenPart(self, first, min(self.steps, T - first), token)
            for first, token in zip(self.firsts, self.tokens, strict=True)
        ]

    def forget(self) -> None:
        """Free the memory of the sequence until backward needs it."""
        if self.tokens[0].requires_grad:
            self.values = None

    def read(self, part: "ForgottenPart") -> Tensor:
        """The values of a part."""
        if part.first in self.replaced:  # by a backward pass that was not completed
            self.values = None
        if self.values is None:
            (y,) = self.node.saved_tensors
            # A copy, because the operation that computed it may have saved it as well.
            self.values = y.detach().clone()
            self.replaced.clear()
        return self.values.narrow(1, part.first, part.steps)

    def replace(self, part: "ForgottenPart", grad: Tensor) -> None:
        """Write the gradient of a part in its place; whatever has read the part is done then."""
        assert self.values is not None
        self.values.narrow(1, part.first, part.steps).copy_(grad)
        self.replaced.add(part.first)

    def gradient(self) -> Tensor:
        """The gradient of the sequence, which is free then."""
        grad = self.values
        assert grad is not None
        for first in self.firsts:
            if first not in self.replaced:  # nothing depends on it
                grad.narrow(1, first, min(self.steps, self.shape[1] - first)).zero_()
        self.values = None
        self.replaced.clear()
        return grad


class ForgottenPart(NamedTuple):
    """Some steps of the output of a norm, and the scalar that autograd sees in their place."""

    source: ForgottenSequence
    first: int
    steps: int
    token: Tensor

    def read(self) -> Tensor:
        """The values, with gradient."""
        values: Tensor = _Read.apply(self.token, self)  # type: ignore[no-untyped-call]  # as above
        return values


class _Split(torch.autograd.Function):
    """Sequence -> tokens. The gradients of the parts have been written to the sequence."""

    @staticmethod
    def forward(ctx: Any, source: ForgottenSequence, y: Tensor, count: int) -> tuple[Tensor, ...]:
        ctx.save_for_backward(y)
        # Not a reference to each other, which would hold the graph until Python looks for cycles.
        ctx.source = weakref.ref(source)
        if source.node is None:  # else this is a later run
            source.node = ctx
        return tuple(y.new_zeros(()) for _ in range(count))

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, Tensor, None]:
        return None, ctx.source().gradient(), None


class _Read(torch.autograd.Function):
    """Token -> part."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, part: ForgottenPart) -> Tensor:  # noqa: ARG004
        ctx.part = part
        return part.source.read(part)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.part.source.replace(ctx.part, grad)
        return grad.new_zeros(()), None
