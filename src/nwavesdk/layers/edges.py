"""The edges of a net: every weight, with the neurons that it connects. All tools use `find_edges`.

Design requirements:
    - Any `nn.Module` works. Where the order of its modules is unknown, an edge has no sources and
      no target.
    - A `SpikingSequential` defines the order. For other nets, example inputs show which layer each
      synapse drives.
    - Modules with parameters that are not described by an edge are listed, so that reports can name
      them.
    - Users ask an edge for its fan-in and effective weight. They do not assume a dense weight or a
      single source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.chip import Profile
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.wiring import Wiring, has_weight, wiring_by_run, wiring_by_structure

__all__ = ["Edge", "NetEdges", "find_edges"]

_RECURRENT = "recurrent_weights"


@dataclass(frozen=True, eq=False)
class Edge:
    """One weight of a net and the neurons that it connects.

    Attributes:
        module_name: Name of `module` in the net.
        module: The synapse or front end; for recurrent weights, the neuron layer.
        key: Name of the weight in `module`: `"weight"` or `"recurrent_weights"`.
        profile: Profile of the module's chip; None for modules without a chip, whose weights have
            no bounds.
        sources: Names of the neuron layers whose spikes come in; empty if they are unknown or the
            net's input.
        target_name: Name of the neuron layer that receives the charge; None if it is unknown or
            there is none.
        target: That layer, or None.
    """

    module_name: str
    module: nn.Module
    key: str
    profile: Profile | None
    sources: tuple[str, ...] = ()
    target_name: str | None = None
    target: NeuronLayer | None = None

    @property
    def name(self) -> str:
        """The weight's name in the net, as in `state_dict`."""
        return f"{self.module_name}.{self.key}" if self.module_name else self.key

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer drives itself."""
        return self.key == _RECURRENT

    @property
    def weight(self) -> Tensor:
        """The weight before charge law and mismatch: [N_in, N_out], or [N] for a front end."""
        weight = getattr(self.module, self.key)
        assert isinstance(weight, Tensor)
        return weight

    def effective_weight(self) -> Tensor:
        """The weight that acts, in the shape of `weight`, with gradient for it.

        Raises:
            RuntimeError: If the module is of a chip and `prepare_net` is missing, or the weight
                changed since.
        """
        module: Any = self.module
        effective: Tensor = (
            module.effective_recurrent_weights() if self.is_recurrent else module.effective_weight()
        )
        return effective

    @property
    def fan_in(self) -> int:
        """Number of inputs of each target neuron; 1 for a front end, which is diagonal."""
        weight = self.weight
        return len(weight) if weight.ndim == 2 else 1


@dataclass(frozen=True, eq=False)
class NetEdges:
    """The edges of a net, and what they do not describe.

    Attributes:
        edges: All edges: in the order of first calls if `find_edges` ran the net, else in the order
            of its modules.
        layers: All neuron layers by name, in the order of the net's modules.
        order: Names of synapses and neuron layers in the order in which they run; empty if it is
            unknown.
        uncovered: Names of the modules whose own parameters belong neither to an edge nor to a
            neuron layer.
    """

    edges: tuple[Edge, ...]
    layers: Mapping[str, NeuronLayer]
    order: tuple[str, ...]
    uncovered: tuple[str, ...]


def find_edges(model: nn.Module, inputs: Tensor | None = None) -> NetEdges:
    """Find all weights of the modules of `nwavesdk.layers` in `model`, and what they connect.

    Within a `SpikingSequential`, a synapse's target is the next neuron layer in front of the next
    synapse. Modules between them (dropout, normalization) do not change this. With `inputs`, a copy
    of the net runs once, and a target is the layer that received the charge unchanged.

    Args:
        model: Any module.
        inputs: A batch for `model(inputs)`, or None.

    Raises:
        TypeError: If `model` is not a module.
        RuntimeError: If one synapse drives several layers when the net runs with `inputs`.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> layer = LIFLayer(8, taus=10e-3, layer_topology="RC")
        >>> net = SpikingSequential(LIFSynapse(3, 8), layer, nn.Linear(8, 2))
        >>> found = find_edges(net)
        >>> [(edge.name, edge.sources, edge.target_name, edge.fan_in) for edge in found.edges]
        [('0.weight', (), '1', 3), ('1.recurrent_weights', ('1',), '1', 8)]
        >>> found.uncovered
        ('2',)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"weights are those of a torch module, got {type(model).__name__}.")
    named = dict(model.named_modules())
    layers = {name: module for name, module in named.items() if isinstance(module, NeuronLayer)}
    wiring = wiring_by_structure(model) if inputs is None else wiring_by_run(model, inputs)
    edges = [
        _edge(name, module, key, wiring, layers)
        for name, module in named.items()
        if isinstance(module, Prepared)
        for key in ("weight", _RECURRENT)
        if has_weight(module, key)
    ]
    if inputs is not None:
        place = {name: i for i, name in enumerate(wiring.order)}
        edges.sort(key=lambda edge: place.get(edge.module_name, len(place)))
    covered = layers.keys() | {edge.module_name for edge in edges}
    uncovered = [
        name
        for name, module in named.items()
        if name not in covered and _has_own_parameters(name, module)
    ]
    return NetEdges(tuple(edges), layers, tuple(wiring.order), tuple(uncovered))


def _edge(
    name: str, module: nn.Module, key: str, wiring: Wiring, layers: Mapping[str, NeuronLayer]
) -> Edge:
    is_recurrent = key == _RECURRENT
    sources = (name,) if is_recurrent else wiring.sources.get(name, ())
    target_name = name if is_recurrent else wiring.targets.get(name)
    target = None if target_name is None else layers.get(target_name)
    profile = getattr(module, "profile", None)
    return Edge(name, module, key, profile, sources, target_name, target)


def _has_own_parameters(name: str, module: nn.Module) -> bool:
    # The parameters of a parametrization belong to the parametrized module.
    if "parametrizations" in name.split("."):
        return False
    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))
