"""Looking before training: surrogates side by side, what gradient they give and how true it is, data in numbers."""

from nwavesdk.lab.data_report import data_lines, data_report
from nwavesdk.lab.fidelity import GradientFidelity, ThresholdNoise, gradient_fidelity
from nwavesdk.lab.health import Finding, Health, LayerHealth, Limits, examine
from nwavesdk.lab.shape import Shape, catalogue_shapes, shape
from nwavesdk.lab.slopes import SlopeScan, scan_slopes

__all__ = [
    "Finding",
    "GradientFidelity",
    "Health",
    "LayerHealth",
    "Limits",
    "Shape",
    "SlopeScan",
    "ThresholdNoise",
    "catalogue_shapes",
    "data_lines",
    "data_report",
    "examine",
    "gradient_fidelity",
    "scan_slopes",
    "shape",
]
