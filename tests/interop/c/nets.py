"""Quantized nets for tests of exported C: the layers of the presets in small, and other forms."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nwavesdk.layers import (
    AdLIFLayer,
    CubaLIFLayer,
    DelayedSynapse,
    Dropout,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    TemporalConv,
    TimeBatchNorm,
)
from nwavesdk.net import Branches, Residual, RoundedInput, quantize

__all__ = ["NETS", "STEP", "example_frames", "quantized_net"]

STEP = 2.0**-4


def lif(*shape: int, reset: str = "subtraction") -> LIFLayer:
    taus = torch.empty(shape).uniform_(math.log(10e-3), math.log(100e-3)).exp()
    return LIFLayer(shape, taus, 1.0, reset, dt=10e-3)


def block(synapse: nn.Module, *shape: int) -> list[nn.Module]:
    norm = TimeBatchNorm(shape[0])
    with torch.no_grad():
        norm.weight.uniform_(0.4, 0.8)
        norm.bias.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 2.0)
        norm.running_mean.uniform_(-0.2, 0.2)
    return [synapse, norm, lif(*shape)]


def adaptive(size: int, topology: str) -> nn.Module:
    return AdLIFLayer(
        size,
        tau=torch.empty(size).uniform_(0.02, 0.1),
        tau_w=0.1,
        a=torch.full((size,), 0.02),
        b=torch.full((size,), 0.2),
        threshold=0.3,
        dt=0.01,
        layer_topology=topology,
    )


def joined(n_inputs: int, *widths: int) -> list[nn.Module]:
    (width, *later) = widths
    layer = block(TemporalConv(n_inputs, width, 3, dilation=2), width)
    if not later:
        return layer
    return [*layer, Branches(nn.Identity(), SpikingSequential(*joined(width, *later)))]


class ChannelsFirst(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 1)


NETS: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...]]] = {
    # The presets: conv for sound, for series, for a detector; adlif; recurrent; delay; lif.
    "bands": (
        lambda: [
            nn.Unflatten(1, (1, 21)),
            *block(TemporalConv(1, 14, 3, kernel=5, stride=2), 14, 9),
            *block(TemporalConv(14, 16, 3, kernel=5, stride=2), 16, 3),
            nn.Flatten(),
            *block(TemporalConv(48, 34, 4, dilation=4), 34),
            *block(TemporalConv(34, 12, 3, dilation=8), 12),
            nn.Linear(12, 10),
        ],
        (21,),
    ),
    "sums": (lambda: [LIFSynapse(3, 2)], (3,)),
    "series": (lambda: [*joined(13, 40, 33, 18), nn.Linear(91, 7)], (13,)),
    "steps": (
        lambda: [*joined(6, 20, 9), nn.Linear(29, 3), LILayer(3, tau=0.1, dt=0.01)],
        (6,),
    ),
    "adlif": (
        lambda: [
            *(LIFSynapse(9, 21), TimeBatchNorm(21), adaptive(21, "FF")),
            *(LIFSynapse(21, 17), TimeBatchNorm(17), adaptive(17, "FF"), nn.Linear(17, 5)),
        ],
        (9,),
    ),
    "recurrent": (
        lambda: [LIFSynapse(9, 37), TimeBatchNorm(37), adaptive(37, "RC"), nn.Linear(37, 5)],
        (9,),
    ),
    "delay": (
        lambda: [
            *block(DelayedSynapse(9, 19, max_delay=6), 19),
            *block(DelayedSynapse(19, 11, max_delay=300), 11),
            nn.Linear(11, 4),
        ],
        (9,),
    ),
    "lif": (
        lambda: [
            *(nn.Flatten(), LIFSynapse(12, 33), lif(33, reset="zero")),
            *(LIFSynapse(33, 8), lif(8, reset="none")),
        ],
        (4, 3),
    ),
    # Other forms.
    "images": (
        lambda: [
            ChannelsFirst(),
            *block(TemporalConv(3, 10, 1, kernel=(3, 3), padding=(1, 1)), 10, 8, 7),
            nn.MaxPool2d(2),
            *block(TemporalConv(10, 12, 2, kernel=(3, 2), stride=2, padding=(1, 0)), 12, 2, 1),
            nn.Flatten(),
            nn.Linear(24, 4),
        ],
        (8, 7, 3),
    ),
    "events": (
        lambda: [
            *block(TemporalConv(2, 6, 1, kernel=(3, 3), stride=2), 6, 3, 4),
            *block(TemporalConv(6, 8, 1, kernel=(3, 3), groups=2), 8, 1, 2),
            nn.Flatten(),
            nn.Linear(16, 4),
        ],
        (2, 7, 9),
    ),
    "residual": (
        lambda: [
            *(LIFSynapse(9, 12), lif(12)),
            Residual(LIFSynapse(12, 12), lif(12)),
            Residual(LIFSynapse(12, 10), shortcut=LIFSynapse(12, 10)),
            CubaLIFLayer(10, tau=0.02, tau_syn=0.02, dt=0.01),
            *(LIFSynapse(10, 6, bias=True), LILayer(6, tau=0.05, dt=0.01)),
        ],
        (9,),
    ),
    # Diagonal synapses: each neuron has one input, in one or two steps.
    "diagonal": (
        lambda: [
            Dropout(),
            *block(TemporalConv(9, 9, 1, groups=9), 9),
            *block(TemporalConv(9, 9, 2, groups=9), 9),
            nn.Linear(9, 4),
        ],
        (9,),
    ),
    "recurrent delays": (
        lambda: [
            LIFSynapse(5, 14),
            LIFLayer(14, 20e-3, dt=10e-3, layer_topology="RC", recurrent_delays=5),
            *(LIFSynapse(14, 6), lif(6)),
        ],
        (5,),
    ),
    # Sums of 700 large weights do not fit into 16 bits.
    "wide": (lambda: [*block(LIFSynapse(5, 700), 700), *block(LIFSynapse(700, 9), 9)], (5,)),
}


@torch.no_grad()
def quantized_net(name: str, seed: int = 0) -> SpikingSequential:
    """A net with rounded weights, whose layers all fire."""
    torch.manual_seed(seed)
    net = SpikingSequential(*NETS[name][0]()).eval()
    if name == "wide":
        net[3].weight.uniform_(0.5, 1.0)
    return quantize(net, step=STEP)


def example_frames(name: str, batch: int = 3, steps: int = 60) -> Tensor:
    """Frames with which the layers of the nets fire, on the grid of the input."""
    shape = NETS[name][1]
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(batch, steps, *shape, generator=draw) * torch.linspace(0.3, 3, steps).reshape(
        -1, *[1] * len(shape)
    )
    return RoundedInput(STEP)(x)
