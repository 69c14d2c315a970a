"""How much gradient reaches each layer under which surrogate: one forward pass, many ways back."""

from nwavesdk.analysis.slopes.advice import Advice
from nwavesdk.analysis.slopes.scan import (
    LayerGradient,
    RecordedPass,
    SlopeScan,
    scan_recorded_pass,
    scan_slopes,
)

__all__ = [
    "Advice",
    "LayerGradient",
    "RecordedPass",
    "SlopeScan",
    "scan_recorded_pass",
    "scan_slopes",
]
