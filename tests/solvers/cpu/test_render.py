"""The text of the kernels depends on the inputs alone, and its literals on the kernel's dtype."""

import re

import numpy as np
import pytest
import torch
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

from dynamics.written import written_page
from nwavesdk.dynamics import LIF_PAGES, program_of
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers import Problem, Spec
from nwavesdk.solvers.cpu import render
from nwavesdk.solvers.cpu.render import render_backward, render_forward
from nwavesdk.solvers.kernel_cache import load_python_kernels, load_source
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


def test_kernels_of_a_dtype_share_the_functions_that_know_no_neuron():
    """They are most of a kernel's functions, and are compiled once per process."""
    texts = [
        render_forward(program_of(ZERO).step, "float32"),
        render_backward(program_of(ZERO).adjoint(False), "float32", ATan, 2),
        render_forward(program_of(ZERO).step, "float64"),
    ]
    forward, backward, wide = (load_source("shared", text) for text in texts)
    assert forward.load_row is backward.load_row
    assert forward.load_row is not wide.load_row
    for module in (forward, backward):
        CFunc(
            next(f for name, f in vars(module).items() if name.endswith("over_time_native")),
            normalize_signature("void(int64)"), {}, {"error_model": "numpy"},
        ).compile()  # fmt: skip
    # One signature for arrays of the caller, whatever kernel calls it.
    assert len(forward.load_row.overloads) == 1


def test_no_wider_number_limits_the_vectors_of_float32():
    """A count of spikes in 64 bits would halve them."""
    module = load_source("widths", render_forward(program_of(ZERO).step, "float32"))
    signature = normalize_signature("void(int64)")
    kernel = CFunc(module.forward_over_time_native, signature, {}, {"error_model": "numpy"})
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
        prepare_net(layer)
        layer(x)[0].sum().backward()
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
    spec = Spec(written_page(source).neuron, atan(), detach_reset=False)
    compare(Problem(spec, x, (state,), constants), "serial")
