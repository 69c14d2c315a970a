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

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.chip import Profile
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared, prepare_net
from nwavesdk.layers.record import Record
from nwavesdk.layers.sequential import SpikingSequential

__all__ = ["Edge", "NetEdges", "find_edges", "module_title", "watch_calls"]

_WEIGHT = "weight"
_RECURRENT = "recurrent_weights"
_LAYER_CALLS = ("forward", "spikes", "record")


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
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
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
    wiring = _wiring_by_structure(model) if inputs is None else _wiring_by_run(model, inputs)
    edges = [_edge(name, named[name], key, wiring, layers) for name, key in _weight_keys(named)]
    if inputs is not None:
        place = {name: i for i, name in enumerate(wiring.order)}
        edges.sort(key=lambda edge: place.get(edge.module_name, len(place)))
    covered = layers.keys() | {edge.module_name for edge in edges}
    uncovered = [name for name in named if name not in covered and _has_parameters(name, named)]
    return NetEdges(tuple(edges), layers, tuple(wiring.order), tuple(uncovered))


@dataclass(eq=False)
class _Wiring:
    """Who drives whom, by names of modules."""

    order: list[str] = field(default_factory=list)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)


def _edge(
    name: str, module: nn.Module, key: str, wiring: _Wiring, layers: Mapping[str, NeuronLayer]
) -> Edge:
    profile = getattr(module, "profile", None)
    if key == _RECURRENT:
        return Edge(name, module, key, profile, (name,), name, layers.get(name))
    target = wiring.targets.get(name)
    return Edge(
        name,
        module,
        key,
        profile,
        sources=wiring.sources.get(name, ()),
        target_name=target,
        target=None if target is None else layers[target],
    )


def _weight_keys(named: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """Name of the module and name in the module of every weight."""
    for name, module in named.items():
        if isinstance(module, Prepared):
            for key in (_WEIGHT, _RECURRENT):
                if _holds(module, key):
                    yield name, key


def _has_parameters(name: str, named: Mapping[str, nn.Module]) -> bool:
    """Whether a module has parameters of its own."""
    # The parameters of a parametrization belong to the parametrized module.
    if "parametrizations" in name.split("."):
        return False
    module = named[name]
    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))


def _holds(module: nn.Module, key: str) -> bool:
    """Whether a module has this weight."""
    # A parametrized weight is not read, because that would compute it.
    return is_parametrized(module, key) or isinstance(getattr(module, key, None), Tensor)


def _is_synapse(module: nn.Module) -> bool:
    return isinstance(module, Prepared) and _holds(module, _WEIGHT)


def _wiring_by_structure(model: nn.Module) -> _Wiring:
    """The wiring within each `SpikingSequential` that is not part of another one."""
    wiring = _Wiring()
    inside: set[nn.Module] = set()
    for prefix, net in model.named_modules():
        if isinstance(net, SpikingSequential) and net not in inside:
            inside.update(net.modules())
            _follow(net, f"{prefix}." if prefix else "", wiring)
    if not isinstance(model, SpikingSequential):
        wiring.order.clear()
    return wiring


def _follow(net: SpikingSequential, prefix: str, wiring: _Wiring) -> None:
    """Add the wiring of one `SpikingSequential`."""
    source: str | None = None
    synapse: str | None = None
    for inner, module in net.modules_in_order():
        name = prefix + inner
        if isinstance(module, NeuronLayer):
            if synapse is not None:
                wiring.targets[synapse] = name
            source = name
            synapse = None
            wiring.order.append(name)
        elif _is_synapse(module):
            wiring.sources[name] = () if source is None else (source,)
            source = None
            synapse = name
            wiring.order.append(name)
        elif any(_is_synapse(m) or isinstance(m, NeuronLayer) for m in module.modules()):
            # A module of the user with weights inside: what drives what in there is unknown.
            source = synapse = None


# ---- order from a run
# ------------------------------------------------------------------------------------------


def _wiring_by_run(model: nn.Module, inputs: Tensor) -> _Wiring:
    """The wiring that one pass of a copy shows: a tensor keeps its storage on its way."""
    work = copy.deepcopy(model)
    names = {module: name for name, module in work.named_modules()}
    wiring = _Wiring()
    # Tensors by storage. They are held until the end, so that no other tensor gets the same
    # storage.
    charges: dict[int, tuple[nn.Module, Tensor]] = {}
    spikes: dict[int, tuple[nn.Module, Tensor]] = {}
    driven: dict[nn.Module, NeuronLayer] = {}

    def note_call(module: nn.Module) -> None:
        if names[module] not in wiring.order:
            wiring.order.append(names[module])

    def on_synapse(synapse: nn.Module, received: Tensor, charge: Tensor) -> None:
        note_call(synapse)
        source = _sender(spikes, received)
        if source is not None:
            wiring.sources[names[synapse]] = (names[source],)
        charges[_storage(charge)] = synapse, charge

    def on_layer(layer: NeuronLayer, charge: Tensor, fired: Tensor) -> None:
        note_call(layer)
        spikes[_storage(fired)] = layer, fired
        synapse = _sender(charges, charge)
        if synapse is None:
            return
        first = driven.setdefault(synapse, layer)
        if first is not layer:
            raise RuntimeError(
                f"{module_title(names[synapse], synapse)} drives both "
                f"{module_title(names[first], first)} and {module_title(names[layer], layer)}, "
                "expected one layer for each synapse: its weights cannot suit both."
            )
        wiring.targets[names[synapse]] = names[layer]

    prepare_net(work)
    with watch_calls(work, on_synapse, on_layer):
        work(inputs)
    return wiring


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _sender(sent: Mapping[int, tuple[nn.Module, Tensor]], received: Tensor) -> nn.Module | None:
    """The module that made the tensor, if the tensor arrived whole."""
    module, tensor = sent.get(_storage(received), (None, received))
    return module if tensor.numel() == received.numel() else None


def module_title(name: str, module: nn.Module) -> str:
    """A module of a net, as error messages name it."""
    return f"{type(module).__name__} {name!r}" if name else type(module).__name__


def _spikes_of(result: Tensor | tuple[Tensor, Tensor] | Record) -> Tensor:
    """The spikes in what `NeuronLayer.spikes`, a call or `NeuronLayer.record` returned."""
    if isinstance(result, Record):
        return result.spk
    return result if isinstance(result, Tensor) else result[0]


@contextlib.contextmanager
def watch_calls(
    model: nn.Module,
    on_synapse: Callable[[nn.Module, Tensor, Tensor], None],
    on_layer: Callable[[NeuronLayer, Tensor, Tensor], None],
) -> Iterator[None]:
    """Report the calls of all synapses and neuron layers of `model` within a `with` block.

    Args:
        model: Any module.
        on_synapse: Called with each synapse, or front end, its input and its charge.
        on_layer: Called with each neuron layer, its input charge and its spikes.
    """

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], charge: Tensor) -> None:
        (received,) = (*args, *kwargs.values())
        on_synapse(module, received, charge)

    def report(layer: NeuronLayer, call: Callable[..., Any]) -> Callable[..., Any]:
        def reporting(cur: Tensor, *args: Any, **kwargs: Any) -> Any:
            result = call(cur, *args, **kwargs)
            on_layer(layer, cur, _spikes_of(result))
            return result

        return reporting

    modules = [module for module in model.modules() if isinstance(module, Prepared)]
    layers = [module for module in modules if isinstance(module, NeuronLayer)]
    handles = [
        module.register_forward_hook(hook, with_kwargs=True)
        for module in modules
        if not isinstance(module, NeuronLayer) and _is_synapse(module)
    ]
    for layer in layers:
        # A SpikingSequential calls these by name, so torch's hooks do not see them.
        for name in _LAYER_CALLS:
            setattr(layer, name, report(layer, getattr(layer, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers:
            for name in _LAYER_CALLS:
                delattr(layer, name)
