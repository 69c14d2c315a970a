"""`nwave train --net adlif`: dense layers of adaptive LIF neurons, without connections over time.

A layer is a synapse, batch norm, and neurons with time constants from 10 to 100 ms, whose
adaptation is three times slower. What a neuron remembers is all that the net knows of the past.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.layers import AdLIFLayer, LIFSynapse, LILayer, SpikingSequential, TimeBatchNorm
from nwavesdk.surrogate import parse
from nwavesdk.train import CompletedConfig

__all__ = ["build"]

SHORTEST, LONGEST = 0.01, 0.1  # time constants of membranes [s]
SLOWER = 3.0  # time constant of the adaptation, in those of membranes
TO_MEMBRANE, TO_SPIKES = 0.02, 0.2  # first strengths of the adaptation, learned per neuron
NORM_SCALE = 0.6  # deviation of new charges in thresholds: about one neuron in six fires


def build(inputs: tuple[int, ...], classes: int, config: CompletedConfig) -> SpikingSequential:
    """Build a net for steps `[B, T, *inputs]` that returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run; it has a layer for each size in `config.net.hidden`.
    """
    net: Any = config.net
    modules: list[nn.Module] = [nn.Flatten()] if len(inputs) > 1 else []
    n_inputs = math.prod(inputs)
    for size in net.hidden:
        modules += [LIFSynapse(n_inputs, size), *adaptive(size, config)]
        n_inputs = size
    scores = nn.Linear(n_inputs, classes)
    if config.task.name != "classification":
        # Each step has a target: the scores are integrated.
        integrator = LILayer(classes, tau=10 * net.dt, dt=net.dt, learn=("tau",))
        return SpikingSequential(*modules, scores, integrator)
    return SpikingSequential(*modules, TimeBatchNorm(n_inputs), scores)


def adaptive(size: int, config: CompletedConfig) -> list[nn.Module]:
    """Batch norm, and adaptive LIF neurons with mixed time constants."""
    net: Any = config.net
    taus = mixed_taus(size)
    neurons = AdLIFLayer(
        size,
        tau=taus,
        tau_w=SLOWER * mixed_taus(size),
        threshold=net.threshold,
        a=torch.full((size,), TO_MEMBRANE),
        b=torch.full((size,), TO_SPIKES),
        learn=("a", "b"),
        dt=net.dt,
        spike_grad=parse(net.surrogate),
        layer_topology="FF",
    )
    norm = TimeBatchNorm(size)
    # These neurons take the part 1 - exp(-dt/tau) of their input, LIF neurons all of it.
    norm.weight.data = NORM_SCALE / -torch.expm1(-net.dt / taus)
    dropout = [nn.Dropout(net.dropout)] if net.dropout else []
    return [norm, neurons, *dropout]


def mixed_taus(size: int) -> Tensor:
    """Time constants [s], log-uniform, `[size]`."""
    return torch.empty(size).uniform_(math.log(SHORTEST), math.log(LONGEST)).exp()
