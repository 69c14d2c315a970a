"""Losses of nets: functions that return a scalar with gradient, and modules with their options.
`docs/losses.md` has the formulas in one table. Losses on spikes and membranes take `lengths`, the
number of steps of each recording; padding never counts. Spikes, targets or `lengths` of the wrong
type are a `TypeError`; a wrong shape, class, length or option is a `ValueError`.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use
from nwavesdk.loss.limits import (
    RateBoundsLoss,
    firing_rate_target_mse_loss,
    rate_bounds_loss,
    rate_excess_loss,
    topology_loss,
    weight_magnitude_loss,
)
from nwavesdk.loss.membranes import (
    MembraneCrossEntropy,
    TETLoss,
    membrane_cross_entropy,
    membrane_readout,
    tet_loss,
)
from nwavesdk.loss.rates import (
    CountCrossEntropy,
    CountMSE,
    RateCrossEntropy,
    RateMSE,
    balanced_population_mse,
    count_cross_entropy,
    count_mse,
    rate_cross_entropy,
    rate_logits,
    rate_mse,
)
from nwavesdk.loss.spike_times import (
    FirstSpikeCrossEntropy,
    VanRossumDistance,
    first_spike_cross_entropy,
    first_spike_steps,
    van_rossum_distance,
)

__all__ = [
    "CountCrossEntropy",
    "CountMSE",
    "FirstSpikeCrossEntropy",
    "MembraneCrossEntropy",
    "RateBoundsLoss",
    "RateCrossEntropy",
    "RateMSE",
    "TETLoss",
    "VanRossumDistance",
    "balanced_population_mse",
    "count_cross_entropy",
    "count_mse",
    "firing_rate_target_mse_loss",
    "first_spike_cross_entropy",
    "first_spike_steps",
    "membrane_cross_entropy",
    "membrane_readout",
    "rate_bounds_loss",
    "rate_cross_entropy",
    "rate_excess_loss",
    "rate_logits",
    "rate_mse",
    "tet_loss",
    "topology_loss",
    "van_rossum_distance",
    "weight_magnitude_loss",
]

if not TYPE_CHECKING:
    # For errors that suggest a near name.
    __getattr__, __dir__ = import_on_use(__name__, {})
