"""The physics of the H1 chips on arrays: parameters, charge law, mismatch, signs, filters, power.

Names that act on arrays are imported on first use: profiles are read without NumPy and torch.
"""

from typing import TYPE_CHECKING

from nwavesdk.chip.charge_law import ChargeLaw
from nwavesdk.chip.profile import CHIPS, TAU_RANGE, Energies, Entry, Power, Profile, load_profile
from nwavesdk.internal.imports import import_on_use

__all__ = [
    "CHIPS",
    "TAU_RANGE",
    "ChargeLaw",
    "Energies",
    "Entry",
    "ExpansiveCharge",
    "FilterBank",
    "LinearCharge",
    "Power",
    "Profile",
    "Quantizer",
    "TableCharge",
    "block_signs",
    "disagreeing_weights",
    "disagreement",
    "load_profile",
    "lognormal_factors",
    "nearest_agreeing_weight",
]

if TYPE_CHECKING:
    from nwavesdk.chip.charge import (
        ExpansiveCharge,
        LinearCharge,
        Quantizer,
        TableCharge,
        lognormal_factors,
    )
    from nwavesdk.chip.filter_bank import FilterBank
    from nwavesdk.chip.signs import (
        block_signs,
        disagreeing_weights,
        disagreement,
        nearest_agreeing_weight,
    )
else:
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.chip.charge": [
                "ExpansiveCharge",
                "LinearCharge",
                "Quantizer",
                "TableCharge",
                "lognormal_factors",
            ],
            "nwavesdk.chip.filter_bank": ["FilterBank"],
            "nwavesdk.chip.signs": [
                "block_signs",
                "disagreement",
                "nearest_agreeing_weight",
                "disagreeing_weights",
            ],
        },
    )
