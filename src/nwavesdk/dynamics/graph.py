"""A step of a neuron as a graph of operations, and the table of these operations.

Equal operations on equal values are one node, so the graph shares common terms. A node is constant
if it is made of constants and numbers alone; all other nodes may differ between steps.

The text of an operation is part of a program text (see `nwavesdk.dynamics.program`). A partial
derivative is a function that adds nodes to a graph: it takes the graph, the gradient of the result,
the result and the inputs, and returns the gradient times the partial derivative.
"""

import contextlib
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["OPERATIONS", "Graph", "Node", "Operation", "Step"]


Partial = Callable[..., int]


class Operation(NamedTuple):
    """The properties of an operation.

    Attributes:
        text: Its program text, with a pair of braces for each input.
        partials: The partial derivative with respect to each input; empty for `where`, which
            `derive_adjoint` handles, and for operations that get no gradient.
        on_numbers: The function that computes it if all inputs are numbers, while a page is read.
        cost: Cost of computing it again in backward, in units of an addition.
        unbounded_in: Position of the input that decides whether partial derivatives are finite;
            None if they always are.
        is_condition: Whether its result is true or false.
    """

    text: str
    partials: tuple[Partial, ...] = ()
    on_numbers: Callable[..., float] | None = None
    cost: int = 1
    unbounded_in: int | None = None
    is_condition: bool = False


def _same(graph: "Graph", g: int, *_: int) -> int:
    return g


def _negative(graph: "Graph", g: int, *_: int) -> int:
    return graph.minus(g)


def _power(graph: "Graph", g: int, result: int, base: int, exponent: int) -> int:
    n = graph.number_of(exponent)
    assert n is not None
    power = graph.add("**", base, graph.number(n - 1))
    return graph.times(g, graph.times(graph.number(n), power))


def _sign(graph: "Graph", g: int, result: int, a: int) -> int:
    zero = graph.number(0)
    negative = graph.add("where", graph.add("<", a, zero), graph.minus(g), zero)
    return graph.add("where", graph.add(">", a, zero), g, negative)


def _tanh(graph: "Graph", g: int, result: int, a: int) -> int:
    return graph.times(g, graph.add("-", graph.number(1), graph.times(result, result)))


def _comparison(text: str, on_numbers: Callable[..., bool]) -> Operation:
    return Operation(text, on_numbers=on_numbers, is_condition=True)


# The partial derivatives take the graph, the gradient g, the result y, and the inputs a and b.
OPERATIONS = {
    "input": Operation("", cost=0),
    "number": Operation("", cost=0),
    "held": Operation("held({})", (_same,), cost=0),
    "decay": Operation("decay({})"),
    "surrogate": Operation("surrogate({})"),
    "spike": Operation(
        "spike({})", (lambda graph, g, y, a: graph.times(g, graph.add("surrogate", a)),)
    ),
    "neg": Operation("-{}", (_negative,), operator.neg),
    "+": Operation("{} + {}", (_same, _same), operator.add),
    "-": Operation("{} - {}", (_same, _negative), operator.sub),
    "*": Operation(
        "{} * {}",
        (
            lambda graph, g, y, a, b: graph.times(g, b),
            lambda graph, g, y, a, b: graph.times(g, a),
        ),
        operator.mul,
    ),
    "/": Operation(
        "{} / {}",
        (
            lambda graph, g, y, a, b: graph.add("/", g, b),
            lambda graph, g, y, a, b: graph.minus(graph.times(graph.add("/", g, b), y)),
        ),
        operator.truediv,
        cost=4,
        unbounded_in=1,
    ),
    # An exponent is a number, which has no gradient.
    "**": Operation("m.pow({}, {})", (_power, _same), math.pow, cost=4, unbounded_in=0),
    "abs": Operation("m.abs({})", (_sign,), abs),
    "exp": Operation(
        "m.exp({})",
        (lambda graph, g, y, a: graph.times(g, y),),
        math.exp,
        cost=12,
        unbounded_in=0,
    ),
    "log": Operation(
        "m.log({})",
        (lambda graph, g, y, a: graph.add("/", g, a),),
        math.log,
        cost=12,
        unbounded_in=0,
    ),
    "sqrt": Operation(
        "m.sqrt({})",
        (lambda graph, g, y, a: graph.times(g, graph.add("/", graph.number(0.5), y)),),
        math.sqrt,
        cost=4,
        unbounded_in=0,
    ),
    "tanh": Operation("m.tanh({})", (_tanh,), math.tanh, cost=16),
    "sin": Operation(
        "m.sin({})",
        (lambda graph, g, y, a: graph.times(g, graph.add("cos", a)),),
        math.sin,
        cost=12,
    ),
    "cos": Operation(
        "m.cos({})",
        (lambda graph, g, y, a: graph.minus(graph.times(g, graph.add("sin", a))),),
        math.cos,
        cost=12,
    ),
    "where": Operation("m.where({}, {}, {})"),
    "<": _comparison("{} < {}", operator.lt),
    "<=": _comparison("{} <= {}", operator.le),
    ">": _comparison("{} > {}", operator.gt),
    ">=": _comparison("{} >= {}", operator.ge),
    "==": _comparison("{} == {}", operator.eq),
    "!=": _comparison("{} != {}", operator.ne),
    "and": Operation("{} & {}", is_condition=True),
    "or": Operation("{} | {}", is_condition=True),
    "not": Operation("{} == False", is_condition=True),
}
"""The operations of pages by name."""


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

        If the condition of a `where` compares numbers, the node is the branch that is taken.
        """
        operation = OPERATIONS[op]
        numbers = [self.number_of(i) for i in inputs]
        if operation.on_numbers and not operation.is_condition and None not in numbers:
            # The reader reports an operation that remains, such as 1 / 0.
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
        """The value of a node that is a number; None for other nodes."""
        n = self.nodes[node]
        return n.value if n.op == "number" and isinstance(n.value, float) else None

    def plus(self, a: int, b: int) -> int:
        """The sum of two nodes; a + (-b) becomes a - b."""
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
        """The product of two nodes without factors of 1; (-a) · b becomes -(a · b)."""
        for factor, other in ((a, b), (b, a)):
            if self.number_of(factor) == 1:
                return other
            if self.number_of(factor) == -1:
                return self.minus(other)

        op, inputs, _ = self.nodes[a]
        return self.minus(self.times(inputs[0], b)) if op == "neg" else self.add("*", a, b)

    def needed_for(self, nodes: Iterable[int], known: Collection[int] = ()) -> list[int]:
        """The nodes to compute for `nodes`, in order, if the values of `known` are available."""
        needed: set[int] = set()
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node not in needed and node not in known:
                needed.add(node)
                pending += self.nodes[node].inputs
        return sorted(needed)


@dataclass(frozen=True, kw_only=True)
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
        names: Names of nodes in the source of the page, for readable texts.
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
