"""The drives that neurons need: the search, and the gain of charges."""

import pytest
import torch

from nwavesdk.init import charge_gain
from nwavesdk.init.drive import smallest_scale
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer
from nwavesdk.layers.catalogue import find_neuron


@pytest.mark.parametrize("wanted", [2e-4, 0.0037, 1.0, 812.0, 9e5])
def test_the_smallest_scale_is_found(wanted):
    found = smallest_scale(lambda scales: scales >= wanted)
    assert 1 <= found / wanted < 1.03


def test_no_scale_is_none():
    assert smallest_scale(lambda scales: scales > 1e9) is None


def test_a_gain_undoes_a_change_of_units():
    """Neurons whose charges are in another unit fire as LIF neurons do."""
    assert charge_gain(lambda n: LIFLayer(n, 10e-3)) == pytest.approx(1, rel=0.03)
    thousandfold = charge_gain(lambda n: LIFLayer(n, 10e-3, thresholds=1000.0))
    assert thousandfold == pytest.approx(1000, rel=0.03)
    # A current that is scaled by 1 - decay.
    adlif = find_neuron("adlif")
    gain = charge_gain(lambda n: adlif.build(n, {"tau": 10e-3, "a": 1e-9, "b": 1e-9}))
    assert gain == pytest.approx(1 / (1 - torch.exp(torch.tensor(-0.1)).item()), rel=0.03)


def test_neurons_that_cannot_fire_as_often_or_at_all_have_a_gain():
    slow = find_neuron("refractorylif")
    assert 0.1 < charge_gain(lambda n: slow.build(n, {"refractory": 0.1})) < 10
    assert charge_gain(lambda n: LIFLayer(n, 10e-3, thresholds=1e30)) == 1


def test_what_builds_no_neurons_that_spike_has_no_gain():
    for build, got in (
        (LIFLayer, "missing 1 required positional argument: 'taus'"),
        (lambda n: LIFSynapse(n, n), "LIFSynapse"),
        (lambda n: LILayer(n, tau=20e-3), "LILayer"),
    ):
        with pytest.raises(TypeError, match=rf"charge_gain: build\(n\) must .* got .*{got}"):
            charge_gain(build)


def test_the_gain_neither_reads_nor_changes_the_generator_of_torch():
    torch.manual_seed(1)
    first = charge_gain(lambda n: LIFLayer(n, 20e-3))
    state = torch.get_rng_state()
    assert charge_gain(lambda n: LIFLayer(n, 20e-3)) == first
    assert torch.equal(torch.get_rng_state(), state)
