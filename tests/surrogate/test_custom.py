"""Surrogates from the user's code: derivatives, and spike functions of other libraries."""

import pytest
import torch
from torch import nn

from nwavesdk.surrogate import as_surrogate, atan, custom, fast_sigmoid


class OtherLibrary(torch.autograd.Function):
    """Another library's spike function: it fires at z >= 0 and returns float64."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z >= 0).double()

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return (grad * torch.exp(-z.abs())).to(z.dtype)


class Learnable(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(2.0))

    def forward(self, z):
        return torch.sigmoid(self.slope * z)


def triangle(z):
    return torch.relu(1 - z.abs())


def test_custom_has_the_given_derivative_and_the_step():
    z = torch.tensor([-0.5, 0.0, 0.25, 3.0], requires_grad=True)
    spikes = custom(triangle)(z)
    spikes.sum().backward()
    assert torch.equal(spikes, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert torch.equal(z.grad, torch.tensor([0.5, 1.0, 0.75, 0.0]))
    assert custom(triangle) == custom(triangle)
    assert repr(custom(triangle)) == "Custom(triangle)"
    assert repr(custom(triangle, name="my triangle")) == "Custom(my triangle)"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_custom_evaluates_half_precision_in_float32(dtype):
    seen = []
    assert (
        custom(lambda z: seen.append(z.dtype) or z).derivative(torch.ones(2, dtype=dtype)).dtype
        == dtype
    )
    assert seen == [torch.float32]


def test_custom_rejects_what_is_not_elementwise():
    with pytest.raises(
        ValueError, match=r"must map z elementwise: got a tensor of shape \[\] for z of shape \[3\]"
    ):
        custom(torch.sum).derivative(torch.ones(3))
    with pytest.raises(TypeError, match="needs a function z -> derivative, got float"):
        custom(2.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_foreign_callable_gives_the_gradient_of_our_step(dtype):
    s = as_surrogate(OtherLibrary.apply)
    z = torch.tensor([-1.0, 0.0, 2.0], dtype=dtype, requires_grad=True)
    spikes = s(z)
    # Our threshold z > 0, not the callable's z >= 0.
    assert torch.equal(spikes, torch.tensor([0.0, 0.0, 1.0], dtype=dtype))
    spikes.sum().backward()
    assert torch.equal(z.grad, torch.exp(-z.detach().abs()))
    assert torch.equal(s.derivative(z.detach()), z.grad)
    with torch.no_grad():
        assert torch.equal(s(z), spikes)


def test_foreign_module_trains_its_parameter():
    module = Learnable()
    s = as_surrogate(module)
    z = torch.tensor([0.3, -0.2])
    assert s.learnable(z)
    assert not as_surrogate(torch.sigmoid).learnable(z)
    spikes = s(z)
    assert torch.equal(spikes, torch.tensor([1.0, 0.0]))
    spikes.sum().backward()
    expected = torch.autograd.grad(torch.sigmoid(module.slope * z).sum(), module.slope)[0]
    assert torch.equal(module.slope.grad, expected)


def test_foreign_may_write_to_what_it_gets():
    for s in (as_surrogate(lambda z: torch.sigmoid(z.mul_(5))), custom(lambda z: z.abs_())):
        z = torch.tensor([-0.5, 2.0], requires_grad=True)
        s(z).sum().backward()
        assert torch.equal(z.grad, s.derivative(z.detach()))
        assert torch.equal(z.detach(), torch.tensor([-0.5, 2.0]))


def test_foreign_without_gradient_is_rejected():
    with pytest.raises(ValueError, match="has no gradient with respect to z"):
        as_surrogate(lambda z: (z > 0).float()).derivative(torch.ones(2))


@pytest.mark.parametrize(
    "derivative", [lambda z: torch.relu(1 - z.abs()), lambda z: 1 / (1 + z * z), torch.ones_like]
)
def test_a_derivative_in_place_of_spikes_is_rejected(derivative):
    with pytest.raises(ValueError, match=r"must map z to spikes, which rise.* mean custom\(f\)\?"):
        as_surrogate(derivative)
    assert custom(derivative).derivative(torch.zeros(1)) == 1


def test_foreign_is_checked_like_any_other():
    with pytest.raises(ValueError, match="must map z elementwise: got a tensor of shape"):
        as_surrogate(torch.sum)(torch.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match="takes a floating input, got torch.int64"):
        as_surrogate(OtherLibrary.apply)(torch.tensor([1]))


def test_as_surrogate_has_a_default_and_rejects_factories():
    assert as_surrogate(None) == fast_sigmoid(25.0)
    assert as_surrogate(atan(3)) == atan(3)
    for uncalled in (atan, custom, type(atan())):
        with pytest.raises(TypeError, match="call the factory"):
            as_surrogate(uncalled)
    with pytest.raises(TypeError, match="got 'atan'"):
        as_surrogate("atan")
