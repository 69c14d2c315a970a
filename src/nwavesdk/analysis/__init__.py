"""Looking before training: surrogates side by side, what gradient they give and how true it is, data in numbers."""

from nwavesdk.analysis.data_report import data_lines, data_report
from nwavesdk.analysis.health import Finding, Health, LayerHealth, Limits, examine
from nwavesdk.analysis.shapes import DerivativeShape, catalogue_shapes, derivative_shape
from nwavesdk.analysis.slopes import SlopeScan, scan_slopes

__all__ = [
    "DerivativeShape",
    "Finding",
    "Health",
    "LayerHealth",
    "Limits",
    "SlopeScan",
    "catalogue_shapes",
    "data_lines",
    "data_report",
    "derivative_shape",
    "examine",
    "scan_slopes",
]
