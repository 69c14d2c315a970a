"""Deep nets that are silent with the default weights, and their inputs and spikes."""

import torch

from nwavesdk.layers import (
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)

KINDS = {
    "lif": (LIFSynapse, LIFLayer),
    "h1v1": (H1v1Synapse, H1v1Layer),
    "h1v2": (H1v2Synapse, H1v2Layer),
}
SHARES = {"lif": 0.02, "h1v1": 0.02, "h1v2": 0.05}


def deep(kind, depth=6, width=48, tau=5e-3, **layer_options):
    synapse, layer = KINDS[kind]
    modules = []
    for k in range(depth):
        modules += [synapse(width if k else 16, width), layer(width, tau, **layer_options)]
    return SpikingSequential(*modules)


def events(share, *shape, size=1.0, seed=1):
    return (
        size * (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share).float()
    )


def layer_spikes(net, x):
    prepare_net(net)
    return [layer.spk.detach() for layer in net.record(x).layers.values()]


def faint(kind):
    return events(SHARES[kind], 8, 200, 16, size=0.3)
