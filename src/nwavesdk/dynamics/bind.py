"""`bind`: one page of maths, run by many machines.

A page is a plain Python function of scalars or tensors. Its free names are left open: `m` (the maths module: abs, exp,
log, sqrt, floor, cos, where), `spike` and `surrogate` (functions of z), `held` (how much of the gradient through the
reset counts), `reset` and `reset_adjoint`. Binding gives them a meaning: torch functions for the reference solver,
compiled scalar functions for the kernels, `triton.language` for GPUs.
"""

import types
from collections.abc import Callable
from typing import Any

__all__ = ["bind", "held", "reset", "reset_adjoint", "spike", "surrogate"]


def bind(page: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """A copy of `page` that sees `names` as its globals; the page itself stays as it was.

    Example:
        >>> bind(lambda z: spike(z), spike=abs)(-2)
        2
    """
    assert isinstance(page, types.FunctionType)
    scope = {**page.__globals__, **names}
    return types.FunctionType(page.__code__, scope, page.__name__, page.__defaults__, page.__closure__)


def _open(name: str) -> Callable[..., Any]:
    def unbound(*_: Any) -> Any:
        raise RuntimeError(f"{name} is an open name of a page: bind the page before it is called.")

    unbound.__name__ = name
    return unbound


spike = _open("spike")
surrogate = _open("surrogate")
held = _open("held")
reset = _open("reset")
reset_adjoint = _open("reset_adjoint")
