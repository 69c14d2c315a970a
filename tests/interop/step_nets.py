"""Nets for tests of exported steps, with weights that make them fire."""

import torch
from torch import nn

from nwavesdk.layers import (
    AdLIFLayer,
    DelayedSynapse,
    Dropout,
    H1v1Frontend,
    H1v1Layer,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    IzhikevichLayer,
    LIFLayer,
    LIFSynapse,
    LILayer,
    RefractoryLIFLayer,
    SpikingSequential,
    StepBatchNorm,
    TemporalConv,
    TimeBatchNorm,
)
from nwavesdk.net import Feedback, Residual

__all__ = ["NETS", "firing_net"]


def _lif(*shape: int) -> LIFLayer:
    return LIFLayer(shape, taus=10e-3)


NETS = {
    "recurrent": (
        lambda: [
            *(LIFSynapse(5, 8), LIFLayer(8, taus=10e-3, layer_topology="RC"), Dropout(0.1)),
            *(LIFSynapse(8, 3), LILayer(3, tau=10e-3)),
        ],
        (5,),
    ),
    "convolutions": (
        lambda: [
            *(nn.Unflatten(1, (1, 40)), TemporalConv(1, 6, 3, kernel=5, stride=2)),
            *(TimeBatchNorm(6), _lif(6, 18), nn.Flatten(), TemporalConv(108, 7, 4, dilation=4)),
            *(TimeBatchNorm(7), _lif(7), TimeBatchNorm(7), nn.Linear(7, 3)),
        ],
        (40,),
    ),
    "images": (
        lambda: [
            *(nn.Conv2d(1, 4, 3), _lif(4, 8, 8), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(64, 3), _lif(3)),
        ],
        (1, 10, 10),
    ),
    "pixels": (
        lambda: [
            *(nn.Unflatten(1, (1, 8)), TemporalConv(1, 4, 1, kernel=(3, 3), padding=1)),
            *(TimeBatchNorm(4), _lif(4, 8, 8), nn.MaxPool2d(2)),
            *(TemporalConv(4, 6, 1, kernel=(3, 3)), TimeBatchNorm(6), _lif(6, 2, 2)),
            *(nn.Flatten(), TimeBatchNorm(24), nn.Linear(24, 3)),
        ],
        (8, 8),
    ),
    "delays": (
        lambda: [DelayedSynapse(5, 8, max_delay=6), _lif(8), LIFSynapse(8, 3), _lif(3)],
        (5,),
    ),
    "zoo": (
        lambda: [
            *(LIFSynapse(5, 8), AdLIFLayer(8), LIFSynapse(8, 8), RefractoryLIFLayer(8)),
            *(LIFSynapse(8, 8), StepBatchNorm(8, 200), IzhikevichLayer(8)),
        ],
        (5,),
    ),
    "chip": (
        lambda: [
            *(H1v2Synapse(5, 8), H1v2Layer(8, taus=10e-3)),
            *(HWSynapse(8, 3), HWLayer(3, taus=10e-3)),
        ],
        (5,),
    ),
    "front end of a chip": (
        lambda: [H1v1Frontend(5, init=0.6), H1v1Layer(5, taus=10e-3)],
        (5,),
    ),
    "containers": (
        lambda: [
            *(LIFSynapse(5, 8), _lif(8), Residual(LIFSynapse(8, 8), _lif(8))),
            Feedback(LIFSynapse(8, 8), _lif(8), feedback=LIFSynapse(8, 8)),
        ],
        (5,),
    ),
}

# Factors of weights with which layers fire neither in no step nor in each.
SIZES = {"convolutions": 0.2, "images": 0.1}


@torch.no_grad()
def firing_net(name: str) -> tuple[SpikingSequential, tuple[int, ...]]:
    """A net in `eval()`, and the shape of one step of its input."""
    modules, shape = NETS[name]
    net = SpikingSequential(*modules())
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and "chip" not in name:
            weight.abs_().mul_(SIZES.get(name, 2.0))
    return net.eval(), shape
