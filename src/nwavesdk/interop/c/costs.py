"""The costs of an exported net before it is compiled: memory, and operations by measured rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nwavesdk.interop.c.edge_text import is_double
from nwavesdk.interop.c.net_text import NetText
from nwavesdk.interop.c.operations import (
    DelayedWeights,
    IntegerNet,
    Layer,
    LayerWeights,
    Pool,
    WindowWeights,
)

__all__ = ["Cost", "cost_table", "costs_of", "stack_bytes"]

# Registers and variables of a step, measured on a Cortex-M4.
FIXED_STACK = 320

_ADDITIONS, _PRODUCTS = frozenset({"+", "-", "<", ">", "spike"}), frozenset({"*", "/"})


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The costs of a layer.

    Attributes:
        name: Name in the net.
        neurons: Number of neurons.
        rate: Spikes per neuron and step; None if it does not spike.
        flash: Bytes of its tables.
        additions: Additions per step.
        multiplications: Multiplications per step.

    Example:
        >>> cost = Cost(
        ...     name="1", neurons=8, rate=0.05, flash=96, additions=40.0, multiplications=40.0
        ... )
        >>> print(cost_table([cost], ram=64, stack=200).splitlines()[1])
        1                       8   5.0 %       96         40        40
    """

    name: str
    neurons: int
    rate: float | None
    flash: int
    additions: float
    multiplications: float


def costs_of(text: NetText, rates: Mapping[str, float]) -> tuple[Cost, ...]:
    """The costs of all operations.

    Args:
        text: The net in C.
        rates: Spikes per neuron and step of each layer, by its name.
    """
    net = text.net
    of_sources = [rates.get(source.name, 0.0) for source in net.sources]
    costs = []
    for operation, flash in zip(net.operations, text.flash, strict=True):
        if isinstance(operation, Pool):
            # A window fires if any of its spikes does.
            area = operation.kernel[0] * operation.kernel[1]
            of_sources[operation.target] = min(1.0, area * of_sources[operation.source])
            continue

        additions, multiplications = _neuron_operations(operation)
        for edge in operation.edges:
            is_frame = net.sources[edge.source].is_frame
            connections = _connections(edge)
            additions += connections * (1.0 if is_frame else of_sources[edge.source])
            multiplications += connections * is_frame

        costs.append(
            Cost(
                name=operation.name or "sums",
                neurons=operation.size,
                rate=None if operation.target is None else of_sources[operation.target],
                flash=flash,
                additions=additions,
                multiplications=multiplications,
            )
        )
    return tuple(costs)


def stack_bytes(net: IntegerNet) -> int:
    """Bytes of the stack that a step needs, about."""

    def of_layer(layer: Layer) -> int:
        total = 0
        together = 1
        for edge in layer.edges:
            if isinstance(edge, WindowWeights) and net.sources[edge.source].is_frame:
                together = 2 if is_double(edge, net) else together
                total += 2 * together * (int(edge.weights[0].size) + 3)
        return total + 4 * together * (layer.channels + 3)

    return FIXED_STACK + max(of_layer(layer) for layer in net.layers)


def cost_table(costs: Sequence[Cost], ram: int, stack: int) -> str:
    """The costs as a table with a line for each layer."""
    lines = [
        f"{'layer':16} {'neurons':>8} {'rate':>7} {'flash':>8} {'additions':>10} {'products':>9}"
    ]
    for cost in costs:
        rate = "" if cost.rate is None else f"{100 * cost.rate:.1f} %"
        lines.append(
            f"{cost.name:16} {cost.neurons:8,} {rate:>7} {cost.flash:8,} {cost.additions:10,.0f} "
            f"{cost.multiplications:9,.0f}"
        )

    flash = sum(cost.flash for cost in costs)
    additions = sum(cost.additions for cost in costs)
    products = sum(cost.multiplications for cost in costs)
    neurons = sum(cost.neurons for cost in costs)
    lines.append(f"{'all':16} {neurons:8,} {'':7} {flash:8,} {additions:10,.0f} {products:9,.0f}")
    lines.append(f"tables {flash:,} bytes of flash; state {ram:,} and stack about {stack:,} bytes")
    return "\n".join(lines)


def _connections(edge: LayerWeights) -> int:
    """The connections of all values of a source, in one step."""
    if isinstance(edge, DelayedWeights):
        return int(edge.weights.size)

    outputs, taps, *kernel, channels = edge.weights.shape
    inside = 1
    for axis, size in enumerate(edge.sizes):
        places = np.arange(edge.out_sizes[axis])[:, None] * edge.stride[axis] - edge.padding[axis]
        reached = places + np.arange(kernel[axis])
        inside *= int(((reached >= 0) & (reached < size)).sum())
    return int(inside * taps * channels * outputs)


def _neuron_operations(layer: Layer) -> tuple[float, float]:
    """Additions and multiplications of all neurons of a layer, with the units of their charges."""
    if layer.neuron is None:
        return layer.size, layer.size

    graph = layer.neuron.step.graph
    nodes = graph.needed_for([*layer.neuron.step.results], frozenset(layer.neuron.constant_nodes))
    names = [graph.nodes[node].op for node in nodes]
    additions = 1 + sum(name in _ADDITIONS for name in names)
    multiplications = 1 + sum(name in _PRODUCTS for name in names)
    return layer.size * additions, layer.size * multiplications
