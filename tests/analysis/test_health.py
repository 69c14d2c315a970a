"""Nets with one defect by construction, and a net without defects."""

import math
import re
from dataclasses import astuple

import pytest
import torch

from layers.pages import LILayer
from nwavesdk.analysis import Limits, examine, examine_recording
from nwavesdk.analysis.health_remedies import REMEDIES
from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.surrogate import atan, fast_sigmoid

B, T = 4, 80


def net_of(*, slope=4.0, tau=8e-3, n=20, **options):
    """Three layers, alive and with a gradient that keeps its size."""
    torch.manual_seed(2)
    modules = []
    for n_in, n_out in ((10, n), (n, n), (n, 6)):
        synapse = LIFSynapse(n_in, n_out)
        synapse.weight.data.abs_().mul_(0.15)
        modules += [synapse, LIFLayer(n_out, tau, spike_grad=fast_sigmoid(slope), **options)]
    return SpikingSequential(*modules)


def every_step(spk, mem):
    return (spk.mean((0, 1)) * torch.linspace(-1, 1, spk.shape[2])).sum() + 0 * mem.sum()


def last_step(spk, mem):
    return every_step(spk[:, -1:], mem[:, -1:])


def examine_net(net, loss=every_step, limits=None):
    torch.manual_seed(3)
    return examine(net, torch.rand(B, T, 10), loss, limits=limits)


def kinds(health):
    return {(finding.kind, finding.layer) for finding in health.findings}


def numbers(layer):
    return [value for value in astuple(layer)[1:] if value is not None]


def test_a_healthy_net():
    health = examine_net(net_of())
    assert not health.findings, [str(finding) for finding in health.findings]
    assert [layer.layer for layer in health.layers] == ["1", "3", "5"]
    assert all(
        0.01 < layer.rate < 0.6 and layer.dead == layer.starved == 0 for layer in health.layers
    )
    assert health.layers[-1].depth == 1


def test_read_outs_are_passed_over():
    net = net_of()
    health = examine_net(SpikingSequential(*net, LIFSynapse(6, 6), LILayer(6, solver="reference")))
    assert [layer.layer for layer in health.layers] == ["1", "3", "5"]
    assert health.layers[-1].depth == 1


def test_a_lif_layer_whose_membrane_is_used_is_a_read_out():
    readout = LIFLayer(6, 8e-3, 1e3, "none", solver="reference")
    net = SpikingSequential(*net_of(), LIFSynapse(6, 6), readout)

    def of_membrane(_, mem):
        return every_step(mem, mem)

    assert [layer.layer for layer in examine_net(net, of_membrane).layers] == ["1", "3", "5"]
    # A loss of its spikes makes it a layer like the others.
    assert examine_net(net).layers[-1].dead == 1
    # So do a reset and recurrent weights, which need spikes.
    for options in ({}, {"reset_mechanism": "none", "layer_topology": "RC"}):
        net[7] = LIFLayer(6, 8e-3, 1e3, solver="reference", **options)
        assert examine_net(net, of_membrane).layers[-1].dead == 1


def test_a_layer_without_reset_that_others_read_is_no_read_out():
    net = net_of(reset_mechanism="none")
    assert [layer.layer for layer in examine_net(net).layers] == ["1", "3", "5"]


def test_dead_neurons():
    net = net_of()
    net[2].weight.data[:, :5] = -1.0
    health = examine_net(net)
    assert ("dead", "3") in kinds(health)
    assert health.layers[1].dead == 0.25
    assert {finding.layer for finding in health.findings if finding.kind == "dead"} == {"3"}
    (dead,) = (finding for finding in health.findings if finding.kind == "dead")
    assert str(dead).startswith("layer 3: 25% of its neurons never fire: raise their weights")
    assert "fluct_init" in dead.remedy


def test_a_neuron_that_fires_in_other_recordings_is_not_dead():
    net = net_of()
    net[2].weight.data[:, :5] = -1.0
    rates = {"3": torch.tensor([0.01] * 4 + [0.0] + [0.1] * 14 + [0.95], dtype=torch.float64)}
    health = examine(net, torch.rand(B, T, 10), every_step, rates=rates)
    assert (health.layers[1].dead, health.layers[1].saturated) == (0.05, 0.05)
    assert health.layers[1].rate == pytest.approx((0.04 + 1.4 + 0.95) / 20)
    assert ("dead", "3") not in kinds(health)


def test_dead_channels():
    layer = LIFLayer((4, 3, 3), 8e-3, spike_grad=fast_sigmoid(4))
    x = torch.ones(B, T, 4, 3, 3)
    x[:, :, 0] = 0  # a channel that never fires
    x[:, :, 1, 0] = 0  # a row of pixels
    health = examine(SpikingSequential(layer), x, lambda spk, _: spk.mean())
    assert (health.layers[0].channels, health.layers[0].dead_channels) == (4, 1)
    (dead,) = (finding for finding in health.findings if finding.kind == "dead")
    assert dead.text == (
        "layer 0: 33% of its neurons never fire (pixels of 4 channels, 1 of which never fire)"
    )


def test_few_dead_neurons_are_not_reported():
    net = net_of()
    net[2].weight.data[:, :1] = -1.0
    assert ("dead", "3") not in kinds(examine_net(net))
    assert ("dead", "3") in kinds(examine_net(net, limits=Limits(few=0.01)))


def test_saturated_neurons():
    net = net_of()
    net[0].weight.data[:, :10] = 5.0
    health = examine_net(net)
    assert health.layers[0].saturated == 0.5
    assert {key for key in kinds(health) if key[0] == "saturated"} == {("saturated", "1")}


def test_starved_neurons():
    net = net_of()
    net[2].weight.data[:7] = 1e-5  # nearly no effect on the next layer
    health = examine_net(net)
    assert health.layers[0].starved == 0.35
    (starved,) = (finding for finding in health.findings if finding.kind == "starved")
    assert starved.layer == "1"
    assert "lower slope or alpha, as in spike_grad=fast_sigmoid(slope=1.6)" in starved.remedy


def test_vanishing_and_exploding_over_depth():
    vanishing = examine_net(net_of(slope=500.0))
    assert ("vanishing", "1") in kinds(vanishing)
    assert vanishing.layers[0].depth < 1e-2

    net = net_of(slope=0.01)
    for synapse in (net[2], net[4]):
        synapse.weight.data = 4 * torch.randn(synapse.weight.shape)
    exploding = examine_net(net)
    assert ("exploding", "1") in kinds(exploding)
    (finding,) = (
        finding
        for finding in exploding.findings
        if (finding.kind, finding.layer) == ("exploding", "1")
    )
    assert f"noisy: take spike_grad={finding.surrogate}" in finding.remedy


def test_early_steps_are_compared_with_the_third_quarter():
    recorded = RecordedPass(net_of(), torch.rand(B, 8, 10), every_step)
    ramp = torch.tensor([1.0, 1, 2, 2, 4, 4, 80, 80])[:, None]
    gradients = {
        name: ramp.expand(record.spk.shape) for name, record in recorded.recording.layers.items()
    }
    assert all(
        layer.time == 0.25 for layer in examine_recording(recorded.recording, gradients).layers
    )


def test_vanishing_over_time():
    assert not [kind for kind, _ in kinds(examine_net(net_of(tau=2e-3))) if "time" in kind]
    health = examine_net(net_of(tau=2e-3), last_step, limits=Limits(few=1.0))
    assert not [finding for finding in health.findings if finding.kind.startswith("exploding")]
    assert ("vanishing over time", "5") in kinds(health)
    assert health.layers[-1].time < 1e-3


def test_exploding_over_time():
    net = net_of(slope=0.5, layer_topology="RC", max_loop_gain=None)
    net[1].recurrent_weights.data.mul_(4)
    health = examine_net(net)
    assert ("exploding over time", "1") in kinds(health)
    assert "recurrent weights" in REMEDIES["exploding over time"]


def loop_of(**options):
    torch.manual_seed(2)
    layer = LIFLayer(40, 20e-3, spike_grad=atan(2), layer_topology="RC", **options)
    net = SpikingSequential(LIFSynapse(10, 40), layer)
    net[0].weight.data.mul_(0.5)
    layer.recurrent_weights.data.mul_(4)
    return net


def test_a_loop_whose_gradients_grow():
    health = examine_net(loop_of(max_loop_gain=None))
    (finding,) = (finding for finding in health.findings if finding.kind == "recurrent gain")
    assert re.fullmatch(
        r"layer 1: recurrent loop gain [\d.]+: gradients grow by 1\.\d+ per step, "
        r"[\d.e+]+ times in 80 steps: keep max_loop_gain=1 .*",
        str(finding),
    )
    layer = health.layers[0]
    assert finding.value == layer.growth > 1.05
    assert layer.loop_gain > 1
    tolerant = examine_net(loop_of(max_loop_gain=None), limits=Limits(loop=1e30))
    assert ("recurrent gain", "1") not in kinds(tolerant)


def test_a_remedy_recommends_another_surrogate_than_the_net_has():
    for surrogate, smaller in ((atan(2), 25.0), (fast_sigmoid(1.0), 2.5), (fast_sigmoid(), 62.0)):
        net = loop_of(max_loop_gain=None)
        net[1].spike_grad = surrogate
        health = examine_net(net, limits=Limits(loop=0))
        (finding,) = (finding for finding in health.findings if finding.kind == "recurrent gain")
        assert f"less area, such as fast_sigmoid(slope={smaller:g})" in finding.remedy


def test_a_bound_on_the_loop_gain_ends_the_growth():
    health = examine_net(loop_of())
    assert ("recurrent gain", "1") not in kinds(health)
    assert health.layers[0].growth < 1
    # The gain is measured on the weights, without the bound.
    exact = examine_net(loop_of(max_loop_gain=None))
    assert health.layers[0].loop_gain == exact.layers[0].loop_gain


def test_the_loop_of_any_neuron_is_measured(monkeypatch):
    # As of neurons with several states, whose kernels would take long to compile here.
    monkeypatch.setattr("nwavesdk.layers.record.has_loop_gain", lambda _: False)
    health = examine_net(loop_of(max_loop_gain=None))
    assert health.layers[0].loop_gain is None
    (finding,) = (finding for finding in health.findings if finding.kind == "recurrent gain")
    assert "recurrent loop: gradients grow by 1." in finding.text


def test_layers_without_recurrence_have_no_loop():
    layers = examine_net(net_of()).layers
    assert all(layer.growth is None and layer.loop_gain is None for layer in layers)


def test_a_gradient_that_is_not_finite():
    health = examine_net(net_of(), lambda spk, mem: every_step(spk, mem) * math.inf)
    assert ("not finite", "5") in kinds(health)


def test_no_gradient_at_all():
    health = examine_net(net_of(), lambda spk, mem: 0 * every_step(spk, mem))
    assert all(
        layer.starved == 1 and layer.norm == 0 and math.isnan(layer.depth)
        for layer in health.layers
    )


def test_padding_does_not_count():
    net, x = net_of(tau=2e-3), torch.rand(B, T, 10)
    net[2].weight.data[:, :5] = -1.0
    net[0].weight.data[:, :10] = 5.0
    steps = T // 2

    def loss(spk, mem):
        return last_step(spk[:, :steps], mem[:, :steps])

    short, padded = (
        RecordedPass(net, inputs, loss, lengths=lengths)
        for inputs, lengths in ((x[:, :steps], None), (x, torch.full((B,), steps)))
    )
    expected = examine_recording(short.recording, dict(short.gradients()))
    gradients = {name: grad.clone() for name, grad in dict(padded.gradients()).items()}
    for grad in gradients.values():
        grad[:, steps:] = torch.nan
    health = examine_recording(padded.recording, gradients)
    assert kinds(health) == kinds(expected)
    assert kinds(health) >= {("dead", "3"), ("saturated", "1"), ("vanishing over time", "5")}
    for got, layer in zip(health.layers, expected.layers, strict=True):
        assert numbers(got) == pytest.approx(numbers(layer), rel=1e-5)


def test_each_recording_has_its_own_quarters():
    recorded = RecordedPass(
        net_of(), torch.rand(2, 8, 10), every_step, lengths=torch.tensor([8, 4])
    )
    ramps = torch.tensor([[1.0, 1, 9, 9, 4, 4, 9, 9], [2.0, 9, 8, 9, 7, 7, 7, 7]])
    gradients = {
        name: ramps[..., None].expand(record.spk.shape)
        for name, record in recorded.recording.layers.items()
    }
    # √(1 + 1 + 2²) over √(4² + 4² + 8²)
    expected = math.sqrt(6 / 96)
    health = examine_recording(recorded.recording, gradients)
    assert all(layer.time == pytest.approx(expected) for layer in health.layers)


def test_each_layer_needs_its_gradient():
    recorded = RecordedPass(net_of(), torch.rand(B, T, 10), every_step)
    gradients = dict(recorded.gradients())
    del gradients["3"]
    with pytest.raises(ValueError, match="got none for 3"):
        examine_recording(recorded.recording, gradients)
