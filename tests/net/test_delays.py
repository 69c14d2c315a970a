"""Tools for all delays of a net."""

import pytest
import torch
from torch import nn

from nwavesdk.layers import DelayedSynapse, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.net import narrow_delays, rounding_change


def test_narrow_delays_reaches_all_modules():
    options = {"interpolation": "gaussian"}
    net = SpikingSequential(DelayedSynapse(3, 4, 8, **options), DelayedSynapse(4, 2, 20, **options))
    narrow_delays(net, 0.5)
    assert [module.width for module in net] == pytest.approx([2**0.5, 5**0.5])


def test_rounding_change_measures_both_and_restores_all_modes():
    net = SpikingSequential(DelayedSynapse(1, 1, 3, delays=1.25), nn.Dropout())
    net[1].eval()
    nn.init.ones_(net[0].weight)
    x = torch.eye(4)[:1, :, None]
    seen = []

    def charge_of_step_2(model):
        prepare_net(model)
        seen.append([module.training for module in model])
        return model(x)[0][0, 2, 0]

    change = rounding_change(net, charge_of_step_2)
    assert change == (0.25, 0.0, 0.25)
    assert seen == [[False, False]] * 2
    assert [module.training for module in net] == [True, False]
    assert not net[0].interpolates_in_eval


def test_modes_are_restored_after_an_error():
    net = DelayedSynapse(1, 1, 3)
    with pytest.raises(ZeroDivisionError):
        rounding_change(net, lambda _: 1 / 0)
    assert net.training
    assert not net.interpolates_in_eval


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: narrow_delays(LIFSynapse(2, 3), 0.5),
            ValueError,
            "narrow_delays: LIFSynapse has no delays, expected",
        ),
        (
            lambda: rounding_change(3, len),
            TypeError,
            "rounding_change takes a torch module, got int",
        ),
        (
            lambda: narrow_delays(DelayedSynapse(2, 3, 4), 2),
            ValueError,
            "progress must be .* got 2",
        ),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
