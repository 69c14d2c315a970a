"""The GPU kernels: interpreted and compiled on any machine, compared where there is a GPU.

None of this has run on a GPU yet: the tests named `test_on_a_gpu_...` have only been skipped.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu
from contract import SURROGATES, Row
from nwavesdk.dynamics import Positive, held, read_page, spike
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers import has_serial_kernel, solve
from nwavesdk.solvers.gpu import render
from nwavesdk.solvers.gpu import serial as gpu_serial
from nwavesdk.solvers.gpu.serial import backward_gpu, forward_gpu, has_gpu_kernel
from nwavesdk.solvers.problem import ResultGradient
from nwavesdk.surrogate import available
from solvers.gpu.pages import ROWS, problem
from solvers.parity import compare_with_reference, leaves

pytestmark = pytest.mark.triton

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
TYPES = {
    torch.float64: "*fp64", torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16",
    torch.int32: "*i32",
}  # fmt: skip


def test_interpreted_kernels_are_the_reference():
    path = str(Path(__file__).with_name("interpreted_kernels.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert re.search(r"\d\d passed", done.stdout)


# Compilation, from the very arguments that the host code sends


@pytest.fixture
def sent(monkeypatch):
    """Kernel, arguments and options of the launches that the host code would have made."""
    # Not from its cache, because `launched` changes the tiles.
    launches, load = [], gpu_serial.gpu_kernels.__wrapped__

    class Recorder:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            assert len(grid) == 1
            return lambda *arguments, **options: launches.append((self.kernel, arguments, options))

    def recorded(*arguments, **options):
        module = load(*arguments, **options)
        return SimpleNamespace(
            **{
                n: Recorder(getattr(module, n))
                for n in ("forward", "backward")
                if hasattr(module, n)
            }
        )

    monkeypatch.setattr(gpu_serial, "gpu_kernels", recorded)
    return launches


# Compiled with two steps per tile in place of eight, because the time of Triton's coalescing pass
# grows faster than the square of their number. These neurons hold no more values in registers than
# `lif_zero`, which has whole tiles, or test the functions of a page only.
SHORT = ("lif_subtraction", "lif_none", "unread", "rising", "trigonometric")


def launched(sent, name, surrogate, dtype, N, detach=False):
    p = problem(name, surrogate, detach, dtype, 2, N)
    with pytest.MonkeyPatch.context() as patch:
        if name in SHORT:
            patch.setattr(render, "_TILE", 2)
        solution = forward_gpu(p)
        last = [None, *map(torch.empty_like, solution.last[1:])]
        backward_gpu(
            p,
            solution,
            ResultGradient(torch.empty_like(p.x), torch.empty_like(p.x), last),
            learns_constants=True,
        )
    return list(sent)


def compiled(kernel, arguments, options, arch):
    """A launch compiled for compute capability `arch`, specialized as Triton's JIT would."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    block = options.pop("BLOCK")
    signature, constants, attributes = {}, {}, {}
    for i, (name, value) in enumerate(zip(kernel.arg_names, [*arguments, block], strict=True)):
        if (
            value is None
            or name == "BLOCK"
            or (isinstance(value, int) and value == 1 and name != "T")
        ):
            signature[name], constants[name] = "constexpr", value
            continue
        if isinstance(value, torch.Tensor):
            signature[name], aligned = TYPES[value.dtype], True
        else:
            signature[name] = (
                "i32" if isinstance(value, int) else kernel.params[i].annotation_type or "fp32"
            )
            aligned = isinstance(value, int) and value % 16 == 0 and name != "T"
        if aligned:
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def local_memory(built):
    """Bytes of local memory and stack per thread: what registers could not hold."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip("this Triton ships no cuobjdump")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        )
    return sum(int(n) for n in re.findall(r"(?:STACK|LOCAL):(\d+)", usage.stdout))


def assert_compiles(launches, arch):
    for launch in launches:
        built = compiled(*launch, arch)
        assert "st.global" in built.asm["ptx"]
        assert not re.search(r"fma\.rn|\.(full|approx)", built.asm["ptx"])
        assert local_memory(built) == 0


# Resonators and refractory neurons take long to compile. Tests below have the latter in float64,
# which needs twice the registers, and h1v2.
PLAIN = [name for name in ROWS if name not in ("smooth", "resonator", "refractory", "h1v2")]
# Each neuron with a surrogate, and with aligned rows for sm_80 or odd rows for sm_90.
PROGRAMS = [
    *zip(PLAIN, itertools.cycle(SURROGATES), itertools.cycle([64, 77]), itertools.cycle([80, 90]))
]


@pytest.mark.parametrize(("neuron", "surrogate", "N", "arch"), PROGRAMS)
def test_neurons_and_surrogates_compile_without_fused_arithmetic_and_spills(
    sent, neuron, surrogate, N, arch
):
    assert_compiles(launched(sent, neuron, surrogate, torch.float32, N), arch)


@pytest.mark.parametrize("name", ["triangle", "straight_through", "periodic_exponential"])
def test_formulas_of_the_catalogue_compile(sent, name, monkeypatch):
    """Comparisons, no parameter, floor."""
    monkeypatch.setitem(SURROGATES, name, available()[name]())
    assert_compiles(launched(sent, "lif_none", name, torch.float32, 77, detach=True)[1:], 90)


@pytest.mark.parametrize(
    ("name", "count"), [("atan", 2), ("q_pseudo_spike", 2), ("squarewave_fourier_series", 7)]
)
def test_parameters_arrive_in_float64_also_those_of_log_and_cos(sent, name, count, monkeypatch):
    """A GPU computes log and cos with its own fused arithmetic, which a gradient allows."""
    monkeypatch.setitem(SURROGATES, name, available()[name]())
    built = compiled(*launched(sent, "lif_none", name, torch.float32, 77, detach=True)[1], 90)
    assert built.asm["ptx"].count(".param .f64") == count


@pytest.mark.parametrize(
    ("neuron", "dtype"),
    [
        ("lif_subtraction", torch.float16),
        ("readout", torch.bfloat16),
        ("refractory", torch.float64),
    ],
    ids=["f16", "bf16", "f64"],
)
def test_every_dtype_compiles(sent, neuron, dtype):
    assert_compiles(launched(sent, neuron, "custom", dtype, 1), 80)


def rising_δ(x, v, *, δ: Positive):
    u = 0.9 * v + x + torch.exp(torch.tanh(v) / torch.sqrt(δ + v * v))
    s = spike(u - 1.0)
    return s, u - held(s) * u


def trigonometric(x, v):
    u = torch.sin(v) + torch.cos(v) + torch.log(2.0 + v) + torch.abs(v) ** 1.5 + x
    s = spike(u - 1.0)
    return s, u - held(s) * u


def test_exp_tanh_and_sqrt_compile_to_plain_arithmetic(sent, monkeypatch):
    """A page may have names that the assembler of a GPU cannot read."""
    row = Row(read_page(rising_δ), lambda draw: {"δ": draw(0.9, 1.1)})
    monkeypatch.setitem(ROWS, "rising", row)
    assert_compiles(launched(sent, "rising", "atan", torch.float32, 64)[:1], 80)


def test_other_functions_compile(sent, monkeypatch):
    """A GPU computes them with its own fused arithmetic, which changes their last digits."""
    row = Row(read_page(trigonometric), lambda _: {})
    monkeypatch.setitem(ROWS, "trigonometric", row)
    forward, _ = launched(sent, "trigonometric", "atan", torch.float32, 64)
    assert "st.global" in compiled(*forward, 90).asm["ptx"]


def test_two_lanes_per_thread_do_not_spill(sent):
    """Of many lanes with one saved value of 32 bits; others have one lane per thread."""
    launches = launched(sent, "h1v2", "atan", torch.float32, 1 << 17)
    assert {options["num_warps"] for *_, options in launches} == {4}
    assert_compiles(launches, 90)


@pytest.mark.parametrize(("neuron", "surrogate", "N", "arch"), PROGRAMS[3:6])
def test_the_machine_code_of_a_step_forward_has_no_fused_multiply_add(
    sent, neuron, surrogate, N, arch
):
    """Of programs that Triton has compiled in an earlier test."""
    built = compiled(*launched(sent, neuron, surrogate, torch.float32, N)[0], arch)
    if "FMUL" not in (code := built.asm["sass"]):
        pytest.skip("this Triton shows no machine code")
    assert "FFMA" not in code


# The choice of solver


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_benchmark_says_that_it_needs_a_gpu():
    with pytest.raises(SystemExit, match="torch sees none"):
        gpu.main()


# On a gpu


def moved(p, device="cuda"):
    states, constants = (tuple(t.to(device) for t in ts) for ts in (p.states, p.constants))
    return replace(p, x=p.x.to(device), states=states, constants=constants)


def solved_on_gpu(p):
    """The serial solver, between two copies that pass gradients on."""
    s = solve(moved(p), "serial")
    last, saved = (tuple(t.cpu() for t in ts) for ts in (s.last, s.saved))
    return s._replace(spikes=s.spikes.cpu(), mem=s.mem.cpu(), last=last, saved=saved)


@on_gpu
@pytest.mark.parametrize("detach", [True, False], ids=["detached", "full"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("neuron", ROWS)
def test_on_a_gpu_serial_is_the_reference_of_the_cpu(neuron, surrogate, detach):
    for T in (0, 1, 2, 33):
        for N in (1, 7, 64, 777, 4096):
            p = problem(neuron, surrogate, detach, torch.float32, T, N, B=9)
            compare_with_reference(p, solved_on_gpu)


@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_on_a_gpu_half_charge_has_float32_state(dtype):
    p = moved(problem("lif_subtraction", "atan", True, dtype, 33, 777))
    got, expected = solve(p, "serial"), solve(replace(p, x=p.x.float()), "reference")
    assert torch.equal(got.spikes, expected.spikes.to(dtype))
    assert torch.equal(got.mem, expected.mem.to(dtype))
    assert torch.equal(got.last[0], expected.last[0])


@on_gpu
def test_on_a_gpu_a_layer_takes_the_kernels_and_recurrent_ones_the_reference():
    x = torch.rand(4, 20, 64, device="cuda", requires_grad=True)
    assert has_serial_kernel(x, recurrent=False)
    assert not has_serial_kernel(x, recurrent=True)
    for topology, name in (("FF", "serial"), ("RC", "reference")):
        layer = LIFLayer(64, 10e-3, layer_topology=topology).cuda()
        prepare_net(layer)
        spk, mem = layer(x)
        assert layer.last_solver == name
        (spk.sum() + mem.sum()).backward()
    assert has_gpu_kernel(x, recurrent=False)


@on_gpu
def test_on_a_gpu_both_passes_stand_in_a_cuda_graph():
    p = leaves(moved(problem("lif_subtraction", "atan", True, torch.float32, 33, 777)))
    wanted, weights = [p.x, *p.constants], torch.randn_like(p.x)

    def step():
        return torch.autograd.grad(solve(p, "serial").spikes, wanted, weights)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        expected = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, found, expected))
    with torch.no_grad():
        p.x.mul_(0.5)
    expected = step()
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, found, expected))


@on_gpu
def test_on_a_gpu_more_elements_than_an_int32_counts():
    if torch.cuda.get_device_properties(0).total_memory < 24 << 30:
        pytest.skip("needs 24 GB")
    p = problem("lif_zero", "atan", True, torch.float32, 1, 1 << 16, B=2)
    p = moved(replace(p, x=p.x.half()))
    x = torch.randn(2, (1 << 14) + 1, 1 << 16, device="cuda", dtype=torch.float16)
    spikes = forward_gpu(replace(p, x=x), needs_membrane=False, needs_saved=False).spikes
    half = replace(p, x=x[1:], states=tuple(v[1:] for v in p.states))
    assert torch.equal(
        spikes[1:], forward_gpu(half, needs_membrane=False, needs_saved=False).spikes
    )
