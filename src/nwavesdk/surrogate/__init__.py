"""What a spike's gradient is: the contract of a surrogate and the catalogue of them."""

from nwavesdk.surrogate.base import Surrogate, heaviside
from nwavesdk.surrogate.catalogue import ATan, FastSigmoid, Sigmoid, atan, available, fast_sigmoid, parse, sigmoid
from nwavesdk.surrogate.custom import Custom, Foreign, as_surrogate, custom

__all__ = [
    "ATan",
    "Custom",
    "FastSigmoid",
    "Foreign",
    "Sigmoid",
    "Surrogate",
    "as_surrogate",
    "atan",
    "available",
    "custom",
    "fast_sigmoid",
    "heaviside",
    "parse",
    "sigmoid",
]
