"""The walk over a quantized net that makes it an `IntegerNet`.

Between two modules is a `_Spikes` or a `_Charge`. Both hold an array in the shape of the features
with the number of the value or neuron at each position, so that any module that only moves values
(Flatten, a transposition of the user) is run on this array.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.interop.c.operations import (
    DelayedWeights,
    IntegerNet,
    Layer,
    LayerWeights,
    OffGridError,
    Pool,
    ValueSource,
    WindowWeights,
    on_grid,
)
from nwavesdk.layers import DelayedSynapse, Dropout, NeuronLayer, TemporalConv
from nwavesdk.layers.past import PastSynapse
from nwavesdk.layers.synapse import DenseSynapse
from nwavesdk.net import Branches, Residual, RoundedInput, SpikingSequential
from nwavesdk.net.wiring import module_title

__all__ = ["integer_net"]

# Numbers of values are codes: the position of the source times this, plus the value's number + 1.
_SOURCE = 2**32

_DROPOUTS = (Dropout, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)


@dataclass(frozen=True, eq=False)
class _Spikes:
    """Sums of values of sources: each part has a code for each position of the features."""

    parts: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parts[0].shape


@dataclass(frozen=True, eq=False, kw_only=True)
class _Charge:
    """Sums of edges.

    Attributes:
        edges: The edges, with float64 weights.
        bias: Constant charges, float64 [C].
        sizes: Height and width.
        order: The number of the neuron at each position of the features.
    """

    edges: tuple[LayerWeights, ...]
    bias: np.ndarray
    sizes: tuple[int, int]
    order: np.ndarray


_Signal = _Spikes | _Charge


class _FrameOrderError(Exception):
    """The frame must be stored with its channels last; the argument is their number."""


def integer_net(net: nn.Module, shape: Sequence[int], step: float) -> IntegerNet:
    """A quantized net as operations on integers.

    Args:
        net: The net, in `eval()`, without norms.
        shape: Shape of a frame.
        step: The unit of the values of a frame.

    Raises:
        ValueError: If a module has no form in C, or weights are not on a grid; the text names it.
    """
    try:
        return _Walk(net, tuple(shape), step).run()
    except _FrameOrderError as order:
        return _Walk(net, tuple(shape), step, channels=order.args[0]).run()


class _Walk:
    """One walk over a net."""

    def __init__(
        self, net: nn.Module, shape: tuple[int, ...], step: float, channels: int | None = None
    ) -> None:
        self.net = net
        self.shape = shape
        self.step = step
        self.channels = channels  # of a frame that is stored with its channels last
        size = int(np.prod(shape))
        self.sources = [ValueSource(name="", places=1, channels=size, is_frame=True)]

        self.frame_order = np.arange(size)
        if channels is not None:
            self.frame_order = _channels_last((channels, size // channels)).flatten()
        self.operations: list[Layer | Pool] = []
        self.with_state: set[nn.Module] = set()

    def run(self) -> IntegerNet:
        frame = _Spikes((1 + self.frame_order.reshape(self.shape),))
        signal = self.follow(self.net, "", frame)
        if isinstance(signal, _Charge):
            self.add_layer("", None, signal, order=signal.order)

        elif not self.is_output(signal):
            raise _refusal(
                "the net", "ends in values that are not one layer's", "end it in a layer or synapse"
            )
        return IntegerNet(
            sources=tuple(self.sources),
            operations=tuple(self.operations),
            step=self.step,
            shape=self.shape,
            frame_order=self.frame_order,
        )

    def is_output(self, signal: _Spikes) -> bool:
        """Whether a signal is all of the output of the last layer, in order."""
        last = self.operations[-1] if self.operations else None
        if not isinstance(last, Layer):
            return False
        codes = () if last.target is None else (last.target * _SOURCE + 1 + last.order,)
        return len(codes) == len(signal.parts) and all(map(np.array_equal, codes, signal.parts))

    # Modules

    def follow(self, module: nn.Module, name: str, signal: _Signal) -> _Signal:
        """The output of a module."""
        title = module_title(name, module)
        prefix = f"{name}." if name else ""

        # A read-out has no code of its spikes.
        if isinstance(signal, _Spikes) and not signal.parts:
            raise _refusal(title, "gets the membranes of a read-out", "end the net there")

        if isinstance(module, NeuronLayer | PastSynapse):
            if module in self.with_state:
                raise _refusal(title, "is used twice, with one state", "use a layer at each place")
            self.with_state.add(module)

        if isinstance(module, SpikingSequential):
            for key, child in module._modules.items():
                if child is not None:
                    signal = self.follow(child, prefix + key, signal)
            return signal

        if isinstance(module, Residual | Branches):
            return self.follow_joined(module, prefix, title, signal)
        if isinstance(module, _DROPOUTS):
            return signal
        if isinstance(module, NeuronLayer):
            return self.follow_neurons(module, name, title, signal)

        synapse = _SYNAPSES.get(_kind_of(module))
        if synapse is not None:
            if isinstance(signal, _Charge):
                raise _refusal(title, "gets charges", "put a neuron layer before it")
            return synapse(self, module, title, signal)

        # A frame in C is rounded already.
        # Before the first operation, the signal is the frame, which C gets rounded.
        if isinstance(module, RoundedInput) and not self.operations:
            return signal
        if isinstance(module, nn.MaxPool2d) and isinstance(signal, _Spikes):
            return self.follow_pool(module, name, title, signal)
        return _moved(module, title, signal)

    def follow_joined(self, module: Any, prefix: str, title: str, signal: _Signal) -> _Signal:
        """The output of a container that adds or concatenates."""
        if isinstance(module, Residual):
            outputs = [self.follow(module.body, f"{prefix}body", signal)]
            if module.shortcut is not None:
                signal = self.follow(module.shortcut, f"{prefix}shortcut", signal)
            outputs.append(signal)
        else:
            outputs = [
                self.follow(child, prefix + key, signal) for key, child in module.named_children()
            ]

        is_sum = isinstance(module, Residual) or module.join == "add"
        spikes = [output for output in outputs if isinstance(output, _Spikes)]
        charges = [output for output in outputs if isinstance(output, _Charge)]
        if is_sum and not charges:
            return _Spikes(tuple(part for output in spikes for part in output.parts))

        if is_sum and not spikes:
            first = charges[0]
            if any(not np.array_equal(first.order, charge.order) for charge in charges):
                raise _refusal(title, "adds charges of different layouts", "use equal synapses")
            return replace(
                first,
                edges=tuple(edge for charge in charges for edge in charge.edges),
                bias=np.sum([charge.bias for charge in charges], axis=0),
            )

        if charges or any(len(output.parts) > 1 for output in spikes):
            raise _refusal(title, "joins charges or sums", "let each branch end in neurons")
        return _Spikes((np.concatenate([output.parts[0] for output in spikes]),))

    def follow_neurons(
        self, module: NeuronLayer, name: str, title: str, signal: _Signal
    ) -> _Signal:
        """The spikes of a neuron layer."""
        if module.device != "cpu" or module.solver.startswith("compasso"):
            raise _refusal(title, "runs on comPaSSo, which rounds elsewhere", "call to_cpu(net)")

        charge = signal
        if isinstance(charge, _Spikes):
            size = int(np.prod(charge.shape))
            flat = _Spikes(tuple(part.flatten() for part in charge.parts))
            charge = self.dense(title, flat, np.eye(size)[:, None], None)
            charge = replace(charge, order=charge.order.reshape(signal.shape))  # type: ignore[union-attr]  # `dense` returns a charge

        if charge.order.shape != module.features:
            raise _refusal(title, f"gets features of shape {charge.order.shape}", "match the sizes")
        return self.add_layer(name, module, charge, order=charge.order)

    def add_layer(
        self, name: str, module: NeuronLayer | None, charge: _Charge, *, order: np.ndarray
    ) -> _Spikes:
        """Add a layer, and return the codes of its spikes; none for a read-out or sums."""
        title = "the output" if module is None else module_title(name, module)
        is_spiking = module is not None and not module.neuron.is_readout
        target = len(self.sources) if is_spiking else None
        n_places = charge.sizes[0] * charge.sizes[1]

        if is_spiking:
            channels = len(charge.bias)
            self.sources.append(ValueSource(name=name, places=n_places, channels=channels))

        edges = charge.edges
        if module is not None:
            edges = (*edges, *_recurrent(module, title, charge, target))
        try:
            edges, bias, exponents = on_grid(edges, charge.bias, self.sources)
        except OffGridError as reason:
            raise _refusal(title, f"is not quantized: {reason}", "pass quantize(net)") from None

        layer = Layer(
            name=name,
            edges=edges,
            bias=bias,
            exponents=exponents,
            sizes=charge.sizes,
            neuron=None if module is None else module.neuron,
            constants=() if module is None else _constants(module, order),
            order=order,
            target=target,
        )
        self.operations.append(layer)
        return _Spikes(() if target is None else (target * _SOURCE + 1 + order,))

    def follow_pool(self, module: nn.MaxPool2d, name: str, title: str, signal: _Spikes) -> _Spikes:
        """The spikes after a max pool."""
        pair = _pair(module.kernel_size), _pair(module.stride)
        is_plain = not any(_pair(module.padding)) and _pair(module.dilation) == (1, 1)
        if not is_plain or module.ceil_mode or len(signal.parts) > 1:
            raise _refusal(title, "has padding, dilation or ceil_mode", "use a plain pool")

        (part,) = signal.parts
        source = int(part.flat[0] // _SOURCE)
        channels, *sizes = part.shape
        self.require_layout(title, part)
        if self.sources[source].is_frame:
            raise _refusal(title, "pools values that are not spikes", "put it after neurons")

        target = len(self.sources)
        pool = Pool(
            name=name,
            source=source,
            target=target,
            sizes=(sizes[0], sizes[1]),
            kernel=pair[0],
            stride=pair[1],
        )
        self.operations.append(pool)
        n_places = pool.out_sizes[0] * pool.out_sizes[1]
        self.sources.append(ValueSource(name=name, places=n_places, channels=channels))
        return _Spikes((target * _SOURCE + 1 + _channels_last((channels, *pool.out_sizes)),))

    # Synapses

    def dense(
        self, title: str, signal: _Spikes, weights: np.ndarray, bias: Any, dilation: int = 1
    ) -> _Charge:
        """The charge of dense weights [C', taps, values of the signal]."""
        n_outputs, n_taps, n_inputs = weights.shape
        if signal.shape != (n_inputs,):
            raise _refusal(title, f"gets features of shape {signal.shape}", "put Flatten before it")

        edges = []
        for part in signal.parts:
            for source in np.unique(part // _SOURCE):
                is_here = part // _SOURCE == source
                size = self.sources[source].size
                table = np.zeros((n_outputs, n_taps, size))
                columns = part[is_here] % _SOURCE - 1
                index: Any = (slice(None), slice(None), columns)
                np.add.at(table, index, weights[:, :, is_here])
                edges.append(self.dense_window(int(source), table, dilation))
        return _charge(edges, bias, (n_outputs,))

    def dense_window(
        self, source: int, table: np.ndarray, dilation: int = 1, offset: int = 0
    ) -> WindowWeights:
        """A window over all places of a source, from weights [C', taps, values of the source]."""
        places, channels = self.sources[source].places, self.sources[source].channels
        weights = table.reshape(*table.shape[:2], 1, places, channels)
        weights = weights * (self.step if self.sources[source].is_frame else 1.0)
        return WindowWeights(
            source=source,
            weights=weights,
            sizes=(1, places),
            dilation=dilation,
            offset=offset,
        )

    def linear(self, module: Any, title: str, signal: _Spikes) -> _Charge:
        return self.dense(title, signal, _numbers(module.weight)[:, None], module.bias)

    def synapse(self, module: Any, title: str, signal: _Spikes) -> _Charge:
        weights = _numbers(module.effective_weight())
        weights = np.diag(weights) if weights.ndim == 1 else weights
        bias = getattr(module, "bias", None)
        return self.dense(title, signal, weights.T[:, None], bias)

    def delayed(self, module: Any, title: str, signal: _Spikes) -> _Charge:
        weights = _numbers(module.effective_weight()).T
        delays = np.broadcast_to(_numbers(module.delays).T, weights.shape)

        edges = []
        for part in signal.parts:
            for edge in self.dense(title, _Spikes((part,)), weights[:, None], None).edges:
                assert isinstance(edge, WindowWeights)
                is_here = part // _SOURCE == edge.source
                table = np.zeros((len(weights), self.sources[edge.source].size))
                table[:, part[is_here] % _SOURCE - 1] = delays[:, is_here]
                flat = edge.weights.reshape(len(weights), -1)
                rounded = np.rint(table).astype(np.int64)
                edges.append(DelayedWeights(source=edge.source, weights=flat, delays=rounded))
        return _charge(edges, module.bias, (len(weights),))

    def convolution(self, module: Any, title: str, signal: _Spikes) -> _Charge:
        weights = _numbers(module.effective_weight())
        if module.groups > 1:
            weights = _without_groups(weights, module.groups)
        if not module.kernel:
            weights = np.moveaxis(weights, 1, 2)
            return self.dense(title, signal, weights, module.bias, module.dilation)

        # [C', C, taps, *kernel] as [C', taps, height, width, C]; one axis is a height of 1.
        weights = np.moveaxis(weights, 1, -1)
        if len(module.kernel) == 1:
            weights = weights[:, :, None]
        pads = (0,) * (2 - len(module.kernel))
        strides = (1,) * (2 - len(module.kernel))

        edges = []
        for part in signal.parts:
            self.require_layout(title, part)
            source = int(part.flat[0] // _SOURCE)
            sizes = (1, *part.shape[1:])[-2:]
            edges.append(
                WindowWeights(
                    source=source,
                    weights=weights * (self.step if self.sources[source].is_frame else 1.0),
                    sizes=(sizes[0], sizes[1]),
                    dilation=module.dilation,
                    stride=(*strides, *module.stride),
                    padding=(*pads, *module.padding),
                )
            )
        sizes = edges[0].out_sizes[-len(module.kernel) :]
        return _charge(edges, module.bias, (len(weights), *sizes))

    def require_layout(self, title: str, part: np.ndarray) -> None:
        """Require that features [C, *places] are all values of a source, channels last."""
        source = int(part.flat[0] // _SOURCE)
        numbers = part - source * _SOURCE - 1
        if np.array_equal(numbers, _channels_last(part.shape)):
            channels = part.shape[0]
            if self.sources[source].is_frame or self.sources[source].channels == channels:
                return

        is_frame = source == 0 and self.channels is None
        if is_frame and np.array_equal(np.sort(numbers.flat), np.arange(self.sources[0].size)):
            raise _FrameOrderError(part.shape[0])
        raise _refusal(
            title, "gets features in another order than one layer returns", "put it after a layer"
        )


_SYNAPSES: dict[type | None, Callable[..., _Charge]] = {
    nn.Linear: _Walk.linear,
    TemporalConv: _Walk.convolution,
    DelayedSynapse: _Walk.delayed,
    DenseSynapse: _Walk.synapse,
}


def _kind_of(module: nn.Module) -> type | None:
    """The class in `_SYNAPSES` to which a module belongs."""
    if hasattr(module, "effective_weight") and getattr(module, "weight", None) is not None:
        is_diagonal = module.weight.ndim == 1
        kinds = (TemporalConv, DelayedSynapse, DenseSynapse)
        kind = next((kind for kind in kinds if isinstance(module, kind)), None)
        return DenseSynapse if kind is None and is_diagonal else kind
    return nn.Linear if type(module) is nn.Linear else None


def _recurrent(
    module: NeuronLayer, title: str, charge: _Charge, target: int | None
) -> tuple[LayerWeights, ...]:
    """The edge from a layer to itself, if it has one."""
    weights = module.effective_recurrent_weights()
    if weights is None:
        return ()
    if charge.sizes != (1, 1) or target is None:
        raise _refusal(title, "is recurrent with features of several places", "flatten it")

    # From row to column, in the order of the features.
    position = np.argsort(charge.order.flatten())
    table = _numbers(weights).T[position][:, position]
    if module.recurrent_delays is not None:
        delays = np.rint(_numbers(module.recurrent_delays.delays).T[position][:, position])
        return (
            DelayedWeights(source=target, weights=table, delays=delays.astype(np.int64), offset=1),
        )

    shape = len(table), 1, 1, 1, len(table)
    return (WindowWeights(source=target, weights=table.reshape(shape), sizes=(1, 1), offset=1),)


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
    is_charge = isinstance(signal, _Charge)
    arrays = [signal.order + 1] if isinstance(signal, _Charge) else [*signal.parts]
    moved = []
    for array in arrays:
        numbers = torch.from_numpy(array.astype(np.float64))[None]
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
        moved.append(output.numpy().astype(np.int64))

    if is_charge:
        return replace(signal, order=moved[0] - 1)
    return _Spikes(tuple(moved))


def _charge(edges: Sequence[LayerWeights], bias: Tensor | None, shape: tuple[int, ...]) -> _Charge:
    """The charge of edges with a bias, for features [C, *places]."""
    height, width = (1, 1, *shape[1:])[-2:]
    return _Charge(
        edges=tuple(edges),
        bias=np.zeros(shape[0]) if bias is None else _numbers(bias),
        sizes=(height, width),
        order=_channels_last(shape),
    )


def _without_groups(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights [C', C / groups, ...] of separate groups as [C', C, ...], with zeros."""
    n_outputs, n_inputs = weights.shape[0] // groups, weights.shape[1]
    full = np.zeros((weights.shape[0], n_inputs * groups, *weights.shape[2:]))
    for group in range(groups):
        rows = slice(group * n_outputs, (group + 1) * n_outputs)
        full[rows, group * n_inputs : (group + 1) * n_inputs] = weights[rows]
    return full


def _channels_last(shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of features [C, *places], counted place by place."""
    channels, *places = shape
    return np.arange(int(np.prod(shape))).reshape(-1, channels).T.reshape(channels, *places)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _numbers(values: Tensor) -> np.ndarray:
    numbers: np.ndarray = values.detach().cpu().double().numpy()
    return numbers


def _refusal(title: str, reason: str, remedy: str) -> ValueError:
    return ValueError(f"export_c: {title} {reason}: {remedy}.")
