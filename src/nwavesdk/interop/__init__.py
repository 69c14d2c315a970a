"""Exchange of nets with other libraries: NIR graphs.

Modules are imported on first use, and need the extra `interop`.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use

__all__: list[str] = []

if TYPE_CHECKING:
    from nwavesdk.interop import nir as nir
else:
    __getattr__, __dir__ = import_on_use(__name__, {}, modules=["nir"])
