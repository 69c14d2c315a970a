"""Derived adjoints equal torch autograd, for known neurons and for equations at random."""

import inspect
import linecache
import math
import re
import textwrap
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.dynamics import h1, lif
from nwavesdk.solvers.problem import torch_page
from research.adjoints import (
    PageError,
    constant_inputs,
    decay,
    derive_adjoint,
    find_saved,
    free_scope,
    function_text,
    held,
    read_step,
    spike,
)

DT = 0.1
SLOPE = 5.0


def subtracting(x, v, *, tau, threshold):
    u = decay(tau) * v + x
    s = spike(u - threshold)
    return s, u - threshold * held(s)


def zeroed(x, v, *, tau, threshold):
    u = torch.maximum(decay(tau) * v + x, 0.0)
    s = spike(u - threshold)
    return s, u * (1 - held(s))


def adaptive(x, v, a, *, tau, tau_a, threshold, kappa):
    u = decay(tau) * v + x
    s = spike(u - threshold - kappa * a)
    return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s


def symplectic(x, v, a, *, tau, tau_a, threshold, rho, kappa):
    w = decay(tau) * v + (1 - decay(tau)) * (x - a)
    s = spike(w - threshold)
    after = w - threshold * held(s)
    return s, after, decay(tau_a) * a + (1 - decay(tau_a)) * rho * after + kappa * s


def current_based(x, i, v, *, tau, tau_i, threshold):
    j = decay(tau_i) * i + x
    u = decay(tau) * v + j
    s = spike(u - threshold)
    return s, j, u - threshold * held(s)


def exponential(x, v, a, *, tau, rest, width, kappa, threshold):
    u = v + (-v + width * torch.exp((v - rest) / width) - a + x) * (1 - decay(tau))
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)), 0.9 * a + kappa * v + s


def quadratic(x, v, w, *, a, b, c, d, threshold):
    u = v + 0.5 * (0.04 * v**2 + 5.0 * v + 14.0 - w + x)
    s = spike(u - threshold)
    return s, u + held(s) * (c - u), w + a * (b * u - w) + d * s


def resonating(x, re, im, q, *, omega, b, threshold):
    p = b + q
    r = re + 0.1 * (-p * re - omega * im + x)
    i = im + 0.1 * (omega * re - p * im)
    s = spike(r - threshold - q)
    return s, r, i, 0.9 * q + s


def refractory(x, v, r, *, tau, threshold, steps):
    u = torch.where(r > 0.0, 0.0 * x, decay(tau) * v + x)
    s = spike(u - threshold)
    return s, u * (1 - held(s)), torch.maximum(r - 1.0, steps * s)


def reading(x, v, *, tau):
    return decay(tau) * v + (1 - decay(tau)) * torch.tanh(x)


def clamped(x, v, *, decay, threshold):
    w = decay * v + x
    u = torch.where(w < 0.0, 0.0, w)
    s = spike(u - threshold)
    return s, u - held(s) * u


def unclamped(x, v, *, decay, threshold):
    w = decay * v + x
    s = spike(w - threshold)
    return s, w - threshold * held(s)


# Neurons of the package, and their equations once more.
NEURONS_OF_THE_PACKAGE = {"h1v1": h1(1), "lif": lif("subtraction")}
EQUATIONS = {"h1v1": clamped, "lif": unclamped}

NEURONS = [
    subtracting, zeroed, adaptive, symplectic, current_based,
    exponential, quadratic, resonating, refractory, reading,
]  # fmt: skip


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * surrogate(z)


def surrogate(z):
    return 1 / (SLOPE * z.abs() + 1) ** 2


def as_double(value):
    return torch.as_tensor(value, dtype=torch.float64)


class Maths:
    """torch for float64 tensors and numbers; at a tie, the first argument counts."""

    def __getattr__(self, name):
        function = getattr(torch, name)
        return lambda *values: function(*map(as_double, values))

    @staticmethod
    def where(condition, a, b):
        return torch.where(condition, as_double(a), as_double(b))

    @staticmethod
    def maximum(a, b):
        return torch.where(a < b, as_double(b), as_double(a))

    @staticmethod
    def minimum(a, b):
        return torch.where(b < a, as_double(b), as_double(a))


MACHINE = {"m": Maths(), "spike": lambda z: (z > 0).to(z), "surrogate": surrogate}


def step_of(equation):
    return read_step(textwrap.dedent(inspect.getsource(equation)), free_scope(equation))


def run_text(text, name, arguments):
    """Call the function `name` of a source text; its results are a tuple."""
    scope = dict(MACHINE)
    exec(text, scope)
    results = scope[name](*arguments)
    return results if isinstance(results, tuple) else (results,)


def with_autograd(equation, values, weights, *, detach):
    """Results of the equation under torch autograd, and gradients by the names of arguments."""
    machine = {
        "spike": Spike.apply,
        "held": torch.detach if detach else (lambda value: value),
        "decay": lambda tau: torch.exp(-DT / tau),
        "torch": Maths(),
    }
    bound = types.FunctionType(equation.__code__, {**equation.__globals__, **machine})
    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    constants = {name: leaves[name] for name in inspect.getfullargspec(equation).kwonlyargs}
    results = bound(*(leaf for name, leaf in leaves.items() if name not in constants), **constants)
    results = results if isinstance(results, tuple) else (results,)
    loss = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return results, dict(zip(leaves, gradients, strict=True))


def with_derivation(equation, values, weights, *, detach, from_saved):
    """As `with_autograd`, by derived texts; with `from_saved`, backward never sees the charge."""
    step = step_of(equation)
    graph = step.graph
    results = [*step.after] if step.spike is None else [step.spike, *step.after]
    adjoint = derive_adjoint(step, detach_reset=detach)
    wanted = [node for node in adjoint.gradients.values() if node is not None]
    saved = find_saved(step, wanted) if from_saved else ()

    # The constant parts of both passes, computed once under autograd.
    learned = {name: values[name].clone().requires_grad_() for name in step.constants}
    constants = {
        node: constant_value(graph, node, learned)
        for node in constant_inputs(graph, wanted + results)
    }
    known_constants = {node: value.detach() for node, value in constants.items()}

    inputs = {graph.add("input", value=name): values[name] for name in (step.charge, *step.states)}
    forward = {**inputs, **known_constants}
    outputs = run_nodes(step, forward, [*results, *saved])
    kept = dict(zip(saved, outputs[len(results) :], strict=True))

    names = ["s"] * (step.spike is not None) + list(step.states)
    upstream = {
        graph.add("input", value=f"grad_{name}"): weight
        for name, weight in zip(names, weights, strict=True)
    }
    states = {node: v for node, v in inputs.items() if graph.nodes[node].value != step.charge}
    backward = {**(states if from_saved else inputs), **kept, **known_constants, **upstream}
    sums = dict(
        zip(adjoint.gradients, run_nodes(step, backward, adjoint.gradients.values()), strict=True)
    )

    gradients = {graph.nodes[node].value: sums[node] for node in inputs}
    heads = {
        node: sums[node]
        for node, value in constants.items()
        if node in sums and value.requires_grad
    }
    by_name = torch.autograd.grad(
        [constants[node] for node in heads],
        list(learned.values()),
        [as_double(g).expand_as(constants[node]) for node, g in heads.items()],
        allow_unused=True,
        materialize_grads=True,
    ) if heads else [torch.zeros(()) for _ in learned]  # fmt: skip
    return outputs[: len(results)], gradients | dict(zip(learned, by_name, strict=True))


def run_nodes(step, known, nodes):
    """The values of nodes, by a derived text, from the values that are known."""
    arguments = {node: f"known_{node}" for node in known}
    text = function_text(step.graph, "page", arguments, nodes, step.names)
    return run_text(text, "page", known.values())


def constant_value(graph, node, constants):
    """A constant expression in float64 under autograd, from the constants by name."""
    op, inputs, value = graph.nodes[node]
    if op == "input":
        return constants[value]
    if op == "decay":
        return torch.exp(-DT / constant_value(graph, inputs[0], constants))
    known = {i: constant_value(graph, i, constants) for i in inputs if graph.number_of(i) is None}
    text = function_text(graph, "page", {i: f"known_{i}" for i in known}, [node], {})
    return as_double(run_text(text, "page", known.values())[0])


def check(equation, *, detach, from_saved, tolerance=1e-12):
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.rand(400, generator=generator, dtype=torch.float64)

    values = {name: 1.5 * draw() + 0.05 for name in inspect.signature(equation).parameters}
    step = step_of(equation)
    weights = [draw() - 0.5 for _ in range(len(step.states) + (step.spike is not None))]
    results, expected = with_autograd(equation, values, weights, detach=detach)
    got, gradients = with_derivation(
        equation, values, weights, detach=detach, from_saved=from_saved
    )
    for a, b in zip(results, got, strict=True):
        assert torch.equal(a.detach(), b.detach())
    for name, gradient in expected.items():
        error = (gradient - as_double(gradients[name])).abs().max() / (gradient.abs().max() + 1)
        assert error < tolerance, (name, error)


@pytest.mark.parametrize("from_saved", [False, True])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("equation", NEURONS)
def test_derived_gradients_equal_autograd(equation, detach, from_saved):
    check(equation, detach=detach, from_saved=from_saved)


@pytest.mark.parametrize(
    ("equation", "fixed", "learned"),
    [
        (subtracting, 1, 1),
        (zeroed, 1, 1),
        (adaptive, 1, 3),
        (symplectic, 1, 3),
        (current_based, 1, 2),
        (exponential, 1, 2),
        (quadratic, 1, 2),
        (resonating, 3, 3),
        (refractory, 2, 2),
    ],
)
def test_little_is_saved(equation, fixed, learned):
    step = step_of(equation)
    adjoint = derive_adjoint(step, detach_reset=True)
    gradients = {k: g for k, g in adjoint.gradients.items() if g is not None}
    of_values = [g for k, g in gradients.items() if not step.graph.is_constant(k)]
    assert len(find_saved(step, of_values)) == fixed
    assert len(find_saved(step, gradients.values())) == learned


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
    after = [f"{draw(some)} * 0.5 + {draw(some)} + x" for _ in states]
    head = f"def page(x, {', '.join(states)}, *, tau, threshold):"
    return "\n".join([head, *lines, f"    return s, {', '.join(after)}", ""])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sources(), st.booleans(), st.booleans())
def test_gradients_of_random_equations_equal_autograd(source, detach, from_saved):
    name = f"<equation {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope = {"torch": torch, "spike": spike, "held": held, "decay": decay}
    exec(compile(source, name, "exec"), scope)
    check(scope["page"], detach=detach, from_saved=from_saved, tolerance=1e-9)


def test_a_branch_that_is_not_taken_contributes_exactly_zero():
    def guarded(x, v, *, tau):
        safe = torch.where(x > 0.0, torch.log(x) * x, 0.0)
        return decay(tau) * v + safe

    step = step_of(guarded)
    adjoint = derive_adjoint(step)
    charge = step.graph.add("input", value="x")
    known = {
        charge: torch.tensor([0.0, -1.0, 2.0], dtype=torch.float64),
        step.graph.add("input", value="grad_v"): torch.ones(3, dtype=torch.float64),
    }
    (gradient,) = run_nodes(step, known, [adjoint.gradients[charge]])
    expected = [0.0, 0.0, math.log(2.0) + 1.0]
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", NEURONS_OF_THE_PACKAGE)
@pytest.mark.parametrize("detach", [False, True])
def test_written_adjoints_equal_derived_ones(name, detach):
    """Those of the package, from the membrane with the charge of the step."""
    neuron = NEURONS_OF_THE_PACKAGE[name]
    generator = torch.Generator().manual_seed(0)
    inputs = ("w", "v", "decay", "threshold", "grad_s", "grad_v")
    values = {name: torch.rand(200, generator=generator, dtype=torch.float64) for name in inputs}
    values["w"] = 2 * values["w"] - 0.5
    step = step_of(EQUATIONS[name])
    adjoint = derive_adjoint(step, detach_reset=detach)
    nodes = {name: node for node, name in step.names.items()}
    known = {
        nodes["w"] if key == "w" else step.graph.add("input", value=key): value
        for key, value in values.items()
    }
    charge = step.graph.add("input", value="x")
    state = step.graph.add("input", value="v")
    wanted = [adjoint.gradients[charge], adjoint.gradients[state]]
    derived = run_nodes(step, known, wanted)
    page = torch_page(
        neuron,
        "adjoint",
        spike=MACHINE["spike"],
        surrogate=surrogate,
        held=(lambda _: 0.0) if detach else (lambda gradient: gradient),
    )
    written = page(*values.values())
    for a, b in zip(derived, written, strict=False):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("u = v + x if x else v", "a choice by if is not possible"),
        ("u = v + x and v", "and/or is not possible"),
        ("u += x", "an assignment such as += is not possible"),
        ("u, w = v, x", "assign to one name per line"),
        ("u = v ** x", "an exponent must be a number"),
        ("u = torch.erf(v) + x", "torch.erf is not one of the functions of an equation"),
        ("u = unknown * x", "the name unknown is unknown"),
        ("u = torch.where(x, v, x)", "the first argument of where must be a comparison"),
        ("u = v + (x > 0.0)", "a comparison is not a value: use torch.where"),
        ("u = decay(x) * v", "decay takes the name of one constant"),
        ("u = spike(threshold) + x", "the argument of spike depends on constants alone"),
        ("u = torch.exp(v, x)", "exp takes 1 argument, by position"),
        ("u = v + float('nan')", "float is"),
        ("u = v", "nothing depends on the charge x"),
    ],
)
def test_a_wrong_line_is_named_with_the_reason(line, reason):
    source = f"def wrong(x, v, *, tau, threshold):\n    {line}\n    return u\n"
    scope = {"torch": torch, "spike": spike, "held": held, "decay": decay}
    with pytest.raises(PageError, match=rf"^wrong, line [23] .*{re.escape(reason)}"):
        read_step(source, scope)
