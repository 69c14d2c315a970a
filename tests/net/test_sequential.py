"""`SpikingSequential`: order, records, nesting, and training in chunks that backward runs again."""

import pytest
import torch
from torch import nn

from layers.nets import drive
from nwavesdk.layers import (
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    Prepared,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan


def test_nests_and_slices():
    inner = SpikingSequential(LIFSynapse(3, 6), LIFLayer(6, 10e-3))
    net = SpikingSequential(inner, LIFSynapse(6, 2), LIFLayer(2, 10e-3))
    prepare_net(net)
    assert list(net.record(drive(2, 9, 3)).layers) == ["0.1", "2"]
    assert isinstance(net[1:], SpikingSequential)


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


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_checkpoint_is_a_whole_number(bad):
    with pytest.raises(ValueError, match="checkpoint must be a whole number of at least 1"):
        SpikingSequential(LIFSynapse(2, 2), checkpoint=bad)


def test_chunks_continue_from_a_state_of_inference_mode():
    model = SpikingSequential(LIFSynapse(5, 4), LIFLayer(4, 10e-3), checkpoint=7)
    prepare_net(model)
    with torch.inference_mode():
        model(torch.rand(4, 20, 5))
    model(torch.rand(4, 20, 5))[1].sum().backward()
    assert model[0].weight.grad.abs().sum() > 0
