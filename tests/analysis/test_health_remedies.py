"""Remedies bring the gradient's growth from layer to layer near 1, for both kinds of surrogate."""

import math

import pytest
import torch

from nwavesdk.analysis.health import examine_recording
from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.surrogate import atan, fast_sigmoid, parse, sigmoid

LAYERS = 8
N = 50


def recorded_pass(surrogate):
    """A deep net in which every layer fires."""
    torch.manual_seed(0)
    modules = []
    for _ in range(LAYERS):
        synapse = LIFSynapse(N, N)
        synapse.weight.data.mul_(3)
        modules += [synapse, LIFLayer(N, 20e-3, spike_grad=surrogate)]
    x = (torch.rand(4, 40, N) < 0.2).float()

    def loss(spk, mem):
        return (spk * torch.linspace(-1, 1, N)).sum() + 0 * mem.sum()

    return RecordedPass(SpikingSequential(*modules), x, loss)


def log_growth(recorded, surrogate):
    """The logarithm of the factor from the last layer to the first one."""
    gradients = dict(recorded.gradients([surrogate] * LAYERS))
    norms = [gradients[name].norm().item() for name in recorded.names]
    return math.log(norms[0] / norms[-1])


@pytest.mark.parametrize(
    ("kind", "surrogate", "is_larger"),
    [
        # Constant area: the gradient grows with alpha or slope.
        ("exploding", atan(20), False),
        ("vanishing", atan(0.005), True),
        ("exploding", sigmoid(25), False),
        ("vanishing", sigmoid(0.01), True),
        # Constant peak: it shrinks with the slope.
        ("exploding", fast_sigmoid(0.5), True),
        ("vanishing", fast_sigmoid(100), False),
    ],
)
def test_the_remedy_goes_in_the_direction_of_the_surrogate(kind, surrogate, is_larger):
    recorded = recorded_pass(surrogate)
    health = examine_recording(recorded.recording, dict(recorded.gradients()))
    finding = next(entry for entry in health.findings if entry.kind == kind)
    assert finding.layer == "1"
    chosen = parse(finding.surrogate)
    assert type(chosen) is type(surrogate)
    assert (chosen.constants[0] > surrogate.constants[0]) is is_larger
    assert f"take spike_grad={finding.surrogate}" in finding.remedy
    assert ("reaches fewer neurons" in finding.remedy) is (kind == "vanishing" and is_larger)
    assert abs(log_growth(recorded, chosen)) < 0.4 * abs(log_growth(recorded, surrogate))


def test_findings_of_one_kind_have_one_remedy():
    recorded = recorded_pass(fast_sigmoid(100))
    health = examine_recording(recorded.recording, dict(recorded.gradients()))
    vanishing = [finding for finding in health.findings if finding.kind == "vanishing"]
    assert len(vanishing) > 1
    assert len({finding.remedy for finding in vanishing}) == 1
