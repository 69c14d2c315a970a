"""The operations of pages: one table of their texts, derivatives and costs.

A text is that of a program (see `nwavesdk.dynamics.program`). A partial derivative is a function
that adds nodes to a graph: it takes the graph, the gradient of the result, the result and the
inputs, and returns the gradient times the partial derivative.
"""

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nwavesdk.dynamics.graph import Graph

__all__ = ["OPERATIONS", "Operation"]

Partial = Callable[..., int]


class Operation(NamedTuple):
    """What is known of an operation.

    Attributes:
        text: Its program text, with a pair of braces for each input.
        partials: The partial derivative by each input; none of a choice and of a condition.
        on_numbers: What it is computed by if all inputs are numbers, while a page is read.
        cost: Of computing it again in backward, in units of an addition.
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


# Of the partial derivatives: the graph, the gradient, the result y, and the inputs a and b.
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
"""What pages are made of, by name."""
