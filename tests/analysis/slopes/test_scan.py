"""The numbers of a scan, against those of whole passes under autograd."""

import copy

import numpy as np
import pytest
import torch

from analysis.slopes.nets import (
    CANDIDATES,
    B,
    N,
    T,
    input_charge,
    lif_net,
    loss_fn,
    whole_pass,
)
from nwavesdk.analysis import scan_slopes
from nwavesdk.layers import NeuronLayer
from nwavesdk.surrogate import atan


def test_numbers_are_those_of_whole_passes():
    net = lif_net().double().eval()
    x = input_charge()
    scan = scan_slopes(net, x, loss_fn, CANDIDATES, seed=4, weights=True, usable_share=0.3)
    assert scan.candidates == tuple(CANDIDATES)
    assert scan.layers == ("1", "3.1", "5")
    for row, chosen in enumerate(scan.surrogates):
        charges, parameters = whole_pass(net, x, chosen, seed=4)
        received = [charge.abs().sum((0, 1)) for charge in charges]
        for layer, charge in enumerate(charges):
            assert scan.norm[row, layer] == pytest.approx(float(charge.norm()), rel=1e-10)
            by_time = charge.pow(2).sum((0, 2)).sqrt().numpy()
            np.testing.assert_allclose(scan.by_time[row, layer], by_time, rtol=1e-9, atol=1e-12)
            share = (received[layer] >= 0.3 * received[-1].mean()).double().mean()
            assert scan.usable[row, layer] == pytest.approx(float(share))
        assert scan.ratio[row] == pytest.approx(float(charges[0].norm() / charges[-1].norm()))
        assert scan.transfer[row, 1] == pytest.approx(float(charges[1].norm() / charges[2].norm()))
        for name, norms in scan.weight_norm.items():
            assert norms[row] == pytest.approx(float(parameters[name].norm()), rel=1e-9)


def test_the_net_does_not_change():
    net = lif_net().double()
    x = input_charge()
    before = copy.deepcopy(net.state_dict())
    generator = torch.get_rng_state()
    scan_slopes(net, x, loss_fn, CANDIDATES)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    assert all(layer.state is None and not layer.times_prepared for layer in layers)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert net.training
    net.eval()
    torch.set_rng_state(generator)
    scan_slopes(net, x, loss_fn, CANDIDATES)
    assert torch.equal(torch.get_rng_state(), generator), "nothing is random without dropout"


def test_norms_below_and_above_what_float32_can_square():
    net = lif_net().eval()
    x = torch.rand(B, T, N)
    plain = scan_slopes(net, x, loss_fn, [atan(2)])
    for scale in (1e-28, 1e-22, 1e-20, 1e18):
        scaled = scan_slopes(
            net, x, lambda spk, mem, scale=scale: scale * loss_fn(spk, mem), [atan(2)]
        )
        np.testing.assert_allclose(scaled.norm / scale, plain.norm, rtol=1e-4)
