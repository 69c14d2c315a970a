"""The pages themselves: bind, adjoint against finite differences and against the formulas, carry against the step."""

import copy
import pickle

import pytest
import torch

from contract import NEURONS
from nwavesdk.dynamics import h1, lif
from nwavesdk.dynamics.neuron import bind
from nwavesdk.solvers.problem import torch_page
from nwavesdk.surrogate import custom, heaviside


def smooth_pages(neuron, detach):
    """Step and adjoint with the spike replaced by a smooth function, so that finite differences see its derivative."""
    spike, derivative = torch.sigmoid, lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z))
    step = torch_page(neuron, "step", spike=spike, held=torch.detach if detach else lambda s: s)
    held = (lambda _: 0.0) if detach else (lambda g: g)
    return step, whole_adjoint(neuron, spike=spike, surrogate=derivative, held=held)


def whole_adjoint(neuron, **names):
    """The adjoint of the step as a function of what the step reads: w is integrated anew."""
    integrate = torch_page(neuron, "integrate", **names)
    adjoint = torch_page(neuron, "adjoint", **names)
    n = 1 + len(neuron.states) + len(neuron.constants)
    return lambda *read: adjoint(integrate(*read[:n]), *read[1:])


@pytest.mark.parametrize("name", NEURONS)
def test_adjoint_is_the_derivative_of_a_smooth_step(name):
    """Central differences of the whole step, the gradient through the reset included, to 1e-8."""
    neuron, g = NEURONS[name].neuron, torch.Generator().manual_seed(3)
    read = [
        torch.randn(50, generator=g, dtype=torch.float64) for _ in range(1 + len(neuron.states))
    ]
    read += [c.double() for c in NEURONS[name].constants(50, g)]
    upstream = [
        torch.randn(50, generator=g, dtype=torch.float64) for _ in range(1 + len(neuron.states))
    ]
    step, adjoint = smooth_pages(neuron, detach=False)

    def loss(values):
        s, _, *states = step(*values)
        return sum(w * y for w, y in zip(upstream, (s, *states), strict=True))

    got = adjoint(*read, *upstream)
    h = 1e-5
    for i, gradient in enumerate(got):
        up, down = list(read), list(read)
        up[i], down[i] = read[i] + h, read[i] - h
        expected = (loss(up) - loss(down)) / (2 * h)
        assert float((gradient - expected).abs().max()) < 1e-8, i


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("name", NEURONS)
def test_adjoint_is_autograd_of_the_step(name, detach):
    neuron, g = NEURONS[name].neuron, torch.Generator().manual_seed(4)
    read = [
        torch.randn(50, generator=g, dtype=torch.float64) for _ in range(1 + len(neuron.states))
    ]
    read += [c.double() for c in NEURONS[name].constants(50, g)]
    upstream = [
        torch.randn(50, generator=g, dtype=torch.float64) for _ in range(1 + len(neuron.states))
    ]
    surrogate = custom(lambda z: 1 / (1 + z * z))
    step = torch_page(neuron, "step", spike=surrogate, held=torch.detach if detach else lambda s: s)
    held = (lambda _: 0.0) if detach else (lambda g: g)
    adjoint = whole_adjoint(neuron, spike=heaviside, surrogate=surrogate.derivative, held=held)
    leaves = [t.clone().requires_grad_() for t in read]
    s, _, *states = step(*leaves)
    expected = torch.autograd.grad(
        [s, *states], leaves, upstream, allow_unused=True, materialize_grads=True
    )
    for got, want in zip(adjoint(*read, *upstream), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", [n for n in NEURONS if NEURONS[n].neuron.carry is not None])
def test_carry_is_the_step_with_its_spike_fixed(name):
    neuron, g = NEURONS[name].neuron, torch.Generator().manual_seed(5)
    x, v = (torch.randn(200, generator=g, dtype=torch.float64) for _ in range(2))
    constants = [c.double() for c in NEURONS[name].constants(200, g)]
    s, _, after = torch_page(neuron, "step", spike=heaviside, held=torch.detach)(x, v, *constants)
    a, b, c = neuron.carry(x, s, *constants)
    torch.testing.assert_close(torch.maximum(a * v + b, c), after, rtol=1e-14, atol=1e-15)
    assert s.any()
    assert not s.all()


def test_the_clamp_has_derivative_one_at_exactly_zero():
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    held = lambda _: 0.0  # noqa: E731
    adjoint = torch_page(h1(1), "adjoint", spike=heaviside, surrogate=torch.ones_like, held=held)
    grad_x, *_ = adjoint(zero, zero, 0.9 * one, one, one, zero)
    assert grad_x.item() == 1.0
    below, *_ = adjoint(zero - 0.1, zero, 0.9 * one, one, one, zero)
    assert below.item() == 0.0


def test_an_unbound_page_says_so():
    with pytest.raises(RuntimeError, match="spike is an open name of a page: bind the page"):
        lif().fire(*torch.ones(3))


def test_bind_leaves_the_page_as_it_was():
    page = lif().fire
    bind(page, spike=abs)
    assert page.__globals__["spike"] is not abs


@pytest.mark.parametrize("name", ["lif_zero", "h1v2"])
def test_a_neuron_is_a_value(name):
    neuron = NEURONS[name].neuron
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert other == neuron
        assert hash(other) == hash(neuron)
    assert lif("zero") != lif("none")
    assert h1(1) != h1(2)
