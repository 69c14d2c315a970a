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

Two other walks remain, because they are not about weights:
    - `prepared_modules` visits all modules of `nwavesdk.layers`, also those without weights. The
      position in this order is part of what a seed means.
    - `SpikingSequential.modules_in_order` is the order of execution, with the user's modules. It
      serves to cut a net at a layer, and to reject a module that a chip cannot run.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.chip import Profile
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared, prepare_net
from nwavesdk.net.sequential import SpikingSequential

__all__ = ["Edge", "NetEdges", "find_edges", "module_title", "watch_calls"]

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
        parametrized: Names of the modules that compute a parameter, as `SignAnnealing` makes them.
    """

    edges: tuple[Edge, ...]
    layers: Mapping[str, NeuronLayer]
    order: tuple[str, ...]
    uncovered: tuple[str, ...]
    parametrized: tuple[str, ...]


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
        raise TypeError(f"expected a torch module with weights, got {type(model).__name__}.")
    named = dict(model.named_modules())
    layers = {name: module for name, module in named.items() if isinstance(module, NeuronLayer)}
    wiring = _wiring_by_structure(model) if inputs is None else _wiring_by_run(model, inputs)
    edges = [
        _edge(name, module, key, wiring, layers)
        for name, module in named.items()
        if isinstance(module, Prepared)
        for key in ("weight", _RECURRENT)
        if _has_weight(module, key)
    ]
    if inputs is not None:
        place = {name: i for i, name in enumerate(wiring.order)}
        edges.sort(key=lambda edge: place.get(edge.module_name, len(place)))
    covered = layers.keys() | {edge.module_name for edge in edges}
    return NetEdges(
        edges=tuple(edges),
        layers=layers,
        order=tuple(wiring.order),
        uncovered=tuple(
            name
            for name, module in named.items()
            if name not in covered and _has_own_parameters(name, module)
        ),
        parametrized=tuple(name for name, module in named.items() if is_parametrized(module)),
    )


@dataclass(eq=False)
class _Wiring:
    """What drives what, by names of modules.

    Attributes:
        order: Synapses and neuron layers in the order in which they run; empty if it is unknown.
        sources: For each synapse, the neuron layers whose spikes come in, where they are known.
        targets: For each synapse, the neuron layer that it drives, where it is known.
    """

    order: list[str] = field(default_factory=list)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)


def _edge(
    name: str, module: nn.Module, key: str, wiring: _Wiring, layers: Mapping[str, NeuronLayer]
) -> Edge:
    is_recurrent = key == _RECURRENT
    sources = (name,) if is_recurrent else wiring.sources.get(name, ())
    target_name = name if is_recurrent else wiring.targets.get(name)
    target = None if target_name is None else layers.get(target_name)
    return Edge(name, module, key, getattr(module, "profile", None), sources, target_name, target)


def _has_own_parameters(name: str, module: nn.Module) -> bool:
    # The parameters of a parametrization belong to the parametrized module.
    if "parametrizations" in name.split("."):
        return False
    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))


def _has_weight(module: nn.Module, key: str) -> bool:
    """Whether a module has a weight of this name."""
    # A parametrized weight is not read, because that would compute it.
    return is_parametrized(module, key) or isinstance(getattr(module, key, None), Tensor)


def _is_synapse(module: nn.Module) -> bool:
    """Whether a module is a synapse or front end."""
    return isinstance(module, Prepared) and _has_weight(module, "weight")


def module_title(name: str, module: nn.Module) -> str:
    """A module of a net, as error messages name it."""
    return f"{type(module).__name__} {name!r}" if name else type(module).__name__


def _wiring_by_structure(model: nn.Module) -> _Wiring:
    """The wiring within each `SpikingSequential` that is not part of another one."""
    wiring = _Wiring()
    nested: set[nn.Module] = set()
    for name, net in model.named_modules():
        if isinstance(net, SpikingSequential) and net not in nested:
            nested.update(net.modules())
            _follow_sequential(net, f"{name}." if name else "", wiring)
    if not isinstance(model, SpikingSequential):
        wiring.order.clear()
    return wiring


def _follow_sequential(net: SpikingSequential, prefix: str, wiring: _Wiring) -> None:
    """Add the wiring of one `SpikingSequential`, whose names begin with `prefix`."""
    source: str | None = None
    synapse: str | None = None
    for name_in_net, module in net.modules_in_order():
        name = prefix + name_in_net
        if isinstance(module, NeuronLayer):
            wiring.order.append(name)
            if synapse is not None:
                wiring.targets[synapse] = name
            source = name
            synapse = None
        elif _is_synapse(module):
            wiring.order.append(name)
            wiring.sources[name] = () if source is None else (source,)
            source = None
            synapse = name
        elif any(isinstance(m, NeuronLayer) or _is_synapse(m) for m in module.modules()):
            # A module of the user with weights inside: it is unknown what drives what in there.
            source = synapse = None


def _wiring_by_run(model: nn.Module, inputs: Tensor) -> _Wiring:
    """The wiring that one pass of a copy shows: a tensor keeps its storage on its way."""
    work = copy.deepcopy(model)
    names = {module: name for name, module in work.named_modules()}
    wiring = _Wiring()
    # Tensors by storage; they are held until the end, so that no other tensor gets their storage.
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
    """The module that made the tensor, if the whole tensor arrived."""
    module, tensor = sent.get(_storage(received), (None, received))
    return module if tensor.numel() == received.numel() else None


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

    def solve(layer: NeuronLayer, call: Callable[..., Any], cur: Tensor, **options: bool) -> Any:
        problem, solution = call(cur, **options)
        on_layer(layer, cur, solution.spikes)
        return problem, solution

    layers = [module for module in model.modules() if isinstance(module, NeuronLayer)]
    handles = [
        module.register_forward_hook(hook, with_kwargs=True)
        for module in model.modules()
        if _is_synapse(module) and not isinstance(module, NeuronLayer)
    ]
    for layer in layers:
        # Every kind of call ends in `_solve`. Torch's hooks do not see `spikes` and `record`.
        vars(layer)["_solve"] = partial(solve, layer, layer._solve)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers:
            del vars(layer)["_solve"]
