"""Every neuron: its adjoint against finite differences and autograd, its carry against its step."""

import copy
import pickle

import pytest
import torch

from contract import NEURONS
from nwavesdk.dynamics import bind, h1, lif
from nwavesdk.solvers.problem import torch_page
from nwavesdk.surrogate import custom, heaviside

NAMES = list(NEURONS)


def random_step(name, seed):
    """Arguments of a step of 50 neurons, and upstream gradients of its spike and states."""
    neuron = NEURONS[name].neuron
    generator = torch.Generator().manual_seed(seed)

    def draw(count):
        return [torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(count)]

    charge_and_states = draw(1 + len(neuron.states))
    constants = [c.double() for c in NEURONS[name].constants(50, generator)]
    return [*charge_and_states, *constants], draw(1 + len(neuron.states))


def step_page(neuron, **names):
    """`integrate` followed by `fire`, as one function."""
    integrate = torch_page(neuron, "integrate", **names)
    fire = torch_page(neuron, "fire", **names)
    return lambda x, *others: fire(integrate(x, *others), *others[1:])


def adjoint_of_step(neuron, **names):
    """The adjoint as a function of the arguments of the step: integrates w again."""
    integrate = torch_page(neuron, "integrate", **names)
    adjoint = torch_page(neuron, "adjoint", **names)
    n = 1 + len(neuron.states) + len(neuron.constants)
    return lambda *arguments: adjoint(integrate(*arguments[:n]), *arguments[1:])


@pytest.mark.parametrize("name", NAMES)
def test_adjoint_is_the_derivative_of_a_smooth_step(name):
    """Central differences to 1e-8, with a smooth spike, through the reset as well."""
    neuron = NEURONS[name].neuron
    arguments, upstream = random_step(name, seed=3)

    def derivative(z):
        return torch.sigmoid(z) * (1 - torch.sigmoid(z))

    step = step_page(neuron, spike=torch.sigmoid, held=lambda s: s)
    adjoint = adjoint_of_step(
        neuron, spike=torch.sigmoid, surrogate=derivative, held=lambda grad: grad
    )

    def loss(values):
        s, _, *states = step(*values)
        return sum(weight * y for weight, y in zip(upstream, (s, *states), strict=True))

    h = 1e-5
    for i, gradient in enumerate(adjoint(*arguments, *upstream)):
        up = list(arguments)
        down = list(arguments)
        up[i] = arguments[i] + h
        down[i] = arguments[i] - h
        expected = (loss(up) - loss(down)) / (2 * h)
        assert float((gradient - expected).abs().max()) < 1e-8, i


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_adjoint_is_autograd_of_the_step(name, detach):
    neuron = NEURONS[name].neuron
    arguments, upstream = random_step(name, seed=4)
    surrogate = custom(lambda z: 1 / (1 + z * z))
    step = step_page(neuron, spike=surrogate, held=torch.detach if detach else lambda s: s)
    held = (lambda _: 0.0) if detach else (lambda grad: grad)
    adjoint = adjoint_of_step(neuron, spike=heaviside, surrogate=surrogate.derivative, held=held)
    leaves = [t.clone().requires_grad_() for t in arguments]
    s, _, *states = step(*leaves)
    expected = torch.autograd.grad(
        [s, *states], leaves, upstream, allow_unused=True, materialize_grads=True
    )
    for gradient, wanted in zip(adjoint(*arguments, *upstream), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", [n for n in NAMES if NEURONS[n].neuron.carry is not None])
def test_carry_is_the_step_with_its_spike_fixed(name):
    neuron = NEURONS[name].neuron
    (x, v, *constants), _ = random_step(name, seed=5)
    s, _, after = step_page(neuron, spike=heaviside, held=torch.detach)(x, v, *constants)
    a, b, c = neuron.carry(x, s, *constants)
    torch.testing.assert_close(torch.maximum(a * v + b, c), after, rtol=1e-14, atol=1e-15)
    assert s.any()
    assert not s.all()


def test_an_unbound_page_raises():
    with pytest.raises(RuntimeError, match="spike is an open name of a page: bind the page"):
        lif().fire(*torch.ones(3))


def test_bind_does_not_change_the_page():
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
