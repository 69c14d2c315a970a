"""The order in which the nodes of a NIR graph are evaluated, and the shapes of their steps.

A cycle passes one step: the value of an edge that closes a cycle is that of the step before, 0 at
first. Where a Delay of at least one step is in the cycle, the cycle has that delay and no further
step.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nwavesdk.internal.checks import shown
from nwavesdk.interop.nir.graph import Edge, Graph, RawGraph
from nwavesdk.interop.nir.node import SPIKING, STATEFUL, Node
from nwavesdk.interop.nir.shapes import shaped

__all__ = ["ordered"]


def ordered(
    raw: RawGraph,
    dt: float,
    discretization: str,
    input_shape: Sequence[int] | None = None,
) -> Graph:
    """Give shapes to all nodes, delays in steps, and an order.

    Raises:
        ValueError: If there is no node, shapes do not match, a time constant or a delay does not
            suit `dt`, a node is not connected, or a cycle has neither a neuron nor a delay in it.
    """
    if not raw.nodes:
        raise ValueError(
            "NIR: the graph has only Input and Output, expected a node between them: add one."
        )
    nodes = {name: _timed(name, node, dt, discretization) for name, node in raw.nodes.items()}
    names = [raw.input, *nodes, raw.output]
    _check_connected(raw, names)
    notes = list(raw.notes)
    nodes, edges, delayed = _cut_delays(nodes, raw.edges)
    order, closing = _order(nodes, edges, delayed, raw.input)
    for source, target in closing:
        notes.append(
            f"{source} -> {target} closes a cycle: it passes on the value of the step before"
        )
    delayed |= closing
    shape_in = _input_shape(raw, nodes, input_shape, notes)
    placed, shape_out = _shape_all(raw, nodes, edges, delayed, order, shape_in, notes)
    return Graph(
        placed,
        tuple(edges),
        frozenset(delayed),
        raw.input,
        raw.output,
        shape_in,
        shape_out,
        dt,
        discretization,
        tuple(notes),
        raw.metadata,
    )


def _input_shape(
    raw: RawGraph,
    nodes: Mapping[str, Node],
    given: Sequence[int] | None,
    notes: list[str],
) -> tuple[int, ...]:
    """The shape of the input: the one that is given, that of the graph, or that of the nodes."""
    shape_in = tuple(given) if given is not None else raw.shapes[raw.input]
    if shape_in is None:
        shape_in = _first_shape(raw, nodes)
        notes.append(f"the graph has no shape of its input: read as {list(shape_in)}")
    known = raw.shapes[raw.input]
    if known is not None and known != shape_in:
        raise ValueError(
            f"NIR: the input of the graph has the shape {list(known)}, got input_shape "
            f"{list(shape_in)}: leave it out."
        )
    return shape_in


def _shape_all(
    raw: RawGraph,
    nodes: Mapping[str, Node],
    edges: Sequence[Edge],
    delayed: set[Edge],
    order: Sequence[str],
    shape_in: tuple[int, ...],
    notes: list[str],
) -> tuple[dict[str, Node], tuple[int, ...]]:
    """All nodes in their order with the shapes of a step, and the shape of the output."""
    shapes = {raw.input: shape_in}
    placed: dict[str, Node] = {}
    pending = [name for name in order if name != raw.input]
    for name in pending:
        # The shape of an edge that closes a cycle is known later, and checked then.
        got = {shapes[s] for s, t in edges if t == name and s in shapes and (s, t) not in delayed}
        if not got and name in nodes and nodes[name].kind == "Delay":
            got = {nodes[name].arrays["delay"].shape} - {()}
        if not got:
            raise ValueError(
                f"NIR: node {shown(name)} gets its input from cycles only, expected one that does "
                "not close a cycle: change the edges."
            )
        shape = _one_shape(name, got)
        if name == raw.output:
            shapes[name] = shape
        else:
            placed[name] = shaped(name, nodes[name], shape, notes)
            shapes[name] = placed[name].shape_out
    for source, target in delayed:
        expected = shapes[target] if target == raw.output else placed[target].shape_in
        _one_shape(target, {expected, shapes[source]})
    stated = raw.shapes[raw.output]
    if stated is not None and stated != shapes[raw.output]:
        raise ValueError(
            f"NIR: the output of the graph has the shape {list(stated)}, and its nodes give "
            f"{list(shapes[raw.output])}: repair the graph."
        )
    return placed, shapes[raw.output]


def _one_shape(name: str, got: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    first, *others = sorted(got)
    if others:
        raise ValueError(
            f"NIR: node {shown(name)} adds up inputs of the shapes {list(first)} and "
            f"{list(others[0])}, expected equal ones: repair the graph."
        )
    return first


def _timed(name: str, node: Node, dt: float, discretization: str) -> Node:
    """Check times against the step; delays become whole steps."""
    arrays = dict(node.arrays)
    for key in ("tau", "tau_mem", "tau_syn"):
        if key not in arrays:
            continue
        least = float(arrays[key].min(initial=math.inf))
        if least <= 0:
            raise ValueError(
                f"NIR: node {shown(name)} ({node.kind}): {key} must be above 0 s, got {least:g}: "
                "repair the graph."
            )
        if discretization == "euler" and least < dt * (1 - 4 * node.rounding):
            raise ValueError(
                f"NIR: node {shown(name)} ({node.kind}): {key} of {least:g} s is shorter than the "
                f"step of {dt:g} s, for which Euler's method is unstable: use "
                'discretization="exact", or a smaller dt.'
            )
    if node.kind == "Delay":
        steps = arrays["delay"] / dt
        whole = np.round(steps)
        if (steps < 0).any() or (np.abs(steps - whole) > 1e-4 * np.maximum(whole, 1)).any():
            worst = float(arrays["delay"].flat[int(np.argmax(np.abs(steps - whole)))])
            raise ValueError(
                f"NIR: node {shown(name)} (Delay): a delay of {worst:g} s is not a whole number of "
                f"steps of {dt:g} s: choose a dt that divides it, or round the delay."
            )
        arrays["delay"] = whole
    return replace(node, arrays=arrays)


def _check_connected(raw: RawGraph, names: Sequence[str]) -> None:
    targets = {target for _, target in raw.edges}
    sources = {source for source, _ in raw.edges}
    for name in names:
        if name != raw.input and name not in targets:
            raise ValueError(
                f"NIR: node {shown(name)} has no input: add an edge to it, or remove it."
            )
        if name != raw.output and name not in sources:
            raise ValueError(
                f"NIR: node {shown(name)} leads nowhere: add an edge from it, or remove it."
            )


def _first_shape(raw: RawGraph, nodes: Mapping[str, Node]) -> tuple[int, ...]:
    """The shape of the input by what it leads to."""
    for source, target in raw.edges:
        node = nodes.get(target)
        if source != raw.input or node is None:
            continue
        if node.kind in ("Linear", "Affine"):
            return (node.arrays["weight"].shape[-1],)
        shape = np.broadcast_shapes(*(a.shape for a in node.arrays.values()))
        if node.kind in STATEFUL | SPIKING | {"Scale", "Delay"} and shape:
            return shape
    raise ValueError(
        "NIR: the graph has no shape of its input: give input_shape, as in input_shape=(2, 34, 34)."
    )


def _reachable(start: str, edges: Sequence[Edge]) -> set[str]:
    """All nodes that a node leads to."""
    found: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        for source, target in edges:
            if source == name and target not in found:
                found.add(target)
                pending.append(target)
    return found


def _cut_delays(
    nodes: dict[str, Node], edges: list[Edge]
) -> tuple[dict[str, Node], list[Edge], set[Edge]]:
    """In a cycle, the edges into a Delay take one of its steps."""
    delayed: set[Edge] = set()
    nodes = dict(nodes)
    for name, node in nodes.items():
        if node.kind != "Delay" or node.arrays["delay"].min(initial=math.inf) < 1:
            continue
        if name in _reachable(name, [edge for edge in edges if edge not in delayed]):
            delayed |= {edge for edge in edges if edge[1] == name}
            nodes[name] = replace(node, arrays={"delay": node.arrays["delay"] - 1})
    return nodes, edges, delayed


def _order(
    nodes: Mapping[str, Node], edges: Sequence[Edge], delayed: set[Edge], start: str
) -> tuple[list[str], set[Edge]]:
    """An order in which each node follows its inputs, and the edges that close a cycle.

    These are the back edges of a depth-first search from the input, edges in the order of the
    graph.
    """
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
    closing: set[Edge] = set()
    finished: list[str] = []
    done: set[str] = set()
    path: list[str] = [start]
    pending = [iter(after.get(start, ()))]
    # A Delay in a cycle is entered by delayed edges only: the search begins there, too.
    starts = [target for _, target in sorted(delayed)]
    while pending:
        name = path[-1]
        following = next(pending[-1], None)
        if following is None:
            pending.pop()
            done.add(path.pop())
            finished.append(name)
            while not pending and starts:
                begin = starts.pop()
                if begin not in done:
                    path.append(begin)
                    pending.append(iter(after.get(begin, ())))
            continue
        if (name, following) in delayed or following in done:
            continue
        if following in path:
            cycle = path[path.index(following) :]
            if not any(n in nodes and nodes[n].kind in STATEFUL for n in cycle):
                raise ValueError(
                    f"NIR: the cycle {' -> '.join([*cycle, following])} has neither a neuron nor a "
                    "delay of at least one step, so its values are not defined: add one."
                )
            closing.add((name, following))
            continue
        path.append(following)
        pending.append(iter(after.get(following, ())))
    unreached = [name for name in nodes if name not in done]
    if unreached:
        raise ValueError(
            f"NIR: node {shown(unreached[0])} is not reached from the input: add an edge, or "
            "remove it."
        )
    return finished[::-1], closing
