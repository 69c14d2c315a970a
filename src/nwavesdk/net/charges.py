"""The charges that add up in the neurons of a net with rounded inputs: `find_sums`.

Between two modules of such a net there are values, which are whole numbers of a unit, or a charge,
which is a sum of values times weights. Both are a tuple of terms; a charge has terms with weights.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _MaxPoolNd

from nwavesdk.layers import Dropout, NeuronLayer
from nwavesdk.net.edges import Edge, find_edges
from nwavesdk.net.rounded_input import RoundedInput, largest_integer
from nwavesdk.net.sequential import SpikingSequential
from nwavesdk.net.structure import Joined, follow
from nwavesdk.net.wiring import module_title

__all__ = ["Term", "find_sums"]

# Modules in `eval()` that return their input, and modules that return some of its values.
_IDENTITIES = (nn.Identity, Dropout, _DropoutNd)
_SELECTIONS = (nn.Flatten, nn.Unflatten, _MaxPoolNd)
_MEAN_POOLS = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}


@dataclass(frozen=True, eq=False)
class Term:
    """A summand: values, or values times a weight.

    Attributes:
        unit: The unit of the values, a power of two. Spikes have 1.
        largest: The largest magnitude of the values [units].
        edge: The weight, or None.
    """

    unit: float = 1.0
    largest: float = 1.0
    edge: Edge | None = None


# None: the membranes of a read-out, which are on no grid.
_Signal = tuple[Term, ...] | None


def find_sums(net: SpikingSequential) -> tuple[list[tuple[Term, ...]], list[nn.Module]]:
    """Follow the values through a net whose first module is `RoundedInput`.

    Returns:
        The charges of all neurons and outputs, each with all weights that add to it; and the
        modules of other classes, which must return some of the values that they get.

    Raises:
        ValueError: If a charge is on no grid, or it is not known what a module computes.
    """
    walk = _Walk(net)
    # `RoundedInput` gives these values their unit.
    given: _Signal = (Term(),)
    walk.close(follow(net, "", given, walk.leaf, walk.join))

    edges = [term.edge for terms in walk.sums for term in terms]
    for edge in walk.edges.values():
        if edges.count(edge) != 1:
            raise ValueError(
                f"{module_title(edge.module_name, edge.module)} drives {edges.count(edge)} layers, "
                "expected one: its weights have one grid."
            )
    return walk.sums, walk.unknown


class _Walk:
    """One walk through a net, in the order of execution."""

    def __init__(self, net: SpikingSequential) -> None:
        self.edges = {(edge.module, edge.key): edge for edge in find_edges(net).edges}
        self.visited: set[nn.Module] = set()
        self.sums: list[tuple[Term, ...]] = []
        self.unknown: list[nn.Module] = []

    def leaf(self, module: nn.Module, name: str, given: _Signal) -> _Signal:
        """The output of a module that is not a container."""
        title = module_title(name, module)
        if module in self.visited:  # also if its container runs twice
            raise ValueError(f"{title} is used at two places: make a module for each.")
        self.visited.add(module)

        if isinstance(module, _IDENTITIES):
            return given
        if given is None:
            raise ValueError(
                f"{title} gets the membranes of a read-out, which are on no grid: end the net in "
                "the read-out, or use neurons that spike."
            )
        if isinstance(module, NeuronLayer):
            return self._fire(module, given)
        return self._pass_on(module, title, given)

    def close(self, signal: _Signal) -> None:
        """Add a charge that is complete to the sums."""
        if signal is not None and _is_charge(signal):
            self.sums.append(signal)

    def join(self, module: Joined, name: str, outputs: list[_Signal]) -> _Signal:
        """Several outputs, added or side by side."""
        signals = [signal for signal in outputs if signal is not None]
        is_sum = module.join == "add"
        if len(signals) < len(outputs) or (not is_sum and any(map(_is_charge, signals))):
            raise ValueError(
                f"{module_title(name, module)} joins charges or membranes, expected spikes: end "
                "each branch in neurons that spike."
            )
        if is_sum:
            return reduce(add, signals)

        return (_combined(max, [_combined(sum, signal) for signal in signals]),)

    def _fire(self, layer: NeuronLayer, given: tuple[Term, ...]) -> _Signal:
        """The output of neurons, after the sum of their charge is closed."""
        loop = self.edges.get((layer, "recurrent_weights"))
        self.close(given if loop is None else (*given, Term(edge=loop)))
        return None if layer.neuron.is_readout else (Term(),)

    def _pass_on(self, module: nn.Module, title: str, given: tuple[Term, ...]) -> tuple[Term, ...]:
        """The output of a synapse, a pool, or a module that moves values."""
        if isinstance(module, RoundedInput):
            return (Term(module.step, largest_integer(module.bits)),)
        if isinstance(module, _SELECTIONS):
            return given
        if _is_charge(given):
            raise ValueError(
                f"{title} gets charges, expected spikes: put a neuron layer before it."
            )

        edge = self.edges.get((module, "weight"))
        values = _combined(sum, given)
        if edge is not None:
            if edge.profile is not None:
                raise ValueError(
                    f"{title} is of a chip, whose weights have other values: use the bits of the "
                    "chip."
                )
            return (Term(values.unit, values.largest, edge),)
        if type(module) in _MEAN_POOLS:
            area = _window(module, title)
            return (Term(values.unit / area, values.largest * area),)

        if module.state_dict():
            raise ValueError(
                f"{title} has values of its own, and it is not known what it computes: use modules "
                "of nwavesdk and torch."
            )
        self.unknown.append(module)
        return given


def _is_charge(signal: tuple[Term, ...]) -> bool:
    return any(term.edge is not None for term in signal)


def _combined(function: Callable[[Iterable[float]], float], terms: Sequence[Term]) -> Term:
    """The sum or the maximum of values, in the smallest unit."""
    unit = min(term.unit for term in terms)
    return Term(unit, function(term.largest * term.unit / unit for term in terms))


def _window(pool: Any, title: str) -> int:
    """The number of values of which a pool takes the mean: a power of two.

    Raises:
        ValueError: If it is another number, or differs at borders.
    """
    axes = _MEAN_POOLS[type(pool)]
    sizes = pool.kernel_size if isinstance(pool.kernel_size, tuple) else (pool.kernel_size,) * axes
    area = math.prod(sizes)

    is_padded = pool.padding not in (0, (0,) * axes) and not pool.count_include_pad
    divisor = getattr(pool, "divisor_override", None) or area
    if area & (area - 1) or divisor != area or pool.ceil_mode or is_padded:
        raise ValueError(
            f"{title} divides by numbers that are not a power of two, got windows of {area} "
            "values: use windows of 2, 4, 8 or 16 values without ceil_mode, or a max pool."
        )
    return area
