"""Records of any module, also of layers that run step by step: whole ones, and spikes alone."""

from importlib import import_module

import pytest
import torch
from torch import nn

from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential, prepare_net
from nwavesdk.layers.plan import run_planned
from nwavesdk.net import record
from nwavesdk.net.recording import record_spikes
from tolerances import GRADIENT, assert_all_close, assert_close

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


class Scores(nn.Module):
    """The net of `Model` before a read-out."""

    def __init__(self):
        super().__init__()
        self.body = Model()
        self.scores = SpikingSequential(LIFSynapse(4, 2), LILayer(2, tau=10e-3))

    def forward(self, x, lengths=None):
        return self.scores(self.body(x, lengths), lengths)


@pytest.mark.parametrize("lengths", [None, torch.tensor([12, 5, 3])], ids=["whole", "padded"])
@pytest.mark.parametrize("build", [Model, Scores])
def test_spikes_alone_are_those_of_the_records_and_so_is_their_gradient(build, lengths):
    torch.manual_seed(0)
    model = build()
    results = []
    for run in (record, record_spikes):
        model.zero_grad()
        prepare_net(model)
        recording = run(model, X, lengths=lengths)
        rates = recording.rates()
        (recording.mem.square().sum() + sum(rates.values())).backward()
        results.append((recording, rates, [p.grad.clone() for p in model.parameters()]))
    (whole, whole_rates, whole_grads), (alone, rates, grads) = results
    assert torch.equal(alone.spk, whole.spk)
    assert torch.equal(alone.mem, whole.mem)
    assert list(alone.spiking) == list(whole.spiking)
    for name, spk in alone.spiking.items():
        assert torch.equal(spk, whole.spiking[name].spk)
        assert rates[name] == whole_rates[name].float()
        assert rates[name] > 0
    assert_all_close(grads, whole_grads, GRADIENT, "gradient")


def test_spikes_alone_need_no_states(monkeypatch):
    net = SpikingSequential(
        LIFSynapse(4, 4), LIFLayer(4, 8e-3), LIFSynapse(4, 2), LIFLayer(2, 8e-3)
    )
    computes_membrane = []

    def run(layer, cur, *, needs_membrane):
        computes_membrane.append(needs_membrane)
        return run_planned(layer, cur, needs_membrane=needs_membrane)

    monkeypatch.setattr(LIFLayer, "record", None)
    monkeypatch.setattr(import_module("nwavesdk.layers.neuron"), "run_planned", run)
    prepare_net(net)
    recording = record_spikes(net, X)
    assert computes_membrane == [False, True]
    assert list(recording.spiking) == ["1", "3"]
    assert recording.hidden == ["1"]


@pytest.mark.parametrize("record", [record, record_spikes])
def test_the_layer_is_as_before(record):
    model = build()
    prepare_net(model)
    record(model, X)
    assert not {"forward", "spikes"} & set(vars(model.second))
    with pytest.raises(ValueError, match="takes"):
        record(model, torch.ones(3, 12, 9))
    assert not {"forward", "spikes"} & set(vars(model.second))
    assert model.second.state is not None


@pytest.mark.parametrize("record", [record, record_spikes])
def test_a_failing_pass_leaves_all_states(record):
    model = build()
    prepare_net(model)
    record(model, X)
    before = model.second.state["v"].clone()
    model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        record(model, X)
    assert torch.equal(model.second.state["v"], before)


@pytest.mark.parametrize("record", [record, record_spikes])
def test_what_cannot_be_recorded_is_rejected(record):
    layer = LIFLayer(4, 8e-3)
    prepare_net(layer)

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

    with pytest.raises(TypeError, match="Texts must return a tensor or `spk, mem`, got str"):
        record(Texts(), X)
    with pytest.raises(TypeError, match="takes a torch module, got int"):
        record(3, X)
