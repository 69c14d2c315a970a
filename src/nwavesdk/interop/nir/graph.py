"""NIR graphs as numbers: flattened, without torch and without the equation of a neuron.

Both the layers that `load` builds and the reader in `replay` take such a graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nwavesdk.internal.checks import shown
from nwavesdk.interop.nir.node import Node, read_node

__all__ = [
    "DISCRETIZATIONS",
    "DISCRETIZATION_KEY",
    "DT_KEY",
    "INPUT_KEY",
    "VERSION_KEY",
    "Edge",
    "Graph",
    "RawGraph",
    "raw_graph",
]

Edge = tuple[str, str]

DISCRETIZATIONS = ("exact", "euler")

# What the metadata of our own graphs say.
VERSION_KEY, DT_KEY = "nwavesdk_version", "nwavesdk_dt"
DISCRETIZATION_KEY = "nwavesdk_discretization"
# Shape of a step of the input of the net, where that of the graph differs.
INPUT_KEY = "nwavesdk_input_shape"


@dataclass(frozen=True)
class Graph:
    """A flat graph.

    Attributes:
        nodes: The nodes by name, in the order of their evaluation, without Input and Output.
        edges: Pairs of names; `input` and `output` are the ends of the graph. Several edges into a
            node add up.
        delayed: The edges that pass on the value of the step before.
        input: Name of the node Input.
        output: Name of the node Output.
        shape_in: Shape of a step of the input.
        shape_out: Shape of a step of the output.
        dt: Length of a step [s].
        discretization: `"exact"` or `"euler"`.
        notes: What was assumed, one line each.
        metadata: Those of the graph.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    delayed: frozenset[Edge]
    input: str
    output: str
    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]
    dt: float
    discretization: str
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def sources(self, name: str) -> list[str]:
        """The nodes whose outputs a node adds up, in the order of the edges."""
        return [source for source, target in self.edges if target == name]


@dataclass
class RawGraph:
    """A flat graph before shapes and order are known.

    Attributes:
        nodes: The nodes by name.
        edges: As in `Graph`.
        input: Name of the node Input.
        output: Name of the node Output.
        shapes: What Input and Output say of their shapes, or None.
        notes: What was assumed.
        metadata: Those of the graph.
    """

    nodes: dict[str, Node]
    edges: list[Edge]
    input: str
    output: str
    shapes: dict[str, tuple[int, ...] | None]
    notes: list[str]
    metadata: dict[str, Any]

    def insert_before(self, name: str, new: str, node: Node) -> None:
        """Put a node on all edges into another one."""
        self.edges = [(a, new if b == name else b) for a, b in self.edges] + [(new, name)]
        self.nodes[new] = node


# From `nir` to a flat graph


def raw_graph(graph: Any) -> RawGraph:
    """Flatten a `nir.NIRGraph`: nested graphs unfold, and their names get that of their graph.

    Raises:
        ValueError: If a node is unknown, a parameter is missing or is not a finite number, an edge
            leads nowhere, or the graph has more than one input or output.
    """
    nodes: dict[str, Any] = {}
    edges: list[Edge] = []
    inputs, outputs = _unfold(graph, "", nodes, edges)
    for what, names in (("Input", inputs), ("Output", outputs)):
        if len(names) != 1:
            raise ValueError(
                f"NIR: the graph has {len(names)} nodes {what}, expected one: split the graph."
            )
    ends = {inputs[0], outputs[0]}
    shapes = {name: _shape_of(nodes[name]) for name in ends}
    inner = {name: node for name, node in nodes.items() if name not in ends}
    for name in [n for n, node in inner.items() if type(node).__name__ in ("Input", "Output")]:
        edges = _without(name, edges)
        del inner[name]
    metadata = getattr(graph, "metadata", None)
    return RawGraph(
        {name: read_node(name, node) for name, node in inner.items()},
        edges,
        inputs[0],
        outputs[0],
        shapes,
        [],
        dict(metadata) if isinstance(metadata, Mapping) else {},
    )


def _unfold(
    graph: Any, prefix: str, nodes: dict[str, Any], edges: list[Edge]
) -> tuple[list[str], list[str]]:
    """Add the nodes and edges of a graph; the names of its inputs and outputs."""
    ends: dict[str, tuple[list[str], list[str]]] = {}
    own: dict[str, Any] = dict(graph.nodes)
    for key, node in own.items():
        name = f"{prefix}{key}"
        if type(node).__name__ == "NIRGraph":
            ends[key] = _unfold(node, f"{name}.", nodes, edges)
        else:
            nodes[name] = node
            ends[key] = ([name], [name])
    seen: set[Edge] = set()
    for source, target in graph.edges:
        edge = (str(source), str(target))
        for end in edge:
            if end not in own:
                raise ValueError(
                    f"NIR: the edge {edge[0]!r} -> {edge[1]!r} names {shown(end)}, which is not a "
                    f"node: expected one of {', '.join(map(shown, own))}."
                )
        if edge in seen:
            raise ValueError(
                f"NIR: the edge {edge[0]!r} -> {edge[1]!r} is there twice: remove one, or scale by "
                "2 in a node."
            )
        seen.add(edge)
        first, second = ends[edge[0]][1], ends[edge[1]][0]
        if len(first) != 1 or len(second) != 1:
            raise ValueError(
                f"NIR: the edge {edge[0]!r} -> {edge[1]!r} joins a graph with several inputs or "
                "outputs, expected one of each: split the graph."
            )
        edges.append((first[0], second[0]))
    inputs = [f"{prefix}{k}" for k, n in own.items() if type(n).__name__ == "Input"]
    outputs = [f"{prefix}{k}" for k, n in own.items() if type(n).__name__ == "Output"]
    return inputs, outputs


def _without(name: str, edges: Sequence[Edge]) -> list[Edge]:
    """The edges after a node that only passes on its input is taken away."""
    before = [source for source, target in edges if target == name and source != name]
    joined = []
    for source, target in edges:
        if source == name and target != name:
            joined += [(first, target) for first in before]
        elif target != name:
            joined.append((source, target))
    return joined


def _shape_of(node: Any) -> tuple[int, ...] | None:
    """The shape that an Input or Output has, or None."""
    types = node.input_type if isinstance(node.input_type, Mapping) else {}
    value = next(iter(types.values()), None)
    if value is None:
        return None
    shape = np.asarray(value).reshape(-1)
    is_number = shape.dtype.kind in "iuf" and np.isfinite(shape).all()
    if not is_number or (shape != np.round(shape)).any() or (shape < 1).any():
        raise ValueError(
            f"NIR: {type(node).__name__} has the shape {shown(value)}, expected whole numbers "
            "above 0: repair the graph."
        )
    return tuple(int(size) for size in shape)
