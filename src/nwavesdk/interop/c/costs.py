"""The costs of an exported net before it is compiled: memory, and operations by measured rates."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nwavesdk.interop.c.net_text import NetText
from nwavesdk.interop.c.operations import Layer, Pool, Values, Weights

__all__ = ["Cost", "ProgramCosts", "costs_of"]

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
        >>> program = ProgramCosts(costs=(cost,), ram=64, stack=200)
        >>> print(str(program).splitlines()[1])
        1                       8   5.0 %       96         40        40
    """

    name: str
    neurons: int
    rate: float | None
    flash: int
    additions: float
    multiplications: float


@dataclass(frozen=True, kw_only=True)
class ProgramCosts:
    """The costs of a net as a program; `str` has a table with a line for each layer.

    Attributes:
        costs: The costs of each layer.
        ram: Bytes of the state.
        stack: Bytes of the stack that a step needs, about.

    Example:
        >>> cost = Cost(
        ...     name="1", neurons=8, rate=0.05, flash=96, additions=40.0, multiplications=40.0
        ... )
        >>> ProgramCosts(costs=(cost, cost), ram=64, stack=200).flash
        192
    """

    costs: tuple[Cost, ...]
    ram: int
    stack: int

    @property
    def flash(self) -> int:
        """Bytes of the tables."""
        return self.total.flash

    @property
    def total(self) -> Cost:
        """The costs of all layers together."""
        return Cost(
            name="all",
            neurons=sum(cost.neurons for cost in self.costs),
            rate=None,
            flash=sum(cost.flash for cost in self.costs),
            additions=sum(cost.additions for cost in self.costs),
            multiplications=sum(cost.multiplications for cost in self.costs),
        )

    def __str__(self) -> str:
        lines = [
            f"{'layer':16} {'neurons':>8} {'rate':>7} {'flash':>8} {'additions':>10} "
            f"{'products':>9}"
        ]
        for cost in (*self.costs, self.total):
            rate = "" if cost.rate is None else f"{100 * cost.rate:.1f} %"
            lines.append(
                f"{cost.name:16} {cost.neurons:8,} {rate:>7} {cost.flash:8,} "
                f"{cost.additions:10,.0f} {cost.multiplications:9,.0f}"
            )

        lines.append(
            f"tables {self.flash:,} bytes of flash; state {self.ram:,} and stack about "
            f"{self.stack:,} bytes"
        )
        return "\n".join(lines)


def costs_of(text: NetText, rates: Mapping[str, float], hold: int = 1) -> ProgramCosts:
    """The costs of all operations.

    Args:
        text: The net in C.
        rates: Spikes per neuron and step of each layer, by its name.
        hold: Steps of the net for each frame.
    """
    values = text.net.values
    rate_of = [rates.get(v.name, 0.0) for v in values]
    costs = []
    if text.flash[0]:
        per_step = values[0].size / hold
        costs.append(
            Cost(
                name="frame",
                neurons=0,
                rate=None,
                flash=text.flash[0],
                additions=per_step,
                multiplications=per_step,
            )
        )
    for k, operation in enumerate(values):
        if isinstance(operation, Pool):
            # A window fires if any of its spikes does.
            area = operation.kernel[0] * operation.kernel[1]
            rate_of[k] = min(1.0, area * rate_of[operation.source])
        if not isinstance(operation, Layer):
            continue

        additions, multiplications = _neuron_operations(operation)
        for edge in operation.edges:
            connections = _connections(edge, values[edge.source], operation)
            additions += connections * (rate_of[edge.source] if edge.source else 1.0)
            multiplications += 0 if edge.source else connections

        neuron = operation.neuron
        costs.append(
            Cost(
                name=operation.name or "sums",
                neurons=operation.size,
                rate=None if neuron is None or neuron.is_readout else rate_of[k],
                flash=text.flash[k],
                additions=additions,
                multiplications=multiplications,
            )
        )
    return ProgramCosts(costs=tuple(costs), ram=text.ram, stack=text.stack)


def _connections(edge: Weights, source: Values, layer: Layer) -> int:
    """The connections of all values of a source, in one step."""
    outputs, taps, *kernel, channels = edge.weights.shape
    connections = int(outputs * taps * channels)
    axes = zip(kernel, source.sizes, layer.sizes, edge.stride, edge.padding, strict=True)
    for width, size, count, stride, padding in axes:
        places = np.arange(count)[:, None] * stride - padding + np.arange(width)
        connections *= int(((places >= 0) & (places < size)).sum())
    return connections


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
