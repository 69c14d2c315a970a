"""`read_page`: from a function that a user wrote to a `Page`, its neuron and its constants."""

import builtins
import contextlib
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from nwavesdk.dynamics.neuron import Neuron
from nwavesdk.dynamics.reader import read_step
from nwavesdk.dynamics.vocabulary import Kind, PageError
from nwavesdk.internal.checks import finite_number

__all__ = ["Constant", "Page", "read_page"]


@dataclass(frozen=True)
class Constant:
    """A constant of a page.

    Attributes:
        kind: The values that it may have.
        default: Its default, or None.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> LIF_PAGES["zero"].constants["threshold"]
        Constant(kind=Kind(low=0.0, high=None, unit=''), default=1.0)
    """

    kind: Kind
    default: float | None


@dataclass(frozen=True, kw_only=True)
class Page:
    """The content of a page.

    Attributes:
        source: Its text, without decorators.
        doc: Its docstring, or "".
        neuron: The neuron.
        constants: The constants that a user sets, by name.
        takes_dt: Whether it has `dt`, which receives the length of a step.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> print(LIF_PAGES["zero"].source.strip())
        def lif_zero(x, v, *, tau: TimeConstant, threshold: Positive = 1.0):
            u = decay(tau) * v + x
            s = spike(u - threshold)
            return s, u - held(s) * u
    """

    source: str
    doc: str
    neuron: Neuron
    constants: Mapping[str, Constant]
    takes_dt: bool


def read_page(
    function: Callable[..., Any],
    carry: Callable[..., Any] | None = None,
    forgets: Callable[..., Any] | None = None,
) -> Page:
    """Read the page of a neuron.

    Args:
        function: The page, a plain function.
        carry: See `Neuron`.
        forgets: See `Neuron`.

    Raises:
        PageError: If the function is not a page; the text names line and reason.

    Example:
        >>> from nwavesdk.dynamics import Positive, held, spike
        >>> def integrate(x, v, *, threshold: Positive = 1.0):
        ...     s = spike(v + x - threshold)
        ...     return s, (v + x) * (1 - held(s))
        >>> page = read_page(integrate)
        >>> page.neuron.states, page.neuron.has_reset, page.constants["threshold"].default
        (('v',), True, 1.0)
    """
    if not isinstance(function, types.FunctionType):
        raise PageError(
            f"the page of a neuron must be a plain function (def), got {type(function).__name__}."
        )
    if hasattr(function, "__wrapped__"):
        raise PageError(
            f"{function.__name__} has another decorator, which would have no effect, because a "
            "page is read and never called: remove the decorator."
        )

    source = _source_of(function)
    step = read_step(source, _scope_of(function), _location_of(function, source))

    hints = _hints_of(function)
    constants: dict[str, Constant] = {}
    for name in step.constants:
        default = inspect.signature(function).parameters[name].default
        # `dt` without a default is not set by users: it gets the length of a step.
        if name == "dt" and default is inspect.Parameter.empty:
            continue
        kind = _kind_of(function, name, hints.get(name))
        constants[name] = Constant(kind, _default_of(function, name, default, kind))

    neuron = Neuron(function.__name__, step, carry, forgets)
    for name in neuron.decaying:
        if name not in constants or not constants[name].kind.is_time:
            raise PageError(
                f"{function.__name__}: decay takes time constants, got decay({name}): "
                f"annotate {name} as TimeConstant, or write the decay with torch.exp."
            )

    return Page(
        source=source,
        doc=inspect.getdoc(function) or "",
        neuron=neuron,
        constants=constants,
        takes_dt="dt" in step.constants and "dt" not in constants,
    )


def _source_of(function: types.FunctionType) -> str:
    """The source text of a function from its `def`, without indentation."""
    with contextlib.suppress(OSError, TypeError):
        text = inspect.getsource(function)

        # Lines of a text within the function may begin further left.
        indent = text[: len(text) - len(text.lstrip())]
        lines = [line.removeprefix(indent) for line in text.splitlines(keepends=True)]
        first = next((i for i, line in enumerate(lines) if line.startswith("def ")), 0)
        source = "".join(lines[first:])

        # From Python 3.13 on, a function made by exec() may get lines of the text of `python -c`.
        name = function.__code__.co_name
        if name == "<lambda>" or re.match(rf"def\s+{name}\b", source):
            return source
    raise PageError(
        f"{function.__name__} has no source text, which Python does not keep at a prompt: "
        "write the function to a file or into a cell of a notebook."
    )


def _location_of(function: types.FunctionType, source: str) -> tuple[str, int] | None:
    """The file of a function and the line of its `def`; None without a file."""
    file = function.__code__.co_filename
    if not Path(file).is_file():
        return None
    lines, first = inspect.getsourcelines(function)
    return file, first + len(lines) - len(source.splitlines())


def _scope_of(function: types.FunctionType) -> dict[str, Any]:
    """The values of the free names of a function."""
    closure = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a name that gets its value later
            closure[name] = cell.cell_contents
    return {**vars(builtins), **function.__globals__, **closure}


def _hints_of(function: types.FunctionType) -> dict[str, Any]:
    """The annotations of a function; those that are strings are evaluated."""
    try:
        return get_type_hints(function, localns=_scope_of(function), include_extras=True)
    except Exception as error:
        raise PageError(
            f"{function.__name__}: the annotations of its constants cannot be read "
            f"({error}): import TimeConstant, Positive, Real or Bounded where the page is defined."
        ) from None


def _kind_of(function: types.FunctionType, name: str, hint: Any) -> Kind:
    kinds = [entry for entry in getattr(hint, "__metadata__", ()) if isinstance(entry, Kind)]
    if isinstance(hint, Kind):
        kinds = [hint]
    if len(kinds) != 1:
        raise PageError(
            f"{function.__name__}: the constant {name} needs a kind, as in {name}: Positive = 1.0; "
            "the kinds are TimeConstant, Positive, Real and Annotated[float, Bounded(low, high)]."
        )
    return kinds[0]


def _default_of(
    function: types.FunctionType, name: str, default: object, kind: Kind
) -> float | None:
    if default is inspect.Parameter.empty:
        return None
    try:
        return finite_number(
            function.__name__,
            f"the default of the constant {name}",
            default,
            above=-math.inf if kind.low is None else kind.low,
            below=math.inf if kind.high is None else kind.high,
        )
    except ValueError as error:
        raise PageError(str(error)) from None
