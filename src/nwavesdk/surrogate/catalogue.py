"""The catalogue: the name of every built-in surrogate, and texts that name a surrogate.

A surrogate is a class, called as a factory. NWAVE documents the classes of the first three; a
decorator makes all other classes from functions. A new surrogate needs one line here, one line in
the package's `__init__.py`, and a row in `docs/surrogates.md`.
"""

import ast
from dataclasses import fields
from typing import Any

from nwavesdk.internal.checks import close_name, shown
from nwavesdk.surrogate.base import Formula, Surrogate
from nwavesdk.surrogate.bells import (
    Sigmoid,
    erf,
    gaussian,
    heavi_erfc,
    multi_gaussian,
    periodic_exponential,
    piecewise_exp,
    single_exponential,
    spike_rate_escape,
    tanh,
)
from nwavesdk.surrogate.tails import (
    ATan,
    FastSigmoid,
    circ,
    fake_numerical_gradient,
    fixed_peak_atan,
    nonzero_sign_log_abs,
    q_pseudo_spike,
    soft_sign,
    super_spike,
)
from nwavesdk.surrogate.windows import (
    boxcar,
    heaviside_window,
    leaky_k_relu,
    log_tailed_relu,
    piecewise_leaky_relu,
    piecewise_quadratic,
    rect,
    s2nn,
    snntorch_triangular,
    sparse_fast_sigmoid,
    squarewave_fourier_series,
    straight_through,
    triangle,
)

__all__ = [
    "CATALOGUE",
    "arctan",
    "atan",
    "available",
    "fast_sigmoid",
    "parse",
    "sigmoid",
    "text",
]

atan = ATan
fast_sigmoid = FastSigmoid
sigmoid = Sigmoid
arctan = fixed_peak_atan
"""Spyx's name for `fixed_peak_atan`. It is not `atan`, whose peak grows with its parameter."""

# The classes that a decorator makes from functions.
_DECLARED: list[Any] = [
    fixed_peak_atan,
    soft_sign,
    super_spike,
    circ,
    q_pseudo_spike,
    nonzero_sign_log_abs,
    fake_numerical_gradient,
    tanh,
    erf,
    heavi_erfc,
    gaussian,
    multi_gaussian,
    piecewise_exp,
    single_exponential,
    spike_rate_escape,
    periodic_exponential,
    triangle,
    piecewise_quadratic,
    boxcar,
    rect,
    piecewise_leaky_relu,
    sparse_fast_sigmoid,
    straight_through,
    leaky_k_relu,
    log_tailed_relu,
    s2nn,
    heaviside_window,
    squarewave_fourier_series,
    snntorch_triangular,
]

CATALOGUE: dict[str, type[Formula]] = {
    "atan": ATan,
    "fast_sigmoid": FastSigmoid,
    "sigmoid": Sigmoid,
    **{kind.__name__: kind for kind in _DECLARED},
}
"""Every surrogate by its name."""

# Other names that `parse` reads: names of classes, and names of Spyx.
_ALIASES = {kind.__name__: kind for kind in CATALOGUE.values()}
_ALIASES |= dict.fromkeys(("arctan", "ArcTan"), CATALOGUE["fixed_peak_atan"])

# Longest text that `parse` reads; the longest text of a surrogate has 70 letters.
_LONGEST_TEXT = 300


def available() -> dict[str, type[Surrogate]]:
    """Return the name and the class of every surrogate; `docs/surrogates.md` shows them as a table.

    Example:
        >>> available()["triangle"](alpha=0.3)
        triangle(alpha=0.3, k=1.0)
    """
    return dict(CATALOGUE)


def text(surrogate: Surrogate) -> str:
    """Return the text that `parse` reads as `surrogate`, with all its parameters.

    Raises:
        ValueError: If the surrogate is not in the catalogue.

    Example:
        >>> text(atan(3))
        'atan(alpha=3.0)'
    """
    name = next((name for name, kind in CATALOGUE.items() if kind is type(surrogate)), None)
    if name is None:
        raise ValueError(
            f"{shown(surrogate)} is not in the catalogue: expected one of "
            "nwavesdk.surrogate.available()."
        )
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in surrogate.parameters.items())})"


def parse(text: str) -> Surrogate:
    """Return the surrogate that a text names: `"atan"`, `"atan(alpha=3)"` or `"atan(3)"`.

    It also reads the text of `repr`, such as `ATan(alpha=3.0)`, and the alias `arctan` of
    `fixed_peak_atan`.

    Args:
        text: A name, with parameters by name or in order where they differ from the defaults.

    Raises:
        ValueError: If the name is unknown, or the parameters are not plain numbers that the
            surrogate takes.

    Example:
        >>> parse("fast_sigmoid(slope=10)")
        FastSigmoid(slope=10.0)
    """
    kinds = CATALOGUE | _ALIASES
    name = text
    try:
        # A name without parentheses counts as a call without arguments.
        if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
            raise ValueError
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        name = call.func.id  # type: ignore[attr-defined]  # another node is caught
        positional = [ast.literal_eval(argument) for argument in call.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        kind = kinds[name]
    except (SyntaxError, AttributeError, ValueError, KeyError, TypeError, RecursionError):
        hint = close_name(name, kinds)
        raise ValueError(
            f"unknown surrogate {shown(text)}{hint}: expected a name with its parameters, as in "
            "atan or atan(alpha=3); `nwave surrogates` lists them."
        ) from None

    if len(named) < len(call.keywords):
        raise ValueError(
            f"surrogate {shown(text)} has a parameter twice: pass each parameter once."
        )

    try:
        return kind(*positional, **named)
    except TypeError:
        expected = ", ".join(field.name for field in fields(kind)) or "none"
        raise ValueError(
            f"surrogate {shown(text)} has parameters that {name} does not take: expected "
            f"{expected}."
        ) from None
