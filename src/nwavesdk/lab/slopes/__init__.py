"""How much gradient reaches each layer under which surrogate: one forward pass, many ways back."""

from nwavesdk.lab.slopes.advice import Advice
from nwavesdk.lab.slopes.scan import SlopeScan, measure, scan_slopes
from nwavesdk.lab.slopes.tape import LayerGradient, Tape

__all__ = ["Advice", "LayerGradient", "SlopeScan", "Tape", "measure", "scan_slopes"]
