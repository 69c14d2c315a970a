"""Quantized nets as C99, equal to `net(x)` to the bit, for microcontrollers.

`walk` makes a net a short list of operations on integers, `operations`; `net_text` writes these
operations and their tables, `step_text` the neurons; `nwave_rt.h` is the runtime that they share.
`self_test` writes a program that compares all values of all steps, `costs` counts operations.
"""

from nwavesdk.interop.c.costs import Cost, ProgramCosts
from nwavesdk.interop.c.export import CExport, costs_in_c, export_c

__all__ = ["CExport", "Cost", "ProgramCosts", "costs_in_c", "export_c"]
