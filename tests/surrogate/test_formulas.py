"""The formula of every surrogate: against its source, at its edges, and in compiled code.

The formulas are from bells.py, tails.py and windows.py.
"""

import ast
import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from layers.nets import run
from nwavesdk.dynamics import LIF_PAGES, program_of
from nwavesdk.layers import LIFLayer
from nwavesdk.solvers.cpu.render import render_backward
from nwavesdk.solvers.kernel_cache import load_python_kernels
from nwavesdk.surrogate import available, custom, text
from tolerances import GRADIENT, assert_close

ALL = available()
ROOT2PI, INF = math.sqrt(2 * math.pi), math.inf
F64 = torch.float64


def normal(z, mu, sigma):
    return torch.exp(-((z - mu) ** 2) / (2 * sigma**2)) / (sigma * ROOT2PI)


def logistic(z, k):
    return k * torch.sigmoid(k * z) * torch.sigmoid(-k * z)


def periodic(z, width, scale, threshold):
    nearest = (z / threshold).round() * threshold
    distance = torch.where(z < 0, -z, 2 * (z - nearest).abs())
    return scale * torch.exp(-distance / width)


def series(z, n, period):
    return 4 / period * sum(torch.cos((2 * i - 1) * 2 * math.pi * z / period) for i in range(1, n))


def step(z, first, below, above):
    return torch.where(z < first, z.new_tensor(below), z.new_tensor(above))


# Written independently from the papers and the peers' documentation, as plainly as torch allows.
PLAIN = {
    "atan": lambda z, a: (a / 2) / (1 + (math.pi / 2 * a * z) ** 2),
    "fast_sigmoid": lambda z, k: 1 / (k * z.abs() + 1) ** 2,
    "sigmoid": logistic,
    "fixed_peak_atan": lambda z, k: 1 / (math.pi * (1 + (k * math.pi * z) ** 2)),
    "soft_sign": lambda z, a: 1 / (2 * a * (1 / a + z.abs()) ** 2),
    "super_spike": lambda z, a: a / (1 + z.abs()) ** 2,
    "circ": lambda z, a: a**3 / (z**2 + a**2) ** 1.5,
    "q_pseudo_spike": lambda z, a: (1 + 2 / (a - 1) * z.abs()) ** -a,
    "nonzero_sign_log_abs": lambda z, a: 1 / (1 / a + z.abs()),
    "fake_numerical_gradient": lambda z, a: (1 / z.abs()).clamp(max=a),
    "tanh": lambda z, k: 1 - torch.tanh(k * z) ** 2,
    "erf": lambda z, a: a / math.sqrt(math.pi) * torch.exp(-((a * z) ** 2)),
    "heavi_erfc": lambda z, k: 2 * torch.exp(-((k * z) ** 2)) / math.sqrt(math.pi),
    "gaussian": lambda z, mu, sigma, scale: scale * normal(z, mu, sigma),
    "multi_gaussian": lambda z, sigma, h, s, scale: (
        scale
        * (
            (1 + h) * normal(z, 0, sigma)
            - h * normal(z, sigma, s * sigma)
            - h * normal(z, -sigma, s * sigma)
        )
    ),
    "piecewise_exp": lambda z, a: a / 2 * torch.exp(-a * z.abs()),
    "single_exponential": lambda z, w, scale, t: scale / (w * t) * torch.exp(-z.abs() / (w * t)),
    "spike_rate_escape": lambda z, beta, k, c: k * torch.exp(-beta * (z - c).abs()),
    "periodic_exponential": periodic,
    "triangle": lambda z, a, k: a * torch.relu(1 - k * z.abs()),
    "piecewise_quadratic": lambda z, a: torch.relu(a - a**2 * z.abs()),
    "boxcar": lambda z, width, height: height * (z.abs() < width / 2),
    "rect": lambda z, a: a * (z.abs() < 1 / (2 * a)),
    "piecewise_leaky_relu": lambda z, w, c: step(z.abs(), w, 1 / (2 * w), c),
    "sparse_fast_sigmoid": lambda z, k, b: (z.abs() < b) / (k * z.abs() + 1) ** 2,
    "straight_through": torch.ones_like,
    "leaky_k_relu": lambda z, leak, k: step(-z, 0.0, k, leak),
    "log_tailed_relu": lambda z, a: torch.where(z <= 0, z.new_tensor(a), 1 / z.clamp(min=1)),
    "s2nn": lambda z, a, b: torch.where(z < 0, logistic(z, a), b / (z + 1)),
    "heaviside_window": lambda z, window, t: step(z, -window, 0.0, 1 / t),
    "squarewave_fourier_series": series,
    "snntorch_triangular": lambda z, t: step(z, 0.0, t, -t),
}

# Values at -inf and +inf, where they are not 0 at both.
ENDS = {
    "piecewise_leaky_relu": (0.01, 0.01),
    "straight_through": (1, 1),
    "leaky_k_relu": (0, 1),
    "heaviside_window": (0, 1),
    "snntorch_triangular": (1, -1),
    "squarewave_fourier_series": (math.nan, math.nan),
    "periodic_exponential": (0, math.nan),
}
# Compiled values equal torch's to the bit: no exp, log or cos, and no division of a number but 1.
BITS = {
    "fast_sigmoid",
    "soft_sign",
    "super_spike",
    "fake_numerical_gradient",
    "triangle",
    "piecewise_quadratic",
    "boxcar",
    "rect",
    "piecewise_leaky_relu",
    "sparse_fast_sigmoid",
    "straight_through",
    "leaky_k_relu",
    "log_tailed_relu",
    "heaviside_window",
    "snntorch_triangular",
}


def variants(name):
    """The defaults, and each parameter at another value within its range."""
    kind = ALL[name]
    yield kind()
    for one in fields(kind):
        low, high = one.metadata.get("least", 0), one.metadata.get("most", 1e3)
        yield kind(
            **{one.name: type(one.default)(min(max(1.7 * one.default, one.default + 1, low), high))}
        )


SOME = [s for name in ALL for s in variants(name)]


def grid(dtype=F64):
    fine = torch.linspace(-4, 4, 4001, dtype=dtype) + 0.00037  # no kink lies on it
    return torch.cat(
        [fine, torch.logspace(-8, 6, 300, dtype=dtype), -torch.logspace(-8, 6, 300, dtype=dtype)]
    )


def smooth_grid(s):
    """Where no kink or jump is nearer than rounding."""
    z = grid()
    edges = [
        0.0,
        *(sign * v for v in s.constants[:1] + tuple(s.parameters.values()) for sign in (-1, 1)),
    ]
    edges += [v / 2 for v in edges] + [1 / v for v in edges if v] + [0.5 / v for v in edges if v]
    near = torch.stack([(z - edge).abs() for edge in edges]).amin(0) < 2e-5
    return z[~near & (z.abs() < 50)]


def test_every_surrogate_has_a_formula_here():
    assert set(PLAIN) == set(ALL)
    assert ENDS.keys() <= set(ALL)


@pytest.mark.parametrize("s", SOME, ids=repr)
def test_the_formula_is_that_of_its_source(s):
    z = grid()
    if (
        s == ALL["periodic_exponential"](threshold=2.0)
        or type(s) is ALL["squarewave_fourier_series"]
    ):
        z = z[z.abs() < 100]
    expected = PLAIN[text(s).split("(")[0]](z, *s.parameters.values())
    torch.testing.assert_close(s.derivative(z), expected.to(F64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("s", SOME, ids=repr)
def test_float32_and_half_are_float64_rounded(s):
    z = smooth_grid(s).float()
    exact = s.derivative(z.double())
    scale = exact.abs().max()
    assert float((s.derivative(z) - exact).abs().max() / scale) < 1e-5
    for dtype in (torch.float16, torch.bfloat16):
        half = z.to(dtype)
        assert torch.equal(s.derivative(half), s.derivative(half.float()).to(dtype))


# Waves with many periods below the largest finite number: it has an infinite number of them.
FINE = {
    "periodic_exponential": [ALL["periodic_exponential"](threshold=1e-9)],
    "squarewave_fourier_series": [ALL["squarewave_fourier_series"](7, 1e-3)],
}


def edges(dtype):
    """Numbers at both ends of the finite ones: subnormal, smallest normal, large, largest."""
    info = torch.finfo(dtype)
    ends = torch.tensor(
        [0.0, info.tiny * info.eps, info.tiny, info.max**0.5, info.max / 2, info.max], dtype=dtype
    )
    return torch.cat([ends, -ends])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_values_at_zero_infinity_and_nan(name, dtype):
    s = ALL[name]()
    z = torch.tensor([-INF, INF, math.nan, 0.0, -0.0], dtype=dtype)
    assert torch.equal(s(z), torch.tensor([0, 1, 0, 0, 0], dtype=dtype))
    d = s.derivative(z)
    expected = torch.tensor(ENDS.get(name, (0, 0)), dtype=dtype)
    torch.testing.assert_close(d[:2], expected, equal_nan=True, rtol=0, atol=0)
    assert torch.isnan(d[2])
    assert d.dtype == dtype
    assert d[3] == d[4]
    if dtype in (torch.float32, F64):
        for other in [*variants(name), *FINE.get(name, [])]:
            assert torch.isfinite(other.derivative(edges(dtype))).all(), other


@pytest.mark.parametrize("s", SOME, ids=repr)
def test_extreme_parameters_stay_finite(s):
    for one in fields(s):
        for value in (one.metadata.get("least", 1e-30), one.metadata.get("most", 1e37)):
            extreme = type(s)(**s.parameters | {one.name: value})
            z = torch.tensor([0.0, 1e-20, -1e-20, 0.3, -0.3, 1e20, -1e20])
            assert torch.isfinite(extreme.derivative(z)).all(), extreme


@pytest.mark.parametrize("name", ALL)
def test_any_shape_and_second_derivatives(name):
    s = ALL[name]()
    for z in (
        torch.empty(0, 3),
        torch.tensor(0.5),
        torch.randn(4, 6).t(),
        torch.randn(4, 6)[::2, 1::2],
    ):
        leaf = z.detach().requires_grad_()
        s(leaf).sum().backward()
        assert torch.equal(leaf.grad, s.derivative(z))
    z = torch.tensor([0.13, -0.37, 0.0, -1.0, 1.0], dtype=F64, requires_grad=True)
    (first,) = torch.autograd.grad(s(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    assert torch.isfinite(second).all()
    h = 1e-6
    expected = (s.derivative(z + h) - s.derivative(z - h)).detach() / (2 * h)
    torch.testing.assert_close(second[:2], expected[:2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_bad_parameters_are_rejected_with_their_range(name):
    kind = ALL[name]
    for one in fields(kind):
        for bad in (math.nan, INF, "wide", True, None, -1e30):
            with pytest.raises(
                ValueError,
                match=rf"{kind.__name__}: {one.name} must be a finite number .*, got ",
            ):
                kind(**{one.name: bad})
    with pytest.raises(ValueError, match="n must be a whole number from 2 to 7, got 2.5"):
        ALL["squarewave_fourier_series"](n=2.5)


def compiled_pages(dtype):
    """Each distinct page as rendered for the CPU in its own loop, all in one module.

    Surrogates that share a page share its loop: whole kernels for each would take minutes.
    """
    parts = {}
    adjoint = program_of(LIF_PAGES["none"].neuron, saves="learning").adjoint(True)
    for kind in ALL.values():
        page = kind.pseudo_derivative.__qualname__.split(".")[0]
        if f"loop {page}" in parts:
            continue
        count = len(kind().constants)
        tree = ast.parse(render_backward(adjoint, dtype, kind, count))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "surrogate":
                node.name = f"page_{page}"
                parts[page] = ast.unparse(node)
            elif not isinstance(node, ast.FunctionDef) or node.name in ("where", "exp", "accesses"):
                parts.setdefault(getattr(node, "name", ast.unparse(node)), ast.unparse(node))
        constants = "".join(f", real(p[{i}])" for i in range(count))
        parts[f"loop {page}"] = (
            f"@njit(nogil=True, error_model='numpy')\ndef {page}(z, p, out):\n"
            f"    for i in range(z.size):\n        out[i] = page_{page}(z[i]{constants})"
        )
    return load_python_kernels("pages", "\n".join(parts.values()))


def test_compiled_pages_equal_torch():
    module = compiled_pages("float32")
    z = torch.cat(
        [
            grid(torch.float32),
            torch.tensor([-INF, INF, math.nan, 0.0, -0.0, 1e-45, 3.4e38, -3.4e38]),
        ]
    )
    for name in ALL:
        for s in variants(name):
            given = z[z.abs() < 100] if name == "squarewave_fourier_series" else z
            out = np.empty(len(given), "float32")
            page = s.pseudo_derivative.__qualname__.split(".")[0]
            getattr(module, page)(given.numpy(), np.array([*s.constants, 0.0]), out)
            got, expected = torch.from_numpy(out), s.derivative(given)
            if name in BITS:
                assert torch.equal(got.nan_to_num(-7), expected.nan_to_num(-7)), s
            else:
                assert torch.equal(got.isnan(), expected.isnan()), s
                scale = float(expected.nan_to_num(0).abs().max())
                assert_close(
                    got.nan_to_num(0) / scale, expected.nan_to_num(0) / scale, GRADIENT, repr(s)
                )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_pages_are_finite_at_the_edges(dtype):
    module = compiled_pages(dtype)
    z = edges(getattr(torch, dtype)).numpy()
    for name in ALL:
        for s in [*variants(name), *FINE.get(name, [])]:
            out = np.full(len(z), math.nan, dtype)
            page = s.pseudo_derivative.__qualname__.split(".")[0]
            getattr(module, page)(z, np.array([*s.constants, 0.0]), out)
            assert np.isfinite(out).all(), s


@pytest.mark.parametrize("name", ["straight_through", "squarewave_fourier_series"])
def test_a_layer_takes_no_constants_and_many(name):
    s = ALL[name]()
    layer = LIFLayer(500, 10e-3, reset_mechanism="none", spike_grad=s)
    x = torch.linspace(-3, 5, 500).reshape(1, 1, -1).requires_grad_()
    run(layer, x)[0].sum().backward()
    assert layer.last_solver == "serial"
    assert_close(x.grad, s.derivative(x.detach() - 1), GRADIENT, name)


def test_custom_makes_a_random_surrogate():
    """snnTorch's stochastic operator as in docs/surrogates.md, with the user's generator."""

    def sso(seed):
        generator = torch.Generator().manual_seed(seed)

        def derivative(z):
            noise = 0.2 * (torch.rand(z.shape, generator=generator) - 0.5)
            return torch.where(z > 0, 1.0, noise)

        return custom(derivative)

    gradients = []
    for seed in (1, 1, 2):
        layer = LIFLayer(50, 10e-3, spike_grad=sso(seed), solver="reference")
        x = torch.linspace(0, 0.5, 1000).reshape(1, 20, 50).requires_grad_()
        run(layer, x)[0].sum().backward()
        gradients.append(x.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[0], gradients[2])
