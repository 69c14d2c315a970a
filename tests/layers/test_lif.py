"""LIF layers: the first spike in closed form, the example of NWAVE, and nets that keep firing."""

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

TAU, DT = 20e-3, 1e-3


BETA = math.exp(-DT / TAU)


@pytest.mark.parametrize("x", [0.051, 0.06, 0.1, 0.3, 0.999, 1.5])
@pytest.mark.parametrize("make", [lambda: LIFLayer(1, TAU), lambda: HWLayer(1, TAU)])
def test_time_to_first_spike(x, make):
    """u[t] = x (1 - β^(t+1)) / (1 - β) passes 1 first at t + 1 = ⌈ln(1 - (1 - β)/x) / ln β⌉."""
    spk, _ = run(make(), torch.full((1, 200, 1), x, dtype=torch.float64))
    expected = math.ceil(math.log(1 - (1 - BETA) / x) / math.log(BETA)) - 1 if x < 1 else 0
    assert int(spk.flatten().argmax()) == expected


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
