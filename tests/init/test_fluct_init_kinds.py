"""Fluctuation-driven initialization of delays, linear layers, convolutions and pruned weights."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from init.nets import events, layer_spikes
from nwavesdk.init import fluct_init
from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TemporalConv,
    find_edges,
    prepare_net,
)

TAU = 10e-3


def images(*sizes):
    return events(0.05, 4, 60, sizes[0] * sizes[1] * sizes[2]).unflatten(2, sizes)


def pruned(module):
    return prune.random_unstructured(module, "weight", 0.7)


# Module, shape of its neurons, and inputs. Many targets, so that statistics hold.
KINDS = {
    "linear": (lambda: nn.Linear(30, 200), (200,), (30,)),
    "pruned": (lambda: pruned(nn.Linear(60, 200)), (200,), (60,)),
    "pruned synapse": (lambda: pruned(LIFSynapse(60, 200)), (200,), (60,)),
    "delays": (lambda: DelayedSynapse(30, 200, 6, bias=True), (200,), (30,)),
    "axonal": (lambda: DelayedSynapse(30, 200, 6, per="input"), (200,), (30,)),
    "conv": (lambda: nn.Conv2d(3, 100, 3, padding=1), (100, 5, 5), (3, 5, 5)),
    "groups": (lambda: nn.Conv1d(8, 100, 5, stride=2, groups=2), (100, 4), (8, 11)),
    "transposed": (lambda: nn.ConvTranspose1d(8, 100, 4, stride=3), (100, 16), (8, 5)),
    "time": (lambda: TemporalConv(8, 100, 5, dilation=2), (100,), (8,)),
    "time and space": (lambda: TemporalConv(2, 100, 3, kernel=5), (100, 6), (2, 10)),
}


def net_of(kind):
    torch.manual_seed(0)
    make, neurons, inputs = KINDS[kind]
    size = torch.Size(inputs).numel()
    return SpikingSequential(make(), LIFLayer(neurons, TAU)), events(0.05, 4, 80, size).reshape(
        4, 80, *inputs
    )


@pytest.mark.parametrize("kind", KINDS)
def test_membranes_fluctuate_as_wanted(kind):
    net, x = net_of(kind)
    (layer,) = fluct_init(net, x, 1.5, max_dead=0.99, seed=0).layers
    assert layer.xi_measured == pytest.approx(1.5, rel=0.1)
    prepare_net(net.eval())
    with torch.no_grad():
        assert layer.rate == pytest.approx(float(net(x)[0].mean()), rel=1e-3)
    assert net[0].bias is None or not net[0].bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_neuron_or_channel_stays_dead(kind):
    net, x = net_of(kind)
    (layer,) = fluct_init(net, x, 5.0, seed=0).layers
    assert layer.raised > 0
    prepare_net(net.eval())
    fired = net(x)[0].flatten(0, 1).any(0)
    assert layer.dead == 0
    assert fired.reshape(len(fired), -1).any(1).all()


def test_a_linear_layer_gets_the_weights_of_a_synapse():
    x = events(0.05, 4, 60, 16)
    linear = SpikingSequential(nn.Linear(16, 20), LIFLayer(20, TAU), nn.Linear(20, 2))
    synapse = SpikingSequential(LIFSynapse(16, 20), LIFLayer(20, TAU), LIFSynapse(20, 2))
    read_out = linear[2].weight.detach().clone()
    reports = [fluct_init(net, x, 3.0, seed=0) for net in (linear, synapse)]
    torch.testing.assert_close(linear[0].weight, synapse[0].weight.T)
    assert torch.equal(linear[2].weight, read_out)
    assert reports[0].layers[0].raised == reports[1].layers[0].raised > 0


def test_pruned_weights_stay_pruned_and_recurrent_ones_too():
    net = SpikingSequential(
        pruned(LIFSynapse(16, 20)), LIFLayer(20, TAU, layer_topology="RC"), nn.Linear(20, 2)
    )
    prune.random_unstructured(net[1], "recurrent_weights", 0.5)
    orig = net[1].recurrent_weights_orig.detach().clone()
    x = events(0.05, 4, 60, 16)
    report = fluct_init(net, x, alpha=0.5, seed=0)
    assert report.dead == 0
    assert not torch.equal(net[1].recurrent_weights_orig, orig)
    for edge in find_edges(net).edges[:2]:
        mask = edge.module.get_buffer(f"{edge.key}_mask").bool()
        assert torch.equal(edge.weight != 0, mask)
        if not edge.is_recurrent:
            assert report.layers[0].std == pytest.approx(float(edge.weight[mask].detach().std()))
    assert float(layer_spikes(net, x)[0].mean()) == pytest.approx(report.layers[0].rate)


def test_weights_before_a_norm_are_listed_and_left_alone():
    net = SpikingSequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), LIFLayer((4, 8, 8), TAU), nn.Flatten(),
        LIFSynapse(256, 10), nn.LayerNorm(10), LIFLayer(10, TAU), nn.Linear(10, 8),
        LIFLayer(8, TAU),
    )  # fmt: skip
    before = [net[place].weight.detach().clone() for place in (0, 4)]
    report = fluct_init(net, 5 * images(2, 10, 10), seed=0)
    assert [layer.synapse for layer in report.layers] == ["7"]
    assert report.normalized == ("0", "4")
    assert "Not initialized, because a norm sets the scale of their charge: 0, 4." in str(report)
    for place, weight in zip((0, 4), before, strict=True):
        assert torch.equal(net[place].weight, weight)


def test_pooled_charges_are_rejected():
    net = SpikingSequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), LIFLayer((4, 4, 4), TAU))
    words = r"Conv2d '0': its charge does not reach a neuron layer unchanged.*pool spikes"
    with pytest.raises(RuntimeError, match=words):
        fluct_init(net, images(2, 10, 10))


def test_a_deep_net_of_convolutions_wakes_up():
    net = SpikingSequential(
        nn.Conv2d(2, 8, 3), LIFLayer((8, 8, 8), TAU), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        LIFLayer((8, 2, 2), TAU), nn.Flatten(), nn.Linear(32, 10), LIFLayer(10, TAU),
    )  # fmt: skip
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(0.01)
    x = images(2, 10, 10)
    report = fluct_init(net, x, seed=0)
    assert [layer.synapse for layer in report.layers] == ["0", "3", "6"]
    assert report.dead == 0
    prepare_net(net)
    net(x)[0].mean().backward()
    assert float(net[0].weight.grad.norm()) > 0
