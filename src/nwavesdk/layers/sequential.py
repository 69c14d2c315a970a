"""`SpikingSequential`: synapses, neuron layers and ordinary torch modules in a row, over whole sequences."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nwavesdk.internal.checks import whole_number
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.record import Record

__all__ = ["Recording", "SpikingSequential"]


@dataclass(frozen=True, eq=False)
class Recording:
    """One pass through a net.

    Attributes:
        spk: what the net returns as spikes.
        mem: what the net returns as membrane.
        layers: what each neuron layer did, by its name in the net.
    """

    spk: Tensor
    mem: Tensor
    layers: dict[str, Record]


class SpikingSequential(nn.Sequential):
    """A net as a row of modules: `spk, mem = net(x)`.

    Modules of `nwavesdk.layers` take the sequence as it is, and neuron layers hand on their spikes. Modules that know
    no time (Flatten, convolutions, `torch.nn.Dropout`) see batch and time as one dimension.

    Args:
        modules: the row.
        checkpoint: Steps of a chunk, or None. With a number, training runs the sequence in chunks through the whole net
            and keeps of each only its input, its output and the states at its start; backward runs each chunk a second
            time. Beyond input and output, memory grows as T / checkpoint states + checkpoint steps, for about a third
            more time. Spikes, gradients and what Dropout drops are the same in both runs. `record` runs in one piece.
            Modules that keep statistics, as BatchNorm does, are refused.

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step of a net whose layers are flat. Returns
        `spk, mem` of the last neuron layer; when a synapse or another module stands last, its output twice.

    Raises:
        RuntimeError: see `NeuronLayer`; or, with `checkpoint`, the net was prepared or changed before `backward()`.
        ValueError: the sizes of neighbouring layers do not agree, or `checkpoint` is not a whole number above 0.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, prepare_net
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3), Dropout(0.2), LIFSynapse(8, 2),
        ...                         LIFLayer(2, taus=10e-3, reset_mechanism="none"), checkpoint=25)
        >>> prepare_net(net)
        >>> spk, mem = net(torch.rand(4, 50, 3))
        >>> mem.shape
        torch.Size([4, 50, 2])
    """

    def __init__(self, *modules: Any, checkpoint: int | None = None) -> None:
        super().__init__(*modules)
        self.checkpoint = (
            None
            if checkpoint is None
            else whole_number("SpikingSequential", "checkpoint", checkpoint)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last spikes and membranes; see the class."""
        with self._states_held():
            if self.checkpoint is not None and torch.compiler.is_compiling():
                torch._dynamo.graph_break(
                    "SpikingSequential(checkpoint=...) is compiled in parts: no fullgraph=True"
                )
            if self.checkpoint is None or x.ndim < 3 or not torch.is_grad_enabled():
                return self._pass(x)
            return self._in_chunks(x, self.checkpoint)

    def record(self, x: Tensor, charges: bool = False) -> Recording:
        """One pass, and what each neuron layer did in it; when it fails, every state is as it was.

        Args:
            x: see the class.
            charges: hold on to the input charge of each layer, too (`Record.cur`).
        """
        layers: dict[str, Record] = {}
        with self._states_held():
            spk, mem = self._pass(x, layers, charges=charges)
        return Recording(spk, mem, layers)

    def modules_in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules with their names, in the order in which they run; a nested `SpikingSequential` gives its own.

        Example:
            >>> from nwavesdk.layers import LIFLayer, LIFSynapse
            >>> net = SpikingSequential(SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3)), nn.Identity())
            >>> [name for name, _ in net.modules_in_order()]
            ['0.0', '0.1', '1']
        """
        for name, module in self.named_children():
            if isinstance(module, SpikingSequential):
                yield from ((f"{name}.{inner}", step) for inner, step in module.modules_in_order())
            else:
                yield name, module

    @contextlib.contextmanager
    def _states_held(self) -> Iterator[None]:
        """Put every state back when something fails."""
        held = [layer.hold_state() for layer in self._prepared()]
        try:
            yield
        except BaseException:
            for restore in held:
                restore()
            raise

    def _prepared(self) -> list[Prepared]:
        return [module for module in self.modules() if isinstance(module, Prepared)]

    def _pass(
        self,
        x: Tensor,
        layers: dict[str, Record] | None = None,
        prefix: str = "",
        charges: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """One run through the row, which writes a record of each neuron layer to `layers`."""
        mem = x
        last = len(self) - 1
        for i, (name, module) in enumerate(self.named_children()):
            if isinstance(module, SpikingSequential):
                x, mem = module._pass(x, layers, f"{prefix}{name}.", charges)
            elif not isinstance(module, NeuronLayer):
                x = mem = (
                    module(x)
                    if isinstance(module, Prepared) or x.ndim < 3
                    else _over_time(module, x)
                )
            elif layers is not None:
                record = layers[prefix + name] = module.record(x, charges)
                x, mem = record.spk, record.mem
            elif i == last:
                x, mem = module(x)
            else:
                x = mem = module.spikes(x)
        return x, mem

    def _in_chunks(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        layers, versions = self._prepared(), self._versions()
        counting = [
            name
            for name, m in self.named_modules()
            if m.training and hasattr(m, "num_batches_tracked")
        ]
        if counting:
            kind = type(self.get_submodule(counting[0])).__name__
            raise RuntimeError(
                f"SpikingSequential(checkpoint={steps}): module {counting[0]} ({kind}) keeps statistics of what it "
                "sees, and would see each chunk by itself, twice: leave checkpoint out, or take one without statistics."
            )

        def run(part: Tensor, sizes: list[int], *states: Tensor) -> tuple[Any, ...]:
            if self._versions() != versions:
                raise RuntimeError(
                    "a net with checkpoint= runs its chunks again in backward(), and it was prepared, its weights were "
                    "changed or its mode switched since forward: call backward() before prepare_net, before the "
                    "optimizer's step and before train() or eval()."
                )
            held = [layer.hold_state() for layer in layers]
            try:
                self._take_states(layers, states, sizes)
                outputs = self._pass(part)
                given = [layer.give_state() for layer in layers]
                return *outputs, [len(g) for g in given], *itertools.chain(*given)
            finally:
                for restore in held:
                    restore()

        given = [layer.give_state() for layer in layers]
        sizes, states = [len(g) for g in given], [*itertools.chain(*given)]
        wholes: list[_Whole] = []
        for part in torch.split(x, steps, 1):
            spk, mem, sizes, *states = checkpoint(run, part, sizes, *states, use_reentrant=False)
            outputs = [spk] if spk is mem else [spk, mem]  # one, where no neuron layer stands last
            wholes = wholes or [_Whole(y, x.shape[1]) for y in outputs]
            for whole, y in zip(wholes, outputs, strict=True):
                whole.append(y)
        self._take_states(layers, states, sizes)
        joined = [whole.joined() for whole in wholes]
        return joined[0], joined[-1]

    @staticmethod
    def _take_states(layers: list[Prepared], states: Sequence[Tensor], sizes: list[int]) -> None:
        left = iter(states)
        for layer, count in zip(layers, sizes, strict=True):
            layer.take_state([*itertools.islice(left, count)])

    def _versions(self) -> list[int]:
        """Numbers that change when the net is prepared, its weights are written to, or train() and eval() switch it."""
        modes = [m.training for m in self.modules()]
        return (
            [m.times_prepared for m in self._prepared()]
            + [p._version for p in self.parameters()]
            + modes
        )


class _Whole:
    """A sequence that is written part by part; `torch.cat` would hold every part a second time."""

    def __init__(self, first: Tensor, steps: int) -> None:
        self.tensor = first.new_empty(first.shape[0], steps, *first.shape[2:])
        self.filled = 0
        self.tokens: list[Tensor] = []
        self.grad: Tensor | None = None
        self.unread = 0

    def append(self, part: Tensor) -> None:
        """Copy the part, of which only its place in the graph is kept."""
        self.tokens.append(_Append.apply(self, part))  # type: ignore[no-untyped-call]  # torch does not type it

    def joined(self) -> Tensor:
        """The sequence, with gradients for every part."""
        whole: Tensor = _Joined.apply(self, *self.tokens)  # type: ignore[no-untyped-call]  # as above
        return whole


class _Append(torch.autograd.Function):
    """Part -> a scalar that stands for it; its gradient is read from the gradient of the whole."""

    @staticmethod
    def forward(ctx: Any, whole: _Whole, part: Tensor) -> Tensor:
        ctx.whole, ctx.steps = whole, slice(whole.filled, whole.filled + part.shape[1])
        whole.tensor[:, ctx.steps] = part
        whole.filled += part.shape[1]
        return part.new_empty(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[None, Tensor]:
        whole, grad = ctx.whole, ctx.whole.grad[:, ctx.steps]
        whole.unread -= 1
        if not whole.unread:
            whole.grad = None
        return None, grad


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: _Whole, *tokens: Tensor) -> Tensor:
        ctx.whole, ctx.count = whole, len(tokens)
        tensor, whole.tensor = (
            whole.tensor,
            tokens[0],
        )  # what has been written belongs to the caller
        return tensor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ctx.whole.grad, ctx.whole.unread = grad, ctx.count
        return None, *[grad.new_empty(())] * ctx.count


def _over_time(module: nn.Module, x: Tensor) -> Tensor:
    if any(isinstance(inner, Prepared) for inner in module.modules()):
        raise TypeError(
            f"SpikingSequential hands batch and time as one to {type(module).__name__}, but synapses or neuron layers "
            "are in it: use SpikingSequential there too."
        )
    y = module(x.flatten(0, 1))
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} in a SpikingSequential must give a tensor, got {type(y).__name__}."
        )
    return y.reshape(x.shape[:2] + y.shape[1:])
