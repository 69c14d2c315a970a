"""The contract of a surrogate, on the three that NWAVE documents."""

import copy
import math
import pickle

import pytest
import torch

from nwavesdk.surrogate import ATan, FastSigmoid, Sigmoid, atan, fast_sigmoid, sigmoid

CLOSED_FORMS = {
    ATan: lambda z, k: (k / 2) / (1 + (math.pi / 2 * k * z) ** 2),
    FastSigmoid: lambda z, k: 1 / (k * z.abs() + 1) ** 2,
    Sigmoid: lambda z, k: k * torch.exp(-k * z.abs()) / (torch.exp(-k * z.abs()) + 1) ** 2,
}
ALL = [atan(), fast_sigmoid(), sigmoid()]
STEEP = [atan(1000.0), fast_sigmoid(1000.0), sigmoid(1000.0)]
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


def test_values_of_the_documented_formulas():
    assert (atan().alpha, fast_sigmoid().slope, sigmoid().slope) == (2.0, 25.0, 25.0)
    zero = torch.zeros(1, dtype=torch.float64)
    assert [s.derivative(zero).item() for s in ALL] == [1.0, 1.0, 6.25]
    assert fast_sigmoid(25.0).derivative(zero + 0.04).item() == pytest.approx(0.25)
    assert atan(2.0).derivative(zero + 1 / math.pi).item() == pytest.approx(0.5)
    assert sigmoid(1.0).derivative(zero + math.log(2)).item() == pytest.approx(2 / 9)


def test_the_sigmoid_as_printed_overflows_and_ours_does_not():
    z = torch.tensor([-10.0])
    e = torch.exp(-25.0 * z)
    assert torch.isnan(25.0 * e / (e + 1) ** 2)
    expected = pytest.approx(25 * math.exp(-250), rel=1e-4, abs=SMALLEST_NORMAL)
    assert sigmoid().derivative(z).item() == expected


@pytest.mark.parametrize("s", [*ALL, *STEEP], ids=repr)
def test_finite_input_never_gives_nan(s):
    z = torch.tensor([1e-45, 1e30, 3.4e38, -3.4e38, -1e30])
    assert torch.isfinite(s.derivative(z)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_evaluated_in_float32(dtype):
    z = torch.linspace(-0.5, 0.5, 1001).to(dtype)
    for s in (*ALL, sigmoid(1000.0)):
        assert torch.equal(s.derivative(z), s.derivative(z.float()).to(dtype))


def test_spikes_and_gradients_keep_any_shape_and_layout():
    base = torch.randn(4, 6)
    one_column = base[:, :1].expand(4, 5)
    for z in (torch.empty(0, 3), torch.tensor(0.5), base.t(), base[::2, 1::2], one_column):
        leaf = z.detach().requires_grad_()
        spikes = atan()(leaf)
        assert spikes.shape == z.shape
        assert torch.equal(spikes, (z > 0).float())
        spikes.sum().backward()
        assert torch.equal(leaf.grad, atan().derivative(z))


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


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_a_surrogate_is_a_frozen_value(s):
    (name,) = s.parameters
    with pytest.raises(AttributeError):
        setattr(s, name, 3.0)
    for other in (copy.deepcopy(s), pickle.loads(pickle.dumps(s)), type(s)()):
        assert other == s
        assert hash(other) == hash(s)
    assert s != type(s)(3.0)
    assert eval(repr(s)) == s


@pytest.mark.parametrize("cls", CLOSED_FORMS)
def test_a_bad_slope_is_rejected_with_what_was_got(cls):
    for bad in (0, -1.0, math.nan, math.inf, "steep", "25", True, 1e39, None, torch.ones(2)):
        words = rf"{cls.__name__}: \w+ must be a finite number above 0 .*, got "
        with pytest.raises(ValueError, match=words):
            cls(bad)


def test_integers_are_rejected():
    for call in (atan(), atan().derivative):
        with pytest.raises(
            TypeError, match=r"ATan\(alpha=2.0\) takes a floating input, got torch.int64"
        ):
            call(torch.tensor([1]))
