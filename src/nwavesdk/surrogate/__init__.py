"""What a spike's gradient is: the contract of a surrogate and the catalogue of them.

Every row of the catalogue is a factory of this package, as in `from nwavesdk.surrogate import triangle`; its table is
the one list of them.
"""

from collections.abc import Callable

from nwavesdk.surrogate.base import Formula, Surrogate, heaviside
from nwavesdk.surrogate.bells import Sigmoid
from nwavesdk.surrogate.catalogue import (
    CATALOGUE,
    atan,
    available,
    fast_sigmoid,
    parse,
    sigmoid,
    text,
)
from nwavesdk.surrogate.custom import Custom, Foreign, as_surrogate, custom
from nwavesdk.surrogate.tails import ATan, FastSigmoid

__all__ = [
    "ATan",
    "Custom",
    "FastSigmoid",
    "Foreign",
    "Formula",
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
    "text",
]


def __getattr__(name: str) -> Callable[..., Surrogate]:
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *CATALOGUE})
