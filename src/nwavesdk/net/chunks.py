"""A net run in chunks of time, `SpikingSequential(checkpoint=K)`, and again in backward.

Only input, output and the states at the start of each chunk stay in memory.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as checkpoint_chunk

from nwavesdk.internal.tensors import is_list
from nwavesdk.layers.prepare import (
    Prepared,
    hold_prepared,
    prepared_modules,
    self_preparing_modules,
)

__all__ = ["run_in_chunks"]


def run_in_chunks(
    net: nn.Module,
    run_net: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]],
    x: Tensor,
    lengths: Tensor | None,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Spikes and membrane of `run_net(x, lengths)`, computed in chunks.

    Args:
        net: The net that runs.
        run_net: One pass of the net, which carries its states from call to call.
        x: Input [B, T, *features].
        lengths: Number of steps of each recording, int64 [B], or None.
        steps: Number of steps of a chunk.

    Raises:
        RuntimeError: If a module of the net keeps statistics; in backward, if the net was changed
            after the forward pass.
    """
    _check_statistics(net, steps)
    modules = prepared_modules(net, "SpikingSequential")
    everything = self_preparing_modules(net)
    fingerprint = _fingerprint(net)
    # Backward may come after the net was prepared again.
    of_forward = [module.preparation_restorer() for module in modules]

    def run_chunk(
        part: Tensor, lengths: Tensor | None, sizes: list[int], *states: Tensor
    ) -> tuple[Any, ...]:
        if _fingerprint(net) != fingerprint:
            raise RuntimeError(
                "a net with checkpoint= runs its chunks again in backward(), and its weights were "
                "changed or its mode switched since forward: call backward() before the "
                "optimizer's step and before train() or eval()."
            )
        restorers = [module.state_restorer() for module in modules]
        restorers += [module.preparation_restorer() for module in modules]
        try:
            for restore in of_forward:
                restore()
            _load_states(modules, states, sizes)
            with hold_prepared(everything):
                outputs = run_net(part, lengths)
            new_sizes, new_states = _gather_states(modules)
            return *outputs, new_sizes, *new_states
        finally:
            for restore in restorers:
                restore()

    sizes, states = _gather_states(modules)
    sequences: list[_Sequence] = []
    for i, part in enumerate(_split_steps(x, steps)):
        # A recording has 0 steps in the chunks after its end.
        own = None if lengths is None else (lengths - i * steps).clamp(0, part.shape[1])
        spk, mem, sizes, *states = checkpoint_chunk(
            run_chunk, part, own, sizes, *states, use_reentrant=False
        )
        # Both are one tensor if the net does not end in a neuron layer.
        outputs = [spk] if spk is mem else [spk, mem]
        sequences = sequences or [_Sequence(y, x.shape[1]) for y in outputs]
        for sequence, y in zip(sequences, outputs, strict=True):
            sequence.append(y)
    _load_states(modules, states, sizes)
    joined = [sequence.joined() for sequence in sequences]
    return joined[0], joined[-1]


def _split_steps(x: Tensor, steps: int) -> Sequence[Tensor]:
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


def _check_statistics(net: nn.Module, steps: int) -> None:
    """Reject modules such as batch norm: they would count every chunk, and each one twice."""
    for name, module in net.named_modules():
        if module.training and hasattr(module, "num_batches_tracked"):
            raise RuntimeError(
                f"SpikingSequential(checkpoint={steps}): module {name} ({type(module).__name__}) "
                "keeps statistics of its inputs, and would see each chunk by itself, twice: leave "
                "checkpoint out, or use a module without statistics."
            )


def _fingerprint(net: nn.Module) -> list[int]:
    """Numbers that change when the weights of the net or its mode change."""
    return [
        *(parameter._version for parameter in net.parameters()),
        *(module.training for module in net.modules()),
    ]


def _gather_states(modules: Sequence[Prepared]) -> tuple[list[int], list[Tensor]]:
    """The states of all modules in one list, and how many of them each module has."""
    states = [module.state_tensors() for module in modules]
    return [len(tensors) for tensors in states], [*itertools.chain(*states)]


def _load_states(
    modules: Sequence[Prepared], states: Sequence[Tensor], sizes: Sequence[int]
) -> None:
    remaining = iter(states)
    for module, size in zip(modules, sizes, strict=True):
        module.load_state_tensors([*itertools.islice(remaining, size)])


class _Sequence:
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
    def forward(ctx: Any, sequence: _Sequence, part: Tensor) -> Tensor:
        ctx.sequence = sequence
        ctx.steps = slice(sequence.filled, sequence.filled + part.shape[1])
        sequence.tensor[:, ctx.steps] = part
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
    def forward(ctx: Any, sequence: _Sequence, *tokens: Tensor) -> Tensor:
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
