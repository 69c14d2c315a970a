"""One training run from its config to its report.

Names are imported on first use, because Lightning takes seconds to load.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use, install_hint

__all__ = [
    "BrokenRunError",
    "CompletedConfig",
    "Decision",
    "Detector",
    "LiveInput",
    "Prediction",
    "Run",
    "RunConfig",
    "RunFolder",
    "ScoreStream",
    "Scores",
    "TrainedRun",
    "load",
]

if TYPE_CHECKING:
    from nwavesdk.train.apply.decision import Decision
    from nwavesdk.train.apply.live import Detector, LiveInput, Scores, ScoreStream
    from nwavesdk.train.apply.predictions import Prediction
    from nwavesdk.train.apply.trained import TrainedRun, load
    from nwavesdk.train.config import CompletedConfig, RunConfig
    from nwavesdk.train.run import Run
    from nwavesdk.train.run_folder import BrokenRunError, RunFolder
else:
    _import, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.train.config": ["CompletedConfig", "RunConfig"],
            "nwavesdk.train.apply.decision": ["Decision"],
            "nwavesdk.train.apply.live": ["Detector", "LiveInput", "ScoreStream", "Scores"],
            "nwavesdk.train.apply.predictions": ["Prediction"],
            "nwavesdk.train.run": ["Run"],
            "nwavesdk.train.run_folder": ["BrokenRunError", "RunFolder"],
            "nwavesdk.train.apply.trained": ["TrainedRun", "load"],
        },
    )

    # Configs and folders need no extra: `nwave --help` works without.
    NEEDED = {
        **dict.fromkeys(("TrainedRun", "load"), ("safetensors",)),
        "Run": ("lightning", "safetensors", "tensorboard", "matplotlib"),
    }

    def __getattr__(name: str) -> object:
        for package in NEEDED.get(name, ()):
            if find_spec(package) is None:
                raise ModuleNotFoundError(install_hint(package, "train"), name=package)
        return _import(name)
