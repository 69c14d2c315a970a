"""Derived adjoints equal torch autograd, for known pages and for pages at random.

Gradients are computed as solvers do: by the texts of a program, from what the steps have saved.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import MORE_NEURONS, NEURONS
from dynamics.written import written_page
from nwavesdk.dynamics import (
    SAVES,
    Positive,
    Real,
    TimeConstant,
    decay,
    held,
    program_of,
    read_page,
    spike,
    torch_function,
)
from nwavesdk.surrogate import heaviside
from oracle import page_function, surrogate
from pairwise import pairwise

DT = 0.1
FACTOR = 0.5  # a number that a page captures


def zeroed(x, v, *, tau: TimeConstant, threshold: Positive):
    u = torch.maximum(decay(tau) * v + x, 0.0)
    s = spike(u - threshold)
    return s, u * (1 - held(s))


def symplectic(
    x,
    v,
    a,
    *,
    tau: TimeConstant,
    tau_a: TimeConstant,
    threshold: Positive,
    rho: Real,
    kappa: Real,
):
    w = decay(tau) * v + (1 - decay(tau)) * (x - a)
    s = spike(w - threshold)
    after = w - threshold * held(s)
    return s, after, decay(tau_a) * a + (1 - decay(tau_a)) * rho * after + kappa * s


def current_based(x, i, v, *, tau: TimeConstant, tau_i: TimeConstant, threshold: Positive):
    j = decay(tau_i) * i + x
    u = decay(tau) * v + j
    s = spike(u - threshold)
    return s, j, u - threshold * held(s)


def exponential(
    x, v, a, *, tau: TimeConstant, rest: Real, width: Positive, kappa: Real, threshold: Positive
):
    rise = width * torch.exp(torch.minimum((v - rest) / width, 2.0))
    u = v + (-v + rise - a + x) * (1 - decay(tau))
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)), 0.9 * a + kappa * v + s


def quadratic(x, v, w, *, a: Real, b: Real, c: Real, d: Real, threshold: Positive):
    u = v + FACTOR * (0.04 * v**2 + 5.0 * v + 14.0 - w + x)
    s = spike(u - threshold)
    return s, u + held(s) * (c - u), w + a * (b * u - w) + d * s


def resonating(x, re, im, q, *, omega: Positive, b: Positive, threshold: Positive, dt):
    p = b + q
    r = re + dt * (-p * re - omega * im + x)
    i = im + dt * (omega * re - p * im)
    s = spike(r - threshold - q)
    return s, r, i, 0.9 * q + s


def refractory(x, v, r, *, tau: TimeConstant, threshold: Positive, steps: Positive):
    u = torch.where(r > 0.0, 0.0, decay(tau) * v + x)
    s = spike(u - threshold)
    return s, u * (1 - held(s)), torch.maximum(r - 1.0, steps * s)


def delayed(x, v, last, offset, *, tau: TimeConstant):
    u = decay(tau) * v + x - offset * last
    s = spike(u - 1.0)
    return s, u - held(s), v, offset


def named_like_texts(
    x, m, m_, s, grad_m, saved_0, *, tau: TimeConstant, decay_tau: Real, c: Real
):  # fmt: skip
    k0 = m * m_ + s * s
    sigma = decay(tau) * m + x * k0
    constant_c = sigma * sigma - decay_tau
    spikes = spike(constant_c - c)
    return spikes, k0 * sigma, 0.5 * m_ + x, spikes, k0 * grad_m, constant_c * saved_0


def long_page(x, v, m, h, n, *, tau: TimeConstant, gain: Positive):
    a = m * m * m * h * (v - 1.0)
    b = n * n * n * n * (v + 0.5)
    u = decay(tau) * v + 0.1 * gain * (x - a - b - 0.1 * (v + 0.3))
    s = spike(u - 1.0)
    rise = torch.exp(-0.1 * torch.abs(u))
    m_gain = 0.1 * (1 - m) / (1 + rise)
    h_gain = 0.1 * (1 - h) * rise
    n_gain = 0.1 * (1 - n) / (1 + rise * rise)
    m_after = torch.tanh(m + m_gain - 0.4 * m * rise)
    h_after = torch.tanh(h + h_gain - 0.1 * h / (1 + rise * rise))
    return s, u, m_after, h_after, torch.tanh(n + n_gain - 0.2 * n * torch.tanh(u))


def reading(x, v, *, tau: TimeConstant):
    return decay(tau) * v + (1 - decay(tau)) * torch.tanh(x)


FUNCTIONS = [
    zeroed, symplectic, current_based, exponential, quadratic, resonating, refractory, reading,
    delayed, named_like_texts, long_page,
]  # fmt: skip
PAGES = {name: row.page for name, row in (NEURONS | MORE_NEURONS).items()}
PAGES |= {function.__name__: read_page(function) for function in FUNCTIONS}


def draw_arguments(page, T, n=100, low=0.05, high=1.55):
    """Charges of T steps, states, constants of the page, and weights of all results."""
    generator = torch.Generator().manual_seed(0)

    def draw(a, b):
        return a + (b - a) * torch.rand(n, generator=generator, dtype=torch.float64)

    step = page.neuron.step
    charges = [draw(low, high) for _ in range(T)]
    states = [draw(low, high) for _ in step.states]
    constants = {name: draw(0.05, 1.55) for name in step.constants}
    weights = [[draw(-0.5, 0.5) for _ in range(1 + len(states))] for _ in charges]
    return charges, states, constants, weights


def run_with_autograd(page, charges, states, constants, weights, detach):
    """Results of all steps, and gradients of charges, states and constants of the page."""
    run = page_function(page.source, DT, detach_reset=detach, FACTOR=FACTOR)
    leaves = [t.clone().requires_grad_() for t in (*charges, *states, *constants.values())]
    T, K = len(charges), len(states)
    now, learned = leaves[T : T + K], dict(zip(constants, leaves[T + K :], strict=True))
    results, loss = [], 0.0
    for charge, scale in zip(leaves[:T], weights, strict=True):
        step = run(charge, *now, **learned)
        now = step[1:]
        results += step
        loss = loss + sum((a * b).sum() for a, b in zip(scale, step, strict=True))
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return results, gradients


def run_program(page, charges, states, constants, weights, detach, saves):
    """As `run_with_autograd`, by the texts of a program; backward sees what was saved alone."""
    program = program_of(page.neuron, detach_reset=detach, saves=saves)
    learns = saves != "gradient"
    query = program.adjoint(learns)
    learned = {name: value.clone().requires_grad_() for name, value in constants.items()}
    evaluated = page.neuron.evaluate_constants(learned, DT)
    fixed = [c.detach() for c in evaluated]
    names = {"spike": heaviside, "surrogate": surrogate}
    step = torch_function(program.step.text, "step", torch.float64, **names)
    adjoint = torch_function(query.query, "adjoint", torch.float64, **names)

    def recall(saved):
        if saved is None:
            return [states[k] for k in query.recalled]
        return torch_function(query.recall, "recall", torch.float64, **names)(*saved, *fixed)

    K = len(states)
    now, results, saved = states, [], [None]
    for charge in charges:
        output, *others = step(charge, *now, *fixed)
        now = others[:K]
        results += [output, *now]
        saved.append(others[K:])
    grad_states = [torch.zeros_like(v) for v in states]
    grad_constants = [torch.zeros_like(c) for c in fixed]
    grad_charges = []
    for t in reversed(range(len(charges))):
        grad_s, *scale = weights[t]
        grads = [a + b for a, b in zip(grad_states, scale, strict=True)]
        before = recall(saved[t]) if query.recalled else ()
        grad_x, *others = adjoint(*saved[t + 1], *before, *fixed, grad_s, *grads)
        grad_charges.insert(0, grad_x)
        grad_states = others[:K]
        if learns:
            grad_constants = [a + b for a, b in zip(grad_constants, others[K:], strict=True)]
    by_name = [None for _ in learned]
    if learns and learned:
        by_name = torch.autograd.grad(evaluated, [*learned.values()], grad_constants)
    return results, [*grad_charges, *grad_states, *by_name]


def check(page, T, detach, saves, tolerance=1e-12):
    arguments = draw_arguments(page, T)
    results, expected = run_with_autograd(page, *arguments, detach)
    got, gradients = run_program(page, *arguments, detach, saves)
    for a, b in zip(results, got, strict=True):
        # Functions of numbers are computed by Python, whose tanh is not torch's to the last bit.
        torch.testing.assert_close(b.expand_as(a), a.detach(), rtol=1e-13, atol=1e-13)
    for i, (wanted, gradient) in enumerate(zip(expected, gradients, strict=True)):
        if gradient is not None:
            error = (wanted - gradient).abs().max() / (wanted.abs().max() + 1)
            assert error < tolerance, (i, error)


CASES = pairwise(name=[*PAGES], detach=[False, True], saves=[*SAVES])


@pytest.mark.parametrize(("name", "detach", "saves"), [case.values() for case in CASES], ids=str)
def test_derived_gradients_equal_autograd(name, detach, saves):
    check(PAGES[name], 4, detach, saves)


# Pages at random


def operands(names):
    return st.sampled_from([*names, "0.5", "2.0", "tau", "decay(tau)", "threshold"])


FORMS = [
    "{a} + {b}",
    "{a} - {b}",
    "{a} * {b}",
    "-{a} + {b} * {c}",
    "{a} / (1.5 + torch.abs({b}))",
    "({a} + {b}) ** 2",
    "(1.0 + {a} * {a}) ** -1.5 + {b}",
    "torch.tanh({a}) + {b}",
    "torch.sin({a}) * torch.cos({b})",
    "torch.exp(-torch.abs({a})) * {b}",
    "torch.sqrt(1.0 + {a} * {a}) - {b}",
    "torch.log(2.0 + torch.abs({a}))",
    "torch.maximum({a} + x, {b} * v)",
    "torch.minimum({a} * v, {b} + x)",
    "torch.where({a} < {b} + x, {c} * x, {d} + v)",
    "held({a} + v) * {b} + x",
    "held({a} * threshold) + {b} * x",
]
# States stay small, so that a second step is as good a test as the first.
AFTER = [
    "torch.tanh({a} + {b}) + 0.5 * x",
    "torch.minimum(torch.maximum({a} * x + {b}, -2.0), 2.0)",
]


@st.composite
def sources(draw):
    """The source of a neuron with one to three states and a few random lines."""
    states = ["v", "a", "b"][: draw(st.integers(1, 3))]
    names = ["x", *states]
    lines = []
    for i in range(draw(st.integers(1, 5))):
        parts = {letter: draw(operands(names)) for letter in "abcd"}
        lines.append(f"    t{i} = {draw(st.sampled_from(FORMS)).format(**parts)}")
        names.append(f"t{i}")
    lines.append(f"    s = spike({names[-1]} + x - threshold)")
    names.append("s")
    some = st.sampled_from(names)
    after = [draw(st.sampled_from(AFTER)).format(a=draw(some), b=draw(some)) for _ in states]
    head = f"def page(x, {', '.join(states)}, *, tau: TimeConstant, threshold: Positive):"
    last = "    return s, " + ", ".join([*after[:-1], f"{after[-1]} + 0.1 * decay(tau)"])
    return "\n".join([head, *lines, last, ""])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sources(), st.booleans(), st.sampled_from(SAVES))
def test_gradients_of_random_pages_equal_autograd(source, detach, saves):
    check(written_page(source), 2, detach, saves, tolerance=1e-9)


# Branches that are not taken, and ties

GUARDED = [
    "torch.where({a} > 0.1, torch.log({a}) + {b}, {c})",
    "torch.where({a} < 0.1, {c}, torch.sqrt({a}) * {b})",
    "torch.where(torch.abs({a}) > 0.1, {b} / {a}, {c})",
    "torch.where({a} <= 0.1, {c} - {b}, {a} ** -1.5)",
    "torch.where({a} < 1.0, torch.exp({a}) - {c}, {b})",
    "torch.where({a} > 0.1, torch.where({b} > x, torch.log({a}) / ({b} - x), {a} ** -0.5), {c})",
    "torch.maximum({c}, torch.where({a} < 0.1, -2.0, torch.log({a})))",
    "torch.minimum(torch.maximum({c}, -3.0), torch.where({b} != 0.0, {a} / {b}, {c}))",
]
# Where logs, roots and quotients are not finite, and where exp overflows.
VALUES = [-800.0, -1.1, -0.3, 0.0, 0.23, 0.7, 2.3, 800.0]


@st.composite
def guarded_sources(draw):
    """A read-out whose branches are finite where they are taken, and often not where they are not.

    Branches are written into branches, and share what they compute.
    """

    def branch(depth):
        if depth == 0:
            return draw(st.sampled_from(["x", "v", "0.5", "kappa"]))
        parts = {letter: branch(draw(st.integers(0, depth - 1))) for letter in "bc"}
        return draw(st.sampled_from(GUARDED)).format(a=draw(st.sampled_from(["x", "v"])), **parts)

    lines = [f"    t{i} = {branch(draw(st.integers(1, 2)))}" for i in range(2)]
    head = "def page(x, v, *, kappa: Real):"
    return "\n".join(
        [head, *lines, "    return torch.tanh(t0) + 0.3 * torch.tanh(t1 + kappa * x)", ""]
    )


def reference_gradients(page, charge, state, constants, weight):
    """Gradients of one step by autograd through the text that the reference runs."""
    text = program_of(page.neuron).reference
    step = torch_function(text, "step", torch.float64, spike=heaviside, held=torch.detach)
    leaves = [t.clone().requires_grad_() for t in (charge, state, *constants.values())]
    learned = dict(zip(constants, leaves[2:], strict=True))
    after = step(*leaves[:2], *page.neuron.evaluate_constants(learned, DT))[0]
    return torch.autograd.grad(
        (after * weight).sum(), leaves, allow_unused=True, materialize_grads=True
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(guarded_sources())
def test_branches_that_are_not_taken_contribute_exactly_zero(source):
    page = written_page(source)
    charge, state = torch.cartesian_prod(*[torch.tensor(VALUES, dtype=torch.float64)] * 2).t()
    kappa = torch.full_like(charge, 0.37)
    run = page_function(source, DT, detach_reset=True, of_scalars=True)
    rows = []
    for numbers in zip(charge, state, kappa, strict=True):
        leaves = [t.clone().requires_grad_() for t in numbers]
        after = run(*leaves[:2], kappa=leaves[2])[0]
        # None where no branch that is taken has used the argument.
        rows.append(torch.autograd.grad(after, leaves, allow_unused=True))
    expected = [
        [math.nan if g is None else g for g in column] for column in zip(*rows, strict=True)
    ]
    ones = torch.ones_like(charge)
    by_autograd = reference_gradients(page, charge, state, {"kappa": kappa}, ones)
    zeros = torch.zeros_like(charge)
    _, by_adjoint = run_program(
        page, [charge], [state], {"kappa": kappa}, [[zeros, ones]], True, "learning"
    )
    for found in (by_autograd, by_adjoint):
        for a, column in zip(found, expected, strict=True):
            b = torch.tensor(column, dtype=torch.float64)
            a = torch.as_tensor(a, dtype=torch.float64).expand_as(b)
            assert bool((a[b.isnan()] == 0).all())
            torch.testing.assert_close(a, b.nan_to_num(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("word", ["maximum", "minimum"])
def test_a_tie_gives_the_whole_gradient_to_the_first_argument(word):
    page = written_page(f"def page(x, v):\n    return torch.{word}(3.0 * x, 2.0 * v)\n")
    charge, state = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    one, zero = torch.ones_like(charge), torch.zeros_like(charge)
    assert reference_gradients(page, charge, state, {}, one) == (3.0, 0.0)
    _, gradients = run_program(page, [charge], [state], {}, [[zero, one]], True, "gradient")
    assert gradients == [3.0, 0.0]


# What is saved


@pytest.mark.parametrize(
    ("name", "fixed", "learned"),
    [
        *[(name, 1, 1) for name in ("lif_subtraction", "lif_zero", "lif_none", "h1v1", "h1v2")],
        ("zeroed", 1, 1),
        ("adaptive", 1, 3),
        ("symplectic", 1, 3),
        ("current_based", 1, 2),
        ("quadratic", 1, 2),
        ("resonating", 3, 4),
        ("refractory", 2, 2),
    ],
)
def test_little_is_saved(name, fixed, learned):
    neuron = PAGES[name].neuron
    assert len(program_of(neuron, saves="gradient").saved) == fixed
    assert len(program_of(neuron, saves="learning").saved) == learned


def test_roots_of_float32_are_rounded_exactly():
    """As in kernels; torch's own are not on every CPU."""
    text = "def root(v):\n    return (m.sqrt(v),)\n"
    values = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    (roots,) = torch_function(text, "root", torch.float32)(values)
    assert roots.dtype == torch.float32
    assert np.array_equal(roots.numpy(), np.sqrt(values.numpy()))
