"""Analysis of data, surrogates and nets: contents of data folders, health and gradients of nets."""

from nwavesdk.analysis.data_report import data_lines, data_report
from nwavesdk.analysis.health import (
    Finding,
    Health,
    LayerHealth,
    Limits,
    examine,
    examine_recording,
)
from nwavesdk.analysis.memory import LayerMemory, MemoryLimits, examine_memory
from nwavesdk.analysis.shapes import DerivativeShape, catalogue_shapes, derivative_shape
from nwavesdk.analysis.slopes import SlopeScan, scan_slopes
from nwavesdk.analysis.statistics import Pair, Summary, compare_pairs, summarize

__all__ = [
    "DerivativeShape",
    "Finding",
    "Health",
    "LayerHealth",
    "LayerMemory",
    "Limits",
    "MemoryLimits",
    "Pair",
    "SlopeScan",
    "Summary",
    "catalogue_shapes",
    "compare_pairs",
    "data_lines",
    "data_report",
    "derivative_shape",
    "examine",
    "examine_memory",
    "examine_recording",
    "scan_slopes",
    "summarize",
]
