"""What a net's spikes say of it: pure functions of a batch, and running metrics of many, which load torchmetrics.

Functions are there at once; what needs an extra, or lives on a higher floor, is imported when its name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nwavesdk.metrics.readout import accuracy, accuracy_population, population_counts

if TYPE_CHECKING:
    from nwavesdk.deploy import get_chip_consumption
    from nwavesdk.metrics.running import SpikeAccuracy, SpikeAccuracyPopulation

__all__ = [
    "SpikeAccuracy",
    "SpikeAccuracyPopulation",
    "accuracy",
    "accuracy_population",
    "get_chip_consumption",
    "population_counts",
]

_HOME = {
    "SpikeAccuracy": "nwavesdk.metrics.running",
    "SpikeAccuracyPopulation": "nwavesdk.metrics.running",
    "get_chip_consumption": "nwavesdk.deploy",  # NWAVE documents it here
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nwavesdk.metrics' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
