"""Search of hyper-parameters: trials on Ray Tune that Optuna proposes, and the winner's test."""

from nwavesdk.analysis.tune.config import SearchConfig, TuneConfig
from nwavesdk.analysis.tune.space import Dimension
from nwavesdk.analysis.tune.study import Search, Trial

__all__ = [
    "Dimension",
    "Search",
    "SearchConfig",
    "Trial",
    "TuneConfig",
]
