"""The numbers of a scan equal the numbers of whole passes; the rule recommends surrogates."""

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
from nwavesdk.analysis import SlopeScan, scan_slopes
from nwavesdk.layers import LIFLayer, LIFSynapse, NeuronLayer, SpikingSequential
from nwavesdk.surrogate import ATan, atan, fast_sigmoid


def test_numbers_are_those_of_whole_passes(monkeypatch):
    monkeypatch.setattr("nwavesdk.analysis.slopes.scan.USABLE_SHARE", 0.3)
    net = lif_net().double().eval()
    x = input_charge()
    scan = scan_slopes(net, x, loss_fn, CANDIDATES, seed=4)
    assert scan.candidates == tuple(CANDIDATES)
    assert scan.layers == ("1", "3.1", "5")

    for row, chosen in enumerate(scan.surrogates):
        charges = whole_pass(net, x, chosen, seed=4)
        received = [charge.abs().sum((0, 1)) for charge in charges]
        for layer, charge in enumerate(charges):
            assert scan.norm[row, layer] == pytest.approx(float(charge.norm()), rel=1e-10)
            by_time = charge.pow(2).sum((0, 2)).sqrt().numpy()
            np.testing.assert_allclose(scan.by_time[row, layer], by_time, rtol=1e-9, atol=1e-12)
            share = (received[layer] >= 0.3 * received[-1].mean()).double().mean()
            assert scan.usable[row, layer] == pytest.approx(float(share))

        assert scan.ratio[row] == pytest.approx(float(charges[0].norm() / charges[-1].norm()))
        assert scan.transfer[row, 1] == pytest.approx(float(charges[1].norm() / charges[2].norm()))


def test_padding_does_not_count():
    net = lif_net().double().eval()
    x = input_charge()
    short = scan_slopes(net, x[:, :25], loss_fn, [atan(2)], seed=4)

    def loss(spk, mem):
        return loss_fn(spk[:, :25], mem[:, :25])

    padded = scan_slopes(net, x, loss, [atan(2)], seed=4, lengths=torch.full((B,), 25))
    assert padded.rates == short.rates
    assert padded.norm == pytest.approx(short.norm, rel=1e-10)
    assert padded.usable.tolist() == short.usable.tolist()


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


def scan_of(norms, surrogates, current):
    norm = np.array(norms, float)
    C, L = norm.shape
    return SlopeScan(
        layers=tuple(str(2 * k + 1) for k in range(L)),
        candidates=tuple(map(str, range(C))),
        surrogates=tuple(
            entry if isinstance(entry, tuple) else (entry,) * L for entry in surrogates
        ),
        current=(current,) * L,
        norm=norm,
        by_time=norm[..., None],
        usable=np.ones((C, L)),
        rates=(0.1,) * L,
    )


SLOPES = [fast_sigmoid(k) for k in (1, 8, 25)]


def chosen(scan, kind=None):
    return [advice.surrogate for advice in scan.recommend(kind)]


def test_no_layer_gets_less_than_the_next_one():
    scan = scan_of([[40, 20, 2], [6, 4, 4], [0.03, 0.5, 10]], SLOPES, fast_sigmoid(25))
    assert chosen(scan) == [fast_sigmoid(8), fast_sigmoid(8), fast_sigmoid(8)]
    first = scan.recommend()[0]
    assert (first.share, first.share_now, first.transfer) == (1.5, 0.003, 1.5)
    assert first.reason.startswith(
        "layer 1 receives 0.3 % of the last layer's gradient at fast_sigmoid(slope=25), "
        "150 % at fast_sigmoid(slope=8)"
    )


@pytest.mark.parametrize(
    ("norms", "current", "slopes", "reason"),
    [
        # Each layer has its own best candidate.
        ([[40, 20, 2], [3, 4, 4], [0.03, 0.5, 10]], 25, [1, 8, 8], ""),
        # If all candidates lose, the smallest loss wins.
        ([[1, 2], [1, 4], [1, 8]], 25, [1, 1], "every candidate loses some, and this one loses le"),
        # If all candidates grow, the smallest growth wins.
        ([[400, 2], [30, 3], [12, 4]], 1, [25, 25], ""),
        ([[3], [2], [1]], 25, [25], "the only one and keeps its surrogate"),
    ],
)
def test_the_candidate_of_each_layer(norms, current, slopes, reason):
    scan = scan_of(norms, SLOPES, fast_sigmoid(current))
    assert chosen(scan) == [fast_sigmoid(slope) for slope in slopes]
    assert reason in scan.recommend()[0].reason


def test_only_uniform_candidates_of_the_class_count():
    surrogates = [fast_sigmoid(8), atan(2), (fast_sigmoid(1), fast_sigmoid(2))]
    scan = scan_of([[1, 4], [1, 1], [2, 2]], surrogates, fast_sigmoid(8))
    assert chosen(scan) == [fast_sigmoid(8)] * 2
    assert chosen(scan, ATan) == [atan(2)] * 2
    with pytest.raises(ValueError, match="no candidate is a Sigmoid in all layers"):
        scan.recommend(type("Sigmoid", (), {}))


def test_no_gradient_arrives():
    scan = scan_of([[0, 0], [0, 0], [0, 0]], SLOPES, fast_sigmoid(25))
    assert "look for silent layers" in scan.recommend()[0].reason


def test_a_deep_net_gets_gentler_slopes_that_keep_the_gradient():
    torch.manual_seed(0)
    modules = []
    for n_in in [12, *[40] * 7]:
        modules += [LIFSynapse(n_in, 40), LIFLayer(40, 10e-3)]
    net, x = SpikingSequential(*modules), torch.rand(8, 60, 12)

    def loss_fn(spk, _):
        return (spk.mean((0, 1)) * torch.linspace(-1, 1, 40)).sum()

    scan = scan_slopes(net, x, loss_fn)
    assert scan.current_row is not None
    assert scan.ratio[scan.current_row] < 0.02
    advice = scan.recommend()
    assert all(entry.surrogate.slope < 25 for entry in advice)
    checked = scan_slopes(net, x, loss_fn, {"recommended": [entry.surrogate for entry in advice]})
    assert 0.3 < checked.ratio[0] < 100
    assert (checked.usable > 0.9).all()
