"""`nwave train --net recurrent`: the net of `--net adlif` whose neurons are connected in a loop.

The spikes of a layer return to it one step later, by weights of their own.
"""

from nwavesdk.layers import SpikingSequential
from nwavesdk.presets.adlif import dense
from nwavesdk.train import RunConfig

__all__ = ["build"]


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    return dense(inputs, classes, config, "RC")
