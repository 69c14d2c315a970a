"""The gain of charges, and front ends that fire as wanted."""

import copy

import pytest
import torch
from torch import nn

from nwavesdk.init import charge_gain, frontend_firing_init
from nwavesdk.init.drive import smallest_scale
from nwavesdk.layers import (
    ChipInstance,
    Frontend,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    prepare_net,
)
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


PAIRS = {
    "h1v1": lambda n: (Frontend(n), HWLayer(n, 10e-3)),
    "h1v2": lambda n: (H1v2Frontend(n), H1v2Layer(n, 10e-3)),
    "lif": lambda n: (H1v2Frontend(n), LIFLayer(n, 10e-3)),
}


def sound(*shape):
    return 0.2 + torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def rates(net, x):
    prepare_net(net)
    return net(x)[0].mean((0, 1))


@pytest.mark.parametrize("kind", PAIRS)
def test_each_channel_fires_at_its_rate_within_a_step_of_the_bisection(kind):
    net, x = SpikingSequential(*PAIRS[kind](4)), sound(3, 400, 4)
    wanted = torch.tensor([0.02, 0.05, 0.1, 0.2])
    report = frontend_firing_init(net, x, wanted)
    found = rates(net, x)
    torch.testing.assert_close(found, torch.tensor(report.rates))
    assert report.weights == tuple(net[0].weight.tolist())
    assert report.unreachable == ()
    charge = net[0].effective_weight().detach()
    step = {"h1v1": 0.9}.get(kind, 0.83) / 2**16
    bracket = []
    for shift in (-1.5 * step, 1.5 * step):
        with torch.no_grad():
            net[0].weight.copy_(net[0].profile.charge_law.weight(charge + shift))
        bracket.append(rates(net, x))
    assert bool((bracket[0] <= wanted).all() and (wanted <= bracket[1]).all())
    assert bool(((found - wanted).abs() <= (bracket[1] - bracket[0]) / 2 + 1e-6).all())


def test_a_constant_input_fires_at_the_rate_of_the_closed_form():
    # Nearly without leak: rate = charge / threshold.
    net = SpikingSequential(H1v2Frontend(1), LIFLayer(1, taus=1e3))
    frontend_firing_init(net, torch.ones(1, 1000, 1), 0.25)
    assert net[0].weight.item() * 0.5 == pytest.approx(0.25, abs=1e-3)


def test_a_nested_front_end_is_found_and_nothing_else_changes():
    net = SpikingSequential(
        SpikingSequential(*PAIRS["h1v2"](16)), H1v2Synapse(16, 4), H1v2Layer(4, 10e-3)
    )
    before, drawn = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    report = frontend_firing_init(net, [(sound(2, 100, 16), None)], 0.1)
    assert report.frontend == "0.0"
    changed = [
        name for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert changed == ["0.0.weight"]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert net[0][1].times_prepared == 0
    lines = str(report).splitlines()
    assert lines[0].split() == ["channel", "weight", "rate", "wanted"]
    assert len(lines) == 17


def test_a_front_end_and_a_layer_suffice_and_mismatch_is_off():
    frontend, layer = Frontend(8, 5, 0.3), HWLayer(8, 10e-3, ileak_mismatch=True)
    x = sound(2, 300, 8)
    report = frontend_firing_init((frontend, layer), x, 0.08)
    net = SpikingSequential(frontend, layer)
    with ChipInstance(None).on(net):
        torch.testing.assert_close(rates(net, x), torch.tensor(report.rates))
    assert max(abs(rate - 0.08) for rate in report.rates) < 0.04  # in steps of 5 bits


def test_channels_that_the_limit_keeps_below_their_rate_are_reported():
    x = sound(2, 100, 3) * torch.tensor([1.0, 0.05, 0.0])
    net = SpikingSequential(*PAIRS["h1v2"](3))
    with pytest.warns(
        RuntimeWarning, match="channels 1, 2 of front end '0' do not reach their rate.*scale the"
    ) as found:
        report = frontend_firing_init(net, x, 0.1)
    assert found[0].filename == __file__
    assert report.unreachable == (1, 2)
    torch.testing.assert_close(net[0].weight[1:].detach(), torch.tensor([1.66, 1.66]))
    assert report.rates[0] == pytest.approx(0.1, abs=0.01)
    assert str(report).splitlines()[-1].endswith("at the limit")


@pytest.mark.parametrize(
    ("make", "options", "error", "words"),
    [
        (
            lambda: PAIRS["h1v2"](4),
            {"rate": 1.0},
            ValueError,
            r"rate must be .* above 0 and below 1 \[spikes.*, got 1.0",
        ),
        (
            lambda: PAIRS["h1v2"](4),
            {"rate": [0.1] * 3},
            ValueError,
            r"one per channel \(4\), got the shape \[3\]",
        ),
        (
            lambda: nn.Linear(4, 4),
            {},
            RuntimeError,
            "found 0 front ends with a neuron layer, expected one",
        ),
        (
            lambda: SpikingSequential(*PAIRS["h1v2"](4), *PAIRS["h1v2"](4)),
            {},
            RuntimeError,
            "found 2 front ends.*to choose",
        ),
    ],
)
def test_an_error_names_what_is_wrong(make, options, error, words):
    with pytest.raises(error, match=words):
        frontend_firing_init(make(), sound(1, 50, 4), **options)
