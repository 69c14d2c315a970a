"""Layers whose memory does not fit steps, recordings or inputs, and one whose memory fits."""

import math

import pytest
import torch

from nwavesdk.analysis import MemoryLimits, examine_memory
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, zoo
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.net import record

B, T, N = 3, 60, 8


def memory_of(tau, x=None, lengths=None, layer=None, limits=None):
    """Memory and findings of one layer that gets `x` unchanged."""
    with without_step_warnings():
        net = SpikingSequential(LIFSynapse(N, N), layer or LIFLayer(N, tau))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(N))
    x = torch.rand(B, T, N) if x is None else x
    (memory,), findings = examine_memory(net, record(net, x, charges=True, lengths=lengths), limits)
    return memory, findings


def test_a_memory_that_fits():
    memory, findings = memory_of(10e-3)
    assert not findings
    assert (memory.layer, memory.dt) == ("1", 1e-3)
    assert memory.recording == pytest.approx(60e-3)
    assert memory.shortest == memory.longest == memory.median == pytest.approx(10e-3)
    assert memory.interval == pytest.approx(1e-3)
    assert memory.short == memory.long == memory.leaks == 0


def test_neurons_that_forget_within_a_step():
    taus = [0.5e-3] * 2 + [10e-3] * (N - 2)
    memory, (finding,) = memory_of(taus)
    assert memory.short == 0.25
    assert finding.kind == "short tau"
    assert finding.value == pytest.approx(4)  # 2 steps
    assert finding.text == (
        "layer 1: 25% of its neurons forget within a step: time constants from 0.5 ms, steps "
        "of 1 ms"
    )
    assert not memory_of(taus, limits=MemoryLimits(few=0.3))[1]


def test_neurons_that_never_forget():
    _, (finding,) = memory_of(0.6)
    assert finding.kind == "long tau"
    assert finding.value == pytest.approx(0.1)
    assert finding.text.endswith("time constants up to 600 ms, recordings of 60 ms")
    # Padding is no part of a recording.
    lengths = torch.tensor([20, 10, 15])
    memory, findings = memory_of(0.1, lengths=lengths)
    assert memory.recording == pytest.approx(15e-3)
    assert [finding.kind for finding in findings] == ["long tau"]
    assert not memory_of(0.1)[1]


def test_all_time_constants_of_a_neuron_count():
    layer = zoo.AdLIFLayer(N, tau=10e-3, tau_w=2.0, solver="reference")
    memory, (finding,) = memory_of(None, layer=layer)
    assert finding.kind == "long tau"
    assert (memory.shortest, memory.longest) == pytest.approx((10e-3, 2.0))
    assert memory.median == pytest.approx(10e-3)


def test_membranes_that_leak_away_before_the_next_input():
    x = torch.zeros(B, T, N)
    x[:, ::20, :6] = 1.0
    memory, (finding,) = memory_of(5e-3, x)
    assert memory.leaks == 0.75  # the others get no input
    assert memory.interval == pytest.approx(20e-3)
    assert finding.kind == "leaks away"
    assert finding.value == pytest.approx(4)
    assert "median time constant 5 ms, an input every 20 ms" in finding.text
    assert not memory_of(12e-3, x)[1]


def test_the_correlation_of_an_input():
    decay = math.exp(-1 / 12)
    noise = torch.randn(200, 400, N)
    steps = [noise[:, 0] / math.sqrt(1 - decay**2)]
    for t in range(1, 400):
        steps.append(decay * steps[-1] + noise[:, t])
    x = torch.stack(steps, 1)
    assert memory_of(10e-3, x)[0].correlation == pytest.approx(12e-3, rel=0.1)
    assert memory_of(10e-3, torch.randn(200, 400, N))[0].correlation < 1e-3
    constant = torch.rand(B, 1, N).expand(B, T, N)
    assert memory_of(10e-3, constant)[0].correlation > 1
    # Steps after the end of a recording do not count.
    x[:, 300:] = torch.randn(200, 100, N)
    lengths = torch.full((200,), 300)
    assert memory_of(10e-3, x, lengths)[0].correlation == pytest.approx(12e-3, rel=0.1)


def test_layers_without_time_constants_are_passed_over():
    net = SpikingSequential(LIFSynapse(N, N), zoo.IFLayer(N, solver="reference"))
    assert examine_memory(net, record(net, torch.rand(B, T, N), charges=True)) == ((), ())
