"""A page as source text in the language of a kernel: the common part of the numba and Triton code.

A page is written in plain Python with `m` for the maths; a dialect defines how its language writes
literals, maths and division. The parameters of a surrogate become arguments, so that all slopes
share one compiled kernel.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["NUMBA", "Dialect", "function_tree", "join_lines", "page_source"]


@dataclass(frozen=True)
class Dialect:
    """How a kernel language writes a page.

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
    """Rewrites a page into a dialect.

    Adds the surrogate's arguments to its calls; drops `held` from `fire`, as only adjoints need it.
    """

    def __init__(self, page: str, sigma: Sequence[str], dialect: Dialect) -> None:
        self.page = page
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
        if function == "held" and self.page == "fire":
            return node.args[0]
        return node


def page_source(
    name: str,
    page: Callable[..., Any],
    sigma: Sequence[str] = (),
    dialect: Dialect = NUMBA,
    results: int | None = None,
) -> str:
    """`page` as the source of an inlined kernel function called `name`.

    Args:
        name: `"integrate"`, `"fire"`, `"adjoint"`, `"surrogate"`, or a key of `Neuron.pages`.
        page: The function.
        sigma: What an adjoint takes in addition for σ': the names of the surrogate's parameters, or
            `["sigma"]` for its value.
        dialect: The language.
        results: How many of the page's results are returned, counted from the first. [all]
    """
    function = function_tree(page)
    final = function.body[-1]
    if isinstance(final, ast.Return) and isinstance(final.value, ast.Tuple):
        final.value.elts = final.value.elts[:results]
    function.name = name
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    if name == "adjoint":
        function.args.args += [ast.arg(a) for a in sigma]
    kernel = _ToKernel(name, sigma, dialect).visit(function)
    return f"{dialect.decorator}\n{ast.unparse(ast.fix_missing_locations(kernel))}\n"


def join_lines(lines: Iterable[str], indent: int) -> str:
    """The lines as one text; `indent` spaces precede all lines but the first."""
    return ("\n" + " " * indent).join(lines)


def function_tree(page: Callable[..., Any]) -> ast.FunctionDef:
    """The syntax tree of a function, without its docstring and decorators."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(page)))
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    function.decorator_list = []
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    return function


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_expression(function), list(arguments), [])


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
