"""The rule, on numbers that are made up, and on a deep net that needs it."""

import numpy as np
import pytest
import torch

from nwavesdk.analysis import SlopeScan, scan_slopes
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.surrogate import ATan, atan, fast_sigmoid


def scan_of(norms, surrogates, own):
    norm = np.array(norms, float)
    C, L = norm.shape
    return SlopeScan(
        layers=tuple(str(2 * k + 1) for k in range(L)), candidates=tuple(map(str, range(C))),
        surrogates=tuple((one,) * L if not isinstance(one, tuple) else one for one in surrogates), own=(own,) * L,
        norm=norm, by_time=norm[..., None], usable=np.ones((C, L)), weight_norm={}, rates=(0.1,) * L,
    )  # fmt: skip


SLOPES = [fast_sigmoid(k) for k in (1, 8, 25)]


def chosen(scan, kind=None):
    return [advice.surrogate for advice in scan.recommend(kind)]


def test_each_layer_keeps_what_the_one_above_has():
    scan = scan_of([[40, 20, 2], [6, 4, 4], [0.03, 0.5, 10]], SLOPES, fast_sigmoid(25))
    assert chosen(scan) == [fast_sigmoid(8), fast_sigmoid(8), fast_sigmoid(8)]
    first = scan.recommend()[0]
    assert (first.share, first.share_now, first.transfer) == (1.5, 0.003, 1.5)
    assert first.reason.startswith(
        "layer 1 receives 0.3 % of the last layer's gradient at fast_sigmoid(slope=25), 150 % at fast_sigmoid(slope=8)"
    )


def test_layers_are_judged_one_by_one():
    scan = scan_of([[40, 20, 2], [3, 4, 4], [0.03, 0.5, 10]], SLOPES, fast_sigmoid(25))
    assert chosen(scan) == [fast_sigmoid(1), fast_sigmoid(8), fast_sigmoid(8)]


def test_where_all_lose_the_least_loss_is_taken():
    scan = scan_of([[1, 2], [1, 4], [1, 8]], SLOPES, fast_sigmoid(25))
    assert chosen(scan) == [fast_sigmoid(1)] * 2
    assert "some is lost, and with this one least" in scan.recommend()[0].reason


def test_where_all_let_it_grow_the_steepest_is_taken():
    scan = scan_of([[400, 2], [30, 3], [12, 4]], SLOPES, fast_sigmoid(1))
    assert chosen(scan) == [fast_sigmoid(25)] * 2


def test_only_surrogates_of_the_kind_in_all_layers():
    surrogates = [fast_sigmoid(8), atan(2), (fast_sigmoid(1), fast_sigmoid(2))]
    scan = scan_of([[1, 4], [1, 1], [2, 2]], surrogates, fast_sigmoid(8))
    assert chosen(scan) == [fast_sigmoid(8)] * 2
    assert chosen(scan, ATan) == [atan(2)] * 2
    with pytest.raises(ValueError, match="no candidate is a Sigmoid for all layers"):
        scan.recommend(type("Sigmoid", (), {}))


def test_nothing_comes_through():
    scan = scan_of([[0, 0], [0, 0], [0, 0]], SLOPES, fast_sigmoid(25))
    assert "look for silent layers" in scan.recommend()[0].reason


def test_one_layer_keeps_its_own():
    scan = scan_of([[3], [2], [1]], SLOPES, fast_sigmoid(25))
    assert chosen(scan) == [fast_sigmoid(25)]
    assert "the only one and keeps its own" in scan.recommend()[0].reason


def test_a_deep_net_is_given_gentler_slopes_that_keep_the_gradient():
    torch.manual_seed(0)
    modules = []
    for n_in in [12, *[40] * 7]:
        modules += [LIFSynapse(n_in, 40), LIFLayer(40, 10e-3)]
    net, x = SpikingSequential(*modules), torch.rand(8, 60, 12)

    def loss_fn(spk, _):
        return (spk.mean((0, 1)) * torch.linspace(-1, 1, 40)).sum()

    scan = scan_slopes(net, x, loss_fn)
    assert scan.own_row is not None
    assert scan.ratio[scan.own_row] < 0.02
    advice = scan.recommend()
    assert all(one.surrogate.slope < 25 for one in advice)
    checked = scan_slopes(net, x, loss_fn, {"recommended": [one.surrogate for one in advice]})
    assert 0.3 < checked.ratio[0] < 100
    assert (checked.usable > 0.9).all()
