"""The seed's three surrogates against float64 closed forms, and the contract of every surrogate."""

import copy
import inspect
import math
import pickle

import pytest
import torch
from mypy import api as mypy

import nwavesdk.surrogate
from nwavesdk.surrogate import (
    ATan,
    FastSigmoid,
    Sigmoid,
    atan,
    available,
    fast_sigmoid,
    parse,
    sigmoid,
)

CLOSED_FORMS = {
    ATan: lambda z, k: (k / 2) / (1 + (math.pi / 2 * k * z) ** 2),
    FastSigmoid: lambda z, k: 1 / (k * z.abs() + 1) ** 2,
    Sigmoid: lambda z, k: k * torch.exp(-k * z.abs()) / (torch.exp(-k * z.abs()) + 1) ** 2,
}
ALL = [atan(), fast_sigmoid(), sigmoid()]
TINY = 1.17549435e-38


def grid(k):
    """|z| up to 1e4, and k|z| through the range where e^(-k|z|) leaves the normal numbers."""
    z = torch.logspace(-9, 4, 20_001, dtype=torch.float64).float()
    return torch.cat([z, -z, torch.linspace(-2, 2, 4001), torch.linspace(80, 110, 6001) / k])


@pytest.mark.parametrize("k", [0.1, 1.0, 2.0, 25.0, 333.0, 1000.0])
@pytest.mark.parametrize("cls", CLOSED_FORMS)
def test_float32_derivative_is_the_closed_form(cls, k):
    z = grid(k)
    got, expected = cls(k).derivative(z).double(), CLOSED_FORMS[cls](z.double(), k)
    error, allowed = (got - expected).abs(), 1e-6 * expected
    if cls is Sigmoid:
        allowed = allowed * (1 + k * z.double().abs() / 4)
    assert bool(((error <= allowed) | (error < TINY)).all())


@pytest.mark.parametrize("cls", CLOSED_FORMS)
def test_float64_derivative_is_the_closed_form(cls):
    z = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    torch.testing.assert_close(
        cls(7.0).derivative(z), CLOSED_FORMS[cls](z, 7.0), rtol=1e-13, atol=0
    )


def test_defaults_and_values_of_the_seed_page():
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
    assert sigmoid().derivative(z).item() == pytest.approx(25 * math.exp(-250), rel=1e-4, abs=TINY)


@pytest.mark.parametrize("s", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_special_values_and_dtype(s, dtype):
    z = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-7, -1e-7], dtype=dtype)
    assert torch.equal(s(z), torch.tensor([0, 0, 1, 0, 0, 1, 0], dtype=dtype))
    d = s.derivative(z)
    assert d.dtype == dtype
    assert d[2] == d[3] == 0
    assert torch.isnan(d[4])
    assert torch.isfinite(d[[0, 1, 5, 6]]).all()
    assert d[0] == d[1] > 0


@pytest.mark.parametrize("s", [*ALL, sigmoid(1000.0)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded(s, dtype):
    z = torch.linspace(-0.5, 0.5, 1001).to(dtype)
    assert torch.equal(s.derivative(z), s.derivative(z.float()).to(dtype))


@pytest.mark.parametrize("s", [*ALL, atan(1000.0), fast_sigmoid(1000.0), sigmoid(1000.0)], ids=repr)
def test_finite_input_never_gives_nan(s):
    z = torch.tensor([1e-45, 1e30, 3.4e38, -3.4e38, -1e30])
    assert torch.isfinite(s.derivative(z)).all()


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_any_shape_and_layout(s):
    base = torch.randn(4, 6)
    for z in (
        torch.empty(0, 3),
        torch.tensor(0.5),
        base.t(),
        base[::2, 1::2],
        base[:, :1].expand(4, 5),
    ):
        leaf = z.detach().requires_grad_()
        spikes = s(leaf)
        assert spikes.shape == z.shape
        assert torch.equal(spikes, (z > 0).float())
        spikes.sum().backward()
        assert torch.equal(leaf.grad, s.derivative(z))


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_second_derivative_is_that_of_the_derivative(s):
    z = torch.tensor([0.1, -0.3], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(s(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    h = 1e-6
    expected = (s.derivative(z + h) - s.derivative(z - h)).detach() / (2 * h)
    torch.testing.assert_close(second, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_compiles_without_a_graph_break(s):
    compiled = torch.compile(lambda z: s(z) * 2, fullgraph=True, backend="aot_eager")
    z = torch.randn(7, requires_grad=True)
    compiled(z).sum().backward()
    assert torch.equal(z.grad, 2 * s.derivative(z.detach()))


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_autocast_keeps_the_dtype(s):
    z = torch.randn(5, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        spikes = s(z)
    spikes.sum().backward()
    assert spikes.dtype == z.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_is_a_frozen_value(s):
    name = "alpha" if isinstance(s, ATan) else "slope"
    with pytest.raises(AttributeError):
        setattr(s, name, 3.0)
    for other in (copy.deepcopy(s), pickle.loads(pickle.dumps(s)), type(s)()):
        assert other == s
        assert hash(other) == hash(s)
    assert s != type(s)(3.0)
    assert eval(repr(s)) == s


@pytest.mark.parametrize("cls", CLOSED_FORMS)
@pytest.mark.parametrize(
    "bad", [0, -1.0, math.nan, math.inf, "steep", "25", True, 1e39, None, torch.ones(2)]
)
def test_a_bad_slope_is_refused_with_what_was_got(cls, bad):
    with pytest.raises(
        ValueError, match=rf"{cls.__name__}: \w+ must be a finite number above 0, got "
    ):
        cls(bad)


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_integers_are_refused(s):
    for call in (s, s.derivative):
        with pytest.raises(TypeError, match=r"floating tensor, got a tensor of torch.int64"):
            call(torch.tensor([1]))


def test_parse_reads_names_and_parameters():
    assert parse("atan") == atan()
    assert parse(" fast_sigmoid(slope=10) ") == fast_sigmoid(10)
    assert parse("sigmoid(3.5)") == sigmoid(3.5)
    assert all(parse(name) == cls() for name, cls in available().items())


@pytest.mark.parametrize(
    "bad", ["", "relu", "atan(", "atan(slope)", "__import__('os')", "atan.x", "3", "atan()()"]
)
def test_parse_refuses_anything_else(bad):
    with pytest.raises(
        ValueError, match="unknown surrogate .* expected one of atan, boxcar, .*sigmoid"
    ):
        parse(bad)


def test_parse_names_the_parameters_that_a_surrogate_takes():
    with pytest.raises(ValueError, match="atan does not take: it takes alpha"):
        parse("atan(slope=3)")


def test_the_package_exports_every_surrogate_by_name():
    assert set(available()) | {"arctan"} <= set(nwavesdk.surrogate.__all__)
    for name, kind in available().items():
        assert getattr(nwavesdk.surrogate, name) is kind


def test_arctan_is_an_alias_that_cannot_be_mistaken_for_atan():
    kind = available()["fixed_peak_atan"]
    assert nwavesdk.surrogate.arctan is kind
    assert "arctan" not in available()
    for written in ("arctan(3)", "ArcTan(k=3)", "fixed_peak_atan(3)"):
        assert parse(written) == kind(3)
        assert repr(parse(written)) == "FixedPeakATan(k=3.0)"
    z = torch.zeros(1, dtype=torch.float64)
    assert [kind(k).derivative(z).item() for k in (1, 9)] == pytest.approx([1 / math.pi] * 2)
    assert [atan(k).derivative(z).item() for k in (1, 9)] == [0.5, 4.5]
    assert "FixedPeakATan" in atan.__doc__
    assert "ATan(2k)" in kind.__doc__


@pytest.mark.parametrize("name", available())
def test_a_signature_shows_parameters_and_defaults_and_the_docstring_the_formula(name):
    kind = getattr(nwavesdk.surrogate, name)
    shown = {key: p.default for key, p in inspect.signature(kind).parameters.items()}
    assert shown == kind().parameters
    assert all(f"        {key}: " in kind.__doc__ for key in shown)
    assert kind.__doc__.startswith(("Derivative `", "Derivative 1"))


TYPED = """
from typing import assert_type

from nwavesdk.surrogate import arctan, parse, snntorch_triangular, triangle, Surrogate
from nwavesdk.surrogate.tails import FixedPeakATan
from nwavesdk.surrogate.windows import Triangle

assert_type(triangle(alpha=0.3, k=2), Triangle)
assert_type(arctan(2.0), FixedPeakATan)
assert_type(parse("atan(3)"), Surrogate)
snntorch_triangular(threshold=2.0)
triangle(slope=3.0)
triangle(alpha="high")
"""
"""Lines that are right, and at the end two that a type checker must reject."""


def test_a_type_checker_knows_parameters_and_classes(tmp_path):
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    # Without torch's own types, which take half a minute: no line above needs them.
    config = "[mypy]\nstrict = true\n[mypy-torch.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(config, encoding="utf-8")
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path)]
    report, _, _ = mypy.run([*options, str(tmp_path / "typed.py")])
    errors = [line.split(": error: ")[1] for line in report.splitlines() if ": error: " in line]
    assert len(errors) == 2, report
    assert errors[0].startswith('Unexpected keyword argument "slope" for "Triangle"')
    assert errors[1].startswith('Argument "alpha" to "Triangle" has incompatible type "str"')
