"""One training run from its config to its report.

Names are imported on first use, because Lightning takes seconds to load.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from nwavesdk.internal.extras import missing
from nwavesdk.internal.lazy import import_on_use

__all__ = ["BrokenRunError", "Run", "RunConfig", "RunFolder"]

for _package in ("lightning", "pydantic", "safetensors", "tensorboard", "matplotlib"):
    if find_spec(_package) is None:
        raise ModuleNotFoundError(missing(_package, "train"), name=_package)

if TYPE_CHECKING:
    from nwavesdk.train.config import RunConfig
    from nwavesdk.train.run import Run
    from nwavesdk.train.run_folder import BrokenRunError, RunFolder
else:
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.train.config": ["RunConfig"],
            "nwavesdk.train.run": ["Run"],
            "nwavesdk.train.run_folder": ["BrokenRunError", "RunFolder"],
        },
    )
