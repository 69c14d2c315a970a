"""Initial weights: fluctuation-driven, by fan-in, of front ends by firing rate, of read-outs."""

from nwavesdk.init.drive import charge_gain, frontend_firing_init
from nwavesdk.init.fluct_init import fluct_init
from nwavesdk.init.weights import fan_in_init, readout_init

__all__ = ["charge_gain", "fan_in_init", "fluct_init", "frontend_firing_init", "readout_init"]
