"""`Record`."""

import copy

import pytest
import torch

from layers.nets import LAYERS, drive
from layers.pages import AdaptiveLayer
from nwavesdk.layers import LIFLayer, LILayer, SpikingSequential, prepare_net
from nwavesdk.surrogate import fast_sigmoid
from tolerances import GRADIENT, assert_close


def test_u_does_not_change_when_input_and_constants_do(kind):
    layer, x = LAYERS[kind](4), drive(2, 9, 4)
    prepare_net(layer)
    record, again = layer.record(x), copy.deepcopy(layer)
    prepare_net(again)
    expected = again.record(x).u
    x.zero_()
    with torch.no_grad():
        layer.log_taus += 1
    assert torch.equal(record.u, expected)


@pytest.mark.parametrize("make", [*LAYERS.values(), AdaptiveLayer], ids=[*LAYERS, "adaptive"])
def test_charge_gradient_equals_backward_under_another_surrogate(make):
    x = drive(2, 20, 4, dtype=torch.float64)
    grads = []
    for surrogate in (fast_sigmoid(25.0), fast_sigmoid(5.0)):
        layer, leaf = make(4, spike_grad=surrogate, solver="reference"), x.clone()
        prepare_net(layer)
        record = layer.record(leaf.requires_grad_(), charge=True)
        assert record.cur is leaf
        weights = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).reshape(x.shape)
        other = record.charge_gradient(weights, 0.5 * weights, fast_sigmoid(5.0))
        (record.spk * weights + 0.5 * record.mem * weights).sum().backward()
        grads.append((leaf.grad, other[0]))
    assert not torch.equal(grads[0][0], grads[1][0])
    for _, other in grads:
        assert_close(other, grads[1][0], GRADIENT, "gradient")


@pytest.mark.parametrize("leading", [(2,), (2, 9)])
def test_rates_are_means_of_each_neuron_for_every_shape(leading):
    layer = LIFLayer((3, 2), 15e-3)
    prepare_net(layer)
    x = 2 * drive(*leading, 3, 2)
    record = layer.record(x.requires_grad_())
    neurons = record.spk.reshape(-1, 6).double()
    assert torch.equal(record.neuron_rates(), neurons.mean(0))
    assert 0 < record.rate() == neurons.mean(0).mean()
    record.rate().backward()
    assert x.grad.all()


def test_a_read_out_has_no_rate():
    net = SpikingSequential(LIFLayer(4, 15e-3), LILayer(4, solver="reference"))
    prepare_net(net)
    recording = net.record(drive(2, 9, 4))
    assert [*recording.rates()] == ["0"]
    with pytest.raises(ValueError, match="LILayer is a read-out, which has no spikes and no rate"):
        recording.layers["1"].rate()
