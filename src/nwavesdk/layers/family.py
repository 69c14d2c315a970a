"""Which modules make a net for which chip."""

from typing import Any, NamedTuple

from nwavesdk.chip import Profile
from nwavesdk.layers.chip_layer import H1v1Layer, H1v2Layer
from nwavesdk.layers.chip_synapse import H1v1Frontend, H1v1Synapse, H1v2Frontend, H1v2Synapse

__all__ = ["Family", "family_of"]


class Family(NamedTuple):
    """The modules of one kind of chip."""

    frontend: Any
    synapse: Any
    layer: Any


_FAMILIES = {
    "h1v1": Family(H1v1Frontend, H1v1Synapse, H1v1Layer),
    "h1v2": Family(H1v2Frontend, H1v2Synapse, H1v2Layer),
}


def family_of(profile: Profile) -> Family:
    """The modules that a net for this chip is built from.

    Example:
        >>> from nwavesdk.chip import load_profile
        >>> family_of(load_profile("h1v2")).layer.__name__
        'H1v2Layer'
    """
    return _FAMILIES[profile.text("neuron")]
