"""LIF layers against closed forms and snnTorch.

snnTorch's `reset_delay=False` resets in the step of the spike, as ours does, but it lets the
gradient through the reset, and it resets a second time in the next step if the membrane stayed
above threshold. So these tests use `detach_reset=False` and inputs below 2θ."""

import math

import pytest
import torch

from layers.nets import drive, run
from nwavesdk.layers import (
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan, fast_sigmoid, sigmoid
from tolerances import GRADIENT, assert_close

TAU, DT = 20e-3, 1e-3


BETA = math.exp(-DT / TAU)


def run_constant(layer, x, T):
    prepare_net(layer)
    return layer(torch.full((1, T, 1), x, dtype=torch.float64))


@pytest.mark.parametrize("x", [0.051, 0.06, 0.1, 0.3, 0.999, 1.5])
@pytest.mark.parametrize("make", [lambda: LIFLayer(1, TAU), lambda: HWLayer(1, TAU)])
def test_time_to_first_spike(x, make):
    """u[t] = x (1 - β^(t+1)) / (1 - β) passes 1 first at t + 1 = ⌈ln(1 - (1 - β)/x) / ln β⌉."""
    spk, _ = run_constant(make(), x, 200)
    expected = math.ceil(math.log(1 - (1 - BETA) / x) / math.log(BETA)) - 1 if x < 1 else 0
    assert int(spk.flatten().argmax()) == expected


def test_below_rheobase_it_never_fires():
    spk, mem = run_constant(LIFLayer(1, TAU), 0.999 * (1 - BETA), 2000)
    assert not spk.any()
    assert mem[0, -1, 0].item() == pytest.approx(0.999, rel=1e-6)


def test_a_threshold_met_exactly_does_not_fire():
    spk, mem = run_constant(LIFLayer(1, TAU, thresholds=0.5), 0.5, 1)
    assert spk.item() == 0
    assert mem.item() == 0.5


SURROGATE_PAIRS = {
    "atan": (atan(2.0), lambda surrogate: surrogate.atan(alpha=2.0)),
    "fast_sigmoid": (fast_sigmoid(25.0), lambda surrogate: surrogate.fast_sigmoid(slope=25)),
    "sigmoid": (sigmoid(5.0), lambda surrogate: surrogate.sigmoid(slope=5)),
}


@pytest.mark.parametrize(
    ("name", "reset"),
    [
        *[(name, "subtraction") for name in SURROGATE_PAIRS],
        ("fast_sigmoid", "zero"),
        ("fast_sigmoid", "none"),
    ],
)
def test_a_layer_equals_leaky_of_snntorch(name, reset):
    snntorch = pytest.importorskip("snntorch")
    ours, make = SURROGATE_PAIRS[name]
    layer = LIFLayer(40, 10e-3, reset_mechanism=reset, spike_grad=ours, detach_reset=False)
    beta = layer.constants()[0][0].item()
    leaky = snntorch.Leaky(
        beta,
        spike_grad=make(snntorch.surrogate),
        reset_mechanism={"subtraction": "subtract"}.get(reset, reset),
        reset_delay=False,
    )
    x = (0.4 * torch.rand(8, 60, 40)).clamp(max=0.9)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    prepare_net(layer)
    spk, _ = layer(mine)
    mem, spikes = leaky.init_leaky(), []
    for t in range(60):
        s, mem = leaky(other[:, t], mem)
        spikes.append(s)
    expected = torch.stack(spikes, 1)
    weight = torch.randn(expected.shape)
    (spk * weight).sum().backward()
    (expected * weight).sum().backward()
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(spk, expected)
    assert_close(mine.grad, other.grad, GRADIENT, "gradient")


def test_the_example_in_the_documentation_of_nwave_runs():
    namespace = {}
    exec(
        "from nwavesdk.surrogate import fast_sigmoid, atan, sigmoid\n"
        "from nwavesdk.layers import HWLayer, LIFLayer\n"
        "hw = HWLayer(n_neurons=64, taus=20e-3, dt=1e-3, spike_grad=fast_sigmoid())\n"
        'lif = LIFLayer(n_neurons=64, taus=20e-3, thresholds=1.0, reset_mechanism="subtraction",\n'
        "dt=1e-3, spike_grad=atan(alpha=2.0))\n",
        namespace,
    )
    for name in ("hw", "lif"):
        layer = namespace[name]
        spk, mem = run(layer, drive(2, 10, 64))
        assert spk.shape == mem.shape == (2, 10, 64)


@pytest.mark.parametrize("tau", [5e-3, 10e-3, 20e-3])
@pytest.mark.parametrize("synapse", [LIFSynapse, HWSynapse, H1v2Synapse])
def test_default_weights_keep_all_layers_of_a_net_firing(synapse, tau):
    layer = {LIFSynapse: LIFLayer, HWSynapse: HWLayer, H1v2Synapse: H1v2Layer}[synapse]
    net = SpikingSequential(*[m for _ in range(4) for m in (synapse(100, 100), layer(100, tau))])
    prepare_net(net)
    rates = [
        r.spk.mean().item()
        for r in net.record((torch.rand(4, 200, 100) < 0.05).float()).layers.values()
    ]
    assert min(rates) > 0.01
    assert max(rates) < 0.5
