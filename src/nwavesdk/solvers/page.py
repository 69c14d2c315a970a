"""Program texts in the language of a kernel: the common part of the numba and Triton code.

A program text (see `nwavesdk.dynamics.program`) and the formula of a surrogate are plain Python
with `m` for the maths; a dialect defines how its language writes literals, maths and division. The
parameters of a surrogate become arguments, so that all slopes share one compiled kernel.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["NUMBA", "Dialect", "function_tree", "join_lines", "kernel_function"]


@dataclass(frozen=True)
class Dialect:
    """How a kernel language writes a program text.

    Attributes:
        decorator: The line above a function.
        literal: The function around a float literal, or None if a literal takes the type of its
            operands.
        maths: What replaces `m.` before its functions; empty if they are plain names.
        divide: The function for `a / b`, or None to keep the operator.
    """

    decorator: str
    literal: str | None = None
    maths: str = ""
    divide: str | None = None


NUMBA = Dialect('@njit(inline="always", error_model="numpy")', literal="real")


class _ToKernel(ast.NodeTransformer):
    """Rewrites a function into a dialect; calls of `surrogate` take `sigma` in addition."""

    def __init__(self, sigma: Sequence[str], dialect: Dialect) -> None:
        self.sigma = sigma
        self.dialect = dialect

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        literal = self.dialect.literal
        return _call(literal, node) if literal and isinstance(node.value, float) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.value, ast.Name) or node.value.id != "m":
            return node
        return _expression(self.dialect.maths + node.attr)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        divide = self.dialect.divide
        if divide and isinstance(node.op, ast.Div):
            return _call(divide, node.left, node.right)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        if function == "surrogate":
            if self.sigma == ["sigma"]:
                return ast.Name("sigma", ast.Load())
            node.args += [ast.Name(name, ast.Load()) for name in self.sigma]
        return node


def kernel_function(
    source: str | Callable[..., Any],
    sigma: Sequence[str] = (),
    dialect: Dialect = NUMBA,
    name: str | None = None,
) -> str:
    """A program text, or a function, as the source of an inlined kernel function.

    Args:
        source: The text or the function.
        sigma: What the function takes in addition to compute σ': the names of the surrogate's
            parameters, or `["sigma"]` for its value.
        dialect: The language.
        name: Name of the kernel function. [its own]
    """
    function = function_tree(source)
    function.name = name or function.name
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    function.args.args += [ast.arg(a) for a in sigma]
    kernel = _ToKernel(sigma, dialect).visit(function)
    return f"{dialect.decorator}\n{ast.unparse(ast.fix_missing_locations(kernel))}\n"


def join_lines(lines: Iterable[str], indent: int) -> str:
    """The lines as one text; `indent` spaces precede all lines but the first."""
    return ("\n" + " " * indent).join(lines)


def function_tree(source: str | Callable[..., Any]) -> ast.FunctionDef:
    """The syntax tree of a function, without its docstring and decorators."""
    text = source if isinstance(source, str) else textwrap.dedent(inspect.getsource(source))
    tree = ast.parse(text)
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    function.decorator_list = []
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    return function


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_expression(function), list(arguments), [])


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
