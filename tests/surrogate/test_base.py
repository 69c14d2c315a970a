"""The contract of a surrogate, on the three that NWAVE documents."""

import math

import pytest
import torch

from nwavesdk.surrogate import ATan, FastSigmoid, Sigmoid, atan, sigmoid

CLOSED_FORMS = {
    ATan: lambda z, k: (k / 2) / (1 + (math.pi / 2 * k * z) ** 2),
    FastSigmoid: lambda z, k: 1 / (k * z.abs() + 1) ** 2,
    Sigmoid: lambda z, k: k * torch.exp(-k * z.abs()) / (torch.exp(-k * z.abs()) + 1) ** 2,
}
SMALLEST_NORMAL = 1.17549435e-38


def grid(k):
    """|z| up to 1e4, and k|z| through the range where e^(-k|z|) leaves the normal numbers."""
    z = torch.logspace(-9, 4, 20_001, dtype=torch.float64).float()
    return torch.cat([z, -z, torch.linspace(-2, 2, 4001), torch.linspace(80, 110, 6001) / k])


@pytest.mark.parametrize("k", [0.1, 2.0, 25.0, 1000.0])
@pytest.mark.parametrize("cls", CLOSED_FORMS)
def test_float32_derivative_is_the_closed_form(cls, k):
    z = grid(k)
    got = cls(k).derivative(z).double()
    expected = CLOSED_FORMS[cls](z.double(), k)
    error = (got - expected).abs()
    allowed = 1e-6 * expected
    if cls is Sigmoid:
        allowed = allowed * (1 + k * z.double().abs() / 4)
    assert bool(((error <= allowed) | (error < SMALLEST_NORMAL)).all())


def test_a_surrogate_compiles_without_a_graph_break():
    compiled = torch.compile(lambda z: sigmoid()(z) * 2, fullgraph=True, backend="aot_eager")
    z = torch.randn(7, requires_grad=True)
    compiled(z).sum().backward()
    assert torch.equal(z.grad, 2 * sigmoid().derivative(z.detach()))


def test_autocast_keeps_the_dtype():
    z = torch.randn(5, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        spikes = atan()(z)
    spikes.sum().backward()
    assert spikes.dtype == z.grad.dtype == torch.bfloat16


def test_integers_are_rejected():
    for call in (atan(), atan().derivative):
        with pytest.raises(
            TypeError, match=r"ATan\(alpha=2.0\) takes a floating input, got torch.int64"
        ):
            call(torch.tensor([1]))
