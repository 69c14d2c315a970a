"""`GraphDraft`: the nodes and edges of a NIR graph that is being written."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nwavesdk.internal.checks import shown
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.graph import NodePair, flat_graph, order_graph
from nwavesdk.interop.nir.modules import shaped
from nwavesdk.interop.nir.node import (
    MODULE_KEY,
    RESET_KEY,
    SUBTRACTION,
    Array,
    NirNode,
    Shape,
    node_error,
)

__all__ = ["INPUT", "GraphDraft", "ModuleDraft", "Signal", "numbered_name"]

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Signal:
    """The input or output of a module in one step: the sum of the outputs of nodes.

    Attributes:
        names: The nodes; a name that occurs twice counts twice.
        shape: Shape of a step.
    """

    names: tuple[str, ...]
    shape: Shape


def numbered_name(base: str, taken: Collection[str]) -> str:
    """A name that is not taken, with a number if necessary."""
    number = 1
    name = base
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


class GraphDraft:
    """Nodes and edges, in the order of their evaluation.

    A cycle begins with a Delay of one step, from `begin_cycle`. Its source is added later, and then
    connected to the Delay. A NIR file does not mark which edge of a cycle passes on the value of
    the step before: a reader takes the edge that closes the cycle in its search. If this is the
    edge from the source, `finish` leaves out the Delay.

    Args:
        shape: Shape of a step of the input.
        dt: Length of a step [s].
        discretization: `"exact"` or `"euler"`.

    Attributes:
        input_shape: Shape of a step of the input of the graph.
        nodes: The nodes by name.
        notes: Remarks for readers of the graph, one line each.
    """

    def __init__(self, shape: Shape, dt: float, discretization: str) -> None:
        self.input_shape = shape
        self.dt = dt
        self.discretization = discretization
        self.nodes: dict[str, NirNode] = {}
        self.notes: list[str] = []
        self._edges: list[NodePair] = []
        # For each Delay of a cycle, by name, whether another Delay after it includes its step.
        self._cycles: dict[str, bool] = {}

    def connect(self, signal: Signal, target: str) -> None:
        """Add edges from a signal to a node."""
        self._edges += [(source, target) for source in signal.names]

    def begin_cycle(self, shape: Shape, *, has_delay: bool = False) -> Signal:
        """A signal of the step before, from a Delay whose source is connected later.

        Args:
            shape: Shape of the signal.
            has_delay: Whether the signal leads to another Delay, which includes the step.
        """
        previous = ModuleDraft(self, "step", None, Signal((), shape)).after("", 1).signal
        self._cycles |= dict.fromkeys(previous.names, has_delay)
        return previous

    # The graph

    def finish(self, output: Signal, metadata: Mapping[str, Any]) -> Any:
        """The `nir.NIRGraph` whose output is a signal."""
        # Read the graph as other readers do. The Delays of cycles are not needed if the reader
        # delays the same edges. If a cycle needs one, the reader raises an error.
        with suppress(ValueError):
            graph, late_edges = self._written(output, metadata, self._cycles)
            if late_edges <= order_graph(flat_graph(graph, self.dt, self.discretization)).delayed:
                return graph

        included = {name for name, has_delay in self._cycles.items() if has_delay}
        return self._written(output, metadata, included)[0]

    def _written(
        self, output: Signal, metadata: Mapping[str, Any], left_out: Collection[str]
    ) -> tuple[Any, set[NodePair]]:
        """The graph without some Delays of cycles, and the edges that must replace them."""
        nir = require("nir", "interop")
        # The Delays of cycles are the last nodes, and the edges into them come last.
        names = [n for n in sorted(self.nodes, key=self._cycles.__contains__) if n not in left_out]
        nodes = {INPUT: nir.Input({"input": np.array(self.input_shape)})}
        nodes |= {name: _as_nir(self.nodes[name], nir) for name in names}
        nodes[OUTPUT] = nir.Output({"output": np.array(output.shape)})
        ordered = sorted(self._edges, key=lambda edge: edge[1] if edge[1] in self._cycles else "")
        pairs = [edge for edge in ordered if edge[1] not in left_out]

        edges: dict[NodePair, bool] = {}
        for source, target in [*pairs, *((name, OUTPUT) for name in output.names)]:
            is_late = source in left_out and not self._cycles[source]
            # The sources of a Delay that is left out, or the source itself.
            origins = [a for a, b in self._edges if b == source] if source in left_out else [source]
            for name in origins:
                if (name, target) not in edges:
                    edges[name, target] = is_late
                    continue
                # NIR has no two edges between the same nodes: the second goes through a Scale by 1.
                duplicate = f"{name}_again_{len(nodes)}"
                shape = self.nodes[name].shape_out if name in self.nodes else self.input_shape
                nodes[duplicate] = nir.Scale(scale=np.ones(shape, np.float32))
                edges |= {(name, duplicate): False, (duplicate, target): is_late}

        graph = nir.NIRGraph(nodes, list(edges), metadata=dict(metadata))
        return graph, {edge for edge, is_late in edges.items() if is_late}


@dataclass(frozen=True)
class ModuleDraft:
    """A module whose nodes are being added.

    Attributes:
        draft: The graph.
        path: Name of the module.
        module: The module.
        signal: Its input.
    """

    draft: GraphDraft
    path: str
    module: Any
    signal: Signal

    @property
    def owner(self) -> str:
        """How errors name the module."""
        return f"to_nir: module {shown(self.path)}" if self.path else "to_nir: the net"

    def refusal(self, got: str, expected: str, remedy: str) -> ValueError:
        """The error of a module that has no exact node."""
        return node_error(self.owner, got, expected, remedy)

    def add(
        self, kind: str, arrays: Mapping[str, Array], settings: Mapping[str, Any] | None = None
    ) -> Signal:
        """Add a node that gets the signal.

        Args:
            kind: Name of its class in `nir`.
            arrays: Its parameters that are arrays.
            settings: Its other parameters, as tuples.

        Returns:
            Its output.

        Raises:
            ValueError: If it does not take such an input.
        """
        return self.add_node(
            NirNode(kind=kind, arrays=arrays, settings=settings or {}, owner=self.owner)
        )

    def add_node(self, node: NirNode) -> Signal:
        """Add a node that gets the signal; its output."""
        remedy = "put nn.Flatten before it, or pass the input_shape of the net"
        node = shaped(replace(node, remedy=remedy), self.signal.shape, [])

        # Names in `nir` have no dots, and must not begin with a digit.
        base = self.path.replace(".", "_") or node.kind.lower()
        base = f"{node.kind.lower()}_{base}" if base[0].isdigit() else base
        name = numbered_name(base, {*self.draft.nodes, INPUT, OUTPUT})
        self.draft.nodes[name] = node
        self.draft.connect(self.signal, name)
        return Signal((name,), node.shape_out)

    def after(self, suffix: str, steps: NDArray[np.int64] | int) -> "ModuleDraft":
        """A part of the module, whose input is the signal some steps ago.

        Args:
            suffix: The end of its name, after the name of the module.
            steps: The steps, one number or a number per element. 0 adds no node: the part then has
                another name and the same signal.
        """
        part = replace(self, path=f"{self.path}_{suffix}" if self.path and suffix else self.path)
        delays = np.asarray(steps, np.float64) * self.draft.dt
        if not delays.any():
            return part

        delay = replace(part, path=f"{part.path}_delay" if part.path else "")
        return replace(part, signal=delay.add("Delay", {"delay": delays}))

    def inside(self, name: str, module: Any, signal: Signal) -> "ModuleDraft":
        """A module of a container, and its input."""
        return ModuleDraft(self.draft, f"{self.path}.{name}" if self.path else name, module, signal)

    def total(self, parts: Sequence[Signal]) -> Signal:
        """The sum of signals.

        Raises:
            ValueError: If they have different shapes.
        """
        first = parts[0]
        for part in parts:
            if part.shape != first.shape:
                raise self.refusal(
                    f"outputs of shapes {list(first.shape)} and {list(part.shape)} that are added",
                    "equal shapes",
                    "change the sizes of the modules",
                )
        return Signal(tuple(name for part in parts for name in part.names), first.shape)


def _as_nir(node: NirNode, nir: Any) -> Any:
    """A node of `nir`."""
    values: dict[str, Any] = {key: np.array(array) for key, array in node.arrays.items()}

    # `nir` has a number in place of a tuple with one, and needs the input of some nodes.
    for key, value in node.settings.items():
        values[key] = value[0] if not isinstance(value, str) and len(value) == 1 else value
    if node.kind.startswith("Conv"):
        values["input_shape"] = node.shape_in[1] if node.kind == "Conv1d" else node.shape_in[1:]
    if node.kind.endswith("Pool2d"):
        values = {key: np.array(value) for key, value in values.items()}
    if node.kind == "Flatten":
        values["input_type"] = {"input": np.array(node.shape_in)}

    written = getattr(nir, node.kind)(**values)

    # nir 1.0.8 derives wrong shapes for kernels that are not square, and none for pools.
    written.input_type = {"input": np.array(node.shape_in)}
    written.output_type = {"output": np.array(node.shape_out)}

    written.metadata = {MODULE_KEY: node.module} if node.module else {}
    if node.reset == SUBTRACTION:
        written.metadata[RESET_KEY] = SUBTRACTION
    return written
