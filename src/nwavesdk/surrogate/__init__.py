"""The gradient of a spike: the contract of a surrogate, and the catalogue of surrogates."""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use
from nwavesdk.surrogate.base import Formula, Surrogate, heaviside
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
from nwavesdk.surrogate.catalogue import (
    arctan,
    atan,
    available,
    fast_sigmoid,
    parse,
    sigmoid,
    text,
)
from nwavesdk.surrogate.custom import Custom, Foreign, as_surrogate, custom
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
    "ATan",
    "Custom",
    "FastSigmoid",
    "Foreign",
    "Formula",
    "Sigmoid",
    "Surrogate",
    "arctan",
    "as_surrogate",
    "atan",
    "available",
    "boxcar",
    "circ",
    "custom",
    "erf",
    "fake_numerical_gradient",
    "fast_sigmoid",
    "fixed_peak_atan",
    "gaussian",
    "heavi_erfc",
    "heaviside",
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

if not TYPE_CHECKING:
    # For errors that suggest a near name.
    __getattr__, __dir__ = import_on_use(__name__, {})
