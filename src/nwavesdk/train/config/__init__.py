"""What a run is: the choices of the user, the recipe that completes them, and what is recorded."""

from nwavesdk.train.config.run_config import (
    CHIP_DEFAULTS,
    MOVABLE,
    RunConfig,
    absolute_choice,
)

__all__ = ["CHIP_DEFAULTS", "MOVABLE", "RunConfig", "absolute_choice"]
