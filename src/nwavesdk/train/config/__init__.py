"""The config of a run: the choices of the user, completed by a recipe and by recorded facts."""

from nwavesdk.train.config.completed import MOVABLE, CompletedConfig
from nwavesdk.train.config.run_config import (
    Choices,
    RunConfig,
    fields_of,
    merge_choices,
)

__all__ = [
    "MOVABLE",
    "Choices",
    "CompletedConfig",
    "RunConfig",
    "fields_of",
    "merge_choices",
]
