"""Compare surrogates on evidence: the same seeds for every arm, many cells, statistics that know how many they are."""

from nwavesdk.analysis.compare.statistics import Pair, Summary, compare_pairs, summarize
from nwavesdk.analysis.compare.study import Cell, Study

__all__ = ["Cell", "Pair", "Study", "Summary", "compare_pairs", "summarize"]
