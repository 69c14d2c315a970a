"""The page of a neuron, read from its source as a graph.

A *page* is a plain Python function that computes one step of a neuron. The charge and the states
are positional arguments, the constants are keyword-only arguments, and the code has no branches:

    def step(x, v, *, tau, threshold):
        u = decay(tau) * v + x
        s = spike(u - threshold)
        return s, u - threshold * held(s)

It is read once and never called.

To add an operation that other operations can express, such as `maximum`, add its name to
`FUNCTIONS` and a case to `_Reader.call`. Any other operation also needs:

- a row in `OPERATIONS` of `graph`: its text, partial derivatives and cost; `unbounded_in`, if a
  partial derivative can be infinite; `on_numbers`, if it can be computed while a page is read;
- its name in `RESERVED` of `derivation`;
- its torch version in `TorchMaths` of `neuron`, its numba version in `solvers/cpu/render.py`, and
  its C text in `interop/c/step_text.py`;
- for Triton, unless `tl` has the function, a definition in `solvers/gpu/render.py` and its name in
  `triton_dialect` of `solvers/dialect.py`;
- a line in `docs/your-neuron.md`, and a form in `tests/dynamics/test_derivation.py`.
"""

import ast
import contextlib
import math
import types
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch

from nwavesdk.dynamics.graph import OPERATIONS, Graph, Step
from nwavesdk.dynamics.vocabulary import PageError, decay, held, spike
from nwavesdk.internal.checks import close_name
from nwavesdk.internal.files import printable

__all__ = ["read_step"]

FUNCTIONS: dict[Any, tuple[str, int]] = {
    spike: ("spike", 1),
    held: ("held", 1),
    decay: ("decay", 1),
    abs: ("abs", 1),
    torch.abs: ("abs", 1),
    torch.exp: ("exp", 1),
    torch.log: ("log", 1),
    torch.sqrt: ("sqrt", 1),
    torch.tanh: ("tanh", 1),
    torch.sin: ("sin", 1),
    torch.cos: ("cos", 1),
    torch.maximum: ("maximum", 2),
    torch.minimum: ("minimum", 2),
    torch.where: ("where", 3),
}
"""The functions of an equation, by the object of their name: the operation, and its arguments."""

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


def read_step(
    source: str, scope: Mapping[str, Any], location: tuple[str, int] | None = None
) -> Step:
    """The graph of the function in a source text.

    Args:
        source: The text of the function, without indentation; its decorators are ignored.
        scope: Values of its free names: numbers, torch and its functions, and the vocabulary.
        location: The file of the function and the line of its `def`, for errors.

    Raises:
        PageError: If the function is not an equation; the text names line and reason.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a part of a line, as of a lambda within a call
        tree = ast.Module([], [])

    function = next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)
    if function is None:
        raise PageError("the source of an equation must be a plain function (def).")
    return _Reader(function, scope, source, location).read()


class _Reader:
    """Turns a syntax tree into a graph."""

    def __init__(
        self,
        function: ast.FunctionDef,
        scope: Mapping[str, Any],
        source: str,
        location: tuple[str, int] | None,
    ) -> None:
        self.function = function
        self.location = location
        self.scope = scope
        self.lines = source.splitlines()

        arguments = function.args
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
            raise self.error(function, "takes the charge, states, and keyword-only constants only")
        self.inputs = [a.arg for a in arguments.args]
        self.constants = tuple(a.arg for a in arguments.kwonlyargs)
        if len(self.inputs) < 2:
            raise self.error(function, "needs a charge and at least one state as arguments")

        self.graph = Graph(self.constants)
        self.values: dict[str, int] = {}
        self.assigned: set[str] = set()

        # Python evaluates defaults outside of the function, so they are read before it has names.
        self.initial = self.initial_states()
        self.values = {
            name: self.graph.add("input", value=name) for name in (*self.inputs, *self.constants)
        }
        self.names: dict[int, str] = {}

        # Python does not look outside for names that a function assigns.
        self.assigned = {
            node.id
            for statement in function.body
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }

    def error(self, node: ast.AST, reason: str) -> PageError:
        """The error of a node, with its line in the file of the page, or in its source text."""
        line = getattr(node, "lineno", 1)
        text = self.lines[line - 1].strip() if line <= len(self.lines) else ""
        location = f"{self.function.name}, line {line} of its source"
        if self.location is not None:
            file, first = self.location
            location = f"{printable(file)}:{first + line - 1}"
        return PageError(f"{location} ({text}): {reason}.")

    def read(self) -> Step:
        """The step that the function computes."""
        *statements, last = self.function.body
        for statement in statements:
            self.assign(statement)

        if not isinstance(last, ast.Return) or last.value is None:
            raise self.error(last, "an equation ends with return: the spike, then the states")
        results = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
        nodes = [self.expression(result) for result in results]

        spike_node = self.single_spike()
        K = len(self.inputs) - 1
        expected = K if spike_node is None else K + 1
        if len(nodes) != expected:
            names = ["the spike"] * (expected - K) + self.inputs[1:]
            count = f"{len(nodes)} value{'s' * (len(nodes) != 1)}"
            reason = f"returns {count}, expected {expected}: {', '.join(names)} after the step"
            raise self.error(last, reason)

        if spike_node is not None and nodes[0] != spike_node:
            raise self.error(last, "the result of spike must be returned first, unchanged")
        if any(map(self.graph.is_condition, nodes)):
            raise self.error(last, "a comparison is not a value: use torch.where")

        for name, node in zip(self.inputs[1:], nodes[-K:], strict=True):
            number = self.graph.number_of(node)
            if number is not None:
                reason = (
                    f"the state {name} is {number:g} after every step: return a value that depends "
                    f"on charge or states, or remove {name}"
                )
                raise self.error(last, reason)
        self.require_inputs(last, nodes)

        return Step(
            name=self.function.name,
            graph=self.graph,
            charge=self.inputs[0],
            states=tuple(self.inputs[1:]),
            constants=self.constants,
            initial=self.initial,
            after=tuple(nodes if spike_node is None else nodes[1:]),
            spike=spike_node,
            names=self.names,
        )

    def require_inputs(self, last: ast.stmt, nodes: list[int]) -> None:
        """Reject a charge, and constants, on which no result depends."""
        needed = self.graph.needed_for(nodes)
        if self.graph.add("input", value=self.inputs[0]) not in needed:
            raise self.error(last, f"nothing depends on the charge {self.inputs[0]}")
        for name in self.constants:
            if self.graph.add("input", value=name) not in needed:
                raise self.error(self.function, f"nothing depends on the constant {name}")

    def initial_states(self) -> tuple[float, ...]:
        """The defaults of the states; 0 for a state without a default."""
        arguments = self.function.args
        first = len(self.inputs) - len(arguments.defaults)
        if first <= 0:
            raise self.error(self.function, f"the charge {self.inputs[0]} cannot have a default")

        values = [self.graph.number_of(self.value(default)) for default in arguments.defaults]
        if None in values:
            raise self.error(self.function, "the default of a state must be a number")
        return (0.0,) * (first - 1) + tuple(v for v in values if v is not None)

    def single_spike(self) -> int | None:
        """The node of the spike; None in a read-out."""
        spikes = [i for i, node in enumerate(self.graph.nodes) if node.op == "spike"]
        if len(spikes) > 1:
            raise self.error(self.function, "spike may be called once, got two different calls")
        return spikes[0] if spikes else None

    def assign(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Expr(value=ast.Constant()):  # the docstring
                return
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                node = self.expression(value)
                self.values[name] = node
                self.names.setdefault(node, name)
            case ast.Assign():
                raise self.error(statement, "assign to one name per line")
            case _:
                raise self.impossible(statement)

    def expression(self, e: ast.expr) -> int:
        """The node of an expression."""
        match e:
            # Names and numbers.
            case ast.Name(id=name) if name in self.values:
                return self.values[name]
            case ast.Name() | ast.Attribute():
                return self.number(e, self.look_up(e))
            case ast.Constant(value=number):
                return self.number(e, number)

            # Operators and comparisons.
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.add(e, "neg", self.value(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.value(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.power(e, self.value(left), self.value(right))
            case (
                ast.BinOp(left=left, op=op, right=right)
                | ast.Compare(left=left, ops=[op], comparators=[right])
            ) if type(op) in OPERATORS:
                return self.add(e, OPERATORS[type(op)], self.value(left), self.value(right))

            case ast.Call():
                return self.call(e)
        raise self.impossible(e)

    def add(self, e: ast.expr, op: str, *inputs: int) -> int:
        """The node of an operation; an operation on numbers alone must have a finite result."""
        node = self.graph.add(op, *inputs)
        numbers = [self.graph.number_of(i) for i in inputs]
        is_computed = OPERATIONS[op].on_numbers and not self.graph.is_condition(node)
        if is_computed and None not in numbers:
            number = self.graph.number_of(node)
            if number is None or not math.isfinite(number):
                raise self.error(e, f"{ast.unparse(e)} is not a finite number: use other numbers")
        return node

    def impossible(self, node: ast.AST) -> PageError:
        """The error of a statement or an expression that no page has."""
        syntax, remedy = _IMPOSSIBLE.get(type(node), (type(node).__name__, _ASSIGNMENTS))
        return self.error(node, f"{syntax} is not possible in an equation: {remedy}")

    def value(self, e: ast.expr) -> int:
        """The node of an expression that is not a comparison."""
        node = self.expression(e)
        if self.graph.is_condition(node):
            raise self.error(e, "a comparison is not a value: use torch.where(condition, a, b)")
        return node

    def power(self, e: ast.expr, base: int, exponent: int) -> int:
        """The node of a power, as a root or as products where this is possible."""
        number = self.graph.number_of(exponent)
        if number is None:
            raise self.error(e, "an exponent must be a number")
        if number == 0:
            return self.graph.number(1)
        if number == 0.5:
            return self.add(e, "sqrt", base)
        if number not in (1, 2, 3, 4):
            return self.add(e, "**", base, exponent)

        # Products have the same bits on every machine, powers do not.
        result = base
        for _ in range(int(number) - 1):
            result = self.add(e, "*", result, base)
        return result

    def call(self, e: ast.Call) -> int:
        """The node of a function of its arguments."""
        try:
            name, count = FUNCTIONS[self.look_up(e.func)]
        except (KeyError, TypeError):
            known = ", ".join(sorted({name for name, _ in FUNCTIONS.values()}))
            reason = f"{ast.unparse(e.func)} is not one of the functions of an equation ({known})"
            instead = _INSTEAD.get(ast.unparse(e.func).rpartition(".")[2])
            reason += f": write {instead}" if instead else ""
            raise self.error(e, reason) from None
        if e.keywords or len(e.args) != count:
            raise self.error(e, f"{name} takes {count} argument{'s' * (count > 1)}, by position")

        if name == "where":
            condition = self.expression(e.args[0])
            if not self.graph.is_condition(condition):
                raise self.error(e, "the first argument of where must be a comparison")
            return self.graph.add("where", condition, *map(self.value, e.args[1:]))

        arguments = [self.value(argument) for argument in e.args]
        if name in ("maximum", "minimum"):
            # At a tie, and for NaN, the first argument counts.
            compared = arguments if name == "maximum" else arguments[::-1]
            return self.graph.add("where", self.graph.add("<", *compared), *arguments[::-1])
        if name == "held" and self.graph.number_of(arguments[0]) is not None:
            return arguments[0]

        node = self.add(e, name, *arguments)
        if name == "decay" and self.graph.nodes[arguments[0]].value not in self.constants:
            reason = (
                "decay takes the name of one constant, a time constant; in the head of the "
                "function, constants come after *"
            )
            raise self.error(e, reason)
        if name == "spike" and self.graph.is_constant(node):
            raise self.error(e, "the argument of spike depends on constants alone")
        return node

    def look_up(self, e: ast.expr) -> Any:
        """The object of a name, or of a dotted name, in the scope of the function."""
        if isinstance(e, ast.Name) and e.id in self.values:
            reason = f"{e.id} is a value, without methods: use a function, as in torch.abs({e.id})"
            raise self.error(e, reason)
        if isinstance(e, ast.Name) and e.id in self.assigned:
            reason = (
                f"{e.id} is used before the line that assigns it: rename the assigned value, or "
                "change the order"
            )
            raise self.error(e, reason)

        if isinstance(e, ast.Name) and e.id in self.scope:
            return self.scope[e.id]
        if isinstance(e, ast.Attribute):
            owner = self.look_up(e.value)
            if isinstance(owner, types.ModuleType) and hasattr(owner, e.attr):
                return getattr(owner, e.attr)

        name = ast.unparse(e)
        near = close_name(name, [*self.values, *sorted(self.assigned - {*self.values})])
        reason = (
            f"the name {name} is unknown{near}: a page uses its arguments, names that it has "
            "assigned, and functions and numbers of its module"
        )
        raise self.error(e, reason)

    def number(self, e: ast.expr, value: object) -> int:
        """The node of a finite number."""
        number = math.nan
        if isinstance(value, Real) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                number = float(value)
        if not math.isfinite(number):
            reason = f"{ast.unparse(e)} is not a finite number, but {type(value).__name__}"
            raise self.error(e, reason)
        return self.graph.number(number)


_ASSIGNMENTS = "it is assignments, one per line, and a return in the last line"
_CHOICE = "use torch.where(condition, a, b)"
_NESTED = "put one torch.where into another"

# The remedy for functions that pages do not have.
_INSTEAD = {
    "clamp": "torch.minimum(torch.maximum(u, low), high)",
    "clip": "torch.minimum(torch.maximum(u, low), high)",
    "heaviside": "torch.where(u > 0, 1, 0)",
    "max": "torch.maximum(a, b)",
    "min": "torch.minimum(a, b)",
    "pow": "u ** 2, with a number as exponent",
    "relu": "torch.maximum(u, 0.0)",
    "sigmoid": "1 / (1 + torch.exp(-u))",
    "square": "u ** 2",
}

# Statements and expressions that no page has: their names and the remedy.
_IMPOSSIBLE: dict[type[ast.AST], tuple[str, str]] = {
    ast.AugAssign: ("an operation in place", "write u = u + ..."),
    ast.If: ("if", _CHOICE),
    ast.IfExp: ("a choice by if", _CHOICE),
    ast.For: ("a loop", "write a line for each of its rounds"),
    ast.While: ("a loop", "write a line for each of its rounds"),
    ast.BoolOp: ("and/or", _NESTED),
    ast.Compare: ("this comparison", f"compare two values by < <= > >= == or !=, or {_NESTED}"),
    ast.UnaryOp: ("this operator", "use + - * / and **, and torch.where for not"),
    ast.BinOp: ("this operator", "use + - * / and **, and torch.where for conditions"),
    ast.Subscript: ("indexing", "a page computes one neuron, and layers add the dimensions"),
    ast.Tuple: ("a tuple", _ASSIGNMENTS),
    ast.List: ("a list", _ASSIGNMENTS),
    ast.Expr: ("a line without a name for its result", _ASSIGNMENTS),
    ast.Return: ("a return before the end", _ASSIGNMENTS),
    ast.FunctionDef: ("a function", "write its lines into the page"),
    ast.Lambda: ("a function", "write its lines into the page"),
}
