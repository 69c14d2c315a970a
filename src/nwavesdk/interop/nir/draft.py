"""`GraphDraft`: the nodes and edges of a NIR graph that is being written."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nwavesdk.internal.checks import shown
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.graph import Edge
from nwavesdk.interop.nir.node import MODULE_KEY, RESET_KEY, SUBTRACTION, Array
from nwavesdk.interop.nir.sources import SOFT_RESET

__all__ = ["GraphDraft", "NoNodeError", "Signal", "refusal"]

INPUT, OUTPUT = "input", "output"


class Signal:
    """What one step of a net has at some place: the sum of the outputs of nodes.

    Args:
        names: The nodes; a name that is there twice counts twice.
        shape: Shape of a step.
    """

    def __init__(self, names: Sequence[str], shape: tuple[int, ...]) -> None:
        self.names = tuple(names)
        self.shape = tuple(shape)

    def plus(self, other: "Signal") -> "Signal":
        """The sum of two signals of one shape."""
        return Signal(self.names + other.names, self.shape)


class NoNodeError(ValueError):
    """A module has no exact node.

    Args:
        fault: Which module, what it has, and what NIR has.
        remedy: What to change in Python.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"to_nir: {fault}: {remedy}.")
        self.fault = fault


def refusal(path: str, got: str, expected: str, remedy: str) -> NoNodeError:
    """The error of a module that has no exact node."""
    where = f"module {shown(path)}" if path else "the net"
    return NoNodeError(f"{where}: got {got}, expected {expected}", remedy)


class GraphDraft:
    """Nodes and edges, in the order of their evaluation.

    Args:
        dt: Length of a step [s].
        discretization: `"exact"` or `"euler"`.
        allow: What is allowed that other readers do not know.
    """

    def __init__(self, dt: float, discretization: str, allow: frozenset[str]) -> None:
        self.nir = require("nir", "interop")
        self.dt = dt
        self.discretization = discretization
        self.allow = allow
        self.nodes: dict[str, Any] = {}
        self.edges: list[Edge] = []
        self.notes: list[str] = []
        self.input_shape: tuple[int, ...] = ()

    def begin(self, shape: tuple[int, ...]) -> Signal:
        """The input of the graph."""
        self.input_shape = shape
        return Signal([INPUT], shape)

    def add(
        self,
        kind: str,
        path: str,
        signal: Signal,
        shape: tuple[int, ...] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Signal:
        """Add a node that gets a signal.

        Args:
            kind: Name of its class in `nir`.
            path: Name of the module that it comes from.
            signal: Its input.
            shape: Shape of a step of its output; None is that of its input.
            metadata: What the file says about it besides NIR.
            values: Its parameters.

        Returns:
            Its output.
        """
        node = getattr(self.nir, kind)(**values)
        out = signal.shape if shape is None else shape
        # nir 1.0.8 derives wrong shapes for kernels that are not square, and none for pools.
        node.input_type = {"input": np.array(signal.shape)}
        node.output_type = {"output": np.array(out)}
        node.metadata = dict(metadata or {})
        name = self._name(kind, path)
        self.nodes[name] = node
        self._connect(signal, name)
        return Signal([name], out)

    def connect(self, signal: Signal, target: str) -> None:
        """Add edges from a signal to a node that is there."""
        self._connect(signal, target)

    def replace_source(self, marker: str, signal: Signal) -> None:
        """Let the edges from a marker come from a signal."""
        targets = [target for source, target in self.edges if source == marker]
        self.edges = [edge for edge in self.edges if edge[0] != marker]
        for target in targets:
            self._connect(signal, target)

    def _connect(self, signal: Signal, target: str) -> None:
        for source in signal.names:
            if (source, target) in self.edges:
                # NIR has no two edges between the same nodes: a Scale by 1 carries the second one.
                name = self._name("Scale", f"{source}_again")
                scale = self.nir.Scale(scale=np.ones(signal.shape, np.float32))
                self.nodes[name] = scale
                self.edges += [(source, name), (name, target)]
            else:
                self.edges.append((source, target))

    def _name(self, kind: str, path: str) -> str:
        base = path.replace(".", "_") or kind.lower()
        base = f"{kind.lower()}_{base}" if base[0].isdigit() else base
        name = base
        number = 2
        while name in self.nodes or name in (INPUT, OUTPUT):
            name = f"{base}_{number}"
            number += 1
        return name

    def subtraction(self, path: str) -> dict[str, Any]:
        """The metadata of a node whose spikes subtract the threshold.

        Raises:
            ValueError: If that is not allowed.
        """
        if SOFT_RESET not in self.allow:
            raise refusal(
                path,
                "a reset by subtraction",
                "one to a value, the only reset of NIR",
                'train with reset_mechanism="zero", or allow it with --allow soft-reset '
                '(allow={"soft-reset"}): other readers will then reset to 0',
            )
        return {RESET_KEY: SUBTRACTION}

    def of_module(self, path: str) -> dict[str, Any]:
        """The metadata of a node that is a layer of the net, by whose name `check` finds it."""
        return {MODULE_KEY: path} if path else {}

    def delay(self, path: str, signal: Signal, steps: NDArray[np.int64] | int) -> Signal:
        """A signal that arrives later; the same signal for no step."""
        delays: Array = np.broadcast_to(np.asarray(steps, np.float64), signal.shape) * self.dt
        if not delays.any():
            return signal
        return self.add("Delay", f"{path}_delay" if path else "", signal, delay=delays)

    def finish(self, signal: Signal, metadata: Mapping[str, Any]) -> Any:
        """The `nir.NIRGraph` whose output is a signal."""
        self.nodes = {INPUT: self.nir.Input({"input": np.array(self.input_shape)}), **self.nodes}
        self.nodes[OUTPUT] = self.nir.Output({"output": np.array(signal.shape)})
        self._connect(signal, OUTPUT)
        return self.nir.NIRGraph(self.nodes, self.edges, metadata=dict(metadata))
