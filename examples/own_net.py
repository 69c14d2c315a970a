"""A net of your own, with delays and then a convolution.

`docs/own-net.md` describes what `build` gets and what its net returns.
"""

import torch
from torch import nn

from nwavesdk.init import readout_init
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    TemporalConv,
)
from nwavesdk.surrogate import parse
from nwavesdk.train import CompletedConfig

HIDDEN = 64
TAU = 50e-3  # time constant [s]: five steps of most data


def build(
    inputs: tuple[int, ...],
    classes: int,
    config: CompletedConfig,
) -> nn.Module:
    """Build the net of a run.

    Args:
        inputs: Shape of one step.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    (features,) = inputs
    net = config.net

    def neurons() -> LIFLayer:
        return LIFLayer(HIDDEN, TAU, dt=net.dt, spike_grad=parse(net.surrogate))

    built = SpikingSequential(
        DelayedSynapse(features, HIDDEN, max_delay=20),
        neurons(),
        Dropout(net.dropout),
        TemporalConv(HIDDEN, HIDDEN, taps=3, dilation=4),
        neurons(),
        LIFSynapse(HIDDEN, classes),
        LILayer(classes, tau=TAU, dt=net.dt),
    )
    # Outputs of the size of a guess: otherwise the loss begins far above it.
    readout_init(built, torch.randn(8, 100, features))
    return built
