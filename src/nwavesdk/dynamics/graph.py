"""A step of a neuron as a graph of operations.

Equal operations on equal values are one node, so the graph shares common terms. A node is constant
if it is made of constants and numbers alone; all other nodes may differ between steps.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nwavesdk.dynamics.operations import OPERATIONS

__all__ = ["Graph", "Node", "Step"]


class Node(NamedTuple):
    """An operation and the nodes that it is applied to.

    Attributes:
        op: `"input"`, `"number"`, an operator such as `"+"` or `"neg"`, or a function's name.
        inputs: Indices of nodes.
        value: The name of an input, or the number.
    """

    op: str
    inputs: tuple[int, ...] = ()
    value: str | float | None = None


@dataclass
class Graph:
    """Nodes in an order in which they can be computed; an equal node is added once.

    Attributes:
        nodes: The nodes.
        constants: Names of the inputs that are constants; all other inputs are values.
    """

    constants: tuple[str, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    _index: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _is_constant: list[bool] = field(default_factory=list)

    def add(self, op: str, *inputs: int, value: str | float | None = None) -> int:
        """The index of the node; an operation on numbers alone becomes a number.

        A `where` whose condition compares numbers becomes the branch that is taken.
        """
        operation = OPERATIONS[op]
        numbers = [self.number_of(i) for i in inputs]
        if operation.on_numbers and not operation.is_condition and None not in numbers:
            with contextlib.suppress(ArithmeticError, ValueError):
                return self.number(operation.on_numbers(*numbers))
        if op == "where":
            condition = self.nodes[inputs[0]]
            compare = OPERATIONS[condition.op].on_numbers
            numbers = [self.number_of(i) for i in condition.inputs]
            if compare and None not in numbers:
                return inputs[1] if compare(*numbers) else inputs[2]
        key = (op, inputs, repr(value))  # by its text, 0.0 differs from -0.0
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(Node(op, inputs, value))
            is_leaf = op == "input"
            is_constant = value in self.constants if is_leaf else all(map(self.is_constant, inputs))
            # Backward decides whether the gradient of `held` flows, and a solver takes constants
            # as floating numbers: neither `held` nor a condition is constant.
            self._is_constant.append(is_constant and op != "held" and not operation.is_condition)
        return self._index[key]

    def number(self, value: float) -> int:
        """The index of a number."""
        return self.add("number", value=float(value))

    def is_constant(self, node: int) -> bool:
        """Whether a node is made of constants and numbers alone."""
        return self._is_constant[node]

    def is_condition(self, node: int) -> bool:
        """Whether a node is true or false."""
        return OPERATIONS[self.nodes[node].op].is_condition

    def number_of(self, node: int) -> float | None:
        """The number that a node is, or None."""
        n = self.nodes[node]
        return n.value if n.op == "number" and isinstance(n.value, float) else None

    def plus(self, a: int, b: int) -> int:
        """The sum of two nodes; without a sign where it would be a difference."""
        if self.nodes[b].op == "neg":
            return self.add("-", a, self.nodes[b].inputs[0])
        if self.nodes[a].op == "neg":
            return self.add("-", b, self.nodes[a].inputs[0])
        return self.add("+", a, b)

    def minus(self, a: int) -> int:
        """The negative of a node."""
        op, inputs, _ = self.nodes[a]
        return inputs[0] if op == "neg" else self.add("neg", a)

    def times(self, a: int, b: int) -> int:
        """The product of two nodes, with its sign outside, and without factors of 1."""
        for factor, other in ((a, b), (b, a)):
            if self.number_of(factor) == 1:
                return other
            if self.number_of(factor) == -1:
                return self.minus(other)
        op, inputs, _ = self.nodes[a]
        return self.minus(self.times(inputs[0], b)) if op == "neg" else self.add("*", a, b)

    def needed_for(self, nodes: list[int], known: frozenset[int] = frozenset()) -> list[int]:
        """The nodes that must be computed for `nodes`, in order; those in `known` are there."""
        needed: set[int] = set()
        pending = [node for node in nodes if node not in known]
        while pending:
            node = pending.pop()
            if node not in needed:
                needed.add(node)
                pending += [i for i in self.nodes[node].inputs if i not in known]
        return sorted(needed)


@dataclass(frozen=True)
class Step:
    """The equation of a neuron as a graph.

    Attributes:
        name: Name of the function.
        graph: The graph.
        charge: Name of the charge.
        states: Names of the states in order.
        constants: Names of the constants in order.
        initial: Values of the states before the first step.
        after: Nodes of the states after the step.
        spike: Node of the spike, or None for a read-out.
        names: Names that the source gives to nodes, for texts that people read.
    """

    name: str
    graph: Graph
    charge: str
    states: tuple[str, ...]
    constants: tuple[str, ...]
    initial: tuple[float, ...]
    after: tuple[int, ...]
    spike: int | None
    names: Mapping[int, str]

    @property
    def results(self) -> tuple[int, ...]:
        """Nodes of all results: the spike, if there is one, and the states after the step."""
        return self.after if self.spike is None else (self.spike, *self.after)

    def input(self, name: str) -> int:
        """Node of the charge, of a state before the step, or of a constant."""
        return self.graph.add("input", value=name)

    @property
    def z(self) -> int | None:
        """Node of the argument of the spike."""
        return None if self.spike is None else self.graph.nodes[self.spike].inputs[0]

    @property
    def uses_held(self) -> bool:
        """Whether the page calls `held`: a layer may then detach the reset."""
        return any(node.op == "held" for node in self.graph.nodes)
