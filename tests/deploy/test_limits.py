"""Every violated limit is found with its place, and a projected net violates none."""

from dataclasses import replace

import pytest
import torch

from deploy.nets import chip_net
from nwavesdk.chip import Profile, load_profile
from nwavesdk.deploy import find_violations, project
from nwavesdk.layers import (
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWSynapse,
    SpikingSequential,
)


def rules(net, profile=None):
    return {(v.layer, v.rule, v.index) for v in find_violations(net, profile)}


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
@pytest.mark.parametrize("bits", [5, None])
def test_a_projected_net_violates_no_limit_and_a_new_one_does(chip, bits):
    net = chip_net(chip, bits=bits, recurrent=(0,))
    assert find_violations(net) == []
    for module in net:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert {rule for _, rule, _ in rules(net)} == {"sign_block"}
    project(net)
    assert find_violations(net) == []


def test_every_weight_outside_of_a_limit_is_named_with_its_value():
    net = chip_net(bits=None)
    net[2].weight.data.fill_(0.5)
    net[2].weight.data[6, 3] = -0.1
    net[4].weight.data.fill_(-0.5)
    net[4].weight.data[2, 1] = -2.0
    net[4].weight.data[3, 1] = float("nan")
    found = {(v.layer, v.index): v for v in find_violations(net)}
    assert set(found) == {("2.weight", (6, 3)), ("4.weight", (2, 1)), ("4.weight", (3, 1))}
    assert found["2.weight", (6, 3)].value == pytest.approx(-0.1)
    assert str(found["2.weight", (6, 3)]) == (
        "2.weight[6, 3]: weight -0.1 is negative in a positive block of 5 inputs (axis assumed)"
    )
    assert str(found["4.weight", (2, 1)]) == "4.weight[2, 1]: weight -2, expected within ±1.66"


def test_a_weight_that_quantizes_to_zero_has_no_sign():
    net = chip_net(bits=5)
    net[2].weight.data.fill_(0.5)
    net[2].weight.data[6, 3] = -0.01
    assert find_violations(net) == []


def test_recurrent_weights_front_end_taus_thresholds_and_bits_are_checked():
    net = SpikingSequential(
        H1v2Frontend(8, 5),
        H1v2Layer(8, 20e-3),
        H1v2Synapse(8, 6, 8),
        H1v2Layer(6, 20e-3, layer_topology="RC"),
    )
    project(net)
    net[3].recurrent_weights.data.fill_(0.1)
    net[3].recurrent_weights.data[5, 2] = -3.0
    net[1].log_taus.fill_(torch.tensor(0.033).log())
    net[1].thresholds.fill_(2.0)
    assert rules(net) == {
        ("0", "filters", None),
        ("1.taus", "tau_profiles", (0,)),
        ("1.thresholds", "threshold", (0,)),
        ("2.weight", "weight_bits", None),
        ("3.recurrent_weights", "weight_limit", (5, 2)),
    }


def test_another_chip_has_other_limits():
    net = chip_net("h1v2", bits=None)
    net[2].weight.data.fill_(1.5)
    assert find_violations(net) == []
    assert {rule for _, rule, _ in rules(net, load_profile("h1v1"))} == {
        "weight_limit",
        "neuron",
        "charge_law",
    }


def with_number(chip, **numbers):
    profile = load_profile(chip)
    entries = {
        key: replace(entry, value=numbers.get(key, entry.value))
        for key, entry in profile.entries.items()
    }
    return Profile("measured", entries)


def test_profile_entries_that_change_spikes_are_checked():
    net = chip_net(bits=5, recurrent=(1,))
    names = ("0.weight", "2.weight", "4.weight", "5.recurrent_weights")
    assert rules(net, with_number("h1v2", charge_gain=0.6)) == {
        (name, "charge_law", None) for name in names
    }
    assert rules(net, with_number("h1v2", weight_limit=2.5)) == {
        (name, "weight_limit", None) for name in names
    }
    assert rules(net, with_number("h1v2", leak_mismatch=0.3, synapse_energy=1e-11)) == set()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("bits", [5, None])
def test_values_that_are_not_finite_are_found_whatever_the_bits(value, bits):
    net = chip_net(bits=bits)
    net[2].weight.data[3, 1] = value
    assert rules(net) == {("2.weight", "weight_limit", (3, 1))}
    assert (
        str(find_violations(net)[0]) == f"2.weight[3, 1]: weight {value:g}, expected within ±1.66"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, 1e-30])
@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
def test_absurd_time_constants_and_thresholds_are_found(chip, value):
    net = chip_net(chip)
    net[1].log_taus.fill_(torch.tensor(value).log())
    net[3].thresholds.fill_(value)
    assert rules(net) == {("1.taus", "tau_profiles", (0,)), ("3.thresholds", "threshold", (0,))}
    assert f"{value:g} s, expected from 1e-06 to 100 s" in str(find_violations(net)[0])


def test_a_front_end_after_neurons_is_a_violation():
    net = SpikingSequential(
        H1v2Frontend(16, 5), H1v2Layer(16, 2e-2), H1v2Frontend(16, 5), H1v2Layer(16, 2e-2)
    )
    assert rules(net) == {("2", "filters", None)}


def test_a_net_that_does_not_fit_is_a_violation():
    found = find_violations(chip_net(sizes=(100, 100)))
    assert [v.rule for v in found] == ["placement"]
    assert "216 neurons" in str(found[0])


def test_modules_of_different_chips_are_refused():
    net = SpikingSequential(HWSynapse(3, 4), H1v2Layer(4, 1e-2))
    with pytest.raises(ValueError, match="built for different chips, h1v1 and h1v2"):
        find_violations(net)
