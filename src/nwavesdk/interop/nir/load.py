"""From a NIR file or graph to a net: a `SpikingSequential` for a chain, else a `SpikingGraph`.

`prepare_graph` reads, checks and orders the graph, also for `check`; `load_graph` builds the net.
"""

import os
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from nwavesdk.internal.checks import choice, positive_number, shown, whole_number
from nwavesdk.internal.files import shown_path
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.draft import numbered_name
from nwavesdk.interop.nir.files import read_nir
from nwavesdk.interop.nir.graph import (
    DISCRETIZATION_KEY,
    DT_KEY,
    VERSION_KEY,
    NirGraph,
    NodePair,
    flat_graph,
    order_graph,
)
from nwavesdk.interop.nir.modules import SpikingGraph, module_of
from nwavesdk.interop.nir.neuron_nodes import layer_of
from nwavesdk.interop.nir.node import SPIKING, STATEFUL, as_text
from nwavesdk.interop.nir.sources import ALLOWED, apply_source
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.net import SpikingSequential

__all__ = ["Loaded", "load_graph", "prepare_graph"]


@dataclass(frozen=True, eq=False)
class Loaded:
    """An imported net.

    Attributes:
        net: The net.
        modules: For each node, the name of its module in the net.
        notes: The assumptions, one line each.

    Example:
        >>> from nwavesdk.interop.nir import import_graph, to_nir
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> graph = to_nir(SpikingSequential(LILayer(2)), discretization="exact")
        >>> loaded = import_graph(graph, dt=1e-3, discretization="exact")
        >>> type(loaded.net).__name__, dict(loaded.modules)
        ('SpikingSequential', {'li_0': 'li_0'})
    """

    net: SpikingSequential | SpikingGraph
    modules: Mapping[str, str]
    notes: tuple[str, ...]


def prepare_graph(
    graph: Any,
    dt: float,
    discretization: str,
    source: str | None = None,
    allow: Collection[str] = (),
    input_shape: Sequence[int] | None = None,
) -> NirGraph:
    """Read, check and order a graph; see `from_nir`.

    Raises:
        ValueError: See `from_nir`.
        TypeError: See `from_nir`.
    """
    nir = require("nir", "interop")
    dt = positive_number("NIR", "dt", dt, "s")
    allowed = frozenset(choice("NIR", "allow", name, ALLOWED) for name in allow)
    sizes = [whole_number("NIR", "input_shape", size) for size in input_shape or ()]
    name = os.fspath(graph) if isinstance(graph, str | os.PathLike) else None
    if name is not None:
        graph = read_nir(name)
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"NIR: got {shown(graph)}, expected a nir.NIRGraph or the path of its file."
        )

    # Errors of a graph from a file name the file.
    try:
        flat = flat_graph(graph, dt, discretization)
        _note_metadata(flat, source)
        apply_source(flat, source, allowed)
        return order_graph(flat, sizes)
    except ValueError as error:
        if name is None:
            raise
        text = str(error).removeprefix("NIR: ")
        raise ValueError(f"{shown_path(name)}: {text}") from None


def _note_metadata(graph: NirGraph, source: str | None) -> None:
    """Compare the metadata of a graph that `to_nir` has written with the arguments of the reader.

    A different step or discretization adds a note.

    Raises:
        ValueError: If `source` names another library.
    """
    if VERSION_KEY in graph.metadata and source is not None:
        raise ValueError(
            f"NIR: nwavesdk has written the graph, got source={source!r}: remove source."
        )

    for key, value in ((DT_KEY, graph.dt), (DISCRETIZATION_KEY, graph.discretization)):
        written = graph.metadata.get(key, value)
        if isinstance(written, np.generic | np.ndarray) and written.size == 1:
            written = written.item()
        if as_text(written) != str(value):
            graph.notes.append(
                f"the graph was written with {key.removeprefix('nwavesdk_')}={shown(written)}, and "
                f"is read with {value!r}: its spikes will differ from the spikes of the exported "
                "net"
            )


@without_step_warnings()
def load_graph(graph: NirGraph, spike_grad: Any, dtype: torch.dtype) -> Loaded:
    """Build the net of a graph."""
    loops = _find_loops(graph)
    notes = [
        *graph.notes,
        *(f"{synapse} becomes the recurrent weights of {name}" for name, synapse in loops.items()),
        *_rounding_notes(graph, dtype),
    ]

    # No module can have the name of an attribute of a net. `input` and `output` are the ends of a
    # `SpikingGraph`, and with a cycle it has the attribute `last_step`.
    reserved = {*dir(SpikingSequential()), *dir(SpikingGraph({}, {}))}
    reserved |= {"input", "output", "last_step"}
    modules: dict[str, str] = {}
    built: dict[str, nn.Module] = {}
    for name, node in graph.nodes.items():
        if name in loops.values():
            continue
        if node.kind in STATEFUL | SPIKING:
            module = _layer(graph, name, loops.get(name), spike_grad).to(dtype)
        else:
            module = module_of(node, dtype)
        base = name.replace(".", "_") or "node"
        base = f"node_{base}" if base in reserved else base
        modules[name] = numbered_name(base, {*reserved, *built})
        built[modules[name]] = module

    # A Linear that has become recurrent weights is not a module of the net.
    absorbed = set(loops.values())
    edges = [edge for edge in graph.edges if absorbed.isdisjoint(edge)]
    return Loaded(_net_of(graph, edges, modules, built), modules, tuple(notes))


def _net_of(
    graph: NirGraph, edges: list[NodePair], modules: Mapping[str, str], built: dict[str, nn.Module]
) -> SpikingSequential | SpikingGraph:
    """The net of a graph.

    Args:
        graph: The graph.
        edges: The edges of the graph, without edges of nodes that have no module.
        modules: For each node, the name of its module.
        built: The modules by name, in the order of their evaluation.
    """
    names = {**modules, graph.input: "input", graph.output: "output"}
    sources: dict[str, list[str]] = {name: [] for name in (*built, "output")}
    for source, target in edges:
        sources[names[target]].append(names[source])
    delayed = [(names[a], names[b]) for a, b in edges if (a, b) in graph.delayed]

    # A chain in which each module has one source, the module before it, is a `SpikingSequential`.
    chain = pairwise(["input", *built, "output"])
    if not delayed and built and all(sources[after] == [before] for before, after in chain):
        return SpikingSequential(OrderedDict(built))

    shapes = {module: graph.nodes[node].shape_out for node, module in modules.items()}
    shapes["input"] = graph.shape_in
    return SpikingGraph(built, sources, delayed=delayed, shape=graph.shape_in, shapes=shapes)


def _find_loops(graph: NirGraph) -> dict[str, str]:
    """For nodes of neurons that drive themselves through a Linear, the name of this Linear."""
    loops: dict[str, str] = {}
    for name, node in graph.nodes.items():
        sources = graph.sources(name)
        targets = [target for source, target in graph.edges if source == name]
        if node.kind != "Linear" or len(sources) != 1 or sources != targets:
            continue

        neuron = sources[0]
        is_neuron = neuron in graph.nodes and graph.nodes[neuron].kind in SPIKING & STATEFUL
        # Recurrent weights act one step later, so exactly one of the two edges must be delayed.
        if is_neuron and len(graph.delayed & {(neuron, name), (name, neuron)}) == 1:
            loops.setdefault(neuron, name)
    return loops


def _layer(graph: NirGraph, name: str, loop: str | None, spike_grad: Any) -> nn.Module:
    """The layer of a node of neurons, with the weight of a Linear as its recurrent weights."""
    options: dict[str, Any] = {"dt": graph.dt}
    node = graph.nodes[name]
    if node.kind in SPIKING:
        options |= {"spike_grad": spike_grad, "layer_topology": "RC" if loop else "FF"}
    layer = layer_of(node, graph, options)
    if loop is not None:
        weight = graph.nodes[loop].arrays["weight"].T
        layer.recurrent_weights = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight)))
    return layer


def _rounding_notes(graph: NirGraph, dtype: torch.dtype) -> list[str]:
    """A note about the nodes whose parameters have more digits than `dtype`."""
    narrow = np.float64 if dtype == torch.float64 else np.float32
    names = dict.fromkeys(
        name
        for name, node in graph.nodes.items()
        for key in node.arrays.keys() & {"weight", "bias", "scale"}
        if not np.array_equal(node.arrays[key].astype(narrow), node.arrays[key])
    )
    return [f"float64 parameters are rounded to float32: {', '.join(names)}"] if names else []
