"""The delayed product in plain torch: worked values, closed gradients, two parts of a sequence."""

import pytest
import torch
from torch import tensor
from torch.nn.functional import conv1d

from nwavesdk.solvers.sparse.delays_reference import INTERPOLATIONS, delay_kernel, delayed_product


def case(B=3, T=9, N_in=5, N_out=4, max_delay=6, per_input=False):
    """Inputs in float64; delays are not near whole steps, where the hat has corners."""
    torch.manual_seed(0)
    spk = (torch.rand(B, T, N_in) < 0.4).double()
    past = (torch.rand(B, max_delay, N_in) < 0.4).double()
    weight = torch.randn(N_in, N_out).double()
    whole = torch.randint(0, max_delay, (N_in, 1 if per_input else N_out))
    delay = whole + 0.1 + 0.8 * torch.rand(whole.shape).double()
    return spk, past, weight, delay, max_delay


def test_shares_of_worked_delays():
    delay = tensor([0.0, 1.25, 3.0])
    expected = tensor([[1, 0, 0, 0], [0, 0.75, 0.25, 0], [0, 0, 0, 1]])
    assert torch.equal(delay_kernel(delay, 3, "linear", 1.0).T, expected)
    rounded = tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert torch.equal(delay_kernel(delay, 3, "none", 1.0).T, rounded)
    # exp(-1/2) = 0.60653 one standard deviation away.
    gaussian = delay_kernel(tensor([1.0]), 2, "gaussian", 1.0).flatten()
    total = 1 + 2 * 0.60653066
    torch.testing.assert_close(gaussian, tensor([0.60653066, 1, 0.60653066]) / total)


@pytest.mark.parametrize("width", [1e-3, 0.05, 3.0])
def test_gaussian_shares_add_up_to_1_however_narrow(width):
    delay = torch.linspace(0, 8, 81)
    shares = delay_kernel(delay, 8, "gaussian", width)
    torch.testing.assert_close(shares.sum(0), torch.ones(81))


@pytest.mark.parametrize("per_input", [False, True])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_equals_a_convolution_with_the_kernel(interpolation, per_input):
    spk, past, weight, delay, max_delay = case(per_input=per_input)
    steps = torch.arange(max_delay + 1)[:, None, None]
    distance = steps - delay
    shares = {
        "linear": (1 - distance.abs()).clamp(min=0),
        "gaussian": (-(distance**2) / (2 * 0.7**2)).exp(),
        "none": (distance.abs() < 0.5).double(),
    }[interpolation]
    shares = shares / shares.sum(0)
    taps = (weight * shares).permute(2, 1, 0).flip(-1)
    expected = conv1d(torch.cat([past, spk], 1).transpose(1, 2), taps).transpose(1, 2)
    got = delayed_product(spk, past, weight, delay, max_delay, interpolation, 0.7)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("per_input", [False, True])
@pytest.mark.parametrize("interpolation", ["linear", "gaussian"])
def test_gradients_equal_finite_differences(interpolation, per_input):
    *inputs, max_delay = case(B=2, T=4, N_in=2, N_out=3, max_delay=3, per_input=per_input)
    for value in inputs:
        value.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *values: delayed_product(*values, max_delay, interpolation, 0.7), inputs
    )


def test_gradient_of_a_delay_is_the_difference_of_the_two_steps():
    """One spike at step 0; the charges of steps 2 and 3 get gradients 5 and 7."""
    spk = torch.zeros(1, 5, 1)
    spk[0, 0] = 1
    delay = tensor([[2.25]], requires_grad=True)
    weight = tensor([[3.0]], requires_grad=True)
    cur = delayed_product(spk, torch.zeros(1, 4, 1), weight, delay, 4, "linear", 1.0)
    torch.testing.assert_close(cur.flatten(), tensor([0, 0, 2.25, 0.75, 0]))
    cur.backward(tensor([0.0, 0, 5, 7, 0]).reshape(1, 5, 1))
    assert delay.grad.item() == 3 * (7 - 5)
    assert weight.grad.item() == 0.75 * 5 + 0.25 * 7


@pytest.mark.parametrize(("delay", "expected"), [(0.0, 1.0), (2.0, 1.0), (4.0, 1.0)])
def test_whole_steps_and_borders_have_a_gradient(delay, expected):
    """With gradients that grow by 1 per step, each delay has the gradient 1."""
    spk = torch.zeros(1, 6, 1)
    spk[0, 0] = 1
    delays = tensor([[delay]], requires_grad=True)
    cur = delayed_product(spk, torch.zeros(1, 4, 1), torch.ones(1, 1), delays, 4, "linear", 1.0)
    cur.backward(torch.arange(6.0).reshape(1, 6, 1))
    assert delays.grad.item() == expected


def test_none_has_no_gradient_for_delays():
    spk, past, weight, delay, max_delay = case()
    cur = delayed_product(spk, past, weight.requires_grad_(), delay.requires_grad_(), max_delay,
                          "none", 1.0)  # fmt: skip
    cur.sum().backward()
    assert delay.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_no_delay_is_the_dense_product(interpolation):
    spk, _, weight, _, _ = case()
    delay = torch.zeros(5, 4).double().requires_grad_()
    got = delayed_product(spk, spk[:, :0], weight, delay, 0, interpolation, 1.0)
    torch.testing.assert_close(got, spk @ weight)
    if got.requires_grad:
        got.square().sum().backward()
        assert not delay.grad.any()
