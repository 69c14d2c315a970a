"""A small net with a batch norm, for runs of tests."""

from torch import nn

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, TimeBatchNorm
from nwavesdk.train import RunConfig


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> nn.Module:  # noqa: ARG001
    return SpikingSequential(
        *(LIFSynapse(inputs[0], 12), TimeBatchNorm(12), LIFLayer(12, taus=20e-3)),
        nn.Linear(12, classes),
    )
