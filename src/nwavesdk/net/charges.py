"""The charges that add up in the neurons of a net with rounded inputs: `find_sums`.

Between two modules of such a net there are either values, which are whole numbers of a unit, or a
charge, which is a sum of products of values and weights.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _MaxPoolNd

from nwavesdk.layers import Dropout, NeuronLayer
from nwavesdk.net.edges import Edge, find_edges
from nwavesdk.net.rounded_input import RoundedInput, largest_integer
from nwavesdk.net.sequential import SpikingSequential
from nwavesdk.net.structure import Branches, Residual
from nwavesdk.net.wiring import module_title

__all__ = ["Charge", "ChargeSums", "NotRoundableError", "Term", "Values", "find_sums"]

# Modules in `eval()` that pass all channels on, and modules whose outputs are some of their inputs.
_IDENTITIES = (nn.Identity, Dropout, _DropoutNd)
_SELECTIONS = (nn.Flatten, nn.Unflatten, _MaxPoolNd)
_MEAN_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


class NotRoundableError(ValueError):
    """A net that cannot be quantized; the text names the module."""


@dataclass(frozen=True)
class Values:
    """Values between two modules: whole numbers of a unit.

    Attributes:
        unit: A power of two.
        largest: Their largest magnitude [units].
    """

    unit: float = 1.0
    largest: float = 1.0


@dataclass(frozen=True, eq=False)
class Term:
    """A summand of a charge: values times a weight, or values without a weight.

    Attributes:
        values: The values.
        edge: The weight, or None.
    """

    values: Values
    edge: Edge | None = None


@dataclass(frozen=True, eq=False)
class Charge:
    """The sum of all charges that reach a neuron, or an output of the net.

    Attributes:
        terms: The summands.
        has_channels: Whether the channels of the charge are the output channels of the weights.
    """

    terms: tuple[Term, ...]
    has_channels: bool = True


@dataclass(frozen=True, eq=False)
class _Membranes:
    """Outputs of a read-out, which are on no grid.

    Attributes:
        source: Its title.
    """

    source: str


@dataclass(frozen=True, eq=False)
class ChargeSums:
    """The result of `find_sums`.

    Attributes:
        charges: All sums with weights in them.
        unknown: Modules of other classes without parameters, by name. They must return some of the
            values that they get.
    """

    charges: tuple[Charge, ...]
    unknown: dict[str, nn.Module]


_Signal = Values | Charge | _Membranes


def find_sums(net: SpikingSequential) -> ChargeSums:
    """Follow the values through a net whose first module is `RoundedInput`.

    Raises:
        NotRoundableError: If a module has charges that are on no grid, or it is not known what it
            does.
    """
    walk = _Walk(net)
    # `RoundedInput` gives these values their unit.
    walk.end(walk.follow(net, "", Values()))

    edges = [term.edge.name for charge in walk.sums for term in charge.terms if term.edge]
    for edge in walk.edges.values():
        if edges.count(edge.name) != 1:
            raise NotRoundableError(
                f"{module_title(edge.module_name, edge.module)} drives {edges.count(edge.name)} "
                "layers, expected one: its weights have one grid."
            )
    return ChargeSums(tuple(walk.sums), walk.unknown)


class _Walk:
    """One walk through a net, in the order of execution."""

    def __init__(self, net: SpikingSequential) -> None:
        self.edges = {(edge.module, edge.key): edge for edge in find_edges(net).edges}
        self.sums: list[Charge] = []
        self.unknown: dict[str, nn.Module] = {}
        self.visited: set[nn.Module] = set()

    def follow(self, module: nn.Module, name: str, given: _Signal) -> _Signal:
        """The output of a module for an input."""
        title = module_title(name, module)
        if module in self.visited:
            raise NotRoundableError(f"{title} is used at two places: make a module for each.")
        self.visited.add(module)

        if isinstance(module, SpikingSequential):
            return self._sequence(module, name, given)
        if isinstance(module, Residual):
            return self._residual(module, name, given)
        if isinstance(module, Branches):
            return self._branches(module, name, given)
        if isinstance(module, NeuronLayer):
            return self._neurons(module, title, given)

        edge = self.edges.get((module, "weight"))
        return self._plain(module, name, given) if edge is None else _weighted(edge, title, given)

    def end(self, signal: _Signal) -> None:
        """Close the sum of a charge that is complete."""
        if isinstance(signal, Charge):
            self.sums.append(signal)

    def _sequence(self, net: SpikingSequential, name: str, given: _Signal) -> _Signal:
        for key, child in net._modules.items():
            if child is not None:
                given = self.follow(child, _inside(name, key), given)
        return given

    def _residual(self, block: Residual, name: str, given: _Signal) -> _Signal:
        skipped = given
        body = self.follow(block.body, _inside(name, "body"), given)
        if block.shortcut is not None:
            skipped = self.follow(block.shortcut, _inside(name, "shortcut"), given)
        return _sum_of(module_title(name, block), body, skipped)

    def _branches(self, block: Branches, name: str, given: _Signal) -> _Signal:
        title = module_title(name, block)
        outputs = [
            self.follow(child, _inside(name, key), given) for key, child in block.named_children()
        ]
        if block.join == "add":
            return reduce(lambda first, second: _sum_of(title, first, second), outputs)

        parts = [output for output in outputs if isinstance(output, Values)]
        if len(parts) < len(outputs):
            raise NotRoundableError(
                f"{title} joins charges, expected spikes: end each branch in a neuron layer."
            )
        unit = min(values.unit for values in parts)
        return Values(unit, max(values.largest * values.unit / unit for values in parts))

    def _neurons(self, layer: NeuronLayer, title: str, given: _Signal) -> _Signal:
        charge = _as_charge(title, given)
        if (layer, "recurrent_weights") in self.edges:
            loop = Term(Values(), self.edges[layer, "recurrent_weights"])
            charge = Charge((*charge.terms, loop), charge.has_channels)

        if any(term.edge is not None for term in charge.terms):
            self.end(charge)
        return _Membranes(title) if layer.neuron.is_readout else Values()

    def _plain(self, module: nn.Module, name: str, given: _Signal) -> _Signal:
        title = module_title(name, module)
        if isinstance(module, _IDENTITIES):
            return given
        if isinstance(module, RoundedInput):
            return Values(module.step, largest_integer(module.bits))

        is_selection = isinstance(module, _SELECTIONS)
        if isinstance(given, Charge) and is_selection:
            return Charge(given.terms, has_channels=False)
        if not isinstance(given, Values):
            raise NotRoundableError(f"{title} gets {_described(given)}, expected spikes.")
        if is_selection:
            return given
        if isinstance(module, _MEAN_POOLS):
            return _mean(module, title, given)

        if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            raise NotRoundableError(
                f"{title} has values of its own, and it is not known what it computes: remove it, "
                "or use modules of nwavesdk and torch."
            )
        self.unknown[name] = module
        return given


def _weighted(edge: Edge, title: str, given: _Signal) -> Charge:
    """The charge of a synapse."""
    if edge.profile is not None:
        raise NotRoundableError(
            f"{title} is of a chip, whose weights have other values: use `nwave eval --bits`."
        )
    if not isinstance(given, Values):
        raise NotRoundableError(
            f"{title} follows {_described(given)} without neurons between: put a neuron layer "
            "between them, or join the weights."
        )
    return Charge((Term(given, edge),))


def _inside(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _described(signal: _Signal) -> str:
    if isinstance(signal, _Membranes):
        return f"the membranes of {signal.source}"
    return "charges" if isinstance(signal, Charge) else "values"


def _as_charge(title: str, signal: _Signal) -> Charge:
    """A signal as the charge of neurons, or as a summand of a charge."""
    if isinstance(signal, Charge):
        return signal
    if isinstance(signal, Values):
        return Charge((Term(signal),))
    raise NotRoundableError(f"{title} gets {_described(signal)}, expected spikes or charges.")


def _sum_of(title: str, first: _Signal, second: _Signal) -> _Signal:
    if isinstance(first, Values) and isinstance(second, Values):
        unit = min(first.unit, second.unit)
        largest = sum(values.largest * values.unit / unit for values in (first, second))
        return Values(unit, largest)

    charges = [_as_charge(title, signal) for signal in (first, second)]
    terms = charges[0].terms + charges[1].terms
    return Charge(terms, all(charge.has_channels for charge in charges))


def _mean(pool: Any, title: str, values: Values) -> Values:
    """The output of a pool that takes means."""
    axes = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}[type(pool)]
    sizes = pool.kernel_size if isinstance(pool.kernel_size, tuple) else (pool.kernel_size,) * axes
    area = math.prod(sizes)

    is_whole = not pool.ceil_mode and getattr(pool, "divisor_override", None) is None
    is_whole = is_whole and (pool.padding in (0, (0,) * axes) or pool.count_include_pad)
    if area & (area - 1) or not is_whole:
        raise NotRoundableError(
            f"{title} divides by numbers that are not a power of two, got a window of {area} "
            "values: use windows of 2, 4, 8 or 16 values without ceil_mode, or a max pool."
        )
    return Values(values.unit / area, values.largest * area)
