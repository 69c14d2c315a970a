"""A trained net on a chip: what breaks its limits, where its layers go, what is stored, drawn chips, power.

`ChipRun` is imported when it is used: it brings Lightning along.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nwavesdk.deploy.chip_file import export, load_export, read_header
from nwavesdk.deploy.consumption import Consumption, get_chip_consumption
from nwavesdk.deploy.limits import Violation, check
from nwavesdk.deploy.placement import Piece, Placement, place
from nwavesdk.layers import project

if TYPE_CHECKING:
    from nwavesdk.deploy.chip_run import ChipRun
    from nwavesdk.deploy.chip_series import ChipSeries, draw_series

__all__ = [
    "ChipRun",
    "ChipSeries",
    "Consumption",
    "Piece",
    "Placement",
    "Violation",
    "check",
    "draw_series",
    "export",
    "get_chip_consumption",
    "load_export",
    "place",
    "project",
    "read_header",
]

_HOME = {"ChipRun": "chip_run", "ChipSeries": "chip_series", "draw_series": "chip_series"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nwavesdk.deploy' has no attribute {name!r}")
    return getattr(import_module(f"nwavesdk.deploy.{_HOME[name]}"), name)
