"""Plots of recordings and connections: functions that take and return matplotlib axes. Values that
are not numbers, or an `ax` or `theme` of another type, are a `TypeError`; wrong shapes and values
are a `ValueError`.

Each draws into `ax`, or into new axes without it. They take tensors and arrays, and the colors of a
theme. They need matplotlib, which the extra `train` brings.

Example:
    >>> import torch
    >>> from nwavesdk import plot
    >>> ax = plot.raster((torch.rand(50, 8) < 0.2).float(), dt=1e-3)
    >>> ax.get_xlabel()
    'time [ms]'
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use, require

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "delays",
    "event_frames",
    "membranes",
    "raster",
    "rates",
    "series",
    "weights",
]

if TYPE_CHECKING:
    from nwavesdk.plot.connections import delays, weights
    from nwavesdk.plot.recordings import event_frames, membranes, raster, rates, series
    from nwavesdk.plot.theme import DARK, LIGHT, Theme
else:
    _import, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.plot.connections": ["delays", "weights"],
            "nwavesdk.plot.recordings": ["event_frames", "membranes", "raster", "rates", "series"],
            "nwavesdk.plot.theme": ["DARK", "LIGHT", "Theme"],
        },
    )

    def __getattr__(name: str) -> object:
        if name in __all__:
            require("matplotlib", "train")
        return _import(name)
