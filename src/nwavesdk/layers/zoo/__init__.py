"""Neurons of the literature, each one page; `docs/neurons.md` compares other libraries."""

from nwavesdk.layers.zoo.adaptive import AdLIFLayer, ALIFLayer, SEAdLIFLayer, SiLIFLayer
from nwavesdk.layers.zoo.integrators import (
    AlphaLayer,
    CubaLIFLayer,
    IFLayer,
    KLIFLayer,
    LILayer,
    RefractoryLIFLayer,
)
from nwavesdk.layers.zoo.nonlinear import AdExLayer, EIFLayer, IzhikevichLayer, QIFLayer
from nwavesdk.layers.zoo.resonators import BalancedResonateAndFireLayer, ResonateAndFireLayer

__all__ = [
    "ALIFLayer",
    "AdExLayer",
    "AdLIFLayer",
    "AlphaLayer",
    "BalancedResonateAndFireLayer",
    "CubaLIFLayer",
    "EIFLayer",
    "IFLayer",
    "IzhikevichLayer",
    "KLIFLayer",
    "LILayer",
    "QIFLayer",
    "RefractoryLIFLayer",
    "ResonateAndFireLayer",
    "SEAdLIFLayer",
    "SiLIFLayer",
]
