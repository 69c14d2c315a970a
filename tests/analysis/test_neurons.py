"""What a neuron is and does, as `nwave neurons` shows it."""

import json
import math

import numpy as np
import pytest

from nwavesdk.analysis.neurons import neuron_facts, neuron_responses
from nwavesdk.layers.catalogue import available_neurons, find_neuron


def test_facts_are_json():
    facts = [neuron_facts(neuron) for neuron in available_neurons().values()]
    text = json.dumps(facts, allow_nan=False)
    assert '"tau_w"' in text
    assert len(facts) == len({one["name"] for one in facts})


def test_a_lif_neuron_does_what_its_closed_form_says():
    responses = neuron_responses(find_neuron("lif_zero"))
    decay = math.exp(-1e-3 / responses.constants["tau"])
    # The membrane under a constant drive x tends to x / (1 - decay).
    assert 1 < responses.drive / (1 - decay) < 1.06
    for drive, rate in zip(responses.drives[1:], responses.rates[1:], strict=True):
        reach = drive / (1 - decay)
        steps = math.ceil(math.log(1 - 1 / reach) / math.log(decay)) if reach > 1 else math.inf
        if abs(reach - 1) > 1e-3:
            assert rate == pytest.approx(1000 / steps, rel=1e-6)
    step = responses.step
    assert step.x.max() == pytest.approx(1.5 * responses.drive)
    assert step.spikes.sum() > 5
    v, on = 0.0, step.x > 0
    for t in np.flatnonzero(on):
        v = decay * v + step.x[t]
        assert step.spikes[t] == (v > 1)
        v *= v <= 1
        assert step.states["v"][t] == pytest.approx(v, abs=1e-5)


def test_the_burst_has_the_gradient_of_the_surrogate():
    responses = neuron_responses(find_neuron("if"))
    burst = responses.burst
    assert np.count_nonzero(burst.x) == 5
    assert burst.spikes.sum() == 3
    # Without a leak, and with the reset detached, a charge acts on all later steps alike.
    np.testing.assert_allclose(burst.gradient, burst.slope[::-1].cumsum()[::-1], rtol=1e-4)
    assert responses.surrogate.slope == 25


@pytest.mark.parametrize("name", ["izhikevich", "balancedresonateandfire"])
def test_drives_suit_neurons_in_other_units(name):
    responses = neuron_responses(find_neuron(name))
    assert responses.drive > 3
    assert responses.step.spikes.sum() >= 5
    assert 1 <= responses.burst.spikes.sum() <= 5
    assert responses.rates[0] == 0 < responses.rates[-1]
    assert np.isfinite([*responses.step.states.values()]).all()
    assert np.isfinite(responses.burst.gradient).all()


def test_read_outs_have_a_step_and_a_burst_only():
    responses = neuron_responses(find_neuron("li"))
    assert responses.step.x.max() == responses.burst.x.max() == 1
    assert responses.step.spikes.sum() == 0
    assert responses.rates is responses.burst.gradient is None
