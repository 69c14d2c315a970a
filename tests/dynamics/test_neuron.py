"""Every neuron: its constants, its carry against its step, and that it is a value."""

import copy
import pickle
import re

import pytest
import torch

from contract import DT, NEURONS
from dynamics.written import written_page
from nwavesdk.dynamics import H1_PAGES, LIF_PAGES, SAVES, program_of, torch_function
from nwavesdk.surrogate import heaviside

WITH_CARRY = [name for name, row in NEURONS.items() if row.neuron.carry is not None]


def random_step(name, n, **options):
    """Charge, state and constants of n neurons of one state, and what a step returns of them."""
    row = NEURONS[name]
    generator = torch.Generator().manual_seed(5)
    x, v = (torch.randn(n, generator=generator, dtype=torch.float64) for _ in range(2))
    constants = row.constants(n, generator)
    text = program_of(row.neuron, **options).step.text
    step = torch_function(text, "step", torch.float64, spike=heaviside)
    return x, v, constants, step(x, v, *constants)


@pytest.mark.parametrize("name", WITH_CARRY)
def test_carry_is_the_step_with_its_spike_fixed(name):
    x, v, constants, (s, after, _) = random_step(name, 200)
    a, b, c = NEURONS[name].neuron.carry(x, s, *constants)
    torch.testing.assert_close(torch.maximum(a * v + b, c), after, rtol=1e-14, atol=1e-15)
    assert s.any()
    assert not s.all()


@pytest.mark.parametrize("keeps_z", [True, False])
@pytest.mark.parametrize("saves", SAVES)
@pytest.mark.parametrize("name", WITH_CARRY)
def test_forgets_names_the_steps_that_do_not_depend_on_the_state_before(name, saves, keeps_z):
    """Whatever is saved, the first saved value is the one that `forgets` takes."""
    for detach_reset in (True, False):
        options = {"saves": saves, "keeps_z": keeps_z, "detach_reset": detach_reset}
        x, v, constants, (s, _, w) = random_step(name, 2000, **options)
        neuron = NEURONS[name].neuron
        a, b, c = neuron.carry(x, s, *constants)
        depends = (a != 0) & (a * v + b > c)
        if neuron.forgets is None:
            assert bool(depends.all())
        else:
            assert torch.equal(neuron.forgets(w, s), ~depends)
            assert 0.05 < float(depends.double().mean()) < 0.95


# Constants


def test_expressions_of_constants_are_computed_once_in_float64():
    source = (
        "def page(x, v, *, tau: TimeConstant, threshold: Positive, kappa: Real):\n"
        "    gain = 2.0 * 3.0 * (1 - decay(tau))\n"
        "    u = decay(tau) * v + gain * x\n"
        "    s = spike(u - threshold * kappa)\n"
        "    return s, u - threshold * kappa * held(s)\n"
    )
    neuron = written_page(source).neuron
    tau, threshold, kappa = (
        torch.tensor(value, dtype=torch.float64).requires_grad_()
        for value in ([0.01, 0.02], [1.0, 1.5], [0.3, -0.1])
    )
    found = neuron.evaluate_constants({"tau": tau, "threshold": threshold, "kappa": kappa}, 1e-3)
    beta = torch.exp(-1e-3 / tau)
    expected = [beta, 6.0 * (1 - beta), threshold * kappa]
    assert neuron.constants[0] == "decay_tau"
    assert len(neuron.constants) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == torch.float64
        assert torch.equal(got, wanted)
    weights = torch.tensor([0.7, -0.4], dtype=torch.float64)
    losses = (sum((weights * c).sum() for c in cs) for cs in (found, expected))
    mine, theirs = (torch.autograd.grad(loss, [tau, threshold, kappa]) for loss in losses)
    assert all(map(torch.allclose, mine, theirs))


def test_a_number_of_the_step_length_is_a_constant():
    row = NEURONS["resonator"]
    constants = row.constants(3, torch.Generator().manual_seed(0))
    (dt,) = (c for n, c in zip(row.neuron.constants, constants, strict=True) if n == "dt")
    assert bool((dt == DT).all())


# Values


@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_is_a_value(name):
    neuron = NEURONS[name].neuron
    program_of(neuron)
    neuron.evaluate_constants(NEURONS[name].page_constants(1, torch.Generator()), DT)
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert other == neuron
        assert hash(other) == hash(neuron)
        assert other.identity == neuron.identity
        assert program_of(other) is program_of(neuron)
    assert len({row.neuron for row in NEURONS.values()}) == len(NEURONS)
    assert LIF_PAGES["zero"].neuron != LIF_PAGES["none"].neuron
    assert H1_PAGES[1].neuron != H1_PAGES[2].neuron


SOURCE = "def page(x, v):\n    u = RATE * v + x\n    s = spike(u - 1.0)\n    return s, u - s\n"


@pytest.mark.parametrize(
    ("source", "rate"),
    [
        (SOURCE, 0.6),
        (SOURCE.replace("page", "other"), 0.5),
        (SOURCE.replace("1.0", "1.5"), 0.5),
        (SOURCE.replace("x, v", "x, v=1.0"), 0.5),
        (SOURCE.replace("u - s\n", "u - held(s)\n"), 0.5),
        (re.sub(r"\bu\b", "w", SOURCE), 0.5),
    ],
)
def test_a_change_that_counts_makes_another_neuron(source, rate):
    neuron = written_page(SOURCE, RATE=0.5).neuron
    assert written_page(SOURCE, RATE=0.5).neuron == neuron
    other = written_page(source, RATE=rate).neuron
    assert other != neuron
    assert other.identity != neuron.identity


def test_a_line_without_effect_does_not_change_the_order_of_constants():
    """Programs are found by the identity of a page, and take constants by position."""
    lines = ["    s = spike(decay(tau) * v + x - threshold)\n", "    return s, v + x\n"]
    head = "def page(x, v, *, tau: TimeConstant, threshold: Positive):\n"
    for line in ("    unused = threshold * x\n", "    unused = decay(tau) * x\n"):
        neuron = written_page(head + line + "".join(lines)).neuron
        assert neuron.constants == ("decay_tau", "threshold")
