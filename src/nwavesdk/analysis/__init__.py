"""Looking before training: surrogates side by side, what gradient they give and how true it is, data in numbers."""

from nwavesdk.analysis.data_report import data_lines, data_report
from nwavesdk.analysis.health import Finding, Health, LayerHealth, Limits, examine
from nwavesdk.analysis.shapes import Shape, catalogue_shapes, shape
from nwavesdk.analysis.slopes import SlopeScan, scan_slopes

__all__ = [
    "Finding",
    "Health",
    "LayerHealth",
    "Limits",
    "Shape",
    "SlopeScan",
    "catalogue_shapes",
    "data_lines",
    "data_report",
    "examine",
    "scan_slopes",
    "shape",
]
