"""Front ends by firing rate: rates reached, the limit of the chip, errors."""

import copy

import pytest
import torch
from torch import nn

from nwavesdk.init import frontend_firing_init
from nwavesdk.layers import (
    ChipInstance,
    Frontend,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    LIFLayer,
    SpikingSequential,
    prepare_net,
)

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
