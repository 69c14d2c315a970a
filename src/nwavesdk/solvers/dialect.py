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

import torch

__all__ = [
    "NUMBA",
    "Dialect",
    "function_tree",
    "join_lines",
    "kernel_call",
    "kernel_function",
    "triton_dialect",
]


# Python passes more arguments than this as a list, which numba cannot inline.
MAX_ARGUMENTS = 30


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a kernel language writes a program text.

    Attributes:
        decorator: The line above a function.
        literal: The function around a float literal, or None if a literal takes the type of its
            operands.
        maths: Prefix of functions in place of `m.`; empty if they are plain names.
        defined: Functions of `m` that the module of the kernel defines itself, as plain names.
        divide: The function for `a / b`, or None to keep the operator.
        like: The function of a value and a literal that gives the literal the type and the shape of
            the value, for results and branches of a choice; None if the language needs none.
    """

    decorator: str
    literal: str | None = None
    maths: str = ""
    defined: frozenset[str] = frozenset()
    divide: str | None = None
    like: str | None = None


NUMBA = Dialect(decorator='@njit(inline="always", error_model="numpy")', literal="real")


def triton_dialect(dtype: str) -> Dialect:
    """The dialect of Triton, whose `/` does not round float32 as IEEE 754 requires.

    Args:
        dtype: Dtype of the values, `"float32"` or `"float64"`.
    """
    return Dialect(
        decorator="@triton.jit",
        maths="tl.",
        defined=frozenset({"exp", "pow", "sqrt", "tanh"}),
        divide="tl.div_rn" if dtype == "float32" else None,
        like="real",
    )


class _ToKernel(ast.NodeTransformer):
    """Rewrites a function into a dialect; calls of `surrogate` take `sigma` in addition.

    A result that is a tuple of one element becomes the element, where `like` is given: not every
    version of Triton returns such a tuple.
    """

    def __init__(self, first: str, sigma: Sequence[str], dialect: Dialect) -> None:
        self.first = first
        self.sigma = sigma
        self.dialect = dialect

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        literal = self.dialect.literal
        return _call(literal, node) if literal and isinstance(node.value, float) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.value, ast.Name) or node.value.id != "m":
            return node
        prefix = "" if node.attr in self.dialect.defined else self.dialect.maths
        return _expression(prefix + node.attr)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        divide = self.dialect.divide
        if divide and isinstance(node.op, ast.Div):
            return _call(divide, node.left, node.right)
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if self.dialect.like and isinstance(node.value, ast.Tuple):
            results = [self.typed(result) for result in node.value.elts]
            node.value = results[0] if len(results) == 1 else ast.Tuple(results, ast.Load())
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        is_where = ast.unparse(node.func) == "m.where"
        self.generic_visit(node)
        if is_where:
            node.args[1:] = map(self.typed, node.args[1:])

        function = node.func.id if isinstance(node.func, ast.Name) else ""
        if function == "surrogate":
            if self.sigma == ["sigma"]:
                return ast.Name("sigma", ast.Load())
            node.args += [ast.Name(name, ast.Load()) for name in self.sigma]
        return node

    def typed(self, node: ast.expr) -> ast.expr:
        """A literal with the type and the shape of the first argument; others unchanged."""
        like = self.dialect.like
        return _call(like, ast.Name(self.first), node) if like and _is_number(node) else node


def kernel_function(
    source: str | Callable[..., Any],
    sigma: Sequence[str] = (),
    dialect: Dialect = NUMBA,
    name: str | None = None,
) -> str:
    """A program text, or a function, as the source of an inlined kernel function.

    Args:
        source: The text or the function.
        sigma: Additional arguments, from which the function computes σ': the names of the
            surrogate's parameters, or `["sigma"]` for its value.
        dialect: The language.
        name: Name of the kernel function. [its own]

    Raises:
        ValueError: If a function uses a name from outside that is not torch.
    """
    function = function_tree(source)
    if not isinstance(source, str):
        _rename_torch(function, source)

    function.name = name or function.name
    function.returns = None
    function.args.defaults = []
    for argument in function.args.args:
        argument.annotation = None

    function.args.args += [ast.arg(a) for a in sigma]
    first = function.args.args[0].arg
    if dialect == NUMBA:
        _take_groups(function)

    kernel = _ToKernel(first, sigma, dialect).visit(function)
    return f"{dialect.decorator}\n{ast.unparse(ast.fix_missing_locations(kernel))}\n"


def kernel_call(name: str, arguments: Sequence[str]) -> str:
    """The call of a kernel function of numba; many arguments are passed in tuples."""
    if len(arguments) > MAX_ARGUMENTS:
        arguments = [f"({', '.join(group)},)" for group in _groups(arguments)]
    return f"{name}({', '.join(arguments)})"


def _take_groups(function: ast.FunctionDef) -> None:
    """Let a function take its arguments as `kernel_call` passes them."""
    names = [argument.arg for argument in function.args.args]
    if len(names) <= MAX_ARGUMENTS:
        return

    groups = {f"_group_{i}": group for i, group in enumerate(_groups(names))}
    unpack = "\n".join(f"{', '.join(group)}, = {name}" for name, group in groups.items())
    function.args.args = [ast.arg(name) for name in groups]
    function.body = [*ast.parse(unpack).body, *function.body]


def _groups(values: Sequence[str]) -> list[Sequence[str]]:
    starts = range(0, len(values), MAX_ARGUMENTS)
    return [values[start : start + MAX_ARGUMENTS] for start in starts]


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


def _rename_torch(function: ast.FunctionDef, source: Callable[..., Any]) -> None:
    """Write `m` for torch, under whichever name the module of the function imports it."""
    scope = source.__globals__
    local_names = {argument.arg for argument in function.args.args}
    names = [
        node for line in function.body for node in ast.walk(line) if isinstance(node, ast.Name)
    ]
    local_names |= {node.id for node in names if isinstance(node.ctx, ast.Store)}

    for node in names:
        if node.id in local_names or node.id == "abs":
            continue
        if scope.get(node.id) is not torch:
            raise ValueError(
                f"{source.__qualname__}: a kernel cannot read the name {node.id}, expected "
                "arguments, assigned names, numbers and functions of torch: write the number, or "
                "make it a field."
            )
        node.id = "m"


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant)


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_expression(function), list(arguments), [])


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
