"""A quantized net as a short list of operations on integers: `Layer` and `Pool`.

All weights of a layer are integers, in a unit of each output channel that is a power of two.
Neurons are counted place by place, with the channels of a place next to each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nwavesdk.dynamics import Neuron

__all__ = [
    "MAX_FRAME",
    "MAX_SHORT",
    "MAX_SUM",
    "DelayedWeights",
    "IntegerNet",
    "Layer",
    "LayerWeights",
    "OffGridError",
    "Pool",
    "ValueSource",
    "WindowWeights",
    "divide_by_factor",
    "on_grid",
]

MAX_FRAME = 127
"""The largest magnitude of a value of a frame."""

MAX_SUM = 2**24
"""float32 adds integers below this number exactly, in any order."""

MAX_SHORT = 2**15 - 1
"""The largest number of 16 bits."""


class OffGridError(ValueError):
    """The weights of a layer are not integers of a common unit; the message has the reason."""


@dataclass(frozen=True, kw_only=True)
class ValueSource:
    """Values that layers read: the frame of a step, or the spikes of a layer.

    Attributes:
        name: Name of the layer; empty for the frame.
        places: Number of places, such as bands or pixels.
        channels: Values at each place.
        is_frame: Whether the values are integers of the frame; else they are spikes.
    """

    name: str
    places: int
    channels: int
    is_frame: bool = False

    @property
    def size(self) -> int:
        """Number of values."""
        return self.places * self.channels

    @property
    def words(self) -> int:
        """Words of 32 spikes at each place."""
        return -(-self.channels // 32)

    @property
    def max_value(self) -> int:
        """The largest magnitude of a value."""
        return MAX_FRAME if self.is_frame else 1


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowWeights:
    """Weights over steps, over a window of places, and over channels: a convolution.

    A dense product is a window over all places, with a single output place.

    Attributes:
        source: Position of the source in the net.
        weights: [C', taps, height, width, C]; the last tap meets the latest step.
        sizes: Height and width of the source.
        dilation: Distance of taps [steps].
        stride: Distance of two windows along each axis.
        padding: Zeros at both ends of each axis.
        offset: 1 for a layer that reads its own spikes of the step before; else 0.
    """

    source: int
    weights: np.ndarray
    sizes: tuple[int, int]
    dilation: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    offset: int = 0

    @property
    def out_sizes(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = self.weights.shape[2:4]
        return _out_sizes(self.sizes, self.padding, (height, width), self.stride)

    @property
    def past_steps(self) -> int:
        """The earlier steps of the source that it reads."""
        return self.offset + (int(self.weights.shape[1]) - 1) * self.dilation


@dataclass(frozen=True, eq=False, kw_only=True)
class DelayedWeights:
    """Dense weights with a delay for each connection.

    Attributes:
        source: Position of the source in the net.
        weights: [C', values of the source].
        delays: [C', values of the source] [steps].
        offset: See `WindowWeights`.
    """

    source: int
    weights: np.ndarray
    delays: np.ndarray
    offset: int = 0
    out_sizes: tuple[int, int] = (1, 1)

    @property
    def past_steps(self) -> int:
        """The earlier steps of the source that it reads; charges wait for later steps."""
        return self.offset

    @property
    def depth(self) -> int:
        """The steps for which charges wait, with the present step."""
        return int(self.delays.max(initial=0)) + 1


LayerWeights = WindowWeights | DelayedWeights


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """Neurons and their charge, or sums that are the output of the net.

    Attributes:
        name: Name in the net.
        edges: The weights of its charge, as integers.
        bias: Constant charges, int64 [C].
        exponents: The unit of each channel is two to the power of this number, int64 [C].
        sizes: Height and width.
        neuron: The neuron; None for sums.
        constants: Its constants, each float32 [places * C].
        order: For each feature of the layer, in the order of the net, the number of its neuron.
        target: Position of its spikes among the sources; None for a layer without spikes.
    """

    name: str
    edges: tuple[LayerWeights, ...]
    bias: np.ndarray
    exponents: np.ndarray
    sizes: tuple[int, int]
    neuron: Neuron | None
    constants: tuple[np.ndarray, ...]
    order: np.ndarray
    target: int | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.bias)

    @property
    def places(self) -> int:
        """Number of places."""
        return math.prod(self.sizes)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.places * self.channels


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """The maximum of spikes over windows of places.

    Attributes:
        name: Name in the net.
        source: Position of the source.
        target: Position of its own spikes among the sources.
        sizes: Height and width of the source.
        kernel: Height and width of a window.
        stride: Distance of two windows along each axis.
    """

    name: str
    source: int
    target: int
    sizes: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]

    @property
    def out_sizes(self) -> tuple[int, int]:
        """Height and width of the output."""
        return _out_sizes(self.sizes, (0, 0), self.kernel, self.stride)


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerNet:
    """A net as operations on integers.

    Attributes:
        sources: All sources; the first is the frame.
        operations: The operations in order.
        step: The unit of the values of a frame.
        shape: Shape of a frame.
        frame_order: For each value of a frame, its number in the first source.
    """

    sources: tuple[ValueSource, ...]
    operations: tuple[Layer | Pool, ...]
    step: float
    shape: tuple[int, ...]
    frame_order: np.ndarray

    @property
    def layers(self) -> list[Layer]:
        """The operations that are layers."""
        return [operation for operation in self.operations if isinstance(operation, Layer)]

    @property
    def output(self) -> Layer:
        """The layer that returns the output of the net."""
        return self.layers[-1]

    def depth(self, source: int) -> int:
        """The steps of a source that the net stores."""
        edges = [edge for layer in self.layers for edge in layer.edges if edge.source == source]
        return 1 + max((edge.past_steps for edge in edges), default=0)


Pair = tuple[int, int]


def _out_sizes(sizes: Pair, padding: Pair, kernel: Pair, stride: Pair) -> Pair:
    axes = zip(sizes, padding, kernel, stride, strict=True)
    height, width = ((size + 2 * pad - width) // step + 1 for size, pad, width, step in axes)
    return height, width


def divide_by_factor(weights: np.ndarray) -> tuple[int, np.ndarray]:
    """The largest power of two that divides all weights, and the quotients."""
    every_bit = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    factor = every_bit & -every_bit or 1
    return factor, weights // factor


def on_grid(
    edges: Sequence[LayerWeights], bias: np.ndarray, sources: Sequence[ValueSource]
) -> tuple[tuple[LayerWeights, ...], np.ndarray, np.ndarray]:
    """Edges and bias as integers, in a common unit of each channel, and the exponents of the units.

    Args:
        edges: The edges, with float64 weights.
        bias: Constant charges, float64 [C].
        sources: The sources of the net.

    Raises:
        OffGridError: If the integers are too large, so that the net is not quantized.
    """
    tables = [edge.weights.reshape(len(bias), -1) for edge in edges] + [bias[:, None]]
    everything = np.concatenate(tables, axis=1)
    exponents = _common_exponents(everything)
    units = np.exp2(exponents.astype(np.float64))

    # A weight far above the unit shows that there is no grid, before sums are judged.
    largest = max(np.abs(table / units[:, None]).max(initial=0) for table in tables[:-1])
    if largest > MAX_SHORT:
        raise OffGridError(f"its weights need {math.log2(largest) + 2:.0f} bits, expected up to 16")

    integers = [replace(edge, weights=_divided(edge.weights, units)) for edge in edges]
    bias = _divided(bias, units)
    sums = np.abs(bias)
    for edge in integers:
        magnitudes = np.abs(edge.weights).reshape(len(bias), -1).sum(axis=1)
        sums = sums + magnitudes * sources[edge.source].max_value
    if sums.max(initial=0) >= MAX_SUM:
        raise OffGridError(
            f"its sums reach {sums.max():,} units, expected less than 2^24, which float32 adds "
            "exactly"
        )
    return tuple(integers), bias, exponents


def _divided(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    by_channel = values / units.reshape(-1, *[1] * (values.ndim - 1))
    integers: np.ndarray = by_channel.astype(np.int64)
    return integers


def _common_exponents(values: np.ndarray) -> np.ndarray:
    """For each row, the exponent of the largest power of two that divides all of its values."""
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)

    # The lowest bit that is set shows by which power of two a number can be divided.
    lowest = (whole & -whole).astype(np.float64)
    trailing = np.where(whole == 0, 0, np.log2(np.where(whole == 0, 1, lowest)))
    of_values = exponents - 53 + trailing.astype(np.int64)
    of_rows = np.where(values == 0, np.iinfo(np.int32).max, of_values).min(axis=1)
    exponents_of_rows: np.ndarray = np.where((values == 0).all(axis=1), 0, of_rows)
    return exponents_of_rows
