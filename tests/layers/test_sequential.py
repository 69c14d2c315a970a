"""`SpikingSequential`."""

import pytest
import torch
from torch import nn

from layers.nets import drive
from nwavesdk.layers import (
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan


class TestSpikingSequential:
    def test_runs_its_modules_in_order(self):
        net = SpikingSequential(
            LIFSynapse(3, 6), LIFLayer(6, 10e-3), LIFSynapse(6, 2), LIFLayer(2, 10e-3)
        )
        x = 2 * drive(4, 30, 3)
        prepare_net(net)
        spk, mem = net(x)
        prepare_net(net)
        hidden, _ = net[1](net[0](x))
        expected = net[3](net[2](hidden))
        assert torch.equal(spk, expected[0])
        assert torch.equal(mem, expected[1])

    def test_records_every_neuron_layer_in_the_same_pass(self):
        net = SpikingSequential(
            LIFSynapse(3, 6),
            LIFLayer(6, 10e-3),
            nn.Dropout(0.5),
            LIFSynapse(6, 2),
            LIFLayer(2, 10e-3),
        )
        prepare_net(net)
        recording = net.record(drive(4, 30, 3))
        assert list(recording.layers) == ["1", "4"]
        assert recording.layers["4"].spk is recording.spk
        hidden = recording.layers["1"]
        assert torch.equal(hidden.spk, (hidden.u > 1).float())
        torch.testing.assert_close(hidden.mem, hidden.u - hidden.spk)
        assert not hidden.u.requires_grad

    def test_modules_without_time_see_batch_and_time_as_one(self):
        net = SpikingSequential(
            nn.Conv2d(1, 2, 3),
            LIFLayer((2, 4, 4), 10e-3),
            nn.Flatten(),
            nn.Dropout(0.1),
            LIFSynapse(32, 5),
        )
        prepare_net(net)
        cur, same = net(drive(3, 7, 1, 6, 6))
        assert cur.shape == (3, 7, 5)
        assert cur is same

    def test_runs_step_by_step(self):
        net = SpikingSequential(
            LIFSynapse(3, 6),
            LIFLayer(6, 10e-3),
            nn.Identity(),
            LIFSynapse(6, 2),
            LIFLayer(2, 10e-3),
        )
        x = 2 * drive(4, 30, 3)
        prepare_net(net)
        whole, _ = net(x)
        prepare_net(net)
        assert torch.equal(torch.stack([net(x[:, t])[0] for t in range(30)], 1), whole)

    def test_nests_and_slices(self):
        inner = SpikingSequential(LIFSynapse(3, 6), LIFLayer(6, 10e-3))
        net = SpikingSequential(inner, LIFSynapse(6, 2), LIFLayer(2, 10e-3))
        prepare_net(net)
        assert list(net.record(drive(2, 9, 3)).layers) == ["0.1", "2"]
        assert isinstance(net[1:], SpikingSequential)


def test_a_pass_that_fails_leaves_all_states():
    net = SpikingSequential(
        LIFSynapse(3, 4), LIFLayer(4, 20e-3), HWSynapse(4, 2), HWLayer(2, 20e-3)
    )
    prepare_net(net)
    net(drive(2, 5, 3))
    before = net[1].state["v"].clone()
    with torch.no_grad():
        net[2].weight.mul_(0.5)
    with pytest.raises(RuntimeError, match="are stale"):
        net(drive(2, 5, 3))
    assert torch.equal(net[1].state["v"], before)


def test_containers_with_layers_inside_are_rejected():
    net = SpikingSequential(nn.Sequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3)))
    prepare_net(net)
    with pytest.raises(
        TypeError,
        match="hands batch and time as one to Sequential.* use SpikingSequential there too",
    ):
        net(drive(2, 5, 3))
    with pytest.raises(TypeError, match="GRU in a SpikingSequential must give a tensor, got tuple"):
        SpikingSequential(nn.GRU(3, 4))(drive(2, 5, 3))


def test_repr_shows_modules_and_constants():
    text = repr(SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3, spike_grad=atan())))
    assert "(0): LIFSynapse(3, 4)" in text
    assert "(1): LIFLayer(4, taus=0.02, dt=0.001, spike_grad=ATan(alpha=2.0))" in text
