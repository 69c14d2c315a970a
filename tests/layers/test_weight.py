"""Effective weights: quantization, charge law, mismatch, gradient, and when they are stale."""

import math

import pytest
import torch

from layers.nets import drive, run
from nwavesdk.layers import (
    Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import hold_prepared
from tolerances import GRADIENT, assert_close

MAKE = {
    "synapse": lambda **options: HWSynapse(40, 50, **options),
    "front end": lambda **options: Frontend(2000, init=torch.linspace(0.01, 0.9, 2000), **options),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_an_effective_weight_is_quantized_charged_and_noisy_in_that_order(make):
    synapse, clean = make(quantization_bits=4, stddev=0.05), make(quantization_bits=4)
    clean.load_state_dict(synapse.state_dict())
    prepare_net(synapse, seed=0)
    prepare_net(clean)
    step = 0.9 / 7
    quantized = torch.round(synapse.weight.detach().clamp(-0.9, 0.9) / step) * step
    charge = 0.9 / torch.sinh(torch.tensor(1.8)) * torch.sinh(2 * quantized)
    noise = (synapse.effective_weight() - charge).detach()
    assert noise.std().item() == pytest.approx(0.05, rel=0.05)
    assert abs(noise.mean().item()) < 0.01
    torch.testing.assert_close(clean.effective_weight().detach(), charge)

    # The gradient has the slope of the charge law at the quantized weight.
    clean(torch.ones(1, len(clean.weight))).sum().backward()
    slope = 0.9 / torch.sinh(torch.tensor(1.8)) * 2 * torch.cosh(2 * quantized)
    torch.testing.assert_close(clean.weight.grad, slope)


def test_gradient_passes_straight_through_inside_of_the_range_only():
    synapse = H1v2Synapse(2, 2, quantization_bits=3)
    synapse.weight.data = torch.tensor([[0.3, 1.7], [-1.66, -2.0]])
    run(synapse, torch.ones(1, 2)).sum().backward()
    assert torch.equal(synapse.weight.grad, torch.tensor([[0.5, 0.0], [0.5, 0.0]]))


@pytest.mark.parametrize("layer", [HWLayer, H1v2Layer])
def test_recurrent_weights_have_their_own_bits_and_mismatch(layer):
    limit, gain = {HWLayer: (0.9, None), H1v2Layer: (1.66, 0.5)}[layer]
    neurons = layer(60, 20e-3, layer_topology="RC", quantization_bits=3, stddev=0.04)
    plain = layer(60, 20e-3, layer_topology="RC", quantization_bits=3)
    plain.load_state_dict(neurons.state_dict())
    for module in (neurons, plain):
        prepare_net(module, seed=0)
    clean = plain.effective_recurrent_weights().detach()
    assert clean.unique().numel() <= 7
    if gain is not None:
        quantized = torch.round(
            plain.recurrent_weights.detach().clamp(-limit, limit) / (limit / 3)
        ) * (limit / 3)
        torch.testing.assert_close(clean, gain * quantized)
    noise = (neurons.effective_recurrent_weights() - clean).detach()
    assert noise.std().item() == pytest.approx(0.04, rel=0.05)


def test_weights_overwritten_with_equal_values_are_not_stale():
    synapse = HWSynapse(3, 4)
    prepare_net(synapse)
    synapse.load_state_dict(synapse.state_dict())
    synapse(torch.rand(2, 3))


def test_the_sign_of_a_zero_does_not_make_weights_stale():
    synapse = HWSynapse(3, 4)
    with torch.no_grad():
        synapse.weight[0] = 0.0
    y = run(synapse, torch.ones(2, 3))
    with torch.no_grad():
        synapse.weight[0] = -0.0
    assert torch.equal(synapse(torch.ones(2, 3)), y)


def test_a_weight_that_is_nan_is_stale_even_where_its_bits_are_the_same():
    synapse = HWSynapse(3, 4)
    synapse.weight.data[0, 0] = math.nan
    synapse.prepare(Noise(), keep_state=False)  # without the checks of `prepare_net`
    with hold_prepared([synapse]), pytest.raises(RuntimeError, match="are stale"):
        synapse(torch.ones(2, 3))


def change_one_value(synapse):
    synapse.weight.data.view(-1)[-1] += 1e-6


def replace_data(synapse):
    synapse.weight.data = synapse.weight.data + 1


def transpose_data(synapse):
    synapse.weight.data = synapse.weight.data.t()


def step_fused(synapse):
    synapse(torch.ones(2, 4)).sum().backward()
    torch.optim.AdamW(synapse.parameters(), 0.1, fused=True).step()


@pytest.mark.parametrize("change", [change_one_value, replace_data, transpose_data, step_fused])
def test_every_call_looks_whether_weights_are_stale(change):
    synapse = HWSynapse(4, 4)
    prepare_net(synapse)
    for _ in range(3):
        synapse(torch.ones(2, 4))
    change(synapse)
    for learns in (True, False):
        with torch.set_grad_enabled(learns), pytest.raises(RuntimeError, match="are stale"):
            synapse(torch.ones(2, 4))


def test_gradients_pass_through_the_weights_of_each_preparation():
    """Steps before and after `prepare_net(keep_state=True)` have one graph, with two weights."""
    synapse = HWSynapse(3, 4, 4)
    x = torch.rand(2, 3)
    grads = []
    for joint in (True, False):
        torch.manual_seed(0)
        synapse.reset_parameters()
        synapse.weight.grad = None
        losses = []
        for _ in range(2):
            prepare_net(synapse, keep_state=True)
            for _ in range(2):
                losses.append(synapse(x).sin().sum())
                if not joint:
                    losses.pop().backward()
            synapse.weight.data += 0.1
        if joint:
            sum(losses).backward()
        grads.append(synapse.weight.grad)
    assert_close(*grads, GRADIENT, "gradients")


def test_the_effective_weight_keeps_its_gradient_flag_and_its_memory():
    synapse = HWSynapse(3, 4)
    prepare_net(synapse)
    with torch.no_grad():
        synapse.effective_weight().requires_grad_()
        assert not synapse.effective_weight().requires_grad
    assert synapse.effective_weight().requires_grad


def test_effective_weights_missing_or_stale():
    net = SpikingSequential(HWSynapse(3, 4), HWLayer(4, 20e-3, layer_topology="RC"))
    x = drive(2, 6, 3)
    with pytest.raises(
        RuntimeError, match=r"H1v1Synapse has no effective weights yet: call prepare_net"
    ):
        net[0].effective_weight()
    run(net, x)[1].sum().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    with pytest.raises(
        RuntimeError, match=r"H1v1Synapse: the weights have changed since prepare_net .* are stale"
    ):
        net(x)
    prepare_net(net, keep_state=True)
    net(x)


def test_weights_that_are_not_finite():
    synapse = HWSynapse(3, 4, quantization_bits=4)
    synapse.weight.data[0, 0] = math.nan
    with pytest.raises(
        RuntimeError, match="H1v1Synapse: weights are not finite: training diverged"
    ):
        prepare_net(synapse)
