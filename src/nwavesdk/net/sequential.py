"""`SpikingSequential`: synapses, neuron layers and other torch modules in order, for sequences."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from nwavesdk.internal.checks import shown, whole_number
from nwavesdk.internal.tensors import is_list, require_tensor
from nwavesdk.layers.lengths import check_lengths, reads_batch, takes_lengths, valid_places
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared, prepared_modules
from nwavesdk.layers.record import Record, Recording
from nwavesdk.layers.synapse import Synapse
from nwavesdk.net.chunks import run_in_chunks

__all__ = ["SpikingSequential"]

# Tools that watch all calls of modules replace it.
_TORCH_CALL = nn.Module.__call__


class SpikingSequential(nn.Sequential):
    """A net as a sequence of modules: `spk, mem = net(x)`.

    Modules of `nwavesdk.layers` take the whole sequence, and neuron layers pass on their spikes.
    Modules without time (Flatten, convolutions, `torch.nn.Dropout`) see batch and time as one
    dimension. Where recordings have different lengths, modules see padding as follows:

    - Neuron layers and synapses run on all steps. They are causal, so valid steps do not depend on
      padding, which must be finite.
    - Modules without time that keep statistics of their inputs, such as BatchNorm, see valid steps
      only. They return zeros in padding.
    - A module whose `forward` has a parameter `lengths` takes the whole sequence and the lengths;
      None if there are none.

    What the net returns in padding is not defined, and so is the state that an ended recording
    leaves.

    Args:
        modules: The modules, in the order in which they run.
        checkpoint: Number of steps of a chunk, or None. With a number, training runs the sequence
            in chunks through the whole net. It stores only input and output of each chunk and the
            states at its start, and backward runs each chunk a second time. Apart from input and
            output, memory grows as T / checkpoint states + checkpoint steps, for about a third more
            time. Spikes, gradients and the masks of `Dropout` are the same in both runs. `record`
            runs in one piece. Modules that keep statistics, such as BatchNorm, are rejected.

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step of a net with flat layers.
        Returns `spk, mem` of the last neuron layer. If the net ends in another module, returns its
        output twice. `lengths` int64 [B] has the number of steps of each recording, up to T; None
        if all have T. A part of a sequence has 0 steps of a recording that ended before.

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        RuntimeError: See `NeuronLayer`; with `checkpoint`, if the net was prepared or changed
            before `backward()`.
        ValueError: If the sizes of consecutive layers do not match, `checkpoint` is not a whole
            number above 0, or `lengths` are not one per recording of a sequence, from 0 to T.

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

    def __init__(self, *modules: Any, checkpoint: int | None = None) -> None:
        for module in modules:
            # torch's Sequential also takes one ordered dict of modules by name.
            is_dict = isinstance(module, OrderedDict) and len(modules) == 1
            if not isinstance(module, nn.Module) and not is_dict:
                raise TypeError(f"SpikingSequential takes torch modules, got {shown(module)}.")
        super().__init__(*modules)
        self.checkpoint = (
            None
            if checkpoint is None
            else whole_number("SpikingSequential", "checkpoint", checkpoint)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The last spikes and membranes; see the class."""
        self._require_input(x)
        if lengths is not None:
            lengths = _checked_lengths(lengths, x)
        if self.checkpoint is not None and torch.compiler.is_compiling():
            torch._dynamo.graph_break(
                "SpikingSequential(checkpoint=...) is compiled in parts: no fullgraph=True"
            )
        if self.checkpoint is None or x.ndim < 3 or not torch.is_grad_enabled():
            return self._run(x, lengths)
        return run_in_chunks(self, self._run, x, lengths, self.checkpoint)

    def record(self, x: Tensor, charges: bool = False, lengths: Tensor | None = None) -> Recording:
        """Run one pass and record each neuron layer; if it fails, all states are as before.

        Args:
            x: See the class.
            charges: Whether to hold the input charge of each layer (`Record.cur`).
            lengths: See the class; the recording and its records hold them.
        """
        self._require_input(x)
        if lengths is not None:
            lengths = _checked_lengths(lengths, x)
        layers: dict[str, Record] = {}
        spk, mem = self._run(x, lengths, layers, charges)
        return Recording(spk, mem, layers, lengths)

    def _require_input(self, x: Tensor) -> None:
        """Reject what is not a dense tensor, or a list of events for a synapse that takes it."""
        if is_list(x) and not torch.compiler.is_compiling():
            first = next((module for _, module in self.modules_in_order()), None)
            if isinstance(first, Synapse) and first.takes_lists:
                return
            raise TypeError(
                f"SpikingSequential takes a dense tensor for its first module, "
                f"{type(first).__name__}, got torch.sparse_coo: convert it, as in x.to_dense(), or "
                "begin with LIFSynapse."
            )
        require_tensor("SpikingSequential", x)

    def modules_in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """Names and modules in the order in which they run; a nested `SpikingSequential` unfolds.

        Example:
            >>> from nwavesdk.layers import LIFLayer, LIFSynapse
            >>> block = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
            >>> [name for name, _ in SpikingSequential(block, nn.Identity()).modules_in_order()]
            ['0.0', '0.1', '1']
        """
        for name, module in self._modules.items():
            if isinstance(module, SpikingSequential):
                for inner_name, inner in module.modules_in_order():
                    yield f"{name}.{inner_name}", inner
            elif module is not None:
                yield name, module

    def _run(
        self,
        x: Tensor,
        lengths: Tensor | None,
        layers: dict[str, Record] | None = None,
        charges: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """One pass; with `layers`, it adds a record of each neuron layer to them.

        If an error occurs, all states are set back.
        """
        restorers: list[Callable[[], None]] = []
        try:
            return self._run_modules(x, lengths, restorers, layers, "", charges)
        except BaseException:
            for restore in reversed(restorers):
                restore()
            raise

    def _run_modules(
        self,
        x: Tensor,
        lengths: Tensor | None,
        restorers: list[Callable[[], None]],
        layers: dict[str, Record] | None,
        prefix: str,
        charges: bool,
    ) -> tuple[Tensor, Tensor]:
        """Run the modules; `restorers` gets a function for each state that changes."""
        mem = x
        last = len(self._modules) - 1
        for i, (name, module) in enumerate(self._modules.items()):
            if isinstance(module, NeuronLayer):
                restorers.append(module.state_restorer())
                if layers is not None:
                    record = module.record(x, charges)
                    layers[prefix + name] = record.with_lengths(lengths)
                    x, mem = record.spk, record.mem
                elif i == last:
                    x, mem = _call(module, x)
                elif _is_watched(module):
                    x, mem = module(x)
                else:
                    # Nobody reads the membrane of an inner layer, so it is not computed.
                    x = mem = module.spikes(x)
            elif isinstance(module, SpikingSequential):
                inner = f"{prefix}{name}."
                x, mem = module._run_modules(x, lengths, restorers, layers, inner, charges)
            elif isinstance(module, Prepared):
                if _has_state(module):
                    restorers += [inner.state_restorer() for inner in _prepared_modules(module)]
                x = mem = _call(module, x) if lengths is None else _call_padded(module, x, lengths)
            elif module is not None:
                restorers += [inner.state_restorer() for inner in _prepared_modules(module)]
                x = mem = module(x) if x.ndim < 3 else _run_other(module, x, lengths)
        return x, mem


def _checked_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    """The lengths, which start at 0 because a recording may have ended in an earlier call."""
    if x.ndim < 3:
        raise ValueError(
            "SpikingSequential: lengths belong to sequences [B, T, *features], got an input of "
            f"shape {list(x.shape)}: leave them out for single steps."
        )
    return check_lengths("SpikingSequential", lengths, x, least=0)


def _has_state(module: Prepared) -> bool:
    """Whether a call may change a state of the module or of modules within it."""
    has_own_restorer = type(module).state_restorer is not Prepared.state_restorer
    return bool(module._state_attributes or module._modules or has_own_restorer)


def _prepared_modules(module: nn.Module) -> list[Prepared]:
    """The module itself and all within it, as far as `prepare_net` visits them."""
    if module._modules:
        return prepared_modules(module, "SpikingSequential")
    return [module] if isinstance(module, Prepared) else []


def _call(module: nn.Module, x: Tensor) -> Any:
    """`module(x)`; without hooks, it saves what torch does for each call of a module."""
    return module(x) if _is_watched(module) else module.forward(x)


def _is_watched(module: nn.Module) -> bool:
    """Whether hooks, compiled code or another `__call__` wait for a call of the module itself."""
    return bool(
        type(module).__call__ is not _TORCH_CALL
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or _has_any_global_hook()  # type: ignore[no-untyped-call]  # torch does not type it
    )


def _call_padded(module: Prepared, x: Tensor, lengths: Tensor) -> Any:
    """`module(x)` of a module that takes sequences, with the lengths if it takes them, too."""
    if takes_lengths(type(module)):
        return module(x, lengths=lengths)
    if module._modules and reads_batch(module) and valid_places(lengths, x.shape[1]) is not None:
        raise RuntimeError(
            f"SpikingSequential: {type(module).__name__} holds a module that keeps statistics of "
            "its inputs, and would see padding: add a parameter lengths to its forward, and leave "
            "padding out there."
        )
    return _call(module, x)


def _run_other(module: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Run a module of torch or of a user on a sequence [B, T, ...]."""
    if takes_lengths(type(module)):
        return _require_output(module, module(x, lengths=lengths))
    if _prepared_modules(module):
        raise TypeError(
            f"SpikingSequential hands batch and time as one to {type(module).__name__}, but "
            "synapses or neuron layers are in it: use SpikingSequential there too."
        )
    rows = x.flatten(0, 1)
    if lengths is None or not reads_batch(module):
        y = _require_output(module, module(rows))
    else:
        y = _run_on_valid_rows(module, rows, valid_places(lengths, x.shape[1]))
    return y.reshape(x.shape[:2] + y.shape[1:])


def _run_on_valid_rows(module: nn.Module, rows: Tensor, places: Tensor | None) -> Tensor:
    """The module's output for the rows at `places`, zeros at the others; None is all rows."""
    if places is None:
        return _require_output(module, module(rows))
    y = _require_output(module, module(rows.index_select(0, places)))
    return y.new_zeros(len(rows), *y.shape[1:]).index_copy(0, places, y)


def _require_output(module: nn.Module, y: object) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} in a SpikingSequential must give a tensor, "
            f"got {type(y).__name__}."
        )
    return y
