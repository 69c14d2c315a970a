"""The catalogue: the name of every built-in surrogate, and texts that name one.

A surrogate's class is its own factory: `triangle` is the class `Triangle`, so editors and type
checkers see its parameters. Adding a surrogate takes one line here, one in the package's
`__init__.py`, and a row in `docs/surrogates.md`.
"""

import ast
from dataclasses import fields

from nwavesdk.internal.checks import close_name, shown
from nwavesdk.surrogate.base import Formula, Surrogate
from nwavesdk.surrogate.bells import Erf, Gaussian, HeaviErfc, MultiGaussian, Sigmoid, Tanh
from nwavesdk.surrogate.exponentials import (
    PeriodicExponential,
    PiecewiseExp,
    SingleExponential,
    SpikeRateEscape,
)
from nwavesdk.surrogate.ramps import (
    HeavisideWindow,
    LeakyKReLU,
    LogTailedReLU,
    S2nn,
    SnnTorchTriangular,
    SquarewaveFourierSeries,
    StraightThrough,
)
from nwavesdk.surrogate.tails import (
    ATan,
    Circ,
    FakeNumericalGradient,
    FastSigmoid,
    FixedPeakATan,
    NonzeroSignLogAbs,
    QPseudoSpike,
    SoftSign,
    SuperSpike,
)
from nwavesdk.surrogate.windows import (
    Boxcar,
    PiecewiseLeakyReLU,
    PiecewiseQuadratic,
    Rect,
    SparseFastSigmoid,
    Triangle,
)

__all__ = [
    "CATALOGUE",
    "arctan",
    "atan",
    "available",
    "boxcar",
    "circ",
    "erf",
    "fake_numerical_gradient",
    "fast_sigmoid",
    "fixed_peak_atan",
    "gaussian",
    "heavi_erfc",
    "heaviside_window",
    "leaky_k_relu",
    "log_tailed_relu",
    "multi_gaussian",
    "nonzero_sign_log_abs",
    "parse",
    "periodic_exponential",
    "piecewise_exp",
    "piecewise_leaky_relu",
    "piecewise_quadratic",
    "q_pseudo_spike",
    "rect",
    "s2nn",
    "sigmoid",
    "single_exponential",
    "snntorch_triangular",
    "soft_sign",
    "sparse_fast_sigmoid",
    "spike_rate_escape",
    "squarewave_fourier_series",
    "straight_through",
    "super_spike",
    "tanh",
    "text",
    "triangle",
]

atan = ATan
fast_sigmoid = FastSigmoid
sigmoid = Sigmoid
fixed_peak_atan = FixedPeakATan
soft_sign = SoftSign
super_spike = SuperSpike
circ = Circ
q_pseudo_spike = QPseudoSpike
nonzero_sign_log_abs = NonzeroSignLogAbs
fake_numerical_gradient = FakeNumericalGradient
tanh = Tanh
erf = Erf
heavi_erfc = HeaviErfc
gaussian = Gaussian
multi_gaussian = MultiGaussian
piecewise_exp = PiecewiseExp
single_exponential = SingleExponential
spike_rate_escape = SpikeRateEscape
periodic_exponential = PeriodicExponential
triangle = Triangle
piecewise_quadratic = PiecewiseQuadratic
boxcar = Boxcar
rect = Rect
piecewise_leaky_relu = PiecewiseLeakyReLU
sparse_fast_sigmoid = SparseFastSigmoid
straight_through = StraightThrough
leaky_k_relu = LeakyKReLU
log_tailed_relu = LogTailedReLU
s2nn = S2nn
heaviside_window = HeavisideWindow
squarewave_fourier_series = SquarewaveFourierSeries
snntorch_triangular = SnnTorchTriangular

# Name and class of every surrogate above, in that order.
CATALOGUE: dict[str, type[Formula]] = {
    name: kind
    for name, kind in dict(globals()).items()
    if isinstance(kind, type) and issubclass(kind, Formula) and name != kind.__name__
}

# Longest text that `parse` reads; the longest of ours has 70 letters.
_LONGEST_TEXT = 300

arctan = FixedPeakATan
"""Spyx's name for `fixed_peak_atan`. It is not `atan`, whose peak grows with its parameter."""

_ALIASES: dict[str, type[Formula]] = {"arctan": FixedPeakATan, "ArcTan": FixedPeakATan}


def available() -> dict[str, type[Surrogate]]:
    """Return the name and the class of every surrogate; `docs/surrogates.md` shows them as a table.

    Example:
        >>> available()["triangle"](alpha=0.3)
        Triangle(alpha=0.3, k=1.0)
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

    The text may use the name of the class instead, so that `parse` also reads what `repr` prints,
    and the alias `arctan` of `fixed_peak_atan`.

    Args:
        text: A name, with parameters by name or in order where they differ from the defaults.

    Raises:
        ValueError: If the name is unknown, or the parameters are not plain numbers that the
            surrogate takes.

    Example:
        >>> parse("fast_sigmoid(slope=10)")
        FastSigmoid(slope=10.0)
    """
    kinds = CATALOGUE | {kind.__name__: kind for kind in CATALOGUE.values()} | _ALIASES
    name = text
    try:
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
        raise ValueError(f"surrogate {shown(text)} has a parameter twice: give each once.")
    try:
        return kind(*positional, **named)
    except TypeError:
        expected = ", ".join(field.name for field in fields(kind)) or "none"
        raise ValueError(
            f"surrogate {shown(text)} has parameters that {name} does not take: expected "
            f"{expected}."
        ) from None
