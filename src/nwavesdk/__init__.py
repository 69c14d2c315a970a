"""Spiking neural networks with surrogate gradients, for the desk and for Neuronova's analog H1 chips.

The root is lazy (PEP 562): `import nwavesdk` loads neither torch nor any extra; a name is imported when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nwavesdk.data import NWaveDataGen, NWaveDataloaderConfig
    from nwavesdk.layers import LIFLayer, LIFSynapse, prepare_net

__all__ = [
    "LIFLayer",
    "LIFSynapse",
    "NWaveDataGen",
    "NWaveDataloaderConfig",
    "__version__",
    "prepare_net",
]

__version__ = "0.1.0.dev0"

_HOME = {
    "LIFLayer": "nwavesdk.layers",
    "LIFSynapse": "nwavesdk.layers",
    "NWaveDataGen": "nwavesdk.data",
    "NWaveDataloaderConfig": "nwavesdk.data",
    "prepare_net": "nwavesdk.layers",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nwavesdk' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
