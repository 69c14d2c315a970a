"""Surrogates side by side, what gradient they give a net, data folders in numbers: looking before training."""

from nwavesdk.lab.data_report import data_lines, data_report
from nwavesdk.lab.health import Finding, Health, LayerHealth, Limits, examine
from nwavesdk.lab.shape import Shape, catalogue_shapes, shape
from nwavesdk.lab.slopes import SlopeScan, scan_slopes

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
