"""Spiking neural networks with surrogate gradients, on computers and on Neuronova's H1 chips.

`import nwavesdk` loads neither torch nor any extra: each name is imported on first use.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.lazy import import_on_use

__all__ = [
    "LIFLayer",
    "LIFSynapse",
    "NWaveDataGen",
    "NWaveDataloaderConfig",
    "__version__",
    "prepare_net",
]

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from nwavesdk.data import NWaveDataGen, NWaveDataloaderConfig
    from nwavesdk.layers import LIFLayer, LIFSynapse, prepare_net
else:
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.data": ["NWaveDataGen", "NWaveDataloaderConfig"],
            "nwavesdk.layers": ["LIFLayer", "LIFSynapse", "prepare_net"],
        },
    )
