"""The gain of a surrogate, and slopes or alphas that change it."""

import pytest
import torch

from nwavesdk.analysis.health_remedies import (
    change_gain,
    derivative_gain,
    with_steepness,
)
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.surrogate import atan, boxcar, fast_sigmoid, triangle


def records_of(surrogate, lengths=None):
    torch.manual_seed(0)
    net = SpikingSequential(LIFSynapse(5, 40), LIFLayer(40, 10e-3, spike_grad=surrogate))
    return [*net.record(torch.rand(4, 30, 5), lengths=lengths).spiking.values()]


def test_the_gain_is_between_the_mean_and_the_root_mean_square():
    # Half of the arguments are in a box of height 2.
    z = torch.tensor([0.0, 0.1, 3.0, -3.0])
    assert derivative_gain(boxcar(width=1.0, height=2.0), z) == pytest.approx((1 * 2**0.5) ** 0.5)


@pytest.mark.parametrize("surrogate", [fast_sigmoid(25.0), atan(2.0), triangle(0.3)])
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_gain_changes_by_about_the_factor(surrogate, factor):
    (record,) = records_of(surrogate)
    chosen, change = change_gain(surrogate, [record], factor)
    gains = [derivative_gain(entry, record.z) for entry in (chosen, surrogate)]
    assert change == pytest.approx(gains[0] / gains[1])
    assert factor / 1.3 < change < 1.3 * factor


def test_padding_has_no_say():
    lengths = torch.tensor([5, 10, 20, 30])
    (record,) = records_of(fast_sigmoid(25.0), lengths)
    chosen, change = change_gain(record.surrogate, [record], 2.0)
    record.z[0, 5:] = 1e6
    assert change_gain(record.surrogate, [record], 2.0) == (chosen, change)


def test_a_surrogate_without_steepness_becomes_a_fast_sigmoid():
    (record,) = records_of(boxcar(width=1.0))
    chosen, _ = change_gain(record.surrogate, [record], 0.5)
    assert type(chosen) is type(fast_sigmoid())
    assert with_steepness(boxcar(width=1.0), 0.4) == fast_sigmoid(10.0)
