"""Counts of operations against loops over inputs and weights, which share no code with them."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from nwavesdk.layers import (
    DelayedSynapse,
    DelayOptions,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    TemporalConv,
    TimeBatchNorm,
)
from nwavesdk.metrics import OperationCounter, count_operations


def random_spikes(*shape, density=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=generator) < density).float()


def edge_of(net, x, name="weight", **options):
    found = count_operations(net, x, **options)
    assert found.not_counted == ()
    return {edge.name: edge for edge in found.edges}[name]


def test_a_linear_layer_counts_as_in_the_example_of_neurobench():
    # The example in the documentation of the metric: 4 effective operations of 9.
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.3, 0, -3.2], [0, 1.2, -5.1], [-1.1, 2.7, 0]]))
    edge = edge_of(layer, torch.tensor([[[0.0, 1.3, -1.0]]]))
    assert (edge.effective, edge.dense, edge.takes_spikes) == (4, 9, False)
    assert edge.input_density == pytest.approx(2 / 3)
    assert edge.connection_sparsity == pytest.approx(3 / 9)


def test_spikes_of_either_sign_are_accumulates():
    found = count_operations(LIFSynapse(3, 4), torch.tensor([[[1.0, 0.0, -1.0], [0.0, 0.0, 1.0]]]))
    assert (found.effective_acs, found.effective_macs, found.dense) == (12, 0, 24)
    found = count_operations(LIFSynapse(3, 4), torch.tensor([[[1.0, 0.0, 0.5]]]))
    assert (found.effective_acs, found.effective_macs, found.synaptic) == (0, 8, 8)


def test_a_pruned_connection_is_dense_and_not_effective():
    synapse = LIFSynapse(2, 3)
    prune.custom_from_mask(synapse, "weight", torch.tensor([[1.0, 0, 0], [1, 1, 1]]))
    edge = edge_of(synapse, torch.tensor([[[1.0, 0.0]]]))
    assert (edge.effective, edge.dense, edge.connection_sparsity) == (1, 6, pytest.approx(1 / 3))
    linear = nn.Linear(2, 3)
    prune.custom_from_mask(linear, "weight", torch.tensor([[1.0, 0], [0, 1], [0, 1]]))
    assert edge_of(linear, torch.tensor([[[0.0, 1.0]]])).effective == 2


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_a_convolution_counts_as_a_loop_over_its_windows(stride, padding, groups):
    conv = nn.Conv2d(2, 4, 3, stride=stride, padding=padding, groups=groups)
    with torch.no_grad():
        conv.weight[0, 0, 1] = 0
    x = random_spikes(2, 3, 2, 6, 5)
    sizes = [(size + 2 * padding - 3) // stride + 1 for size in (6, 5)]
    dense = effective = 0
    for row, out, place in itertools.product(
        x.flatten(0, 1), range(4), itertools.product(*map(range, sizes))
    ):
        for c, i, j in itertools.product(range(2 // groups), range(3), range(3)):
            h, w = place[0] * stride + i - padding, place[1] * stride + j - padding
            if 0 <= h < 6 and 0 <= w < 5:
                channel = (out * groups // 4) * (2 // groups) + c
                dense += 1
                effective += bool(row[channel, h, w]) and bool(conv.weight[out, c, i, j])
    edge = edge_of(SpikingSequential(conv), x, "0.weight")
    assert (edge.dense, edge.effective) == (dense / 2, effective / 2)


def test_a_transposed_convolution_counts_its_scattered_products():
    # Each input reaches 2 outputs with 3 taps, but for one tap at each border that padding cuts.
    conv = nn.ConvTranspose1d(1, 2, 3, padding=1)
    edge = edge_of(SpikingSequential(conv), torch.ones(1, 1, 1, 4), "0.weight")
    assert edge.dense == 4 * 6 - 2 * 2


def test_a_convolution_over_time_does_not_count_silence_before_the_start():
    conv = TemporalConv(2, 3, taps=3, dilation=2)
    x = random_spikes(2, 7, 2)
    dense = effective = 0
    for recording in x:
        for t, tap, i in itertools.product(range(7), range(3), range(2)):
            step = t - 2 * tap
            dense += 3 * (step >= 0)
            effective += 3 * (step >= 0 and bool(recording[step, i]))
    edge = edge_of(conv, x)
    assert (edge.dense, edge.effective) == (dense / 2, effective / 2)


def test_a_delayed_input_counts_where_it_arrives_in_time():
    delays = torch.tensor([[0.0, 2.0], [3.4, 1.0]])
    synapse = DelayedSynapse(2, 2, max_delay=5, delays=delays)
    x = random_spikes(1, 6, 2, density=0.6)
    dense = effective = 0
    for t, i, o in itertools.product(range(6), range(2), range(2)):
        if t + round(delays[i, o].item()) < 6:
            dense += 1
            effective += bool(x[0, t, i])
    edge = edge_of(synapse, x)
    assert (edge.dense, edge.effective) == (dense, effective)


@pytest.mark.parametrize("delay", [None, 2])
def test_a_recurrent_spike_counts_from_the_next_step_on(delay):
    options = None if delay is None else DelayOptions(delay, delays=float(delay))
    layer = LIFLayer(3, 20e-3, layer_topology="RC", recurrent_delays=options)
    charge = 2 * random_spikes(2, 6, 3, density=0.5)
    spikes, _ = layer(charge)
    used = spikes[:, : 5 - (delay or 0)]
    found = count_operations(layer, charge)
    edge = found.edges[0]
    assert spikes.sum() > used.sum() > 0
    assert edge.effective == used.sum().item() * 3 / 2
    assert edge.dense == (5 - (delay or 0)) * 9
    assert found.layers[0].rate == pytest.approx(spikes.mean().item())


def small_net():
    torch.manual_seed(0)
    return SpikingSequential(
        TemporalConv(3, 6, taps=2),
        TimeBatchNorm(6),
        LIFLayer(6, 20e-3, layer_topology="RC"),
        LIFSynapse(6, 2),
        LILayer(2),
    )


def test_padding_never_counts():
    net = small_net()
    x = torch.randn(3, 8, 3)
    lengths = torch.tensor([8, 3, 5])
    # Each has its own counter: nothing is shared between lengths.
    alone = [count_operations(net, row[None, :n]) for row, n in zip(x, lengths, strict=True)]
    x[1, 3:] = x[2, 5:] = float("nan")
    together = count_operations(net, x, lengths)
    assert together.synaptic == pytest.approx(sum(found.synaptic for found in alone) / 3)
    assert together.dense == pytest.approx(sum(found.dense for found in alone) / 3)
    assert (together.recordings, together.steps) == (3, pytest.approx(16 / 3))
    assert together.updates == pytest.approx(8 * 16 / 3)
    assert together.layers[1].rate is None


def test_single_steps_in_a_loop_count_as_a_sequence():
    class Loop(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return torch.stack([self.net.step(x[:, t])[1] for t in range(x.shape[1])], 1)

    net = small_net()
    x = torch.randn(2, 6, 3)
    whole, looped = count_operations(net, x), count_operations(Loop(net), x)
    assert [edge.effective for edge in looped.edges] == [edge.effective for edge in whole.edges]
    assert looped.dense == whole.dense
    assert looped.updates == whole.updates


def test_a_list_of_events_counts_as_its_dense_tensor():
    net = SpikingSequential(LIFSynapse(5, 4), LIFLayer(4, 20e-3))
    x = random_spikes(3, 6, 5)
    lengths = torch.tensor([6, 4, 6])
    assert count_operations(net, x.to_sparse(), lengths) == count_operations(net, x, lengths)


def test_what_cannot_be_counted_is_named():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.randn(4, 4))
            self.unused = nn.Linear(4, 4)
            self.register_buffer("fixed", torch.randn(4, 4))

        def forward(self, x):
            return x @ self.mix @ self.fixed @ self.unused.weight

    class Projection(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("fixed", torch.randn(4, 4))

        def forward(self, x):
            return x @ self.fixed

    norm = nn.LayerNorm(4)
    net = SpikingSequential(LIFSynapse(4, 4), LIFLayer(4, 20e-3), norm, Attention(), Projection())
    found = count_operations(net, torch.ones(1, 3, 4))
    assert found.not_counted == ("3", "4", "3.unused.weight")


def test_a_count_leaves_net_and_mode_as_they_were():
    net = small_net()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_operations(net, torch.randn(2, 4, 3))
    assert net.training
    assert not net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda net: count_operations(net, torch.ones(3, 3)),
            r"x must be recordings \[B, T, \*features\], got the",
        ),
        (
            lambda net: count_operations(net, torch.ones(2, 4, 3), torch.tensor([5, 1])),
            "lengths must be from 1 to the 4 steps",
        ),
        (
            lambda net: OperationCounter(net).result(),
            r"result needs counts: call count\(x\) before it",
        ),
    ],
)
def test_bad_arguments_are_named(call, words):
    net = small_net()
    with pytest.raises(ValueError, match=words):
        call(net)
