"""A quantized net as a short list of operations on integers: `Layer` and `Pool`.

All weights of a layer are integers, in a unit of each output channel that is a power of two.
Values are counted place by place, with the channels of a place next to each other. An operation and
its values have the same number; number 0 is the frame of a step.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from nwavesdk.dynamics import Neuron

__all__ = [
    "MAX_BYTE",
    "MAX_SHORT",
    "IntegerNet",
    "Layer",
    "OffGridError",
    "Pool",
    "Values",
    "Weights",
    "on_grid",
]

MAX_BYTE = 2**7 - 1
"""The largest number of 8 bits, and the largest magnitude of a value of a frame."""

MAX_SHORT = 2**15 - 1
"""The largest number of 16 bits."""

# Sums over a frame are computed for two places together if a layer has so many places.
MIN_PLACES_OF_PAIRS = 4

Pair = tuple[int, int]


class OffGridError(ValueError):
    """The weights of a layer are not integers of a common unit; the message has the reason."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Values:
    """Values that layers read: the frame of a step, or the spikes of an operation.

    Attributes:
        name: Name in the net; empty for the frame.
        sizes: Height and width, in places such as bands or pixels.
        channels: Values at each place.
    """

    name: str = ""
    sizes: Pair
    channels: int

    @property
    def places(self) -> int:
        """Number of places."""
        return math.prod(self.sizes)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.places * self.channels

    @property
    def words(self) -> int:
        """Words of 32 spikes at each place."""
        return -(-self.channels // 32)

    @property
    def word(self) -> str:
        """The type of such a word in C: up to 16 spikes need half of it."""
        return "uint16_t" if self.channels <= 16 else "uint32_t"


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """Weights over steps, over a window of places, and over channels: a convolution.

    A dense product is a window over all places, with a single output place.

    Attributes:
        source: Number of the values.
        weights: [C', taps, height, width, C]; the last tap meets the latest step. Integers, apart
            from their common factor.
        factor: A power of two by which all weights are multiplied.
        dilation: Distance of taps [steps].
        stride: Distance of two windows along each axis.
        padding: Zeros at both ends of each axis.
        offset: 1 for a layer that reads its own spikes of the step before; else 0.
        delays: The delay of each weight of a dense product, int64 [C', values] [steps], or None.
    """

    source: int
    weights: np.ndarray
    factor: int = 1
    dilation: int = 1
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    offset: int = 0
    delays: np.ndarray | None = None

    @property
    def rows(self) -> np.ndarray:
        """The weights [C', inputs]."""
        return self.weights.reshape(len(self.weights), -1)

    @property
    def past_steps(self) -> int:
        """The earlier steps of the values that it reads; delayed charges wait for later steps."""
        return self.offset + (int(self.weights.shape[1]) - 1) * self.dilation

    @property
    def waiting_steps(self) -> int:
        """The steps for which charges wait, with the present step."""
        return 0 if self.delays is None else int(self.delays.max(initial=0)) + 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer(Values):
    """Neurons and their charge, or sums that are the output of the net.

    Attributes:
        edges: The weights of its charge.
        bias: Constant charges, integers [C].
        order: For each feature of the layer, in the order of the net, the number of its neuron.
        units: The unit of each channel, float64 [C].
        neuron: The neuron; None for sums.
        constants: Its constants, each float32 [places * C].
    """

    edges: tuple[Weights, ...]
    bias: np.ndarray
    order: np.ndarray
    units: np.ndarray | None = None
    neuron: Neuron | None = None
    constants: tuple[np.ndarray, ...] = ()

    @property
    def needs_frame_only(self) -> bool:
        """Whether its charge is one sum over a frame, so that four sums are computed at a time."""
        return [(e.source, e.delays is None) for e in self.edges] == [(0, True)]

    @property
    def has_pairs(self) -> bool:
        """Whether four sums are of two outputs at two places."""
        return self.needs_frame_only and self.places >= MIN_PLACES_OF_PAIRS


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Values):
    """The maximum of spikes over windows of places.

    Attributes:
        source: Number of the values.
        kernel: Height and width of a window.
        stride: Distance of two windows along each axis.
    """

    source: int
    kernel: Pair
    stride: Pair


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerNet:
    """A net as operations on integers.

    Attributes:
        values: The frame, and the operations in order.
        step: The unit of the values of a frame.
        frame_order: For each feature of a frame, the number of its value.
    """

    values: tuple[Values, ...]
    step: float
    frame_order: np.ndarray

    @property
    def layers(self) -> dict[int, Layer]:
        """The layers, by their numbers."""
        return {k: values for k, values in enumerate(self.values) if isinstance(values, Layer)}

    @property
    def output(self) -> Layer:
        """The layer that returns the output of the net."""
        return self.layers[len(self.values) - 1]

    def depth(self, source: int) -> int:
        """The steps of values that the net stores; 0 if no operation reads them."""
        depths = [
            edge.past_steps + 1
            for layer in self.layers.values()
            for edge in layer.edges
            if edge.source == source
        ]
        is_pooled = any(isinstance(v, Pool) and v.source == source for v in self.values)
        return max(depths, default=int(is_pooled))


def on_grid(layer: Layer, step: float) -> Layer:
    """A layer with integers in a unit of each channel.

    Args:
        layer: The layer, with float64 weights and bias.
        step: The unit of the values of a frame.

    Raises:
        OffGridError: If integers are too large, so that the net is not quantized.
    """
    scales = [step if edge.source == 0 else 1.0 for edge in layer.edges]
    tables = [edge.rows * scale for edge, scale in zip(layer.edges, scales, strict=True)]
    everything = np.concatenate([*tables, layer.bias[:, None]], axis=1)
    exponents = _common_exponents(everything)
    integers = np.ldexp(everything, -exponents[:, None])

    # One unit for all channels needs no table, but more bits, which weights of pairs have.
    common = np.ldexp(everything, -exponents.min())
    if layer.has_pairs and np.abs(common[:, :-1]).max() <= MAX_SHORT:
        integers, exponents = common, np.full_like(exponents, exponents.min())

    edges = []
    for edge in layer.edges:
        rows, integers = np.split(integers, [edge.rows.shape[1]], axis=1)
        factor = (
            1 if layer.has_pairs else 2 ** max(0, int(_common_exponents(rows.reshape(1, -1))[0]))
        )
        largest = np.abs(rows).max(initial=0) / factor
        if largest > (MAX_SHORT if layer.has_pairs else MAX_BYTE):
            raise OffGridError(
                f"its weights need {math.log2(largest) + 2:.0f} bits, expected up to 8"
            )
        weights = (rows / factor).astype(np.int64).reshape(edge.weights.shape)
        edges.append(replace(edge, weights=weights, factor=factor))

    bias = integers[:, 0].astype(np.int64)
    units = np.exp2(exponents.astype(np.float64))
    return replace(layer, edges=tuple(edges), bias=bias, units=units)


def _common_exponents(values: np.ndarray) -> np.ndarray:
    """For each row, the exponent of the largest power of two that divides all of its values."""
    exponents: np.ndarray = np.frexp(np.abs(values).max(axis=1))[1].astype(np.int64)
    is_whole = np.zeros(len(values), bool)
    while not is_whole.all():
        exponents -= ~is_whole
        is_whole = (np.ldexp(values, -exponents[:, None]) % 1 == 0).all(axis=1)
    return exponents
