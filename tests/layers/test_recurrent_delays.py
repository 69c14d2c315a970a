"""Recurrent weights with delays: values, gradients, state and bad input by its words."""

import copy
import pickle

import pytest
import torch
from torch import nn

from nwavesdk.layers import (
    ALIFLayer,
    DelayedSynapse,
    DelayOptions,
    LIFLayer,
    LILayer,
    SpikingSequential,
    find_edges,
    prepare_net,
)
from nwavesdk.net import Feedback, narrow_delays, rounding_change
from nwavesdk.surrogate import atan
from tolerances import GRADIENT, assert_all_close

B, T, N = 3, 12, 5
OPTIONS = {
    "steps": 4,
    "gaussian": DelayOptions(4, interpolation="gaussian", width=0.8),
    "fixed": DelayOptions(4e-3, unit="seconds", learn_delays=False),
}


def layer(options=4, neuron=LIFLayer, **others):
    torch.manual_seed(0)
    constants = {"taus": 10e-3} if neuron is LIFLayer else {}
    others = {"layer_topology": "RC", "spike_grad": atan(), **others}
    return neuron(N, **constants, recurrent_delays=options, **others)


def charge():
    torch.manual_seed(1)
    return 0.6 * torch.rand(B, T, N)


def run(module, x, parts):
    """Outputs and gradients of `x` in parts of these lengths."""
    prepare_net(module)
    module.zero_grad()
    x = x.clone().requires_grad_()
    outputs = [module(part) for part in x.split(parts, 1)]
    spk, mem = (torch.cat(values, 1) for values in zip(*outputs, strict=True))
    torch.manual_seed(2)
    (spk * torch.randn_like(spk) + mem * torch.randn_like(mem)).sum().backward()
    assert spk.any()
    return [spk.detach(), mem.detach(), x.grad, *(p.grad.clone() for p in module.parameters())]


@pytest.mark.parametrize("parts", [[5, 7], [9, 2, 1], [1] * T, [0, T]])
@pytest.mark.parametrize("kind", [*OPTIONS, "ALIF"])
def test_parts_equal_the_whole_with_gradients(kind, parts):
    recurrent = layer(neuron=ALIFLayer) if kind == "ALIF" else layer(OPTIONS[kind])
    x = charge() * (40 if kind == "ALIF" else 2)
    whole = run(recurrent, x, [T])
    assert_all_close(run(recurrent, x, parts), whole, GRADIENT, "parts")


def test_equals_a_delayed_synapse_as_feedback():
    recurrent = layer(OPTIONS["gaussian"], max_loop_gain=None)
    synapse = DelayedSynapse(N, N, 4, interpolation="gaussian", width=0.8)
    loop = Feedback(layer(None, layer_topology="FF"), feedback=synapse)
    with torch.no_grad():
        synapse.weight.copy_(recurrent.recurrent_weights)
        synapse.scaled_delays.copy_(recurrent.recurrent_delays.scaled_delays)
    x = 2 * charge()
    assert_all_close(run(recurrent, x, [T]), run(loop, x, [T]), GRADIENT, "feedback")


def test_gradients_reach_weights_and_delays_through_the_loop():
    """A silent surrogate in the read-out: the delay's gradient is w (s[t-1-f-1] - s[t-1-f])."""
    recurrent = LIFLayer(
        2,
        taus=10e-3,
        layer_topology="RC",
        recurrent_delays=DelayOptions(3, delays=1.25),
        thresholds=torch.tensor([0.5, 1e6]),
    )
    nn.init.zeros_(recurrent.recurrent_weights)
    recurrent.recurrent_weights.data[0, 1] = 3.0
    x = torch.zeros(1, 8, 2)
    x[0, 0, 0] = 1  # neuron 0 spikes in step 0
    prepare_net(recurrent)
    _, mem = recurrent(x)
    # It arrives 1 + 1.25 steps later: 3/4 of the charge in step 2, the rest in step 3.
    assert mem[0, 2, 1].item() == pytest.approx(2.25)
    mem[0, 2, 1].backward()
    delays = recurrent.recurrent_delays
    assert delays.scaled_delays.grad[0, 1].item() == -3 * 4  # delays are stored by 4 steps
    assert recurrent.recurrent_weights.grad[0, 1].item() == 0.75


def test_eval_rounds_and_narrow_reaches_the_layer():
    net = SpikingSequential(layer(OPTIONS["gaussian"]), layer(4))
    recurrent = net[0].recurrent_delays
    narrow_delays(net, 1)
    assert recurrent.width == 0.5
    weights = torch.ones(N, N)
    assert set(recurrent.eval()(weights).unique().tolist()) == {0.0, 1.0}
    recurrent.train()
    assert len(recurrent(weights).unique()) > 2
    change = rounding_change(net, lambda m: m[0].recurrent_delays(weights).detach().max())
    assert change.rounded == 1 > change.interpolated


def test_state_copies_and_checkpoint():
    recurrent = layer()
    x = 2 * charge()
    prepare_net(recurrent)
    recurrent(x[:, :6])
    copies = [copy.deepcopy(recurrent), pickle.loads(pickle.dumps(recurrent))]
    other = layer()
    prepare_net(other)
    other.load_state_tensors(recurrent.state_tensors())
    expected = recurrent(x[:, 6:])[0]
    for module in (*copies, other):
        assert torch.equal(module(x[:, 6:])[0], expected)
    other.load_state_dict(recurrent.state_dict())
    torch.manual_seed(5)
    whole = run(SpikingSequential(layer()), x, [T])
    assert_all_close(
        run(SpikingSequential(layer(), checkpoint=5), x, [T]), whole, GRADIENT, "checkpoint"
    )


def test_edges_have_no_extra_modules():
    found = find_edges(SpikingSequential(layer()))
    assert [edge.name for edge in found.edges] == ["0.recurrent_weights"]
    assert found.uncovered == ()


def test_print():
    assert "RecurrentDelays(max_delay=4)" in str(layer())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer_topology": "FF"}, 'belong to recurrent weights.*use layer_topology="RC"'),
        ({"solver": "compasso"}, "comPaSSo runs feed-forward layers only"),
        ({"device": "gpu"}, "comPaSSo runs feed-forward layers only"),
        ({"recurrent_delays": 0}, "must be a whole number of at least 1, got 0"),
        (
            {"recurrent_delays": DelayOptions(4, delays=5)},
            r"delays must be from 0 to .* 4 \[steps\]",
        ),
        ({"recurrent_delays": DelayOptions(4, delays=torch.zeros(5))}, r"the shape \[5, 5\], got"),
    ],
)
def test_bad_options(options, words):
    arguments = {"layer_topology": "RC", "recurrent_delays": 4} | options
    with pytest.raises(ValueError, match=f"LIFLayer: .*{words}"):
        LIFLayer(N, taus=10e-3, **arguments)


def test_bad_calls():
    recurrent = layer()
    recurrent.solver = "serial"
    prepare_net(recurrent)
    with pytest.raises(
        RuntimeError, match="reference solver only, got solver 'serial': set solver"
    ):
        recurrent(charge())
    recurrent = layer()
    prepare_net(recurrent)
    record = recurrent.record(charge())
    with pytest.raises(RuntimeError, match="gradients of a record, .* with recurrent_delays: use"):
        record.charge_gradient(torch.ones_like(record.spk))
    recurrent.load_state_tensors([torch.zeros(B, N), torch.zeros(B, N)])
    with pytest.raises(RuntimeError, match=r"expected .* and last spikes \[3, 25\]"):
        recurrent(charge())
    recurrent.recurrent_delays.scaled_delays.data[0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="recurrent_delays: delays are not finite"):
        prepare_net(recurrent)
    with pytest.raises(ValueError, match="LILayer is a read-out.* takes no recurrent_delays"):
        LILayer(N, recurrent_delays=4)
