"""What a pencil says about a leaky neuron."""

import math

import pytest
import torch

from nwavesdk.layers import HWLayer, LIFLayer, prepare_net

TAU, DT = 20e-3, 1e-3
BETA = math.exp(-DT / TAU)


def constant(layer, x, T):
    prepare_net(layer)
    return layer(torch.full((1, T, 1), x, dtype=torch.float64))


@pytest.mark.parametrize("x", [0.051, 0.06, 0.1, 0.3, 0.999, 1.5])
@pytest.mark.parametrize("make", [lambda: LIFLayer(1, TAU), lambda: HWLayer(1, TAU)])
def test_time_to_first_spike(x, make):
    """u[t] = x (1 - β^(t+1)) / (1 - β) passes 1 first at t + 1 = ⌈ln(1 - (1 - β)/x) / ln β⌉."""
    spk, _ = constant(make(), x, 200)
    expected = math.ceil(math.log(1 - (1 - BETA) / x) / math.log(BETA)) - 1 if x < 1 else 0
    assert int(spk.flatten().argmax()) == expected


def test_below_rheobase_it_never_fires():
    spk, mem = constant(LIFLayer(1, TAU), 0.999 * (1 - BETA), 2000)
    assert not spk.any()
    assert mem[0, -1, 0].item() == pytest.approx(0.999, rel=1e-6)


def test_decay_is_exponential():
    layer = LIFLayer(1, TAU)
    prepare_net(layer)
    x = torch.zeros(1, 50, 1, dtype=torch.float64)
    x[0, 0] = 0.8
    _, mem = layer(x)
    t = torch.arange(50, dtype=torch.float64)
    torch.testing.assert_close(mem.flatten(), 0.8 * torch.exp(-t * DT / TAU), rtol=1e-6, atol=0)


@pytest.mark.parametrize("x", [0.06, 0.1, 0.2, 0.45])
def test_rate_with_zero_reset_is_one_over_the_first_passage(x):
    spk, _ = constant(LIFLayer(1, TAU, reset_mechanism="zero"), x, 3000)
    period = math.ceil(math.log(1 - (1 - BETA) / x) / math.log(BETA))
    assert spk.sum().item() == 3000 // period


@pytest.mark.parametrize("x", [0.06, 0.2, 0.7, 0.95])
def test_rate_with_subtraction_balances_charge(x):
    """What comes in leaks or is subtracted: T x = (1 - β) Σ v + θ · spikes, up to what is left on the membrane."""
    spk, mem = constant(LIFLayer(1, TAU), x, 4000)
    before = torch.cat([torch.zeros(1, 1, 1, dtype=torch.float64), mem[:, :-1]], 1)
    balance = 4000 * x - (1 - BETA) * before.sum().item() - mem[0, -1, 0].item()
    assert spk.sum().item() == pytest.approx(balance, rel=1e-6)


def test_a_threshold_met_exactly_does_not_fire():
    spk, mem = constant(LIFLayer(1, TAU, thresholds=0.5), 0.5, 1)
    assert spk.item() == 0
    assert mem.item() == 0.5


def test_dt_and_tau_matter_only_by_their_ratio():
    torch.manual_seed(2)
    x = torch.rand(1, 100, 1) * 0.3
    layers = [LIFLayer(1, 20e-3, dt=1e-3), LIFLayer(1, 2e-3, dt=1e-4)]
    for layer in layers:
        prepare_net(layer)
    a, b = (layer(x)[1] for layer in layers)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
