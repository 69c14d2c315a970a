"""Search of hyper-parameters: trials on Ray Tune that Optuna proposes, and the winner's test."""

from nwavesdk.analysis.tune.config import SearchConfig, TuneConfig
from nwavesdk.analysis.tune.one_trial import train_one_trial
from nwavesdk.analysis.tune.space import Dimension
from nwavesdk.analysis.tune.study import Search, Trial
from nwavesdk.analysis.tune.wrapper import HPOResult, HPOWrapper

__all__ = [
    "Dimension",
    "HPOResult",
    "HPOWrapper",
    "Search",
    "SearchConfig",
    "Trial",
    "TuneConfig",
    "train_one_trial",
]
