"""One training run from its config to its report; names are imported when they are used, Lightning takes seconds."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nwavesdk.data import missing

if TYPE_CHECKING:
    from nwavesdk.train.config import RunConfig
    from nwavesdk.train.run import Run
    from nwavesdk.train.run_folder import BrokenRunError, RunFolder

__all__ = ["BrokenRunError", "Run", "RunConfig", "RunFolder"]

for _package in ("lightning", "pydantic", "safetensors", "tensorboard", "matplotlib"):
    if find_spec(_package) is None:
        raise ModuleNotFoundError(missing(_package, "train"), name=_package)

_HOME = {
    "BrokenRunError": "run_folder",
    "Run": "run",
    "RunConfig": "config",
    "RunFolder": "run_folder",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nwavesdk.train' has no attribute {name!r}")
    return getattr(import_module(f"nwavesdk.train.{_HOME[name]}"), name)
