"""Our neurons and neurons of other libraries, run step by step on the same input.

All run in float64, where a change of constants leaves no rounding that could move a spike.
"""

import math

import torch

from nwavesdk.layers import prepare_net
from tolerances import STATE, assert_close

STEPS, NEURONS, DT = 200, 64, 1e-3
ZERO = torch.zeros(NEURONS, dtype=torch.float64)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def drive(low, high, seed=0):
    """Charge of each step and neuron, [T, N]."""
    values = torch.rand(STEPS, NEURONS, dtype=torch.float64, generator=torch.manual_seed(seed))
    return low + (high - low) * values


def tau_of(decay):
    """The time constant [s] with this decay per step."""
    return -DT / math.log(decay)


def ours(layer_class, x, **constants):
    layer = layer_class(NEURONS, dt=DT, solver="reference", **constants)
    prepare_net(layer)
    spk, mem = layer(x[None])
    return spk[0].detach(), mem[0].detach()


def theirs(step, x):
    """Spikes and membranes [T, N] of `step(x) -> (spikes, membrane)`."""
    steps = [step(x_t) for x_t in x]
    return tuple(torch.stack(values).detach() for values in zip(*steps, strict=True))


def assert_same(got, expected):
    spikes, membrane = expected
    assert 0.01 < spikes.mean() < 0.5, "the drive must make the neurons fire and pause"
    assert torch.equal(got[0], spikes)
    assert_membranes(got[1], membrane)


def assert_membranes(got, expected):
    assert_close(got.float(), expected.float(), STATE, "membrane")


def assert_another_equation(got, expected):
    assert (got[0] != expected[0]).double().mean() > 0.01
