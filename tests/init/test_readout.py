"""Weights to read-outs: the size of their membranes, and what does not change."""

import copy
import math

import pytest
import torch
from torch import nn

from nwavesdk.init import readout_init
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential, prepare_net

X = torch.rand(8, 40, 10, generator=torch.Generator().manual_seed(0))


def net_of(synapse=None):
    torch.manual_seed(1)
    hidden = LIFSynapse(10, 30), LIFLayer(30, 10e-3)
    return SpikingSequential(*hidden, synapse or LIFSynapse(30, 12), LILayer(12, tau=100e-3))


def membranes(net, x=X):
    prepare_net(net)
    return net(x)[1]


def size(net):
    return membranes(net).square().mean().sqrt().item()


@pytest.mark.parametrize("synapse", [None, nn.Linear(30, 12), LIFSynapse(30, 12, bias=True)])
def test_membranes_get_the_wanted_size(synapse):
    net = net_of(synapse)
    if synapse is not None:
        synapse.bias.data.fill_(0.3)
    before = copy.deepcopy(net)
    factors = readout_init(net, X, std=0.7)
    assert size(net) == pytest.approx(0.7, rel=1e-4)
    assert factors == {"2.weight": pytest.approx(0.7 / size(before), rel=1e-4)}
    for name, parameter in net.named_parameters():
        changed = not torch.equal(parameter, before.get_parameter(name))
        assert changed == name.startswith("2.")


def test_the_first_loss_is_that_of_a_guess():
    net = net_of()
    labels = torch.arange(8)
    assert nn.functional.cross_entropy(membranes(net).amax(1), labels) > 8
    readout_init(net, X)
    loss = nn.functional.cross_entropy(membranes(net).amax(1), labels).item()
    assert loss == pytest.approx(math.log(12), abs=0.4)


def test_batches_and_lengths_are_those_of_a_loader():
    one = net_of()
    other = net_of()
    readout_init(one, X)
    readout_init(other, [(X[:4], None), (X[4:], None)])
    assert torch.equal(one[2].weight, other[2].weight)


def test_a_net_without_read_out_is_rejected():
    net = SpikingSequential(LIFSynapse(10, 3), LIFLayer(3, 10e-3))
    with pytest.raises(ValueError, match="SpikingSequential has no read-out that takes the charge"):
        readout_init(net, X)


def test_a_silent_read_out_is_named():
    net = net_of()
    net[0].weight.data.fill_(-1.0)
    before = net[2].weight.detach().clone()
    with pytest.raises(RuntimeError, match="the read-out 3 stays at 0, expected inputs"):
        readout_init(net, X)
    assert torch.equal(net[2].weight, before)
