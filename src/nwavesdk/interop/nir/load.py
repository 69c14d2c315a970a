"""From a NIR graph to modules: a `SpikingSequential` for a chain, else a `SpikingGraph`."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.interop.nir.graph import Graph
from nwavesdk.interop.nir.modules import Delay, Scale, SpikingGraph
from nwavesdk.interop.nir.neurons import (
    NO_LEAK,
    NIRCubaLIFLayer,
    NIRCubaLILayer,
    NIRCubaSubtractLayer,
    NIRLIFLayer,
    NIRLILayer,
    NIRSubtractLayer,
    NIRThresholdLayer,
)
from nwavesdk.interop.nir.node import SPIKING, STATEFUL, Array, Node
from nwavesdk.layers import CubaLIFLayer, IFLayer, LIFLayer, LIFSynapse, LILayer, NeuronLayer
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.net import SpikingSequential

__all__ = ["Loaded", "load_graph"]

# A time constant of this part of a step has a decay of exp(-1000), which is 0.
NO_MEMORY = 1e-3

# What rounding may have changed of a gain of 1, in units of the last place.
MOST_ROUNDING = 4


@dataclass(frozen=True, eq=False)
class Loaded:
    """An imported net.

    Attributes:
        net: The net.
        modules: For each node, the name of its module in the net.
        notes: What was assumed, one line each.

    Example:
        >>> from nwavesdk.interop.nir import import_graph, to_nir
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> graph = to_nir(SpikingSequential(LILayer(2)), discretization="exact")
        >>> found = import_graph(graph, dt=1e-3, discretization="exact")
        >>> type(found.net).__name__, dict(found.modules)
        ('SpikingSequential', {'li_0': 'li_0'})
    """

    net: SpikingSequential | SpikingGraph
    modules: Mapping[str, str]
    notes: tuple[str, ...]


@without_step_warnings()
def load_graph(graph: Graph, spike_grad: Any, dtype: torch.dtype) -> Loaded:
    """Build the net of a graph."""
    loops = _own_loops(graph)
    taken = _attribute_names()
    modules: dict[str, str] = {}
    built: dict[str, nn.Module] = {}
    notes = list(graph.notes)
    for name, node in graph.nodes.items():
        if name in loops.values():
            continue
        weight = graph.nodes[loops[name]].arrays["weight"] if name in loops else None
        module = _Builder(graph, spike_grad, dtype).build(node, weight)
        modules[name] = _module_name(name, taken)
        built[modules[name]] = module
    for neuron, synapse in loops.items():
        notes.append(f"{synapse} becomes the recurrent weights of {neuron}")
    notes += _rounded(graph, dtype)
    names = {**modules, graph.input: "input", graph.output: "output"}
    edges = [
        (source, target)
        for source, target in graph.edges
        if not {source, target} & set(loops.values())
    ]
    sources: dict[str, list[str]] = {name: [] for name in (*built, "output")}
    for source, target in edges:
        sources[names[target]].append(names[source])
    delayed = [(names[a], names[b]) for a, b in edges if (a, b) in graph.delayed]
    chain = ["input", *built, "output"]
    is_chain = not delayed and all(sources[after] == [before] for before, after in pairwise(chain))
    if is_chain and built:
        return Loaded(SpikingSequential(OrderedDict(built)), modules, tuple(notes))
    shapes = {names[a]: _shape_out(graph, a) for a, b in edges if (a, b) in graph.delayed}
    net = SpikingGraph(built, sources, delayed, graph.shape_in, shapes)
    return Loaded(net, modules, tuple(notes))


def _shape_out(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.shape_in if name == graph.input else graph.nodes[name].shape_out


def _own_loops(graph: Graph) -> dict[str, str]:
    """The neurons that a Linear connects with themselves: their names, and that of the Linear."""
    loops: dict[str, str] = {}
    for name, node in graph.nodes.items():
        if node.kind != "Linear":
            continue
        before = [edge for edge in graph.edges if edge[1] == name]
        after = [edge for edge in graph.edges if edge[0] == name]
        if len(before) != 1 or len(after) != 1 or before[0][0] != after[0][1]:
            continue
        neuron = before[0][0]
        of_neuron = graph.nodes[neuron].kind if neuron in graph.nodes else ""
        # The loop takes one step on either of its edges.
        has_one_step = (before[0] in graph.delayed) != (after[0] in graph.delayed)
        if of_neuron in SPIKING & STATEFUL and has_one_step and neuron not in loops:
            loops[neuron] = name
    return loops


def _attribute_names() -> set[str]:
    """The names that a net or its values have, which no module of it can have."""
    last_step = "last_step"  # only graphs with cycles have it
    attributes = {*dir(SpikingSequential()), *dir(SpikingGraph({}, {}))}
    return {"input", "output", last_step} | attributes


def _module_name(name: str, taken: set[str]) -> str:
    """A name that a module of torch can have."""
    base = name.replace(".", "_") or "node"
    base = f"node_{base}" if base in taken else base
    unique = base
    number = 2
    while unique in taken:
        unique = f"{base}_{number}"
        number += 1
    taken.add(unique)
    return unique


def _rounded(graph: Graph, dtype: torch.dtype) -> list[str]:
    """A note about the nodes whose parameters have more digits than `dtype`."""
    narrow = np.float64 if dtype == torch.float64 else np.float32
    names = []
    for name, node in graph.nodes.items():
        arrays = [node.arrays[key] for key in ("weight", "bias", "scale") if key in node.arrays]
        if any(not np.array_equal(array.astype(narrow), array) for array in arrays):
            names.append(name)
    return [f"float64 parameters are rounded to float32: {', '.join(names)}"] if names else []


class _Builder:
    """Makes the module of a node."""

    def __init__(self, graph: Graph, spike_grad: Any, dtype: torch.dtype) -> None:
        self.graph = graph
        self.spike_grad = spike_grad
        self.dtype = dtype

    def build(self, node: Node, recurrent: Array | None) -> nn.Module:
        if node.kind in STATEFUL | {"Threshold"}:
            layer = self._neurons(node, recurrent is not None)
            if recurrent is not None:
                assert layer.recurrent_weights is not None
                with torch.no_grad():
                    layer.recurrent_weights.copy_(self._tensor(recurrent.T))
            return layer.to(self.dtype)
        return self._plain(node)

    def _plain(self, node: Node) -> nn.Module:
        """The module of a node without neurons."""
        p, settings = node.arrays, node.settings
        if node.kind in ("Linear", "Affine"):
            n_out, n_in = p["weight"].shape
            synapse = LIFSynapse(n_in, n_out, bias=node.kind == "Affine").to(self.dtype)
            return self._filled(synapse, p["weight"].T, p.get("bias"))
        if node.kind in ("Conv1d", "Conv2d"):
            return self._convolution(node)
        if node.kind == "Scale":
            return Scale(self._tensor(p["scale"]))
        if node.kind == "Delay":
            return Delay(torch.from_numpy(p["delay"].astype(np.int64)))
        if node.kind == "Flatten":
            first, last = settings["start_dim"], settings["end_dim"]
            # Torch's modules see the batch as a dimension before those of NIR.
            return nn.Flatten(first + (first >= 0), last + (last >= 0))
        divisor = 1 if node.kind == "SumPool2d" else None
        return nn.AvgPool2d(
            settings["kernel_size"],
            settings["stride"],
            settings["padding"],
            divisor_override=divisor,
        )

    def _convolution(self, node: Node) -> nn.Module:
        weight, settings = node.arrays["weight"], node.settings
        groups = settings["groups"]
        axes = weight.ndim - 2
        padding: Any = tuple(before for before, _ in settings["padding"])
        if any(before != after for before, after in settings["padding"]):
            padding = "same"
        kind = nn.Conv1d if axes == 1 else nn.Conv2d
        conv = kind(
            weight.shape[1] * groups,
            weight.shape[0],
            weight.shape[2:],
            settings["stride"],
            padding,
            settings["dilation"],
            groups,
            dtype=self.dtype,
        )
        return self._filled(conv, weight, node.arrays["bias"])

    def _filled(self, module: Any, weight: Array, bias: Array | None) -> nn.Module:
        with torch.no_grad():
            module.weight.copy_(self._tensor(weight))
            if bias is not None:
                module.bias.copy_(self._tensor(bias))
        filled: nn.Module = module
        return filled

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.dtype)

    def _neurons(self, node: Node, is_recurrent: bool) -> NeuronLayer:
        p = {key: np.asarray(value) for key, value in node.arrays.items()}
        options: dict[str, Any] = {"dt": self.graph.dt}
        if node.kind in SPIKING:
            options["spike_grad"] = self.spike_grad
            options["layer_topology"] = "RC" if is_recurrent else "FF"
        shape = node.shape_in
        if node.kind == "Threshold":
            return NIRThresholdLayer(shape, threshold=_value(p["threshold"]), **options)
        if node.kind in ("CubaLI", "CubaLIF"):
            return self._current_based(node, p, options)
        if node.kind in ("I", "IF"):
            tau, gain = np.array(NO_LEAK), self.graph.dt * p["r"]
            rest = p["v_reset"] if node.kind == "IF" else np.array(0.0)
        else:
            tau, share = self._decay(p["tau"])
            gain, rest = share * p["r"], p["v_leak"]
        gain = _one_if_rounded(gain, node.rounding)
        if node.kind in ("I", "LI"):
            if node.kind == "LI" and (gain == 1).all() and (rest == 0).all():
                return LILayer(shape, tau=_value(tau), **options)
            constants = {"tau": tau, "gain": gain, "rest": rest}
            return NIRLILayer(shape, **_values(constants), **options)
        threshold = p["v_threshold"] - rest
        reset = p["v_reset"] - rest
        is_usual = (gain == 1).all() and (threshold > 0).all()
        if node.reset == "value":
            if is_usual and (reset == 0).all():
                return LIFLayer(shape, _value(tau), _value(threshold), "zero", **options)
            constants = {"tau": tau, "gain": gain, "threshold": threshold, "reset": reset}
            return NIRLIFLayer(shape, **_values(constants), **options)
        if is_usual and (p["amount"] == threshold).all():
            if node.kind == "IF":
                return IFLayer(shape, threshold=_value(threshold), **options)
            return LIFLayer(shape, _value(tau), _value(threshold), **options)
        constants = {"tau": tau, "gain": gain, "threshold": threshold, "amount": p["amount"]}
        return NIRSubtractLayer(shape, **_values(constants), **options)

    def _current_based(
        self, node: Node, p: Mapping[str, Array], options: Mapping[str, Any]
    ) -> NeuronLayer:
        tau, share = self._decay(p["tau_mem"])
        tau_syn, share_syn = self._decay(p["tau_syn"])
        gain = _one_if_rounded(share * p["r"], node.rounding)
        gain_syn = _one_if_rounded(share_syn * p["w_in"], node.rounding)
        constants = {"tau": tau, "tau_syn": tau_syn, "gain": gain, "gain_syn": gain_syn}
        rest = p["v_leak"]
        shape = node.shape_in
        if node.kind == "CubaLI":
            return NIRCubaLILayer(shape, **_values({**constants, "rest": rest}), **options)
        constants["threshold"] = p["v_threshold"] - rest
        if node.reset == "value":
            constants["reset"] = p["v_reset"] - rest
            return NIRCubaLIFLayer(shape, **_values(constants), **options)
        is_usual = (
            (gain == 1).all() and (gain_syn == 1).all() and (constants["threshold"] > 0).all()
        )
        if is_usual and (p["amount"] == constants["threshold"]).all():
            del constants["gain"], constants["gain_syn"]
            return CubaLIFLayer(shape, **_values(constants), **options)
        constants["amount"] = p["amount"]
        return NIRCubaSubtractLayer(shape, **_values(constants), **options)

    def _decay(self, tau: Array) -> tuple[Array, Array]:
        """The time constants whose exp(-dt/tau) is the decay of a node, and 1 - decay."""
        dt = self.graph.dt
        if self.graph.discretization == "exact":
            return tau, -np.expm1(-dt / tau)
        share = np.minimum(dt / tau, 1.0)
        with np.errstate(divide="ignore"):
            layer_tau = -dt / np.log1p(-share)
        return np.where(share < 1, layer_tau, NO_MEMORY * dt), share


def _one_if_rounded(gain: Array, rounding: float) -> Array:
    """A gain that differs from 1 by the rounding of the file is 1."""
    return np.where(np.abs(gain - 1) <= MOST_ROUNDING * rounding, 1.0, gain)


def _value(array: Array) -> float | Tensor:
    """A constant of a layer: a number if all neurons have the same."""
    first = float(array.flat[0])
    if (array == first).all():
        return first
    return torch.from_numpy(np.array(array))


def _values(constants: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(np.asarray(array)) for name, array in constants.items()}
