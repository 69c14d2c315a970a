"""Power against sums over single spikes, and its dependence on the activity."""

import math

import pytest
import torch

from deploy.nets import chip_net, sound
from nwavesdk.chip import load_profile
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.metrics import get_chip_consumption


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
@pytest.mark.parametrize("recurrent", [(), (0,)])
def test_power_is_the_sum_over_spikes(chip, recurrent):
    net = chip_net(chip, sizes=(7, 4), recurrent=recurrent)
    dt = 2e-3
    prepare_net(net)
    with torch.no_grad():
        recording = net.record(sound(2, 30, 16))
    power = get_chip_consumption(net, recording, dt)
    spikes, events = 0, 0
    synapses = {"1": [net[2].weight], "3": [net[4].weight], "5": []}
    if recurrent:
        synapses["3"].append(net[3].recurrent_weights)
    step = net[2].profile.number("weight_limit") / 15
    for name, layer in recording.layers.items():
        for spk in layer.spk.reshape(-1, layer.spk.shape[2]):
            for i in spk.nonzero().flatten().tolist():
                spikes += 1
                events += sum(
                    int((torch.round(w.detach()[i] / step) != 0).sum()) for w in synapses[name]
                )
    assert spikes > 50
    seconds, numbers = 2 * 30 * dt, load_profile(chip)
    assert power.neuron == pytest.approx(spikes * numbers.number("neuron_energy") / seconds)
    assert power.synapse == pytest.approx(events * numbers.number("synapse_energy") / seconds)
    assert power.static == numbers.number("static_power")
    assert power.front_end == pytest.approx(16 * numbers.number("filter_power"))
    assert power.total == pytest.approx(
        power.static + power.neuron + power.synapse + power.front_end
    )
    assert set(power.assumed) == {"static_power", "neuron_energy", "synapse_energy", "filter_power"}
    assert "µW" in str(power)
    assert "assumed: static_power" in str(power)


def test_spikes_may_be_given_by_name_or_in_order_and_silence_costs_what_is_always_on():
    net = chip_net(sizes=(7, 4))
    silent = [torch.zeros(3, 5, n) for n in (16, 7, 4)]
    power = get_chip_consumption(net, silent, 1e-3)
    assert power.neuron == power.synapse == 0
    assert power == get_chip_consumption(net, dict(zip("135", silent, strict=True)), 1e-3)


def test_padding_costs_nothing():
    net, x = chip_net(sizes=(7, 4)), sound(3, 30, 16)
    lengths = torch.tensor([12, 30, 5])
    prepare_net(net)
    recording = net.record(x, lengths=lengths)
    spikes = [layer.spk for layer in recording.layers.values()]
    power = get_chip_consumption(net, recording, 1e-3)
    assert power == get_chip_consumption(net, spikes, 1e-3, lengths=lengths)
    total = 0.0
    for b, n in enumerate(lengths):
        alone = get_chip_consumption(net, [spk[b : b + 1, :n] for spk in spikes], 1e-3)
        total += int(n) / 47 * alone.neuron
    assert 0 < total == pytest.approx(power.neuron)
    with pytest.raises(ValueError, match="lengths must be from 1 to the 30 steps"):
        get_chip_consumption(net, spikes, 1e-3, lengths=lengths - 5)


def test_filters_of_a_net_without_a_front_end_need_no_power():
    net = chip_net(sizes=(7,), frontend=False)
    assert get_chip_consumption(net, [torch.ones(1, 5, 7)], 1e-3).front_end == 0


@pytest.mark.parametrize(
    ("spikes", "dt", "words"),
    [
        ([torch.zeros(3, 5, 16)], 1e-3, "the net has 3 neuron layers, got spikes of 1"),
        ({"1": torch.zeros(3, 5, 16)}, 1e-3, "has 3 neuron layers, got spikes of 1 of them"),
        (
            [torch.zeros(3, 5, n) for n in (16, 7, 5)],
            1e-3,
            r"layer 5 have the shape \[3, 5, 5\], expected \[B, T, 4\]",
        ),
        (
            [torch.zeros(3, t, n) for t, n in ((5, 16), (6, 7), (5, 4))],
            1e-3,
            "with the same B and T for all layers",
        ),
        ([torch.zeros(0, 5, n) for n in (16, 7, 4)], 1e-3, "have the shape"),
        (
            [torch.full((3, 5, n), -1.0) for n in (16, 7, 4)],
            1e-3,
            "layer 1 are negative or",
        ),
        ([torch.zeros(3, 5, n) * math.nan for n in (16, 7, 4)], 1e-3, "negative or not finite"),
        ([torch.zeros(3, 5, n) for n in (16, 7, 4)], 0, "dt must be a finite number above 0"),
    ],
)
def test_invalid_spikes_and_steps_are_refused(spikes, dt, words):
    with pytest.raises(ValueError, match=words):
        get_chip_consumption(chip_net(sizes=(7, 4)), spikes, dt)


@pytest.mark.parametrize("spikes", [1, torch.zeros(3, 5, 16).to_sparse()])
def test_spikes_that_are_not_dense_tensors_are_refused(spikes):
    with pytest.raises(TypeError, match="layer 1 takes a "):
        get_chip_consumption(chip_net(sizes=()), [spikes], 1e-3)


def test_a_profile_that_is_not_one_is_refused():
    with pytest.raises(TypeError, match="profile must be a Profile, got 'h1v2': pass load_profile"):
        get_chip_consumption(chip_net(sizes=()), [torch.zeros(3, 5, 16)], 1e-3, "h1v2")


def test_a_net_without_a_chip_is_refused():
    net = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 1e-2))
    with pytest.raises(TypeError, match="get_chip_consumption: module 0"):
        get_chip_consumption(net, [torch.zeros(1, 1, 4)], 1e-3)
