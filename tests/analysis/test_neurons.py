"""Facts and responses of neurons, as `nwave neurons` shows them."""

import json
import math

import pytest
import torch

from nwavesdk.analysis.neurons import neuron_facts, neuron_responses
from nwavesdk.layers.catalogue import available_neurons, find_neuron


def test_facts_are_json():
    facts = [neuron_facts(neuron) for neuron in available_neurons().values()]
    text = json.dumps(facts, allow_nan=False)
    assert '"tau_w"' in text
    assert len(facts) == len({neuron["name"] for neuron in facts})


def values(record, name=None):
    """The input, or a state or the spikes of the only neuron, [T]."""
    chosen = {"x": record.cur, "spikes": record.spk}.get(name)
    return (record.states[name] if chosen is None else chosen)[0, :, 0].detach()


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
    x, spikes, v = (values(responses.step, name) for name in ("x", "spikes", "v"))
    assert x.max() == pytest.approx(1.5 * responses.drive)
    assert spikes.sum() > 5
    membrane = 0.0
    for t in x.nonzero().flatten():
        membrane = decay * membrane + x[t].item()
        assert spikes[t] == (membrane > 1)
        membrane *= membrane <= 1
        assert v[t] == pytest.approx(membrane, abs=1e-5)


def test_the_burst_has_three_spikes_and_a_surrogate_that_suits():
    burst = neuron_responses(find_neuron("if")).burst
    assert values(burst, "x").count_nonzero() == 5
    assert values(burst, "spikes").sum() == 3
    assert burst.surrogate.slope == 25


@pytest.mark.parametrize("name", ["izhikevich", "balancedresonateandfire"])
def test_drives_suit_neurons_in_other_units(name):
    responses = neuron_responses(find_neuron(name))
    assert responses.drive > 3
    assert responses.step.spk.sum() >= 5
    assert 1 <= responses.burst.spk.sum() <= 5
    assert responses.rates[0] == 0 < responses.rates[-1]
    assert all(state.isfinite().all() for state in responses.step.states.values())


def test_read_outs_have_a_step_and_a_burst_only():
    responses = neuron_responses(find_neuron("li"))
    assert responses.step.cur.max() == responses.burst.cur.max() == 1
    assert responses.step.is_readout
    assert torch.equal(responses.rates, torch.empty(0))
