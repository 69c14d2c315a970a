"""`nwave train --net delay`: the net of `--net conv` with learned delays over time.

Where `conv` sees a few fixed earlier steps, each connection here has one weight and one delay, and
learns both: a fifth of the weights for the same reach.
"""

from torch import nn

from nwavesdk.layers import DelayedSynapse, SpikingSequential
from nwavesdk.presets.conv import look, memory_plan, read_out, spiking
from nwavesdk.train import RunConfig

__all__ = ["build"]

WIDTH = 64  # neurons of each layer over time


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step: bands, values of a series, or pixels.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    modules: list[nn.Module]
    modules, n_features = look(inputs, config)
    # Pixels and their layers have no memory plan: one layer of delays remembers what moved.
    for taps, dilation in memory_plan(inputs, config) or [(5, 3)]:
        synapse = DelayedSynapse(n_features, WIDTH, max_delay=(taps - 1) * dilation)
        modules += spiking(synapse, (WIDTH,), config)
        n_features = WIDTH
    return SpikingSequential(*modules, *read_out(n_features, classes, config))
