"""`nwave train --net conv`: convolutions over time, and over frequency or space, then time alone.

A convolution, batch norm and LIF neurons with mixed time constants make a layer. Spectra of at
least 16 bands, images and events pass two layers with strides over bands or pixels. The other two
layers see the last 40 steps. The read-out is linear, and has a score or a value for each step.
"""

import math

import torch
from torch import Tensor, nn

from nwavesdk.layers import Dropout, LIFLayer, SpikingSequential, TemporalConv, TimeBatchNorm
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig

__all__ = ["build"]

CHANNELS = 16
WIDTH = 48
SHORTEST, LONGEST = 0.01, 0.1  # time constants [s]
NORM_SCALE = 0.6  # first scale of batch norms, with which about one neuron in six fires
READOUT_GAIN = 8.0
FEWEST_BANDS = 16


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> nn.Module:
    """Build the net of a run, which returns scores or values `[B, T, classes]`.

    Args:
        inputs: Shape of one step: bands, values of a series, or pixels.
        classes: Number of classes, or of values per step.
        config: The config of the run.
    """
    net = config.net

    def spiking(conv: TemporalConv, *features: int) -> list[nn.Module]:
        """A convolution with batch norm, neurons with mixed time constants, and dropout."""
        norm = TimeBatchNorm(features[0])
        nn.init.constant_(norm.weight, NORM_SCALE)
        taus = torch.empty(features).uniform_(math.log(SHORTEST), math.log(LONGEST)).exp()
        surrogate = parse(net.surrogate)
        neurons = LIFLayer(features, taus, net.threshold, dt=net.dt, spike_grad=surrogate)
        return [conv, norm, neurons, *([Dropout(net.dropout)] if net.dropout else [])]

    shape = image_shape(inputs, config)
    modules: list[nn.Module] = []
    if shape is None:
        n_features = torch.Size(inputs).numel()
    else:
        modules.append(AsImage(inputs, shape))
        channels, *sizes = shape
        kernel = [min(5 if len(sizes) == 1 else 3, size) for size in sizes]
        taps = 3 if len(sizes) == 1 else 1
        for _ in range(2):
            conv = TemporalConv(channels, CHANNELS, taps, kernel=kernel, stride=2)
            sizes = [(size - width) // 2 + 1 for size, width in zip(sizes, kernel, strict=True)]
            modules += spiking(conv, CHANNELS, *sizes)
            kernel = [min(width, size) for width, size in zip(kernel, sizes, strict=True)]
            channels = CHANNELS
        modules.append(nn.Flatten())
        n_features = CHANNELS * torch.Size(sizes).numel()
    # 12 steps back, every third; then 16 steps back, every eighth.
    modules += spiking(TemporalConv(n_features, WIDTH, taps=5, dilation=3), WIDTH)
    modules += spiking(TemporalConv(WIDTH, WIDTH, taps=3, dilation=8), WIDTH)
    readout = nn.Linear(WIDTH, classes)
    with torch.no_grad():
        readout.weight.mul_(READOUT_GAIN)
    return SpikingSequential(*modules, readout)


def image_shape(inputs: tuple[int, ...], config: RunConfig) -> tuple[int, ...] | None:
    """Channels, then bands or pixels; None for series, whose values have no order."""
    kind = config.facts.kind if config.facts is not None else None
    if len(inputs) == 1:
        return None if kind in ("series", "image") or inputs[0] < FEWEST_BANDS else (1, *inputs)
    if kind == "image" or (kind is None and len(inputs) == 3 and inputs[2] == 3):
        return (inputs[2] if len(inputs) == 3 else 1, *inputs[:2])
    return inputs if len(inputs) == 3 else None


class AsImage(nn.Module):
    """Steps `[B, *inputs]` as images with their channels first, `[B, C, *sizes]`."""

    def __init__(self, inputs: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.is_last = len(inputs) == 3 and inputs != shape

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, -3) if self.is_last else x.reshape(*x.shape[:1], *self.shape)
