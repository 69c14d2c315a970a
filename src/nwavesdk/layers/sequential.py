"""`SpikingSequential`: synapses, neuron layers and other torch modules in order, for sequences."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import whole_number
from nwavesdk.layers.checkpointing import run_in_chunks
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared, prepared_modules
from nwavesdk.layers.record import Record, Recording

__all__ = ["SpikingSequential"]


class SpikingSequential(nn.Sequential):
    """A net as a sequence of modules: `spk, mem = net(x)`.

    Modules of `nwavesdk.layers` take the whole sequence, and neuron layers pass on their spikes.
    Modules without time (Flatten, convolutions, `torch.nn.Dropout`) see batch and time as one
    dimension.

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
        output twice.

    Raises:
        RuntimeError: See `NeuronLayer`; with `checkpoint`, if the net was prepared or changed
            before `backward()`.
        ValueError: If the sizes of consecutive layers do not match, or `checkpoint` is not a whole
            number above 0.

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
    """

    def __init__(self, *modules: Any, checkpoint: int | None = None) -> None:
        super().__init__(*modules)
        self.checkpoint = checkpoint
        if checkpoint is not None:
            self.checkpoint = whole_number("SpikingSequential", "checkpoint", checkpoint)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last spikes and membranes; see the class."""
        with self._restoring_states():
            if self.checkpoint is not None and torch.compiler.is_compiling():
                torch._dynamo.graph_break(
                    "SpikingSequential(checkpoint=...) is compiled in parts: no fullgraph=True"
                )
            if self.checkpoint is None or x.ndim < 3 or not torch.is_grad_enabled():
                return self._run_modules(x)
            return run_in_chunks(self, self._run_modules, x, self.checkpoint)

    def record(self, x: Tensor, charges: bool = False) -> Recording:
        """Run one pass and record each neuron layer; if it fails, all states are as before.

        Args:
            x: See the class.
            charges: Whether to hold the input charge of each layer (`Record.cur`).
        """
        layers: dict[str, Record] = {}
        with self._restoring_states():
            spk, mem = self._run_modules(x, layers, charges=charges)
        return Recording(spk, mem, layers)

    def modules_in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """Names and modules in the order in which they run; a nested `SpikingSequential` unfolds.

        Example:
            >>> from nwavesdk.layers import LIFLayer, LIFSynapse
            >>> block = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
            >>> [name for name, _ in SpikingSequential(block, nn.Identity()).modules_in_order()]
            ['0.0', '0.1', '1']
        """
        for name, module in self.named_children():
            if isinstance(module, SpikingSequential):
                for inner_name, inner in module.modules_in_order():
                    yield f"{name}.{inner_name}", inner
            else:
                yield name, module

    @contextlib.contextmanager
    def _restoring_states(self) -> Iterator[None]:
        """Set all states back if an error occurs within the `with` block."""
        modules = prepared_modules(self, "SpikingSequential")
        restorers = [module.state_restorer() for module in modules]
        try:
            yield
        except BaseException:
            for restore in restorers:
                restore()
            raise

    def _run_modules(
        self,
        x: Tensor,
        layers: dict[str, Record] | None = None,
        prefix: str = "",
        charges: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """One pass; with `layers`, it adds a record of each neuron layer to them."""
        mem = x
        last = len(self) - 1
        for i, (name, module) in enumerate(self.named_children()):
            if isinstance(module, SpikingSequential):
                x, mem = module._run_modules(x, layers, f"{prefix}{name}.", charges)
            elif not isinstance(module, NeuronLayer):
                takes_time = isinstance(module, Prepared) or x.ndim < 3
                x = mem = module(x) if takes_time else _run_without_time(module, x)
            elif layers is not None:
                record = layers[prefix + name] = module.record(x, charges)
                x, mem = record.spk, record.mem
            elif i == last:
                x, mem = module(x)
            else:
                # Nobody reads the membrane of an inner layer, so it is not computed.
                x = mem = module.spikes(x)
        return x, mem


def _run_without_time(module: nn.Module, x: Tensor) -> Tensor:
    """Run a module on [B, T, ...] with batch and time as one dimension."""
    if any(isinstance(inner, Prepared) for inner in module.modules()):
        raise TypeError(
            f"SpikingSequential hands batch and time as one to {type(module).__name__}, but "
            "synapses or neuron layers are in it: use SpikingSequential there too."
        )
    y = module(x.flatten(0, 1))
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} in a SpikingSequential must give a tensor, "
            f"got {type(y).__name__}."
        )
    return y.reshape(x.shape[:2] + y.shape[1:])
