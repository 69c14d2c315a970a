"""The catalogue: one row for each surrogate with a formula of its own; names, and texts that name one."""

import ast
from dataclasses import fields

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
    ArcTan,
    ATan,
    Circ,
    FakeNumericalGradient,
    FastSigmoid,
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

__all__ = ["CATALOGUE", "atan", "available", "fast_sigmoid", "parse", "sigmoid", "text"]

CATALOGUE: dict[str, type[Formula]] = {
    "atan": ATan,
    "fast_sigmoid": FastSigmoid,
    "sigmoid": Sigmoid,
    "arctan": ArcTan,
    "soft_sign": SoftSign,
    "super_spike": SuperSpike,
    "circ": Circ,
    "q_pseudo_spike": QPseudoSpike,
    "nonzero_sign_log_abs": NonzeroSignLogAbs,
    "fake_numerical_gradient": FakeNumericalGradient,
    "tanh": Tanh,
    "erf": Erf,
    "heavi_erfc": HeaviErfc,
    "gaussian": Gaussian,
    "multi_gaussian": MultiGaussian,
    "piecewise_exp": PiecewiseExp,
    "single_exponential": SingleExponential,
    "spike_rate_escape": SpikeRateEscape,
    "periodic_exponential": PeriodicExponential,
    "triangle": Triangle,
    "piecewise_quadratic": PiecewiseQuadratic,
    "boxcar": Boxcar,
    "rect": Rect,
    "piecewise_leaky_relu": PiecewiseLeakyReLU,
    "sparse_fast_sigmoid": SparseFastSigmoid,
    "straight_through": StraightThrough,
    "leaky_k_relu": LeakyKReLU,
    "log_tailed_relu": LogTailedReLU,
    "s2nn": S2nn,
    "heaviside_window": HeavisideWindow,
    "squarewave_fourier_series": SquarewaveFourierSeries,
    "snntorch_triangular": SnnTorchTriangular,
}
"""Name and class, which is called like a factory: `nwavesdk.surrogate` hands out each row under its name."""


def atan(alpha: float = 2.0) -> ATan:
    """Spikes with the derivative of an arctangent, see `ATan`.

    Raises:
        ValueError: `alpha` is not a finite number above 0.
    """
    return ATan(alpha)


def fast_sigmoid(slope: float = 25.0) -> FastSigmoid:
    """Spikes with the derivative of a fast sigmoid, see `FastSigmoid`; the documented baseline.

    Raises:
        ValueError: `slope` is not a finite number above 0.
    """
    return FastSigmoid(slope)


def sigmoid(slope: float = 25.0) -> Sigmoid:
    """Spikes with the derivative of a logistic sigmoid, see `Sigmoid`.

    Raises:
        ValueError: `slope` is not a finite number above 0.
    """
    return Sigmoid(slope)


def available() -> dict[str, type[Surrogate]]:
    """Name and class of every surrogate in the catalogue; `docs/surrogates.md` has them as a table.

    Example:
        >>> available()["triangle"](alpha=0.3)
        Triangle(alpha=0.3, k=1.0)
    """
    return dict(CATALOGUE)


def text(surrogate: Surrogate) -> str:
    """The text that `parse` reads as `surrogate`, with all its parameters.

    Raises:
        ValueError: it is not one of the catalogue.

    Example:
        >>> text(atan(3))
        'atan(alpha=3.0)'
    """
    name = next((name for name, kind in CATALOGUE.items() if kind is type(surrogate)), None)
    if name is None:
        raise ValueError(
            f"{surrogate!r} is not in the catalogue: expected one of {', '.join(sorted(CATALOGUE))}."
        )
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in surrogate.parameters.items())})"


def parse(text: str) -> Surrogate:
    """The surrogate that `text` names, its parameters by name or in order: `"atan"`, `"atan(alpha=3)"`, `"atan(3)"`.

    Names of classes are taken too, so that it reads what `repr` prints.

    Raises:
        ValueError: the name is unknown, or the parameters are not plain numbers that the surrogate takes.

    Example:
        >>> parse("fast_sigmoid(slope=10)")
        FastSigmoid(slope=10.0)
    """
    expected = f"one of {', '.join(sorted(CATALOGUE))}, as in atan or atan(alpha=3)"
    kinds = CATALOGUE | {kind.__name__: kind for kind in CATALOGUE.values()}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        name = call.func.id  # type: ignore[attr-defined]  # another node is caught
        positional = [ast.literal_eval(a) for a in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        cls = kinds[name]
    except (SyntaxError, AttributeError, ValueError, KeyError, TypeError):
        raise ValueError(f"unknown surrogate {text!r}: expected {expected}.") from None
    try:
        return cls(*positional, **named)
    except TypeError:
        takes = ", ".join(f.name for f in fields(cls)) or "none"
        raise ValueError(
            f"surrogate {text!r} has parameters that {name} does not take: it takes {takes}."
        ) from None
