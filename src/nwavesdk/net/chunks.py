"""A net run in chunks of time, `SpikingSequential(checkpoint=K)`, and again in backward.

Only input, output and the states at the start of each chunk stay in memory. A norm over batch and
time needs the whole sequence. Then the net is cut at neuron layers into pieces. Pieces with a norm
run on the whole sequence, and once more in backward. The pieces between them run in chunks. The
spikes of each piece stay in memory, one byte per spike. All runs of a piece return the same values.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils.checkpoint import checkpoint as call_and_repeat

from nwavesdk.layers.lengths import reads_batch
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import (
    Prepared,
    hold_prepared,
    prepared_modules,
    self_preparing_modules,
)
from nwavesdk.net.calls import Outputs
from nwavesdk.net.parts import ForgottenSequence, spikes_in_bytes, split_steps

__all__ = ["ChunkedCall", "RunModules"]

RunModules = Callable[[Sequence[nn.Module], Tensor, Tensor | None, bool], Outputs]
"""Runs modules in order: `(modules, x, lengths, is_last) -> (spk, mem)`."""

Restorer = Callable[[], None]
# The input of a piece, a function that reads a part of it, and a function that gets the outputs.
Source = Tensor | ForgottenSequence
Read = Callable[[Tensor], Tensor]
End = Callable[[Tensor, Tensor], Tensor]


class _Piece(NamedTuple):
    """Modules that run one after the other, and whether some of them need the whole sequence."""

    modules: list[nn.Module]
    is_whole: bool


def _cut(modules: Sequence[nn.Module]) -> list[_Piece]:
    """The modules in pieces; one that needs the whole sequence has no neuron layer."""
    if not any(map(reads_batch, modules)):
        return [_Piece(list(modules), is_whole=False)]

    # Each group between two neuron layers is a piece; neighbors that run in chunks become one.
    pieces: list[_Piece] = []
    for is_causal, group in itertools.groupby(modules, _has_neurons_only):
        part = list(group)
        is_whole = not is_causal and any(map(reads_batch, part))

        if pieces and not is_whole and not pieces[-1].is_whole:
            pieces[-1].modules.extend(part)
        else:
            pieces.append(_Piece(part, is_whole))

    return pieces


def _has_neurons_only(module: nn.Module) -> bool:
    """Whether neurons are in a module, and no norm."""
    has_neurons = any(isinstance(inner, NeuronLayer) for inner in module.modules())
    return has_neurons and not reads_batch(module)


class ChunkedCall:
    """One call of a net in chunks, and the data that all its pieces share.

    Args:
        net: The net that runs.
        modules: Its modules, in the order in which they run.
        run_modules: Runs some of them; they carry their states from call to call.
        lengths: Number of steps of each recording, int64 [B], or None.
        steps: Number of steps of a chunk.
    """

    def __init__(
        self,
        net: nn.Module,
        modules: Sequence[nn.Module],
        *,
        run_modules: RunModules,
        lengths: Tensor | None,
        steps: int,
    ) -> None:
        self.net = net
        self.pieces = _cut(modules)
        self.run_modules = run_modules
        self.lengths = lengths
        self.steps = steps

        self.everything = self_preparing_modules(net)
        self.stateful = prepared_modules(net, "SpikingSequential")
        self.fingerprint = _fingerprint(net)

        # Backward may come after the net was prepared again.
        self.set_preparation = [module.preparation_restorer() for module in self.stateful]

    def run(self, x: Tensor) -> Outputs:
        """Spikes and membranes of all modules for an input [B, T, *features].

        Pieces run one after the other; pieces with and without norms take turns.

        Raises:
            RuntimeError: In backward, if the net was changed after the forward pass.
        """
        source: Source = x
        for piece in self.pieces[:-1]:
            if piece.is_whole:
                source = self._forget(piece, source)
            else:
                # A piece may also end in a container, whose membranes are not used.
                source = _join([spk for spk, _ in self._outputs(piece, source)])

        spk, mem = map(list, zip(*self._outputs(self.pieces[-1], source), strict=True))
        has_membranes = spk[0] is not mem[0]
        joined = _join(spk)
        spk.clear()  # the parts would stay in memory while the membranes are joined
        return joined, _join(mem) if has_membranes else joined

    def _forget(self, piece: _Piece, source: Source) -> ForgottenSequence:
        """Run a piece on the whole sequence; only its input stays in memory."""
        output = ForgottenSequence()
        (output.token,) = self._outputs(piece, source, lambda spk, _: output.write(spk))
        return output

    def _outputs(self, piece: _Piece, source: Source, end: End | None = None) -> Iterator[Any]:
        """Run a piece on each part of the source; `end` is the last call of a run."""
        stateful = prepared_modules(nn.ModuleList(piece.modules), "SpikingSequential")
        steps = source.shape[1] if piece.is_whole else self.steps

        # The input of the net is saved as it is, so that torch detects if a user writes to it.
        packs = piece.is_whole and piece is not self.pieces[0]

        for i, (read, part) in enumerate(_parts(source, steps)):
            lengths = self.lengths
            if lengths is not None:
                # A recording has 0 steps in the chunks after its end.
                lengths = (lengths - i * steps).clamp(0, steps)

            run = self._repeatable(piece, stateful, read, lengths, end)
            with spikes_in_bytes() if packs else nullcontext():
                outputs = call_and_repeat(run, part, use_reentrant=False)
            yield outputs

        if isinstance(source, ForgottenSequence):
            source.forget()

    def _repeatable(
        self,
        piece: _Piece,
        stateful: Sequence[Prepared],
        read: Read,
        lengths: Tensor | None,
        end: End | None,
    ) -> Callable[[Tensor], Any]:
        """A function that runs a piece from the states of now; later calls change nothing."""
        restorers = [module.state_restorer() for module in stateful]
        states = [module.state_tensors() for module in stateful]
        is_last = piece is self.pieces[-1]

        # The first run is the forward pass. Later runs repeat it in backward.
        has_run = False

        def run(part: Tensor) -> Any:
            nonlocal has_run
            context = self._as_in_forward(piece, restorers) if has_run else nullcontext()
            has_run = True

            with context:
                # Layers accept in backward only states that were loaded in it.
                for module, tensors in zip(stateful, states, strict=True):
                    module.load_state_tensors(tensors)
                outputs = self.run_modules(piece.modules, read(part), lengths, is_last)
                return outputs if end is None else end(*outputs)

        return run

    @contextmanager
    def _as_in_forward(self, piece: _Piece, set_states: Sequence[Restorer]) -> Iterator[None]:
        """Within a `with` block, a piece is as before its run in forward.

        Raises:
            RuntimeError: If the net was changed since.
        """
        if _fingerprint(self.net) != self.fingerprint:
            raise RuntimeError(
                "a net with checkpoint= runs its chunks again in backward(), and its weights were "
                "changed or its mode switched since forward: call backward() before the "
                "optimizer's step and before train() or eval()."
            )

        restorers = [module.state_restorer() for module in self.stateful]
        restorers += [module.preparation_restorer() for module in self.stateful]

        # Norms write their statistics again. They write to copies of the buffers, because backward
        # rejects a saved tensor that was written to since forward, and each batch counts once.
        inner = nn.ModuleList(piece.modules if piece.is_whole else [])
        buffers = {name: value.clone() for name, value in inner.named_buffers()}

        try:
            for restore in (*self.set_preparation, *set_states):
                restore()
            with hold_prepared(self.everything), _reparametrize_module(inner, buffers):
                yield
        finally:
            for restore in restorers:
                restore()


def _fingerprint(net: nn.Module) -> list[int]:
    """Numbers that change when the weights of the net or its mode change."""
    return [
        *(parameter._version for parameter in net.parameters()),
        *(module.training for module in net.modules()),
    ]


def _parts(source: Source, steps: int) -> Iterator[tuple[Read, Tensor]]:
    """The parts of a sequence: a function that reads the part, and its tensor for autograd.

    The tensor of a forgotten sequence is its token, and else the part itself.
    """
    if isinstance(source, ForgottenSequence):
        for first in range(0, source.shape[1], steps):
            yield partial(source.read, slice(first, first + steps)), source.token
    else:
        for part in [source] if steps >= source.shape[1] else split_steps(source, steps):
            yield lambda part: part, part


def _join(parts: list[Tensor]) -> Tensor:
    """The parts as one sequence."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
