"""How much gradient reaches each layer under which surrogate: one forward pass, many ways back."""

from nwavesdk.lab.slopes.scan import SlopeScan, scan_slopes
from nwavesdk.lab.slopes.tape import Tape

__all__ = ["SlopeScan", "Tape", "scan_slopes"]
