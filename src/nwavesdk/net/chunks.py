"""A net run in chunks of time, `SpikingSequential(checkpoint=K)`, and again in backward.

Only input, output and the states at the start of each chunk stay in memory. A norm over batch and
time needs the whole sequence, so the net is cut at such norms. The input of each norm stays in
memory, and the modules between two norms run in chunks. The output of a norm does not stay:
backward computes it again, by the same call with the same input and so with the same statistics.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as call_and_repeat

from nwavesdk.layers.lengths import reads_batch
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.layers.prepare import (
    Prepared,
    hold_prepared,
    prepared_modules,
    self_preparing_modules,
)
from nwavesdk.net.parts import ForgottenPart, ForgottenSequence, WrittenSequence, split_steps

__all__ = ["RunModules", "run_in_chunks"]

RunModules = Callable[[Sequence[nn.Module], Tensor, Tensor | None, bool], tuple[Tensor, Tensor]]
"""Runs modules in order: `(modules, x, lengths, is_last) -> (spk, mem)`."""


def run_in_chunks(
    net: nn.Module,
    modules: Sequence[nn.Module],
    run_modules: RunModules,
    x: Tensor,
    lengths: Tensor | None,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Spikes and membranes of `run_modules(modules, x, lengths, True)`, computed in chunks.

    If an error occurs, all states are set back.

    Args:
        net: The net that runs.
        modules: Its modules, in the order in which they run.
        run_modules: Runs some of them; they carry their states from call to call.
        x: Input [B, T, *features].
        lengths: Number of steps of each recording, int64 [B], or None.
        steps: Number of steps of a chunk.

    Raises:
        RuntimeError: In backward, if the net was changed after the forward pass.
    """
    call = _Call(net, run_modules, lengths, steps)
    restorers = [module.state_restorer() for module in call.stateful]
    try:
        return _run_pieces(call, _cut(modules), x)
    except BaseException:
        for restore in restorers:
            restore()
        raise


class _Call:
    """What all pieces of one call share; see `run_in_chunks`."""

    def __init__(
        self, net: nn.Module, run_modules: RunModules, lengths: Tensor | None, steps: int
    ) -> None:
        self.net = net
        self.run_modules = run_modules
        self.lengths = lengths
        self.steps = steps
        self.stateful = prepared_modules(net, "SpikingSequential")
        self.everything = self_preparing_modules(net)
        self.fingerprint = _fingerprint(net)
        # Backward may come after the net was prepared again.
        self.set_preparation = [module.preparation_restorer() for module in self.stateful]

    @contextlib.contextmanager
    def as_in_forward(self) -> Iterator[None]:
        """Within a `with` block, the net is prepared as in the forward pass; states are set back.

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
        try:
            for restore in self.set_preparation:
                restore()
            with hold_prepared(self.everything):
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


def _cut(modules: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """The modules in pieces: each that reads its whole input alone, and the others between."""
    pieces: list[list[nn.Module]] = []
    is_after_cut = True
    for module in modules:
        is_alone = reads_batch(module)
        if is_alone or is_after_cut:
            pieces.append([module])
        else:
            pieces[-1].append(module)
        is_after_cut = is_alone
    return pieces


def _run_pieces(
    call: _Call, pieces: Sequence[Sequence[nn.Module]], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Run piece after piece; of the piece before, only the output stays."""
    spk = mem = x
    source: Tensor | ForgottenSequence = x
    for piece, following in itertools.zip_longest(pieces, pieces[1:]):
        is_last = following is None
        if not reads_batch(piece[0]):
            spk, mem = _run_chunks(call, piece, source, is_last)
            source = spk
            continue
        assert isinstance(source, Tensor)
        run = _WholeRun(call, piece[0], is_last)
        is_norm = isinstance(piece[0], (_BatchNorm, SequenceNorm))
        if is_norm and following is not None and not reads_batch(following[0]):
            # The norm itself saves its input and its statistics, nothing else of this size.
            y, _ = run(source)
            source = ForgottenSequence(y, partial(run, source))
        elif is_norm:
            spk, mem = run(source)
            source = spk
        else:
            spk, mem = call_and_repeat(run, source, use_reentrant=False)
            source = spk
    return spk, mem


class _WholeRun:
    """A run of a module over the whole sequence, which repeats to the bit.

    The first call updates statistics and states. Later ones start from the states before it and
    leave statistics and states unchanged.
    """

    def __init__(self, call: _Call, module: nn.Module, is_last: bool) -> None:
        self.call = call
        self.module = module
        self.is_last = is_last
        self.stateful = prepared_modules(module, "SpikingSequential")
        self.set_states = [inner.state_restorer() for inner in self.stateful]
        self.states = [inner.state_tensors() for inner in self.stateful]
        self.has_run = False

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.has_run:
            outputs = self._run(x)
            self.has_run = True
            return outputs
        with self.call.as_in_forward(), _copied_buffers(self.module):
            for set_state in self.set_states:
                set_state()
            # Layers accept in backward only states that were loaded in it.
            for inner, tensors in zip(self.stateful, self.states, strict=True):
                inner.load_state_tensors(tensors)
            return self._run(x)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.call.run_modules([self.module], x, self.call.lengths, self.is_last)


@contextlib.contextmanager
def _copied_buffers(module: nn.Module) -> Iterator[None]:
    """Within a `with` block, the module has copies of its buffers, so that these do not change."""
    # Values are not written back, because backward rejects what was written to since forward.
    originals = [(inner, dict(inner._buffers)) for inner in module.modules()]
    try:
        for inner, buffers in originals:
            copies = {
                name: value if value is None else value.clone() for name, value in buffers.items()
            }
            inner._buffers.update(copies)
        yield
    finally:
        for inner, buffers in originals:
            inner._buffers.update(buffers)


def _run_chunks(
    call: _Call, modules: Sequence[nn.Module], source: "Tensor | ForgottenSequence", is_last: bool
) -> tuple[Tensor, Tensor]:
    """Run causal modules in chunks of time, each of which backward runs again."""
    stateful = [
        inner for module in modules for inner in prepared_modules(module, "SpikingSequential")
    ]

    def run_chunk(
        part: "Tensor | ForgottenPart", lengths: Tensor | None, sizes: list[int], *states: Tensor
    ) -> tuple[Any, ...]:
        with call.as_in_forward():
            _load_states(stateful, states, sizes)
            x = part.read() if isinstance(part, ForgottenPart) else part
            outputs = call.run_modules(modules, x, lengths, is_last)
            new_sizes, new_states = _gather_states(stateful)
            return *outputs, new_sizes, *new_states

    sizes, states = _gather_states(stateful)
    sequences: list[WrittenSequence] = []
    parts: Sequence[Tensor | ForgottenPart] = (
        source.split(call.steps)
        if isinstance(source, ForgottenSequence)
        else split_steps(source, call.steps)
    )
    for i, part in enumerate(parts):
        # A recording has 0 steps in the chunks after its end.
        own = None
        if call.lengths is not None:
            own = (call.lengths - i * call.steps).clamp(0, call.steps)
        spk, mem, sizes, *states = call_and_repeat(
            run_chunk, part, own, sizes, *states, use_reentrant=False
        )
        # Both are one tensor if the modules do not end in a neuron layer that is the last.
        outputs = [spk] if spk is mem else [spk, mem]
        sequences = sequences or [WrittenSequence(y, source.shape[1]) for y in outputs]
        for sequence, y in zip(sequences, outputs, strict=True):
            sequence.append(y)
    _load_states(stateful, states, sizes)
    if isinstance(source, ForgottenSequence):
        source.forget()
    joined = [sequence.joined() for sequence in sequences]
    return joined[0], joined[-1]


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
