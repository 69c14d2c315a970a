"""`SpikingSequential`: synapses, neuron layers and other torch modules in order, for sequences."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import shown, switch, whole_number
from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers import LIFSynapse, TemporalConv
from nwavesdk.layers.layout import layout_of
from nwavesdk.layers.lengths import reads_batch
from nwavesdk.layers.prepare import prepared_modules
from nwavesdk.net.calls import Outputs, is_watched
from nwavesdk.net.chunks import ChunkedCall
from nwavesdk.net.container import Container, Pass, run_module
from nwavesdk.net.rounded_input import RoundedInput
from nwavesdk.net.sizes import require_matching_sizes

__all__ = ["SpikingSequential", "in_order", "takes_held"]

# Deterministic modules whose output in a step depends on the input in this step alone.
# Subclasses may do more, and torch's convolutions take two batches for one that lacks channels.
_TIMELESS = {nn.Identity, nn.Flatten, nn.Unflatten, nn.Linear, LIFSynapse, RoundedInput}


class SpikingSequential(Container, nn.Sequential):
    """A net as a sequence of modules: `spk, mem = net(x)`.

    Modules of `nwavesdk.layers` take the whole sequence, and neuron layers pass on their spikes.
    Modules without time (Flatten, convolutions, `torch.nn.Dropout`) see batch and time as one
    dimension. With recordings of different lengths:

    - Neuron layers and synapses run on all steps; padding must be finite.
    - Modules without time that keep statistics, such as BatchNorm, see valid steps only.
    - A module whose `forward` has a parameter `lengths` takes the whole sequence and the lengths.

    A user's module that has modules of this library in it takes the whole sequence, too, and
    returns a tensor or `spk, mem`. Containers nest.

    Outputs in padding, and states after the end of a recording, are not defined.

    Args:
        modules: The modules, in the order in which they run.
        checkpoint: Number of steps of a chunk, or None. With a number, training runs the sequence
            in chunks, and backward runs each chunk a second time, with the same spikes and
            gradients, in less memory: see `docs/how-to/long-sequences.md`. `torch.nn.Dropout` draws
            a mask per chunk.
        time_first: Whether sequences are [T, B, *features], as input and as output. A container
            within another container does not take it.

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step of a net with flat layers.
        `net.step(x)` takes one step of any shape [B, *features], which a net that begins with a
        convolution needs. Returns `spk, mem` of the last neuron layer. If the net ends in another
        module, returns its output twice. `lengths` int64 [B] has the number of steps of each
        recording, up to T; 0 in parts of a sequence after its end.

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        RuntimeError: See `NeuronLayer`; if `prepare_net` was called on a part of the net only;
            with `checkpoint`, if the net was prepared or changed before `backward()`.
        ValueError: If the sizes of consecutive layers do not match, or an argument is out of its
            range.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, prepare_net
        >>> net = SpikingSequential(
        ...     LIFSynapse(3, 8), LIFLayer(8, taus=10e-3), Dropout(0.2),
        ...     LIFSynapse(8, 2), LIFLayer(2, taus=10e-3, reset_mechanism="none"), checkpoint=25,
        ... )
        >>> prepare_net(net)
        >>> spk, mem = net(torch.rand(4, 50, 3))
        >>> mem.shape
        torch.Size([4, 50, 2])
        >>> lengths = torch.tensor([50, 20, 35, 50])
        >>> prepare_net(net)
        >>> spk, mem = net(torch.rand(4, 50, 3), lengths)
    """

    def __init__(
        self, *modules: Any, checkpoint: int | None = None, time_first: bool = False
    ) -> None:
        for module in modules:
            # torch's Sequential also takes one ordered dict of modules by name.
            is_dict = isinstance(module, OrderedDict) and len(modules) == 1
            if not isinstance(module, nn.Module) and not is_dict:
                raise TypeError(f"SpikingSequential takes torch modules, got {shown(module)}.")

        super().__init__(*modules)
        self.time_first = switch("SpikingSequential", "time_first", time_first)
        self.checkpoint = (
            None
            if checkpoint is None
            else whole_number("SpikingSequential", "checkpoint", checkpoint)
        )

    def modules_in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """Names and modules in the order in which they run; a nested `SpikingSequential` unfolds.

        Example:
            >>> from nwavesdk.layers import LIFLayer, LIFSynapse
            >>> block = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
            >>> [name for name, _ in SpikingSequential(block, nn.Identity()).modules_in_order()]
            ['0.0', '0.1', '1']
        """
        yield from in_order(self, lambda module: isinstance(module, SpikingSequential))

    def _run_inside(self, x: Tensor, run: Pass) -> Outputs:
        if self.checkpoint is None or not run.is_sequence(x) or not torch.is_grad_enabled():
            return self._run_modules(x, run)

        if torch.compiler.is_compiling():
            torch._dynamo.graph_break(
                "SpikingSequential(checkpoint=...) is compiled in parts: no fullgraph=True"
            )

        modules = [module for _, module in in_order(self, _has_norm_inside)]
        run.restorers.extend(m.state_restorer() for m in prepared_modules(self, "checkpoint"))
        call = ChunkedCall(
            self, modules, run_modules=_run_piece, lengths=run.lengths, steps=self.checkpoint
        )
        return call.run(x)

    def _run_modules(self, x: Tensor, run: Pass) -> Outputs:
        return _run_in_order([m for m in self._modules.values() if m is not None], x, run)


def in_order(
    container: nn.Module, unfolds: Callable[[nn.Module], bool]
) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules of a container; inner containers for which `unfolds` is true unfold."""
    for name, module in container._modules.items():
        if module is not None and unfolds(module):
            for inner_name, inner in in_order(module, unfolds):
                yield f"{name}.{inner_name}", inner
        elif module is not None:
            yield name, module


def _has_norm_inside(module: nn.Module) -> bool:
    """Whether a norm in a nested net reads the whole sequence, and no hook watches the net."""
    is_net = isinstance(module, SpikingSequential) and not is_watched(module)
    return is_net and reads_batch(module)


def takes_held(net: nn.Module) -> bool:
    """Whether the front of a net runs once for an input that is held."""
    first = next(iter(net.children()), None) if isinstance(net, SpikingSequential) else None
    return first is not None and _is_timeless(first)


def _run_piece(
    modules: Sequence[nn.Module], x: Tensor, lengths: Tensor | None, is_last: bool
) -> Outputs:
    """Some modules on a chunk of time; if they fail, the net sets all states back."""
    return _run_in_order(modules, x, Pass(lengths, False, []), is_last=is_last)


def _run_in_order(
    modules: Sequence[nn.Module], x: Tensor, run: Pass, *, is_last: bool = True
) -> Outputs:
    """Run modules one after the other; `is_last` says whether they end the net."""
    n_once = _count_once(modules, x, run)
    if n_once:
        try:
            y, _ = _run_each(modules[:n_once], x[:, :1], run, is_last=False)
        except (RuntimeError, TypeError, ValueError):
            # All steps run below, and raise the error again with the shape of the user's input.
            n_once = 0
        else:
            x = _repeat(y, x.shape[1])

    return _run_each(modules, x, run, n_done=n_once, is_last=is_last)


def _run_each(
    modules: Sequence[nn.Module], x: Tensor, run: Pass, *, n_done: int = 0, is_last: bool
) -> Outputs:
    """Run modules one after the other, except for the first ones, which have run."""
    mem = x
    last = len(modules) - 1
    for i in range(n_done, last + 1):
        module = modules[i]
        try:
            y, mem = run_module(module, x, run, is_last=is_last and i == last)
        except (RuntimeError, ValueError) as error:
            first = module._first_module() if isinstance(module, Container) else module
            if i and first is not None:
                require_matching_sizes(modules[i - 1], first, x, error)
            raise

        x = y

    return x, mem


def _count_once(modules: Sequence[nn.Module], x: Tensor, run: Pass) -> int:
    """The number of modules at the front that run once, because one input is held for all steps.

    0 if the input needs a gradient, because each step has its own gradient.
    """
    if not run.is_sequence(x) or x.shape[1] < 2 or x.stride(1) != 0:
        return 0
    if x.requires_grad or not is_plain(x):
        return 0

    return next((i for i, module in enumerate(modules) if not _is_timeless(module)), len(modules))


def _is_timeless(module: nn.Module) -> bool:
    """Whether equal steps have equal outputs, and no hook watches the module."""
    is_one_tap = type(module) is TemporalConv and module.taps == 1
    is_replaced = is_watched(module) or "forward" in vars(module)
    return (type(module) in _TIMELESS or is_one_tap) and not is_replaced


def _repeat(x: Tensor, n_steps: int) -> Tensor:
    """[B, 1, *features] for `n_steps` steps, in the order of memory of the input."""
    layout = layout_of(x, tuple(x.shape[2:]))
    return layout.unflatten(layout.flatten(x).expand(-1, n_steps, -1).contiguous())
