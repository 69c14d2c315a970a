"""A chip net with recurrent and plain weights, its data, and its training under sign annealing."""

import torch
from torch import nn

from nwavesdk.layers import (
    H1v1Layer,
    H1v1Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.loss import topology_loss
from nwavesdk.optim import SignAnnealing

WEIGHTS = ("0.weight", "1.recurrent_weights", "2.weight")
DATA = torch.Generator().manual_seed(3)
X = (torch.rand(8, 24, 7, generator=DATA) < 0.3).float()
Y = torch.randint(0, 3, (8,), generator=DATA)


def build(checkpoint=None):
    return SpikingSequential(
        H1v1Synapse(7, 12, quantization_bits=5, stddev=0.02),
        H1v1Layer(12, 20e-3, layer_topology="RC"),
        LIFSynapse(12, 3, bias=True),
        LIFLayer(3, 20e-3, learn_taus=True),
        checkpoint=checkpoint,
    )


def weight_of(net, name):
    index, _, key = name.partition(".")
    return getattr(net[int(index)], key)


def train(net, annealing, optimizer, epochs):
    for epoch in epochs:
        annealing.step(net, epoch)
        prepare_net(net, seed=epoch)
        loss = nn.functional.cross_entropy(net(X)[0].sum(dim=1), Y) + 0.1 * topology_loss(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def annealed(checkpoint=None, epochs=6, lr=0.05):
    net = build(checkpoint)
    annealing = SignAnnealing(net, total_epochs=epochs)
    return net, annealing, torch.optim.Adam(net.parameters(), lr=lr)


def blocks_agree(weight, block=5):
    return all(
        bool((piece >= 0).all() or (piece <= 0).all())
        for column in weight.detach().T
        for piece in column.split(block)
    )
