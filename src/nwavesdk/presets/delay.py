"""`nwave train --net delay`: dense layers of LIF neurons with a learned delay per connection.

The read-out is linear, and has a score or a value for each step.
"""

import torch
from torch import nn

from nwavesdk.layers import DelayedSynapse, Dropout, LIFLayer, SpikingSequential, TimeBatchNorm
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig

__all__ = ["build"]

MOST_DELAY = 24  # steps


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> nn.Module:
    """Build the net of a run, which returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    net = config.net
    modules: list[nn.Module] = [nn.Flatten()] if len(inputs) > 1 else []
    n_in = torch.Size(inputs).numel()
    for size in net.hidden:
        synapse = DelayedSynapse(n_in, size, max_delay=MOST_DELAY)
        surrogate = parse(net.surrogate)
        neurons = LIFLayer(size, net.tau, net.threshold, dt=net.dt, spike_grad=surrogate)
        modules += [synapse, TimeBatchNorm(size), neurons]
        if net.dropout:
            modules.append(Dropout(net.dropout))
        n_in = size
    return SpikingSequential(*modules, nn.Linear(n_in, classes))
