"""`nwave train --net delay`: layers whose connections learn a weight and a delay.

    input -> [delayed connections, batch norm, LIF neurons] x 2 -> batch norm -> scores

Each connection passes a spike on after its own delay of up to a fifth of a typical recording. So
two layers see the order of events with one weight per connection, where a convolution over time has
a weight for each step. If each step has a target, the scores are integrated.
"""

import math

from nwavesdk.layers import DelayedSynapse, SpikingSequential
from nwavesdk.presets.blocks import NetFacts, flat, lif_block, read_out

__all__ = ["build"]

WIDTH = 64  # neurons of each layer
REACH = 0.2  # longest delay, as a fraction of a typical recording


def build(inputs: tuple[int, ...], classes: int, config: NetFacts) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step: bands, values of a series, or pixels.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    max_delay = max(1, round(REACH * config.facts.typical_steps))
    modules = flat(inputs)
    for n_inputs in (math.prod(inputs), WIDTH):
        synapse = DelayedSynapse(n_inputs, WIDTH, max_delay=max_delay)
        modules += lif_block(synapse, (WIDTH,), config.net)
    return SpikingSequential(*modules, *read_out(WIDTH, classes, config))
