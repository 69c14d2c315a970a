"""The search of hyper-parameters under the path that NWAVE documents: `HPOWrapper`.

The names are imported on first use, because they need the extra `hpo`. Their implementation is in
`nwavesdk.analysis.hpo`.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use

__all__ = ["HPOResult", "HPOWrapper", "train_one_trial"]

if TYPE_CHECKING:
    from nwavesdk.analysis.hpo import HPOResult, HPOWrapper, train_one_trial
else:
    __getattr__, __dir__ = import_on_use(__name__, {"nwavesdk.analysis.hpo": __all__})
