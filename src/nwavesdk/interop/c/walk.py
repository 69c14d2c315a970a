"""The walk over a quantized net that makes it an `IntegerNet`.

Between two modules are values or a charge. Values are a tuple of arrays that add up, each with a
code for each position of the features; a charge is a `Layer` without neurons, which has the number
of a neuron for each position. So any module that only moves values (Flatten, a transposition of the
user) is run on these arrays.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from nwavesdk.interop.c.operations import (
    IntegerNet,
    Layer,
    OffGridError,
    Pool,
    Values,
    Weights,
    on_grid,
)
from nwavesdk.layers import DelayedSynapse, NeuronLayer, TemporalConv
from nwavesdk.layers.synapse import DenseSynapse
from nwavesdk.net import RoundedInput, SpikingSequential
from nwavesdk.net.charges import find_sums
from nwavesdk.net.structure import Joined, follow
from nwavesdk.net.wiring import module_title

__all__ = ["integer_net"]

# The code of a value: the number of its operation times this, plus its number there.
_SOURCE = 2**32

_Parts = tuple[np.ndarray, ...]
_Signal = _Parts | Layer


class _FrameLayoutError(Exception):
    """A frame must be stored as features [C, *places]: the argument has the position of each."""


def integer_net(net: SpikingSequential, shape: Sequence[int], step: float) -> IntegerNet:
    """A quantized net as operations on integers.

    Args:
        net: The net, in `eval()`, without norms.
        shape: Shape of a frame.
        step: The unit of the values of a frame.

    Raises:
        ValueError: If a module has no form in C, or weights are not on a grid; the text names it.
    """
    # This rejects a net whose charges are not sums of integers.
    find_sums(net)
    features = np.arange(int(np.prod(shape)))
    try:
        return _Walk(net, shape, step, features).run()
    except _FrameLayoutError as layout:
        return _Walk(net, shape, step, layout.args[0]).run()


class _Walk:
    """One walk over a net.

    Args:
        net: The net.
        shape: Shape of a frame.
        step: The unit of the values of a frame.
        layout: The positions of a frame as features [C, *places].
    """

    def __init__(
        self, net: nn.Module, shape: Sequence[int], step: float, layout: np.ndarray
    ) -> None:
        self.net = net
        self.shape = shape
        self.step = step
        self.values: list[Values] = [Values(sizes=_sizes(layout.shape), channels=len(layout))]
        self.frame_order = np.empty(layout.size, np.int64)
        self.frame_order[layout] = _channels_last(layout.shape)

    def run(self) -> IntegerNet:
        frame: _Signal = (self.frame_order.reshape(self.shape),)
        signal = follow(self.net, "", frame, self.leaf, _joined)
        if isinstance(signal, Layer):
            signal = self.add_layer("", None, signal)

        last = self.values[-1]
        is_output = isinstance(last, Layer) and np.array_equal(signal, [self.codes(last.order)])
        if not is_output:
            raise _refusal(
                "the net", "ends in values that are not one layer's", "end it in a layer or synapse"
            )
        return IntegerNet(values=tuple(self.values), step=self.step, frame_order=self.frame_order)

    def codes(self, numbers: np.ndarray) -> np.ndarray:
        """The codes of values of the latest operation."""
        codes: np.ndarray = (len(self.values) - 1) * _SOURCE + numbers
        return codes

    # Modules

    def leaf(self, module: nn.Module, name: str, signal: _Signal) -> _Signal:
        """The output of a module that is not a container."""
        title = module_title(name, module)
        if isinstance(module, RoundedInput):
            return signal  # a frame in C is rounded already
        if isinstance(module, NeuronLayer):
            return self.follow_neurons(module, name, signal)

        if isinstance(signal, tuple):
            if isinstance(module, TemporalConv):
                return self.convolution(module, title, signal)
            if type(module) is nn.Linear or isinstance(module, DenseSynapse | DelayedSynapse):
                return self.synapse(module, title, signal)
            if isinstance(module, nn.MaxPool2d):
                return self.follow_pool(module, name, title, signal)
        return _moved(module, title, signal)

    def follow_neurons(self, module: NeuronLayer, name: str, signal: _Signal) -> _Signal:
        """The spikes of a neuron layer."""
        title = module_title(name, module)
        if module.device != "cpu" or module.solver.startswith("compasso"):
            raise _refusal(title, "runs on comPaSSo, which rounds elsewhere", "call to_cpu(net)")

        if isinstance(signal, tuple):
            shape = signal[0].shape
            parts = tuple(part.flatten() for part in signal)
            charge = self.dense(title, parts, np.eye(parts[0].size)[:, None], None)
            signal = replace(charge, order=charge.order.reshape(shape))
        return self.add_layer(name, module, signal)

    def add_layer(self, name: str, module: NeuronLayer | None, charge: Layer) -> _Parts:
        """Add a layer, and return the codes of its spikes; `module` is None for sums."""
        title = "the output" if module is None else module_title(name, module)
        layer = replace(charge, name=name)
        if module is not None:
            loop = _recurrent(module, title, charge, len(self.values))
            layer = replace(
                layer,
                edges=(*charge.edges, *loop),
                neuron=module.neuron,
                constants=_constants(module, charge.order),
            )

        try:
            self.values.append(on_grid(layer, self.step))
        except OffGridError as reason:
            raise _refusal(title, f"is not quantized: {reason}", "pass quantize(net)") from None
        return (self.codes(layer.order),)

    def follow_pool(self, module: nn.MaxPool2d, name: str, title: str, signal: _Parts) -> _Parts:
        """The spikes after a max pool."""
        kernel, stride = _pair(module.kernel_size), _pair(module.stride)
        is_plain = not any(_pair(module.padding)) and _pair(module.dilation) == (1, 1)
        source = self.source_of(title, signal[0])
        if not is_plain or module.ceil_mode or len(signal) > 1 or source == 0:
            raise _refusal(
                title,
                "has padding, dilation or ceil_mode, or gets sums or a frame",
                "use a plain pool after neurons",
            )

        channels, *places = signal[0].shape
        sizes = _out_sizes(places, (0, 0), kernel, stride)
        self.values.append(
            Pool(
                name=name,
                sizes=_sizes((1, *sizes)),
                channels=channels,
                source=source,
                kernel=kernel,
                stride=stride,
            )
        )
        return (self.codes(_channels_last((channels, *sizes))),)

    # Synapses

    def dense(
        self,
        title: str,
        signal: _Parts,
        weights: np.ndarray,
        bias: Tensor | None,
        *,
        dilation: int = 1,
        delays: np.ndarray | None = None,
    ) -> Layer:
        """The charge of dense weights [C', taps, values of the signal]."""
        n_outputs, n_taps, n_inputs = weights.shape
        if signal[0].shape != (n_inputs,):
            shape = signal[0].shape
            raise _refusal(title, f"gets features of shape {shape}", "put Flatten before it")

        edges = []
        for part in signal:
            for source in np.unique(part // _SOURCE).tolist():
                values = self.values[source]
                is_here = part // _SOURCE == source
                columns = part[is_here] % _SOURCE
                table = np.zeros((n_outputs, n_taps, values.size))
                index: Any = (..., columns)
                np.add.at(table, index, weights[..., is_here])
                steps = None
                if delays is not None:
                    steps = np.zeros((n_outputs, values.size), np.int64)
                    steps[:, columns] = np.rint(delays[:, is_here])

                shape = (n_outputs, n_taps, *values.sizes, values.channels)
                edges.append(
                    Weights(
                        source=source,
                        weights=table.reshape(shape),
                        dilation=dilation,
                        delays=steps,
                    )
                )
        return _charge(edges, bias, (n_outputs,))

    def synapse(self, module: Any, title: str, signal: _Parts) -> Layer:
        """The charge of a dense synapse, with or without delays."""
        if isinstance(module, nn.Linear):
            weights = _numbers(module.weight)
        else:
            weights = _numbers(module.effective_weight()).T

        delays = None
        if isinstance(module, DelayedSynapse):
            delays = np.broadcast_to(_numbers(module.delays).T, weights.shape)
        return self.dense(title, signal, weights[:, None], module.bias, delays=delays)

    def convolution(self, module: Any, title: str, signal: _Parts) -> Layer:
        """The charge of a `TemporalConv`."""
        weights = _numbers(module.effective_weight())
        if module.groups > 1:
            weights = _without_groups(weights, module.groups)
        if not module.kernel:
            weights = np.moveaxis(weights, 1, 2)
            return self.dense(title, signal, weights, module.bias, dilation=module.dilation)

        # [C', C, taps, *kernel] as [C', taps, height, width, C].
        weights = np.moveaxis(weights, 1, -1)
        weights = weights.reshape(
            *weights.shape[:2], *_sizes(weights.shape[1:-1]), weights.shape[-1]
        )
        edges = [
            Weights(
                source=self.source_of(title, part),
                weights=weights,
                dilation=module.dilation,
                stride=(1, *module.stride)[-2:],
                padding=(0, *module.padding)[-2:],
            )
            for part in signal
        ]
        places = signal[0].shape[1:]
        sizes = _out_sizes(places, module.padding, module.kernel, module.stride)
        return _charge(edges, module.bias, (len(weights), *sizes))

    def source_of(self, title: str, part: np.ndarray) -> int:
        """The number of the values that are features [C, *places], all of them, channels last."""
        source = int(part.flat[0]) // _SOURCE
        numbers = part - source * _SOURCE
        values = self.values[source]
        is_stored = (values.channels, values.sizes) == (len(part), _sizes(part.shape))
        if is_stored and np.array_equal(numbers, _channels_last(part.shape)):
            return source

        # No features are stored in an order of their own yet.
        is_new = source == 0 and values.channels == values.size
        if is_new and np.array_equal(np.sort(numbers, axis=None), np.arange(values.size)):
            raise _FrameLayoutError(numbers)
        raise _refusal(
            title, "gets features in another order than one layer returns", "put it after a layer"
        )


def _joined(module: Joined, name: str, outputs: list[_Signal]) -> _Signal:
    """The output of a container that adds or concatenates."""
    title, is_sum = module_title(name, module), module.join == "add"
    parts = [output for output in outputs if isinstance(output, tuple)]
    charges = [output for output in outputs if isinstance(output, Layer)]
    if is_sum and not charges:
        return tuple(part for output in parts for part in output)

    if is_sum and not parts:
        first = charges[0]
        if any(not np.array_equal(first.order, charge.order) for charge in charges):
            raise _refusal(title, "adds charges of different layouts", "use equal synapses")
        return replace(
            first,
            edges=tuple(edge for charge in charges for edge in charge.edges),
            bias=np.sum([charge.bias for charge in charges], axis=0),
        )

    if charges or any(len(output) > 1 for output in parts):
        raise _refusal(title, "joins charges or sums", "let each branch end in neurons")
    return (np.concatenate([output[0] for output in parts]),)


def _recurrent(module: NeuronLayer, title: str, charge: Layer, number: int) -> tuple[Weights, ...]:
    """The weights from a layer with a number to itself, if it has some."""
    weights = module.effective_recurrent_weights()
    if weights is None:
        return ()
    if charge.places > 1:
        raise _refusal(title, "is recurrent with features of several places", "flatten it")

    # From row to column, in the order of the features.
    index = np.ix_(*[np.argsort(charge.order.flatten())] * 2)
    table = _numbers(weights).T[index][:, None, None, None]
    delays = None
    if module.recurrent_delays is not None:
        delays = np.rint(_numbers(module.recurrent_delays.delays).T[index]).astype(np.int64)
    return (Weights(source=number, weights=table, delays=delays, offset=1),)


@torch.no_grad()
def _constants(module: NeuronLayer, order: np.ndarray) -> tuple[np.ndarray, ...]:
    """The constants of the neurons, each float32 [N], in the order of C."""
    position = np.argsort(order.flatten())
    return tuple(c.detach().cpu().numpy()[position] for c in module.constants())


@torch.no_grad()
def _moved(module: nn.Module, title: str, signal: _Signal) -> _Signal:
    """The output of a module that only moves values.

    It is run on the numbers of the values, and on their negatives: a module that computes a sum or
    a maximum returns other numbers.
    """
    moved = []
    for array in signal if isinstance(signal, tuple) else [signal.order]:
        # From 1 on, so that all numbers have a sign.
        numbers = torch.from_numpy(array + 1.0)[None]
        try:
            output, negative = (module(values)[0] for values in (numbers, -numbers))
            is_moved = torch.equal(output, -negative) and bool(torch.isin(output, numbers).all())
        except Exception:  # a module of the user can raise anything
            is_moved = False
        if not is_moved:
            raise _refusal(
                title,
                "has no form in C",
                "pass quantize(net), or replace the module by layers of nwavesdk",
            )
        moved.append(output.numpy().astype(np.int64) - 1)
    return tuple(moved) if isinstance(signal, tuple) else replace(signal, order=moved[0])


def _charge(edges: Sequence[Weights], bias: Tensor | None, shape: tuple[int, ...]) -> Layer:
    """The charge of edges with a bias, for features [C, *places]."""
    return Layer(
        sizes=_sizes(shape),
        channels=shape[0],
        edges=tuple(edges),
        bias=np.zeros(shape[0]) if bias is None else _numbers(bias),
        order=_channels_last(shape),
    )


def _without_groups(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights [C', C / groups, ...] of separate groups as [C', C, ...], with zeros."""
    n_outputs, n_inputs, *others = weights.shape
    grouped = weights.reshape(groups, n_outputs // groups, n_inputs, -1)
    full: np.ndarray = np.einsum("gh,goik->gohik", np.eye(groups), grouped)
    return full.reshape(n_outputs, groups * n_inputs, *others)


def _channels_last(shape: Sequence[int]) -> np.ndarray:
    """The numbers of features [C, *places], counted place by place."""
    channels, *places = shape
    return np.arange(int(np.prod(shape))).reshape(-1, channels).T.reshape(channels, *places)


def _sizes(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of features [C, *places]; features without places have one."""
    height, width = (1, 1, *shape[1:])[-2:]
    return height, width


def _out_sizes(
    sizes: Sequence[int], padding: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> list[int]:
    axes = zip(sizes, padding, kernel, stride, strict=True)
    return [(size + 2 * pad - width) // step + 1 for size, pad, width, step in axes]


def _numbers(values: Tensor) -> np.ndarray:
    numbers: np.ndarray = values.detach().cpu().double().numpy()
    return numbers


def _refusal(title: str, reason: str, remedy: str) -> ValueError:
    return ValueError(f"export_c: {title} {reason}: {remedy}.")
