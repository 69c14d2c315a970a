"""The GPU kernels against the reference, interpreted by Triton on CPU tensors.

`test_serial` runs this file in a separate process.

Run: TRITON_INTERPRET=1 python -m pytest tests/solvers/gpu/interpreted_kernels.py
"""

import sys
from dataclasses import replace

import pytest
import torch

from contract import SURROGATES
from nwavesdk.dynamics import SAVES, read_page
from nwavesdk.layers import LIFLayer, NeuronLayer, prepare_net
from nwavesdk.solvers import PassResult, Problem, Spec, serial, solve, spec_name
from nwavesdk.solvers.gpu import serial as gpu_serial
from nwavesdk.solvers.gpu.serial import backward_gpu, forward_gpu
from nwavesdk.solvers.ops import _forward_operator
from nwavesdk.solvers.parallel import chunks
from nwavesdk.solvers.problem import ResultGradient
from nwavesdk.solvers.reference import solve_reference
from nwavesdk.solvers.sweep import sweep
from nwavesdk.surrogate import available
from pairwise import case_id, pairwise
from solvers.gpu.pages import ROWS, problem
from solvers.parity import compare_with_reference, gradients, leaves, reference
from tolerances import GRADIENT, STATE, assert_all_close, assert_close

F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16

# Lanes without a neuron hold zeros, of which a page may take the logarithm.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

CASES = pairwise(
    name=list(ROWS),
    surrogate=list(SURROGATES),
    detach=[True, False],
    dtype=[F32, F64, BF16],
    saves=list(SAVES),
)
CASE_IDS = [*map(case_id, CASES)]


def adjoint_gpu(p, solution, grads, learns_constants, *_):
    """`backward_gpu` with the arguments of every adjoint; it overwrites nothing."""
    return backward_gpu(p, solution, grads, learns_constants)


def interpreted(p: Problem, mem: bool = True, keep: bool = True) -> PassResult:
    result = sweep(p, forward_gpu, adjoint_gpu, mem, keep)
    count = 0 if p.spec.neuron.is_readout else int(result.spikes.sum())
    assert (0 if result.spike_count is None else int(result.spike_count.sum())) == count
    return result


def compare(p: Problem, upstream: str = "dense") -> None:
    compare_with_reference(p, interpreted, upstream)


@pytest.fixture
def one_program(monkeypatch):
    """All lanes in one program, which the interpreter runs fastest."""
    monkeypatch.setattr(gpu_serial, "_block", lambda _: 256)


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_every_neuron_and_surrogate(case):
    compare(problem(**case, T=3, N=40))


def functions(x, a, b, c, d, e, f, g):  # noqa: ARG001  # as many states as results
    return (
        torch.exp(x),
        torch.tanh(x),
        torch.sqrt(torch.abs(x)),
        torch.abs(x) ** 1.5,
        x**-3,
        x**6,
        torch.where(x < 0.0, -0.1, 0.2),
    )


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_functions_and_numbers_are_those_of_torch(dtype):
    """To the last digits, for small and large numbers, infinite ones, and NaN.

    Powers of float64 have no wider type to be computed in.
    """
    x = torch.linspace(-3, 3, 1024, dtype=dtype).reshape(1, 1, 1024)
    edges = [-float("inf"), -200, -89, -1e-5, 0, 88.5, 200, float("inf"), float("nan")]
    x[..., : len(edges)] = torch.tensor(edges, dtype=dtype)
    spec = Spec(neuron=read_page(functions).neuron, surrogate=SURROGATES["atan"])
    p = Problem(spec, x, (torch.zeros(1, 1024, dtype=dtype),) * 7, ())
    expected, got = solve_reference(p).last, forward_gpu(p).last
    for i, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        is_number = theirs.isfinite()
        assert torch.equal(mine[~is_number].nan_to_num(7), theirs[~is_number].nan_to_num(7)), i
        tiny, eps = torch.finfo(dtype).tiny, torch.finfo(dtype).eps
        error = (mine - theirs).abs() / theirs.abs().clamp(min=tiny)
        roundings = 40 if dtype == F64 and i in (3, 4, 5) else 2
        assert float(error[is_number].max()) < roundings * eps, i


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize("name", available())
def test_every_formula_of_the_catalogue(name):
    p = problem("lif_zero", "atan", True, F32, 3, 40, saves="gradient")
    compare(replace(p, x=3 * p.x, spec=replace(p.spec, surrogate=available()[name]())))


@pytest.mark.parametrize("neuron", ["lif_subtraction", "adaptive", "refractory", "readout"])
def test_odd_sizes(neuron):
    for T, N in [(0, 77), (1, 1), (2, 7), (9, 77)]:
        compare(problem(neuron, "atan", True, F32, T, N, B=1 if T == 9 else 3))


def test_no_neurons_and_no_batch():
    p = problem("adaptive", "atan", True, F32, 5, 3)
    compare(problem("adaptive", "atan", True, F32, 5, 3, B=0))
    compare(
        replace(
            p,
            x=p.x[..., :0],
            states=tuple(v[:, :0] for v in p.states),
            constants=tuple(c[:0] for c in p.constants),
        )
    )


@pytest.mark.usefixtures("one_program")
def test_slopes_keep_the_digits_of_float64():
    p = problem("lif_zero", "sigmoid", False, torch.float64, 3, 7)
    compare(replace(p, spec=replace(p.spec, surrogate=type(p.spec.surrogate)(slope=0.1))))


@pytest.mark.usefixtures("one_program")
def test_any_layout():
    p = problem("adaptive", "fast_sigmoid", True, F32, 5, 7)
    for turned in (
        p.x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        p.x.transpose(0, 1).contiguous().transpose(0, 1),
    ):
        assert not turned.is_contiguous()
        compare(replace(p, x=turned), "expanded")
    compare(replace(p, x=p.x[:, :1].expand_as(p.x)))
    compare(replace(p, states=tuple(v.t().contiguous().t() for v in p.states)))


@pytest.mark.usefixtures("one_program")
def test_one_number_for_all_neurons():
    p = problem("adaptive", "atan", True, F32, 10, 7)
    numbers = [c[:1].clone().requires_grad_() for c in p.constants]
    p = replace(p, constants=tuple(c.expand(7) for c in numbers))
    a, b = (torch.autograd.grad(s.mem.sum(), numbers) for s in (reference(p), interpreted(p)))
    for mine, theirs in zip(b, a, strict=True):
        assert_close(mine / 7, theirs / 7, GRADIENT, "constant")


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize("outputs", ["spikes", "mem", "last"])
@pytest.mark.parametrize("neuron", ["h1v2", "refractory", "readout"])
def test_gradient_from_one_output_alone(neuron, outputs):
    p = problem(neuron, "fast_sigmoid", False, F32, 6, 7)
    found = []
    for run in (reference, interpreted):
        q = leaves(p)
        s = run(q)
        out = {"spikes": [s.spikes], "mem": [s.mem], "last": s.last[-1:]}[outputs]
        wanted = [q.x, *q.states, *q.constants]
        weights = [torch.linspace(-1, 1, t.numel()).reshape(t.shape) for t in out]
        found.append(
            torch.autograd.grad(out, wanted, weights, allow_unused=True, materialize_grads=True)
        )
    assert_all_close(*reversed(found), GRADIENT, outputs)


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize("neuron", ["lif_subtraction", "adaptive", "readout"])
def test_outputs_that_are_not_needed_are_not_written(neuron):
    p = problem(neuron, "atan", True, F32, 10, 7)
    whole, lean = forward_gpu(p, True, True), forward_gpu(p, False, False)
    assert lean.mem is None
    assert lean.saved == ()
    assert torch.equal(whole.spikes, lean.spikes)
    assert all(map(torch.equal, whole.last, lean.last))
    grads = ResultGradient(torch.randn_like(p.x), None, [None] * len(p.states))
    fixed, learned = (backward_gpu(p, whole, grads, learn) for learn in (False, True))
    assert fixed.constants is None
    assert torch.equal(fixed.x, learned.x)
    assert all(map(torch.equal, fixed.states, learned.states))


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize(
    ("neuron", "surrogate"), [("lif_zero", "atan"), ("adaptive", "custom"), ("readout", "atan")]
)
def test_half_charge_with_float32_state(neuron, surrogate):
    p = problem(neuron, surrogate, True, torch.float16, 7, 7)
    compare(p)
    whole = forward_gpu(p)
    assert {t.dtype for t in (*whole.saved, *whole.last)} == {F32}
    grads = ResultGradient(None, torch.zeros_like(p.x), [None] * len(p.states))
    assert backward_gpu(p, whole, grads, learns_constants=False).x.dtype == torch.float16


def run_on_gpu_kernels(monkeypatch):
    """Let layers reach these kernels as they do with CUDA tensors, which have no planned calls."""
    # `nwavesdk.layers.neuron` is a function, which hides the module.
    monkeypatch.setattr(sys.modules[NeuronLayer.__module__], "run_planned", lambda *_, **__: None)
    monkeypatch.setattr(serial, "forward_cpu", forward_gpu)
    monkeypatch.setattr(serial, "backward_cpu", adjoint_gpu)


@pytest.mark.usefixtures("one_program")
def test_a_layer_learns_and_streams(monkeypatch):
    run_on_gpu_kernels(monkeypatch)
    x, found = 0.5 * torch.rand(3, 12, 7), {}
    for solver in ("auto", "reference"):
        layer = LIFLayer(7, 10e-3, learn_taus=True, learn_thresholds=True, solver=solver)
        prepare_net(layer)
        parts = [layer(part) for part in (x[:, :5], x[:, 5:])]
        spk, mem = (torch.cat(ts, 1) for ts in zip(*parts, strict=True))
        (spk.sum() + (mem**2).sum()).backward()
        assert not hasattr(parts[0][0], "nonzeros") or solver == "reference"
        found[solver] = spk, mem, layer.log_taus.grad, layer.thresholds.grad
    mine, theirs = found["auto"], found["reference"]
    assert mine[0].any()
    assert torch.equal(mine[0], theirs[0])
    assert torch.equal(mine[1], theirs[1])
    assert_close(mine[2] / 21, theirs[2] / 21, GRADIENT, "taus")
    assert_close(mine[3] / 21, theirs[3] / 21, GRADIENT, "thresholds")


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize(
    ("neuron", "surrogate", "saved_dtype"),
    [("adaptive", "custom", None), ("h1v1", "atan", "bfloat16")],
)
def test_the_operators_of_compiled_code(monkeypatch, neuron, surrogate, saved_dtype):
    run_on_gpu_kernels(monkeypatch)
    p = leaves(problem(neuron, surrogate, True, F32, 5, 7))
    name = spec_name(replace(p.spec, saved_dtype=saved_dtype))
    arguments = (p.x, [*p.states], [*p.constants], [], name, "serial", True, p.saves)
    assert set(torch.library.opcheck(_forward_operator, arguments).values()) == {"SUCCESS"}


def test_nan_neither_spikes_nor_spreads_to_other_neurons():
    p = problem("lif_subtraction", "atan", True, F32, 9, 7)
    x = p.x.clone()
    x[1, 3, 2] = float("nan")
    clean, got = forward_gpu(p), forward_gpu(replace(p, x=x))
    touched = torch.zeros_like(x, dtype=torch.bool)
    touched[1, 3:, 2] = True
    assert torch.equal(got.spikes[~touched], clean.spikes[~touched])
    assert torch.equal(got.mem[~touched], clean.mem[~touched])
    assert not got.spikes[touched].any()


@pytest.mark.usefixtures("one_program")
@pytest.mark.parametrize("neuron", ["lif_zero", "h1v2"])
def test_chunks_run_on_the_kernels(monkeypatch, neuron):
    """comPaSSo's chunks and their adjoint, as with CUDA tensors."""
    run_on_gpu_kernels(monkeypatch)
    monkeypatch.setattr(chunks, "chunk_length", lambda T, _: min(T, 9))
    a, b = (leaves(problem(neuron, "atan", True, F32, 22, 3, B=2)) for _ in range(2))
    expected, got = solve(a, "reference"), solve(b, "compasso")
    assert torch.equal(got.spikes, expected.spikes)
    assert_close(got.mem, expected.mem, STATE, "mem")
    for i, (mine, theirs) in enumerate(zip(gradients(b, got), gradients(a, expected), strict=True)):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")
