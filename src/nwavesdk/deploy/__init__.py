"""A trained net on a chip: broken limits, placement on cores, the chip file, drawn chips, power.

`ChipRun` is imported on first use, because it loads Lightning.
"""

from typing import TYPE_CHECKING

from nwavesdk.deploy.chip_file import export, load_export, read_header
from nwavesdk.deploy.consumption import Consumption, get_chip_consumption
from nwavesdk.deploy.limits import Violation, find_violations
from nwavesdk.deploy.placement import Piece, Placement, place_layers
from nwavesdk.internal.imports import import_on_use
from nwavesdk.layers import project

__all__ = [
    "ChipRun",
    "ChipSeries",
    "Consumption",
    "Piece",
    "Placement",
    "Violation",
    "draw_series",
    "export",
    "find_violations",
    "get_chip_consumption",
    "load_export",
    "place_layers",
    "project",
    "read_header",
]

if TYPE_CHECKING:
    from nwavesdk.deploy.chip_run import ChipRun
    from nwavesdk.deploy.chip_series import ChipSeries, draw_series
else:
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.deploy.chip_run": ["ChipRun"],
            "nwavesdk.deploy.chip_series": ["ChipSeries", "draw_series"],
        },
    )
