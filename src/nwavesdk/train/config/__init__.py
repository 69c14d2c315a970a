"""What a run is: the choices of the user, the recipe that completes them, and what is recorded."""

from nwavesdk.train.config.run_config import (
    MOVABLE,
    Choices,
    CompletedConfig,
    RunConfig,
    fields_of,
    merge_choices,
    net_name,
)

__all__ = [
    "MOVABLE",
    "Choices",
    "CompletedConfig",
    "RunConfig",
    "fields_of",
    "merge_choices",
    "net_name",
]
