"""Weights by the number of inputs: one rule for dense weights, convolutions and delays."""

import math

import torch
from torch import Tensor, nn

from nwavesdk.init.weights import generator_for, reject_parametrized
from nwavesdk.internal.checks import positive_number
from nwavesdk.net.edges import find_edges

__all__ = ["fan_in_init"]


@torch.no_grad()
def fan_in_init(model: nn.Module, gain: float = 2.0, seed: int | None = None) -> None:
    """Draw normal weights of mean 0 and standard deviation gain/√fan_in; set biases to 0.

    The fan-in is the number of inputs of a neuron: N_in of a dense weight, and
    C_in / groups · kernel of a convolution, over time too. A neuron with inputs of rate ν then gets
    a charge of standard deviation gain · √ν [thresholds], whatever the size of its layer.

    With the default gain of 2, four layers of convolutions and LIF neurons keep firing in 1 to 27 %
    of all steps, for time constants from 5 to 100 steps, inputs that spike in 10 % of all steps,
    and with pooling between the layers. Weaker inputs with time constants of a few steps, or with
    average pooling, need a gain of 3. Torch's own initialization has a standard deviation of
    0.58/√fan_in, behind which deeper layers starve. `docs/convolution.md` has the table. In front
    of batch norm, the scale of weights does not matter. `LIFSynapse`, `DelayedSynapse` and
    `TemporalConv` begin like this.

    Recurrent weights, front ends and the synapses of chips do not change; see `init_weights` of
    `nwavesdk.init.weights` for these. `fluct_init` measures the input instead, and suits neurons of
    any kind.

    Args:
        model: Any module; its `nn.Linear`, convolutions and synapses are initialized.
        gain: Standard deviation of a neuron's charge when all its inputs spike [thresholds].
        seed: Seed of the draws; None draws from torch's global generator.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If `gain` is not a finite number above 0, or the model has no such weights.
        RuntimeError: If weights are parametrized.

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(nn.Conv2d(2, 16, 5), LIFLayer((16, 28, 28), taus=10e-3))
        >>> fan_in_init(net, seed=0)
        >>> round(net[0].weight.std().item() * 50**0.5, 1), net[0].bias.any().item()
        (2.0, False)
    """
    gain = positive_number("fan_in_init", "gain", gain, "thresholds")
    net = find_edges(model)
    # Front ends have one weight per neuron.
    edges = [
        edge
        for edge in net.edges
        if edge.profile is None and not edge.is_recurrent and edge.weight.ndim > 1
    ]
    if not edges:
        raise ValueError(
            f"fan_in_init: {type(model).__name__} has no dense weights, convolutions or delays "
            "without a chip: for chips use nwavesdk.init.weights.init_weights."
        )
    reject_parametrized("fan_in_init", model, net)
    generator = generator_for(seed)
    for edge in edges:
        (weight,) = edge.trained_parameters().values()
        drawn = torch.randn(weight.shape, generator=generator)
        weight.copy_(drawn * (gain / math.sqrt(edge.fan_in)))
        bias = getattr(edge.module, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()
