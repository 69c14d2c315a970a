"""A net run in chunks of time, `SpikingSequential(checkpoint=K)`, and again in backward.

Only input, output and the states at the start of each chunk stay in memory. A norm over batch and
time needs the whole sequence. Then the net is cut at neuron layers into pieces: those with a norm
run on the whole sequence, once more in backward, and those between them in chunks. Of each piece,
the spikes stay in memory, a byte each. All runs of a piece give the same values.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as call_and_repeat

from nwavesdk.layers.lengths import reads_batch
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import (
    Prepared,
    hold_prepared,
    prepared_modules,
    self_preparing_modules,
)
from nwavesdk.net.parts import (
    ForgottenPart,
    ForgottenSequence,
    StoredSequence,
    WrittenSequence,
    split_steps,
)

__all__ = ["RunModules", "run_in_chunks"]

_Written = TypeVar("_Written", bound=WrittenSequence)

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


class _Piece(NamedTuple):
    """Modules that run one after the other, and whether some of them need the whole sequence."""

    modules: list[nn.Module]
    is_whole: bool


def _cut(modules: Sequence[nn.Module]) -> list[_Piece]:
    """The modules in pieces; one that needs the whole sequence has no neuron layer."""
    if not any(map(reads_batch, modules)):
        return [_Piece(list(modules), is_whole=False)]
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


def _run_pieces(call: _Call, pieces: Sequence[_Piece], x: Tensor) -> tuple[Tensor, Tensor]:
    """Run piece after piece; pieces with and without norms take turns."""
    # Pieces that need the whole sequence read a StoredSequence, the others a ForgottenSequence.
    source: Any = x
    for piece in pieces[:-1]:
        if piece.is_whole:
            source = _forget_whole(call, piece.modules, source)
        else:
            (stored,) = _run_chunks(call, piece.modules, source, StoredSequence, is_last=False)
            source = stored
    last = pieces[-1]
    if last.is_whole:
        run = _WholeRun(call, last.modules, source, is_last=True)
        spk, mem = call_and_repeat(run, _anchor(source), use_reentrant=False)
        return spk, mem
    written = _run_chunks(call, last.modules, source, WrittenSequence, is_last=True)
    joined = [sequence.joined() for sequence in written]
    return joined[0], joined[-1]


def _anchor(source: "Tensor | StoredSequence") -> Tensor:
    """What autograd sees of a source."""
    return source.token() if isinstance(source, StoredSequence) else source


class _WholeRun:
    """A run of modules over the whole sequence, which repeats to the bit.

    The first call updates statistics and states. Later ones start from the states before it and
    leave statistics and states unchanged.
    """

    def __init__(
        self,
        call: _Call,
        modules: Sequence[nn.Module],
        source: "Tensor | StoredSequence",
        is_last: bool,
    ) -> None:
        self.call = call
        self.modules = modules
        self.source = source if isinstance(source, StoredSequence) else None
        self.is_last = is_last
        self.stateful = _stateful(modules)
        self.set_states = [inner.state_restorer() for inner in self.stateful]
        self.states = [inner.state_tensors() for inner in self.stateful]
        self.has_run = False

    def __call__(self, anchor: Tensor) -> tuple[Tensor, Tensor]:
        x = anchor if self.source is None else self.source.read(anchor)
        if not self.has_run:
            outputs = self._run(x)
            self.has_run = True
            return outputs
        with self.call.as_in_forward(), _copied_buffers(self.modules):
            for set_state in self.set_states:
                set_state()
            # Layers accept in backward only states that were loaded in it.
            for inner, tensors in zip(self.stateful, self.states, strict=True):
                inner.load_state_tensors(tensors)
            return self._run(x)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.call.run_modules(self.modules, x, self.call.lengths, self.is_last)


def _forget_whole(
    call: _Call, modules: Sequence[nn.Module], source: "Tensor | StoredSequence"
) -> ForgottenSequence:
    """Run modules over the whole sequence; nothing but their input stays in memory."""
    run = _WholeRun(call, modules, source, is_last=False)
    output = ForgottenSequence(call.steps)
    output.tokens = call_and_repeat(
        lambda anchor: output.split(run(anchor)[0]), _anchor(source), use_reentrant=False
    )
    return output


@contextlib.contextmanager
def _copied_buffers(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within a `with` block, modules have copies of their buffers, so that these do not change."""
    # Values are not written back, because backward rejects what was written to since forward.
    every = [inner for module in modules for inner in module.modules()]
    originals = [(inner, dict(inner._buffers)) for inner in every]
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


def _stateful(modules: Sequence[nn.Module]) -> list[Prepared]:
    """All modules with a state in `modules`."""
    return [inner for module in modules for inner in prepared_modules(module, "SpikingSequential")]


def _run_chunks(
    call: _Call,
    modules: Sequence[nn.Module],
    source: "Tensor | ForgottenSequence",
    kind: type[_Written],
    *,
    is_last: bool,
) -> list[_Written]:
    """Run causal modules in chunks of time, each of which backward runs again.

    Returns:
        Spikes and, if they are the last and another tensor, membranes, as sequences of a kind.
    """
    stateful = _stateful(modules)

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
    sequences: list[_Written] = []
    parts: Sequence[Tensor | ForgottenPart] = (
        source.parts() if isinstance(source, ForgottenSequence) else split_steps(source, call.steps)
    )
    for i, part in enumerate(parts):
        # A recording has 0 steps in the chunks after its end.
        own = None
        if call.lengths is not None:
            own = (call.lengths - i * call.steps).clamp(0, call.steps)
        spk, mem, sizes, *states = call_and_repeat(
            run_chunk, part, own, sizes, *states, use_reentrant=False
        )
        # A piece before the last may also end in a container, whose membranes nobody reads.
        outputs = [spk, mem] if is_last and spk is not mem else [spk]
        sequences = sequences or [kind(y, source.shape[1]) for y in outputs]
        for sequence, y in zip(sequences, outputs, strict=True):
            sequence.append(y)
    _load_states(stateful, states, sizes)
    if isinstance(source, ForgottenSequence):
        source.forget()
    return sequences


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
