"""The text of the kernels depends on the inputs alone, and its literals on the kernel's dtype."""

import re

import numpy as np
import pytest
import torch
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

from dynamics.written import written_page
from layers.nets import run
from nwavesdk.dynamics import LIF_PAGES, program_of
from nwavesdk.layers import LIFLayer, TimeConstant, decay, held, neuron, spike
from nwavesdk.solvers import Problem, Spec
from nwavesdk.solvers.cpu import native, render
from nwavesdk.solvers.cpu.render import render_backward, render_forward
from nwavesdk.solvers.kernel_cache import compile_native, load_python_kernels
from nwavesdk.surrogate import ATan, FastSigmoid, atan, fast_sigmoid
from solvers.parity import compare

ZERO = LIF_PAGES["zero"].neuron


def test_rendered_text_depends_on_its_inputs_alone():
    adjoint = program_of(ZERO).adjoint(False)
    a = render_backward(adjoint, "float32", ATan, 2)
    assert a == render_backward(adjoint, "float32", ATan, 2)
    others = [
        render_backward(adjoint, "float32", FastSigmoid, 1),
        render_backward(adjoint, "float64", ATan, 2),
        render_backward(adjoint, "float32", ATan, 2, reuse=True),
        render_backward(program_of(ZERO, detach_reset=False).adjoint(False), "float32", ATan, 2),
        render_backward(program_of(ZERO, saves="learning").adjoint(True), "float32", ATan, 2),
        render_backward(program_of(LIF_PAGES["none"].neuron).adjoint(False), "float32", ATan, 2),
        render_forward(program_of(ZERO).step, "float32"),
    ]
    assert a not in others
    assert len({*others}) == len(others)


@neuron
def UnseenLayer(x, v, *, tau: TimeConstant = 20e-3):
    u = decay(tau) * v + 0.9375 * x
    s = spike(u - 1.0)
    return s, u - held(s)


def test_a_further_neuron_or_surrogate_compiles_its_steps_alone(monkeypatch):
    """The loops over time, which take most of the time, are the loops of the first neuron."""
    compiled = []
    monkeypatch.setattr(
        native, "compile_native", lambda *a: compiled.append(a[0].__name__) or compile_native(*a)
    )
    x = torch.rand(2, 3, 8, requires_grad=True)
    expected = ["forward_steps", "backward_steps"]
    for layer, names in (
        (LIFLayer(8, 10e-3), None),
        (UnseenLayer(8, spike_grad=atan()), expected),
        (UnseenLayer(8, spike_grad=fast_sigmoid()), expected[1:]),
    ):
        compiled.clear()
        run(layer, x)[0].sum().backward()
        assert names is None or compiled == names


def test_no_wider_number_limits_the_vectors_of_float32():
    """A count of spikes in 64 bits would halve them."""
    steps = native.native_forward_steps(program_of(ZERO).step, "float32")
    signature = normalize_signature(steps.signature)
    kernel = CFunc(steps.function, signature, {}, {"error_model": "numpy"})
    kernel.compile()
    code = kernel._library.get_llvm_str()
    assert re.search(r"fmul <\d+ x float>", code)
    assert not re.search(r"<\d+ x i64>", code)


LOOP = """
@njit(nogil=True)
def fill(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])
"""


def test_exp_of_float32_kernels_is_that_of_torch():
    """To two roundings; it is inf a little earlier, and at least the smallest normal number."""
    head = (
        "import numpy as np\nfrom numba import njit\nfrom numpy import floor\nreal = np.float32\n"
    )
    module = load_python_kernels("exp", head + render._EXP + LOOP)
    info = torch.finfo(torch.float32)
    finite = torch.cat([torch.linspace(-87.3, 88.3, 100_001), torch.linspace(-1e-3, 1e-3, 101)])
    edges = torch.tensor([88.8, 1e30, torch.inf, -88.0, -1e30, -torch.inf, torch.nan])
    x = torch.cat([finite, edges])
    out = np.empty(len(x), "float32")
    module.fill(x.numpy(), out)
    got = torch.from_numpy(out)
    expected = finite.double().exp()
    assert float(((got[: len(finite)] - expected) / expected).abs().max()) < 2 * info.eps
    assert got[-7:-4].tolist() == [torch.inf] * 3
    assert bool((got[-4:-1] <= 1.1 * info.tiny).all())
    assert got[-1].isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_page_s_literals_do_not_widen_float32(dtype):
    """σ' of the kernel is torch's to the last bit but where exp differs: no float64 in between."""
    for surrogate in (atan(), fast_sigmoid()):
        layer = LIFLayer(1000, 10e-3, spike_grad=surrogate)
        x = torch.linspace(-1, 3, 1000, dtype=dtype).reshape(1, 1, -1).requires_grad_()
        run(layer, x)[0].sum().backward()
        assert torch.equal(x.grad, surrogate.derivative(x.detach() - 1))


def test_a_page_may_have_many_constants():
    names = [f"c{i}" for i in range(33)]
    sum_of_products = " + ".join(f"{name} * v" for name in names)
    source = f"""\
def many(x, v, *, {", ".join(f"{name}: Real" for name in names)}):
    u = x + {sum_of_products}
    s = spike(u - 1.0)
    return s, u - held(s)
"""
    generator = torch.Generator().manual_seed(0)
    x, state, *constants = (
        torch.rand(shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 4, 5), (2, 5), *[(5,)] * len(names))
    )
    constants = tuple(0.05 * c for c in constants)
    spec = Spec(neuron=written_page(source).neuron, surrogate=atan(), detach_reset=False)
    compare(Problem(spec, x, (state,), constants), "serial")
