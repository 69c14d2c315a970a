"""Pictures of a run, each one function from arrays to a figure."""

from nwavesdk.train.pictures.confusion_matrix import confusion_matrix
from nwavesdk.train.pictures.learning_curves import learning_curves
from nwavesdk.train.pictures.membrane_traces import membrane_traces
from nwavesdk.train.pictures.spike_raster import spike_raster
from nwavesdk.train.pictures.theme import DARK, LIGHT, Theme, render

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "confusion_matrix",
    "learning_curves",
    "membrane_traces",
    "render",
    "spike_raster",
]
