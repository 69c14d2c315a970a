"""`nwave train --net recurrent`: the net `adlif`, with the neurons of a layer connected in a loop.

The spikes of a layer return to it one step later, through recurrent weights. `nwave net adlif`
prints the layers; a copy of it with `topology="RC"` is this net.
"""

from nwavesdk.layers import SpikingSequential
from nwavesdk.presets import adlif
from nwavesdk.presets.blocks import NetFacts

__all__ = ["build"]


def build(inputs: tuple[int, ...], classes: int, config: NetFacts) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run; it has a layer for each size in `config.net.hidden`.
    """
    return adlif.build(inputs, classes, config, topology="RC")
