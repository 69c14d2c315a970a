"""`nwave train --net delay`: layers whose connections learn a weight and a delay.

    input -> [delayed connections, batch norm, LIF neurons] x 2 -> batch norm -> scores

Each connection passes a spike on after a delay of its own, up to a fifth of a typical recording.
So two layers see what happened when, with one weight per connection, where a convolution over time
has a weight for each step that it sees. Where each step has a target, the scores are integrated.
"""

import math
from typing import Any

import torch
from torch import nn

from nwavesdk.layers import DelayedSynapse, LIFLayer, LILayer, SpikingSequential, TimeBatchNorm
from nwavesdk.surrogate import parse
from nwavesdk.train import CompletedConfig

__all__ = ["build"]

WIDTH = 64  # neurons of each layer
SHORTEST, LONGEST = 0.01, 0.1  # time constants [s]
NORM_SCALE = 0.6  # deviation of new charges in thresholds: about one neuron in six fires
REACH = 0.2  # longest delay, as a fraction of a typical recording


def build(inputs: tuple[int, ...], classes: int, config: CompletedConfig) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step: bands, values of a series, or pixels.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    net: Any = config.net
    max_delay = max(1, round(REACH * config.facts.typical_steps))
    modules: list[nn.Module] = [nn.Flatten()] if len(inputs) > 1 else []
    n_features = math.prod(inputs)
    for _ in range(2):
        synapse = DelayedSynapse(n_features, WIDTH, max_delay=max_delay)
        norm = TimeBatchNorm(WIDTH)
        nn.init.constant_(norm.weight, NORM_SCALE)
        taus = torch.empty(WIDTH).uniform_(math.log(SHORTEST), math.log(LONGEST)).exp()
        surrogate = parse(net.surrogate)
        neurons = LIFLayer(WIDTH, taus, net.threshold, net.reset, dt=net.dt, spike_grad=surrogate)
        modules += [synapse, norm, neurons]
        modules += [nn.Dropout(net.dropout)] if net.dropout else []
        n_features = WIDTH
    scores = nn.Linear(WIDTH, classes)
    if config.task.name != "classification":
        integrator = LILayer(classes, tau=10 * net.dt, dt=net.dt, learn=("tau",))
        return SpikingSequential(*modules, scores, integrator)
    return SpikingSequential(*modules, TimeBatchNorm(WIDTH), scores)
