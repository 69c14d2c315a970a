"""Nets for other programs: NIR graphs, steps of torch and ONNX, NeuroBench's harness, C.

Modules are imported on first use. They need the extra `interop`, but for programs of torch and C.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use

__all__: list[str] = []

if TYPE_CHECKING:
    from nwavesdk.interop import c as c
    from nwavesdk.interop import neurobench as neurobench
    from nwavesdk.interop import neurobench_eval as neurobench_eval
    from nwavesdk.interop import nir as nir
    from nwavesdk.interop import step as step
    from nwavesdk.interop import step_files as step_files
else:
    __getattr__, __dir__ = import_on_use(
        __name__, {}, modules=["c", "neurobench", "neurobench_eval", "nir", "step", "step_files"]
    )
