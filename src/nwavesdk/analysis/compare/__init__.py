"""Comparison of surrogates: the same seeds for every arm, many runs, and joint statistics."""

from nwavesdk.analysis.compare.study import Cell, Study
from nwavesdk.analysis.statistics import Pair, Summary, compare_pairs, summarize

__all__ = ["Cell", "Pair", "Study", "Summary", "compare_pairs", "summarize"]
