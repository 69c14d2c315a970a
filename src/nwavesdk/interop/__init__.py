"""Exchange of nets with other libraries: NIR graphs, and the harness of NeuroBench.

Modules are imported on first use, and need the extra `interop`.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use

__all__: list[str] = []

if TYPE_CHECKING:
    from nwavesdk.interop import neurobench as neurobench
    from nwavesdk.interop import neurobench_eval as neurobench_eval
    from nwavesdk.interop import nir as nir
else:
    __getattr__, __dir__ = import_on_use(
        __name__, {}, modules=["neurobench", "neurobench_eval", "nir"]
    )
