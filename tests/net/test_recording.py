"""`record`: any module, with a record of each layer, also of layers that run step by step."""

import pytest
import torch
from torch import nn

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.net import record
from tolerances import GRADIENT, assert_close

X = 3 * torch.rand(3, 12, 4, generator=torch.Generator().manual_seed(1))


class Model(nn.Module):
    """A user's net with a layer that runs in a loop, in a container or by itself."""

    def __init__(self):
        super().__init__()
        self.first = SpikingSequential(LIFSynapse(4, 4), LIFLayer(4, 8e-3))
        self.second = LIFLayer(4, 8e-3)

    def forward(self, x, lengths=None):
        spk, _ = self.first(x, lengths)
        return torch.stack([self.second(spk[:, t])[0] for t in range(x.shape[1])], 1)


def build():
    torch.manual_seed(0)
    return Model()


def test_steps_of_a_loop_become_one_record():
    model = build()
    prepare_net(model)
    recording = record(model, X, charges=True)
    assert list(recording.layers) == ["first.1", "second"]
    whole = SpikingSequential(*model.first, model.second)
    prepare_net(whole)
    expected = whole.record(X, charges=True).layers["2"]
    got = recording.layers["second"]
    for name in ("spk", "mem", "cur", "z", "u"):
        assert_close(getattr(got, name), getattr(expected, name), GRADIENT, name)
    assert torch.equal(recording.spk, recording.mem)
    grads = [each.charge_gradient(torch.ones_like(got.spk))[0] for each in (got, expected)]
    assert_close(*grads, GRADIENT, "gradient")


def test_lengths_belong_to_all_records():
    model = build()
    lengths = torch.tensor([12, 5, 3])
    prepare_net(model)
    recording = record(model, X, lengths=lengths)
    assert recording.layers["second"].lengths is lengths
    spikes = [recording.layers["second"].spk[i, :length].sum() for i, length in enumerate(lengths)]
    rate = recording.rates()["second"]
    assert rate.item() == pytest.approx(sum(spikes).item() / (20 * 4))


def test_the_layer_is_as_before():
    model = build()
    prepare_net(model)
    record(model, X)
    assert not {"forward", "spikes"} & set(vars(model.second))
    with pytest.raises(ValueError, match="takes"):
        record(model, torch.ones(3, 12, 9))
    assert not {"forward", "spikes"} & set(vars(model.second))
    assert model.second.state is not None


def test_a_failing_pass_leaves_all_states():
    model = build()
    prepare_net(model)
    record(model, X)
    before = model.second.state["v"].clone()
    model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        record(model, X)
    assert torch.equal(model.second.state["v"], before)


def test_what_cannot_be_recorded_is_rejected():
    layer = LIFLayer(4, 8e-3)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)[0] + self.layer(x)[0]

    with pytest.raises(RuntimeError, match="layer 'layer' got a sequence 2 times in one pass"):
        record(Twice(), X)

    class Texts(nn.Module):
        def forward(self, _):
            return "spikes"

    with pytest.raises(
        TypeError, match="record: Texts must return a tensor or `spk, mem`, got str"
    ):
        record(Texts(), X)
    with pytest.raises(TypeError, match="record takes a torch module, got int"):
        record(3, X)
