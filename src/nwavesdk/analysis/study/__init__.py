"""Studies of several runs of `nwave train`: comparisons, cross-validations and searches."""

from nwavesdk.analysis.study.cells import Cell
from nwavesdk.analysis.study.executors import on_processes, on_ray
from nwavesdk.analysis.study.search_file import SearchConfig, TuneConfig
from nwavesdk.analysis.study.study import Study, compare_surrogates, cross_validate
from nwavesdk.analysis.study.tune import RunSearch

__all__ = [
    "Cell",
    "RunSearch",
    "SearchConfig",
    "Study",
    "TuneConfig",
    "compare_surrogates",
    "cross_validate",
    "on_processes",
    "on_ray",
]
