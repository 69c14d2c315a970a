"""NIR graphs as numbers: flattened and in order, without the equation of a neuron.

Both the layers that `load` builds and the reader in `replay` take such a graph.

A cycle takes one step: the edge that closes it passes on the value of the step before, 0 at first.
If a Delay of at least one step is in the cycle, the edges into the Delay do this instead, and the
cycle takes as long as the delay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import networkx
import numpy as np

from nwavesdk.internal.checks import shown
from nwavesdk.interop.nir.modules import shaped
from nwavesdk.interop.nir.node import (
    STATEFUL,
    NirNode,
    Shape,
    node_error,
    read_node,
    whole_numbers,
)

__all__ = [
    "DISCRETIZATIONS",
    "DISCRETIZATION_KEY",
    "DT_KEY",
    "INPUT_KEY",
    "VERSION_KEY",
    "NirGraph",
    "NodePair",
    "flat_graph",
    "order_graph",
]

NodePair = tuple[str, str]

DISCRETIZATIONS = ("exact", "euler")

# Keys of the metadata of our own graphs.
VERSION_KEY, DT_KEY = "nwavesdk_version", "nwavesdk_dt"
DISCRETIZATION_KEY = "nwavesdk_discretization"
# Shape of a step of the input of the net, if the input of the graph has another shape.
INPUT_KEY = "nwavesdk_input_shape"

# The node from which a search begins. Names of nodes are texts, so no node has this number.
START = 0


@dataclass(eq=False, kw_only=True)
class NirGraph:
    """A flat graph; `order_graph` completes it.

    Attributes:
        nodes: The nodes by name, without Input and Output; in the order of their evaluation.
        edges: Pairs of names; `input` and `output` are the ends of the graph. Several edges into a
            node add up.
        input: Name of the node Input.
        output: Name of the node Output.
        shape_in: Shape of a step of the input; `()` if it is unknown.
        shape_out: Shape of a step of the output.
        dt: Length of a step [s].
        discretization: `"exact"` or `"euler"`.
        metadata: The metadata of the graph.
        notes: The assumptions, one line each.
        delayed: The edges that pass on the value of the step before.
    """

    nodes: dict[str, NirNode]
    edges: list[NodePair]
    input: str
    output: str
    shape_in: Shape
    shape_out: Shape
    dt: float
    discretization: str
    metadata: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    delayed: set[NodePair] = field(default_factory=set)

    def sources(self, name: str) -> list[str]:
        """The nodes whose outputs a node adds up, in the order of the edges."""
        return [source for source, target in self.edges if target == name]

    def insert_before(self, name: str, new: str, node: NirNode) -> None:
        """Add the node `new`, which takes over all edges into the node `name` and leads to it."""
        self.edges = [(a, new if b == name else b) for a, b in self.edges] + [(new, name)]
        self.nodes[new] = node


# From `nir` to a flat graph


def flat_graph(graph: Any, dt: float, discretization: str) -> NirGraph:
    """Flatten a `nir.NIRGraph`: nested graphs unfold, and their names get the name of their graph.

    Raises:
        ValueError: If a node is unknown, a parameter is missing or is not a finite number, an edge
            leads nowhere or is there twice, or a graph has more than one input or output.
    """
    nodes: dict[str, Any] = {}
    edges: list[NodePair] = []
    first, last = _unfold(graph, "", nodes, edges)
    shape_in, shape_out = _shape_of(nodes.pop(first)), _shape_of(nodes.pop(last))

    # Input and Output of nested graphs are removed: their sources lead directly to their targets.
    terminals = [name for name, node in nodes.items() if type(node).__name__ in ("Input", "Output")]
    for name in terminals:
        del nodes[name]
        origins = [source for source, target in edges if target == name != source]
        edges = [
            (origin, target)
            for source, target in edges
            if target != name
            for origin in (origins if source == name else [source])
        ]

    twice = [edge for index, edge in enumerate(edges) if edge in edges[:index]]
    if twice:
        raise node_error(
            f"NIR: the edge {twice[0][0]!r} -> {twice[0][1]!r}",
            "two such edges",
            "one edge",
            "remove one of them, or multiply by 2 in a Scale",
        )

    return NirGraph(
        nodes={name: read_node(name, node) for name, node in nodes.items()},
        edges=edges,
        input=first,
        output=last,
        shape_in=shape_in,
        shape_out=shape_out,
        dt=dt,
        discretization=discretization,
        metadata=dict(graph.metadata),
    )


def _unfold(
    graph: Any, prefix: str, nodes: dict[str, Any], edges: list[NodePair]
) -> tuple[str, str]:
    """Add the nodes and edges of a graph, and return the names of its Input and its Output."""
    # For each node, the name at which edges into it end, and the name at which its own edges begin.
    # For a nested graph, these are its Input and its Output.
    ends: dict[str, tuple[str, str]] = {}
    for key, node in graph.nodes.items():
        name = f"{prefix}{key}"
        if type(node).__name__ == "NIRGraph":
            ends[key] = _unfold(node, f"{name}.", nodes, edges)
        else:
            nodes[name] = node
            ends[key] = name, name

    title = f"NIR: the graph {shown(prefix[:-1])}" if prefix else "NIR: the graph"
    unknown = {end for edge in graph.edges for end in edge} - ends.keys()
    if unknown:
        known = ", ".join(map(shown, ends))
        raise node_error(title, f"an edge of {shown(min(unknown))}", f"edges between {known}")
    edges += [(ends[source][1], ends[target][0]) for source, target in graph.edges]

    terminals = []
    for kind in ("Input", "Output"):
        names = [key for key, node in graph.nodes.items() if type(node).__name__ == kind]
        if len(names) != 1:
            raise node_error(title, f"{len(names)} nodes {kind}", "one node", "split the graph")
        terminals.append(f"{prefix}{names[0]}")
    return terminals[0], terminals[1]


def _shape_of(node: Any) -> Shape:
    """The shape that an Input or Output has."""
    value = next(iter((node.input_type or {}).values()), None)
    if value is None or not np.size(value):
        return ()
    return whole_numbers(f"NIR: {type(node).__name__}", "shape", value)


# The order


def order_graph(graph: NirGraph, input_shape: Sequence[int] = ()) -> NirGraph:
    """Order the nodes of a graph, convert its delays to steps, and add the shapes of its steps.

    Args:
        graph: The graph, which is changed.
        input_shape: Shape of a step of the input, if the graph does not have it.

    Raises:
        ValueError: If there is no node, shapes do not match, a time constant or a delay does not
            suit `dt`, a node is not connected, or a cycle has neither a neuron nor a delay in it.
    """
    if not graph.nodes:
        raise node_error(
            "NIR: the graph", "only Input and Output", "a node between them", "add a node"
        )
    graph.nodes = {name: _in_steps(node, graph) for name, node in graph.nodes.items()}

    # Every node must be on a path from the input, and lead to another node.
    network = networkx.DiGraph([(START, graph.input), *graph.edges])
    network.add_nodes_from([*graph.nodes, graph.output])
    if network.in_degree(graph.input) > 1 or network.out_degree(graph.output):
        raise node_error(
            "NIR: the graph", "an edge into Input or from Output", "no such edge", "remove it"
        )
    reached = networkx.descendants(network, START)
    for name in (*graph.nodes, graph.output):
        owner, remedy = f"NIR: node {shown(name)}", "change the edges, or remove the node"
        if name not in reached:
            raise node_error(owner, "no path from the input", "a path", remedy)
        if name != graph.output and not network.out_degree(name):
            raise node_error(owner, "no edge to another node", "an edge", remedy)

    _cut_delays(graph, network)
    order = _search(graph, network)
    _shape_nodes(graph, order, tuple(input_shape))
    return graph


def _in_steps(node: NirNode, graph: NirGraph) -> NirNode:
    """Check the times of a node against the step; delays become whole steps."""
    # The decay of Euler's method, 1 - dt/tau, must not be negative, except by rounding of the file.
    # The exact decay needs a tau above 0.
    dt = graph.dt
    shortest = dt * (1 - 4 * node.rounding) if graph.discretization == "euler" else 1e-300
    for key in node.arrays.keys() & {"tau", "tau_mem", "tau_syn"}:
        tau = float(node.arrays[key].min(initial=math.inf))
        if tau < shortest:
            raise node_error(
                node.owner,
                f"{key} of {tau:g} s",
                f"times above 0 s, and from the step of {dt:g} s on for Euler's method",
                'use discretization="exact", or a smaller dt',
            )
    if node.kind != "Delay":
        return node

    steps = node.arrays["delay"] / dt
    whole = np.round(steps).clip(0)
    errors = np.abs(steps - whole)
    if (errors > 1e-4 * np.maximum(whole, 1)).any():
        worst = float(node.arrays["delay"].flat[int(np.argmax(errors))])
        raise node_error(
            node.owner,
            f"a delay of {worst:g} s",
            f"a whole number of steps of {dt:g} s",
            "choose a dt that divides it, or round the delay",
        )
    return node.with_arrays(delay=whole)


def _cut_delays(graph: NirGraph, network: Any) -> None:
    """Move one step of each Delay that is in a cycle to the edges into it.

    These edges then pass on the value of the step before. They are removed from the network, so
    that its nodes have an order.
    """
    for name, node in graph.nodes.items():
        if node.kind != "Delay" or node.arrays["delay"].min(initial=math.inf) < 1:
            continue
        if any(target == name for _, target in networkx.edge_dfs(network, name)):
            into_delay = list(network.in_edges(name))
            graph.delayed |= set(into_delay)
            network.remove_edges_from(into_delay)
            graph.nodes[name] = node.with_arrays(delay=node.arrays["delay"] - 1)


def _search(graph: NirGraph, network: Any) -> list[str]:
    """An order in which each node follows its inputs; marks the edges that close a cycle.

    An edge closes a cycle if it is a back edge of a depth-first search from the input, which takes
    edges in the order of the graph.
    """
    # `_cut_delays` removed all edges into a Delay in a cycle, so the search begins there, too.
    network.add_edges_from((START, target) for _, target in sorted(graph.delayed, reverse=True))
    finished: list[str] = []
    path: list[str] = []  # from START to the node that the search is at
    for source, target, step in networkx.dfs_labeled_edges(network, START):
        if step == "forward":
            path.append(target)
        elif step == "reverse":
            finished.append(path.pop())
        elif target in path:
            cycle = path[path.index(target) :]
            if not any(n in graph.nodes and graph.nodes[n].kind in STATEFUL for n in cycle):
                raise node_error(
                    f"NIR: the cycle {' -> '.join([*cycle, target])}",
                    "values that are not defined",
                    "a neuron or a delay of at least one step in it",
                    "add one",
                )
            graph.delayed.add((source, target))
            graph.notes.append(
                f"{source} -> {target} closes a cycle: it passes on the value of the step before"
            )

    # The last node to finish is START; a node finishes after all nodes that it leads to.
    return finished[-2::-1]


def _shape_nodes(graph: NirGraph, order: Sequence[str], given: Shape) -> None:
    """Sort the nodes by `order`, and add the shapes of a step to each."""
    stated_in, stated_out = graph.shape_in, graph.shape_out
    graph.shape_in = given or stated_in
    if stated_in not in ((), graph.shape_in) or not graph.shape_in:
        raise ValueError(
            f"NIR: the input of the graph has the shape {list(stated_in)}, got input_shape "
            f"{list(given)}, expected the shape of a step, as in (2, 34, 34), in one of them: pass "
            "input_shape only if the graph has no shape."
        )

    shapes = {graph.input: graph.shape_in}
    placed: dict[str, NirNode] = {}
    for name in order:
        if name == graph.input:
            continue

        # The shapes of delayed edges are known after this loop, and checked there. Only a Delay in
        # a cycle has no other edges; its own parameter has the shape.
        sources = [source for source in graph.sources(name) if (source, name) not in graph.delayed]
        input_shapes = {shapes[source] for source in sources}
        if name in graph.nodes:
            node = graph.nodes[name]
            shape = _common_shape(name, input_shapes or {node.arrays["delay"].shape})
            placed[name] = shaped(node, shape, graph.notes)
            shapes[name] = placed[name].shape_out
        else:
            shapes[name] = graph.shape_out = _common_shape(name, input_shapes)

    for source, target in graph.delayed:
        expected = placed[target].shape_in if target in placed else shapes[target]
        _common_shape(target, {expected, shapes[source]})

    if stated_out not in ((), graph.shape_out):
        expected_out = f"{list(graph.shape_out)}, the shape that its nodes compute"
        raise node_error("NIR: Output", f"the shape {list(stated_out)}", expected_out)
    graph.nodes = placed


def _common_shape(name: str, shapes: set[Shape]) -> Shape:
    """The shape that all inputs of a node have; an error names the first two different shapes."""
    for first, second in pairwise(sorted(shapes)):
        raise node_error(
            f"NIR: node {shown(name)}",
            f"inputs of the shapes {list(first)} and {list(second)} that are added",
            "equal shapes",
        )
    return min(shapes)
