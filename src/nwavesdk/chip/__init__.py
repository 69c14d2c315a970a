"""The physics of the H1 chips, on arrays only: numbers, charge law, quantization, mismatch."""

from nwavesdk.chip.charge import ChargeLaw, ExpansiveCharge, LinearCharge
from nwavesdk.chip.mismatch import lognormal_factors
from nwavesdk.chip.profile import Profile, load_profile
from nwavesdk.chip.quantization import Quantizer

__all__ = ["ChargeLaw", "ExpansiveCharge", "LinearCharge", "Profile", "Quantizer", "load_profile", "lognormal_factors"]
