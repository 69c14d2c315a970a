"""The gradient that reaches each layer under each of many surrogates, from one forward pass."""

from nwavesdk.analysis.slopes.recorded_pass import RecordedPass
from nwavesdk.analysis.slopes.scan import Advice, SlopeScan, scan_recorded_pass, scan_slopes

__all__ = [
    "Advice",
    "RecordedPass",
    "SlopeScan",
    "scan_recorded_pass",
    "scan_slopes",
]
