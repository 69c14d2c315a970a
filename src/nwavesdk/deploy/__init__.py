"""A trained net on a chip: what breaks its limits, where its layers go, what is stored, drawn chips, power."""

from nwavesdk.deploy.consumption import Consumption, get_chip_consumption
from nwavesdk.deploy.limits import Violation, check
from nwavesdk.deploy.placement import Piece, Placement, place
from nwavesdk.layers import project

__all__ = ["Consumption", "Piece", "Placement", "Violation", "check", "get_chip_consumption", "place", "project"]
