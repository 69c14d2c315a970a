"""Gains of surrogates, and remedies that bring the gradient's growth per layer near 1."""

import math

import pytest
import torch

from nwavesdk.analysis.health import examine_recording
from nwavesdk.analysis.health_remedies import change_gain, derivative_gain, with_steepness
from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.surrogate import atan, boxcar, fast_sigmoid, parse, sigmoid, triangle

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
