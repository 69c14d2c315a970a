"""The physics of the H1 chips, on arrays only: numbers, charge law, quantization, mismatch, signs, filters, power."""

from nwavesdk.chip.charge import (
    ChargeLaw,
    ExpansiveCharge,
    LinearCharge,
    Noise,
    Quantizer,
    TableCharge,
    lognormal_factors,
)
from nwavesdk.chip.filter_bank import FilterBank
from nwavesdk.chip.power import Energies, Power
from nwavesdk.chip.profile import CHIPS, Entry, Profile, load_profile
from nwavesdk.chip.signs import block_signs, disagreement, nearest_agreeing_weight, offenders

__all__ = [
    "CHIPS",
    "ChargeLaw",
    "Energies",
    "Entry",
    "ExpansiveCharge",
    "FilterBank",
    "LinearCharge",
    "Noise",
    "Power",
    "Profile",
    "Quantizer",
    "TableCharge",
    "block_signs",
    "disagreement",
    "load_profile",
    "lognormal_factors",
    "nearest_agreeing_weight",
    "offenders",
]
