"""`SpikingSequential`: order, records, nesting, and training in chunks that backward runs again."""

import pytest
import torch
from torch import nn

from layers.nets import LAYERS, drive
from nwavesdk.layers import (
    Dropout,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    Prepared,
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


def test_a_pass_that_fails_leaves_the_states_within_a_users_module():
    class Block(Prepared):
        def __init__(self):
            super().__init__()
            self.layer = LIFLayer(3, 20e-3)

        def forward(self, x):
            return self.layer.spikes(x)

    class Counter(Prepared):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x

        def state_restorer(self):
            calls = self.calls
            return lambda: setattr(self, "calls", calls)

    net = SpikingSequential(Block(), Counter(), HWSynapse(3, 2))
    prepare_net(net)
    net[2].weight.data.mul_(0.5)
    with pytest.raises(RuntimeError, match="are stale"):
        net(drive(2, 5, 3))
    assert net[0].layer.state is None
    assert net[1].calls == 0


def test_modules_that_return_no_tensor_are_rejected():
    with pytest.raises(
        TypeError, match="GRU in a SpikingSequential must return a tensor, got tuple"
    ):
        SpikingSequential(nn.GRU(3, 4))(drive(2, 5, 3))


def test_repr_shows_modules_and_constants():
    text = repr(SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3, spike_grad=atan())))
    assert "(0): LIFSynapse(3, 4)" in text
    assert "(1): LIFLayer(4, taus=0.02, thresholds=1, dt=0.001, spike_grad=ATan(alpha=2.0))" in text
    readout = LIFLayer(4, 20e-3, reset_mechanism="none")
    assert repr(readout).endswith('spike_grad=FastSigmoid(slope=25.0), reset_mechanism="none")')


def make_net(checkpoint=None, drop=nn.Identity, kind="lif_zero"):
    torch.manual_seed(0)
    inner = SpikingSequential(LIFSynapse(12, 6), LAYERS[kind](6))
    return SpikingSequential(
        LIFSynapse(5, 20), LIFLayer(20, 10e-3, learn_taus=True), drop(), LIFSynapse(20, 12),
        LIFLayer(12, 10e-3, layer_topology="RC"), inner,
        LIFSynapse(6, 3), LIFLayer(3, 10e-3, reset_mechanism="none"),
        checkpoint=checkpoint,
    )  # fmt: skip


def train(model, parts):
    """Membranes and gradients of one pass over consecutive parts."""
    prepare_net(model)
    torch.manual_seed(7)
    mem = torch.cat([model(x)[1] for x in parts], 1)
    mem.square().mean().backward()
    return mem, [p.grad for p in model.parameters()]


@pytest.mark.parametrize("kind", [nn.Dropout, Dropout])
def test_the_second_run_of_a_chunk_drops_what_the_first_dropped(kind):
    x = (torch.rand(4, 50, 5) < 0.3).float()
    streamed, grads = train(make_net(drop=lambda: kind(0.3)), x.split(7, 1))
    mem, chunked = train(make_net(7, drop=lambda: kind(0.3)), [x])
    assert torch.equal(mem, streamed)
    assert all(map(torch.equal, chunked, grads))


def test_chunks_leave_the_state_after_the_last_step():
    x = (torch.rand(4, 50, 5) < 0.3).float()
    models = make_net(), make_net(7)
    for model in models:
        prepare_net(model)
        model(x)[1].sum().backward()
    for mine, theirs in zip(*(m.modules() for m in models), strict=True):
        if isinstance(mine, LIFLayer):
            assert torch.equal(mine.state["v"], theirs.state["v"])


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_checkpoint_is_a_whole_number(bad):
    with pytest.raises(ValueError, match="checkpoint must be a whole number of at least 1"):
        SpikingSequential(LIFSynapse(2, 2), checkpoint=bad)


def test_chunks_continue_from_a_state_of_inference_mode():
    model = make_net(7)
    prepare_net(model)
    with torch.inference_mode():
        model(torch.rand(4, 20, 5))
    model(torch.rand(4, 20, 5))[1].sum().backward()
    assert model[0].weight.grad.abs().sum() > 0
