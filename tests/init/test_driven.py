"""What drives a layer, and the inputs that arrive there."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from init.nets import deep, events
from layers.pages import LILayer
from nwavesdk.init import fluct_init
from nwavesdk.init.driven import driver_inputs, find_driven_layers, first_batches
from nwavesdk.layers import H1v2Frontend, LIFLayer, LIFSynapse, SpikingSequential

X = events(0.05, 2, 50, 16)


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.layer = LIFSynapse(16, 5), LIFSynapse(16, 5), LIFLayer(5, 10e-3)

    def forward(self, x):
        return self.layer(self.a(x) + self.b(x))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.one, self.two = LIFSynapse(16, 5), LIFLayer(5, 10e-3), LIFLayer(5, 20e-3)

    def forward(self, x):
        cur = self.a(x)
        return self.one(cur), self.two(cur)


@pytest.mark.parametrize("read_out", [(), (LILayer(2, solver="reference"),)])
def test_front_ends_and_synapses_drive_their_layers_and_read_outs_none(read_out):
    net = SpikingSequential(
        H1v2Frontend(16),
        LIFLayer(16, 10e-3),
        LIFSynapse(16, 5),
        LIFLayer(5, 10e-3),
        LIFSynapse(5, 2),
        *read_out,
    )
    found = find_driven_layers(net, X)
    assert [(driven.driver_name, driven.layer_name) for driven in found] == [("0", "1"), ("2", "3")]
    assert found[1].driver is net[2]
    assert found[1].layer is net[3]


def test_charge_that_is_added_up_is_rejected():
    words = r"LIFSynapse 'a': its charge does not reach a neuron layer unchanged.*alone"
    with pytest.raises(RuntimeError, match=words):
        find_driven_layers(Sum(), X)


def test_a_synapse_of_two_layers_is_rejected():
    words = "LIFSynapse 'a' drives both LIFLayer 'one' and LIFLayer 'two', expected one"
    with pytest.raises(RuntimeError, match=words):
        find_driven_layers(Twice(), X)


def test_driver_inputs_are_spikes_of_the_layer_before():
    net = deep("lif", depth=2)
    with torch.no_grad():
        net[0].weight.abs_().mul_(5)
    (received,) = driver_inputs(net, net[2], [X])
    (spikes, *_) = (layer.spk for layer in net.record(X).layers.values())
    assert received.any()
    assert received.shape == spikes.shape


def test_inputs_come_in_many_forms():
    x = (events(0.05, 8, 10, 16) > 0).to(torch.uint8)
    y = torch.zeros(8)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    model = deep("lif", depth=1).double()
    for inputs in (x, (x, y), [x[:4], x[4:]], loader, iter([(x, y)])):
        batches = first_batches("f", model, inputs, 4)
        assert torch.equal(torch.cat(batches), x.double())
    assert torch.equal(first_batches("f", model, loader, 1)[0], x[:4].double())


class Padded(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    lengths: torch.Tensor


def test_padding_does_not_count():
    lengths = torch.tensor([9, 3, 9, 1])
    x = events(0.2, 4, 9, 16)
    alone = torch.cat([recording[:n] for recording, n in zip(x, lengths, strict=True)])
    for b, n in enumerate(lengths):
        x[b, n:] = 1e9
    model = SpikingSequential(LIFSynapse(16, 5), LIFLayer(5, 10e-3))
    batch = Padded(x, torch.zeros(4), lengths)
    parts = first_batches("f", model, batch, 4)
    assert [part.shape for part in parts] == [(1, 1, 16), (1, 3, 16), (2, 9, 16)]
    assert sum(part.sum() for part in parts) == alone.sum()
    (driven,) = find_driven_layers(model, parts[0])
    spikes = [driven.charge_and_spikes(part)[1].sum() for part in parts]
    torch.testing.assert_close(driven.rates(parts).sum(), (sum(spikes) / 22).double())
    assert fluct_init(model, [batch], seed=0).layers[0].dead == 0
    with pytest.raises(ValueError, match="f: lengths must be from 1 to the 9 steps"):
        first_batches("f", model, batch._replace(lengths=lengths - 1), 4)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        (3, TypeError, "f: inputs must be a batch.*got int"),
        ([], ValueError, "inputs have no batch"),
        (["x"], TypeError, "a batch must be a tensor or .*, got str"),
        (X[0], ValueError, r"inputs must be sequences \[B, T, N_in\], got .*\[50, 16\]"),
        (X[:0], ValueError, "finite and not empty"),
        (X * float("nan"), ValueError, "finite and not empty"),
    ],
)
def test_bad_inputs_are_rejected(inputs, error, words):
    with pytest.raises(error, match=words):
        first_batches("f", deep("lif", depth=1), inputs, 4)
