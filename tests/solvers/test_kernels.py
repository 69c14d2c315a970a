"""Compiled kernels: cached on disk across processes, safe from threads and after a fork; nobody's settings change."""

import os
import subprocess
import sys
import threading

import numba
import pytest
import torch

from contract import NEURONS, SURROGATES
from nwavesdk.dynamics import lif
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers import Problem, Spec, solve
from nwavesdk.solvers.cpu.render import render_kernels
from nwavesdk.surrogate import ATan, FastSigmoid, atan, fast_sigmoid

PROGRAM = """
import sys, torch
import gc
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.surrogate import parse
from nwavesdk.solvers.cpu.kernels import NativeKernel
for text in sys.argv[1:]:
    layer = LIFLayer(8, 10e-3, spike_grad=parse(text))
    prepare_net(layer)
    x = torch.rand(2, 5, 8, requires_grad=True)
    layer(x)[0].sum().backward()
made = [k.compiled for k in gc.get_objects() if type(k) is NativeKernel and k.compiled is not None]
hits = sum(c.cache_hits for c in made)
print(len(made) - hits, hits)
"""


def compiled(cache, *surrogates):
    """How many kernels a new process compiled, and how many it found on disk."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *surrogates],
        capture_output=True, text=True, check=True, env={**os.environ, "NWAVESDK_CACHE": str(cache)},
    )  # fmt: skip
    return tuple(map(int, done.stdout.split()))


def test_a_second_process_compiles_nothing(tmp_path):
    assert compiled(tmp_path, "atan") == (2, 0)
    assert compiled(tmp_path, "atan") == (0, 2)


def test_a_damaged_text_in_the_cache_is_written_anew(tmp_path):
    compiled(tmp_path, "atan")
    for path in (tmp_path / "kernels").glob("*.py"):
        path.write_bytes(b"\xff" + path.read_bytes()[:200])
    compiled(tmp_path, "atan")
    assert all("@njit" in path.read_text() for path in (tmp_path / "kernels").glob("*.py"))


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["truncated", "garbled"])
def test_damaged_code_in_the_cache_is_compiled_anew_with_a_warning(tmp_path, suffix, damage):
    compiled(tmp_path, "atan")
    for path in (tmp_path / "kernels" / "__pycache__").glob(f"*.{suffix}"):
        path.write_bytes(path.read_bytes()[:40] if damage == "truncated" else b"\xff" * 500)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "atan"],
        capture_output=True, text=True, check=True, env={**os.environ, "NWAVESDK_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.stderr.count("was damaged") >= 1
    assert compiled(tmp_path, "atan") == (0, 2)


def test_slopes_share_a_kernel_and_surrogates_do_not(tmp_path):
    assert compiled(tmp_path, "atan", "atan(7)", "atan(0.5)") == (2, 0)
    assert compiled(tmp_path, "atan(3)", "fast_sigmoid") == (1, 2)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_cannot_be_written_only_warns(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way of a folder")
    code = PROGRAM.replace(
        "import sys, torch", "import sys, torch, warnings; warnings.simplefilter('default')", 1
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "atan"],
        capture_output=True, text=True, check=True, env={**os.environ, "NWAVESDK_CACHE": str(blocked)},
    )  # fmt: skip
    assert done.stderr.count("cannot be written") == 1
    assert "set NWAVESDK_CACHE" in done.stderr


def test_rendered_text_depends_on_its_inputs_alone():
    a = render_kernels(lif("zero"), "float32", ATan, 2, backward=True)
    assert a == render_kernels(lif("zero"), "float32", ATan, 2, backward=True)
    assert a != render_kernels(lif("zero"), "float32", FastSigmoid, 1, backward=True)
    assert a != render_kernels(lif("zero"), "float64", ATan, 2, backward=True)
    assert a != render_kernels(lif("zero"), "float32", ATan, 2, backward=True, detach_reset=False)


def big_problem(seed):
    g = torch.Generator().manual_seed(seed)
    row = NEURONS["lif_subtraction"]
    x = torch.rand(16, 50, 200, generator=g)
    return Problem(
        Spec(row.neuron, SURROGATES["atan"]), x, (torch.zeros(16, 200),), row.constants(200, g)
    )


def test_one_thread_and_many_give_the_same_bits():
    p = big_problem(0)
    many, threads = solve(p), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = solve(p)
        torch.set_num_threads(3)
        three = solve(p)
    finally:
        torch.set_num_threads(threads)
    for other in (one, three):
        assert torch.equal(many.spikes, other.spikes)
        assert torch.equal(many.mem, other.mem)


def test_two_python_threads_at_once():
    problems = [big_problem(seed) for seed in range(8)]
    expected, got = [solve(p).spikes for p in problems], [None] * 8

    def work(i):
        got[i] = solve(problems[i]).spikes

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_runs_too():
    code = """
import os, torch
torch.set_num_threads(2)
from nwavesdk.layers import LIFLayer, prepare_net
layer = LIFLayer(256, 10e-3)
x = torch.rand(16, 50, 256)
prepare_net(layer)
expected = layer(x)[0]
child = os.fork()
if child == 0:
    prepare_net(layer)
    os._exit(0 if torch.equal(layer(x)[0], expected) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_the_workers_of_a_data_loader_and_of_a_pool():
    code = """
import multiprocessing, torch
from torch.utils.data import DataLoader, Dataset
from nwavesdk.layers import LIFLayer, prepare_net
torch.set_num_threads(2)
x = torch.rand(4, 16, 50, 256)

def spikes(i):
    layer = LIFLayer(256, 10e-3)
    prepare_net(layer)
    return layer(x[i])[0].sum().item()

class Data(Dataset):
    __len__ = lambda self: 4
    __getitem__ = lambda self, i: spikes(i)

expected = [spikes(i) for i in range(4)]
loaded = [float(v) for v in DataLoader(Data(), batch_size=None, num_workers=2)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    pooled = pool.map(spikes, range(4))
print(loaded == expected == pooled, [spikes(i) for i in range(4)] == expected)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["True", "True"]


def test_processes_that_train_data_parallel_agree(tmp_path):
    code = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from nwavesdk.layers import HWLayer, HWSynapse, LIFLayer, LIFSynapse, SpikingSequential, prepare_net
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
net = SpikingSequential(LIFSynapse(8, 16), LIFLayer(16, 10e-3, layer_topology="RC"),
                        HWSynapse(16, 4, quantization_bits=6, stddev=0.1), HWLayer(4, 10e-3, ileak_mismatch=True))
x = torch.rand(6, 20, 8)
wrapped = DistributedDataParallel(net)
prepare_net(net, seed=3)
spk, mem = wrapped(x[3 * rank : 3 * rank + 3])
mem.square().mean().backward()
mine = [p.grad.clone() for p in net.parameters()]
net.zero_grad()
prepare_net(net, seed=3)
net(x)[1].square().mean().backward()
close = all(torch.allclose(a, p.grad, rtol=1e-4, atol=1e-6) for a, p in zip(mine, net.parameters()))
print(close)
dist.destroy_process_group()
"""
    commands = [
        [sys.executable, "-c", code, str(rank), str(tmp_path / "store")] for rank in range(2)
    ]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == ["True", "True"]


def test_torch_s_team_is_found_among_those_of_other_packages(tmp_path):
    code = """
import ctypes, shutil, sys, torch
from pathlib import Path
from nwavesdk.solvers.cpu.threads import _openmp_team
mine = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libgomp" in line}
if len(mine) != 1 or not Path(*mine).is_relative_to(Path(torch.__file__).parent):
    print("skip")
else:
    ctypes.CDLL(shutil.copy(*mine, sys.argv[1]))
    print(_openmp_team()._name == mine.pop())
"""
    command = [sys.executable, "-c", code, str(tmp_path / "libgomp-another.so.1")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if found == "skip":
        pytest.skip("torch brings no OpenMP library of its own")
    assert found == "True"


def test_the_user_s_numba_settings_stay():
    before = numba.get_num_threads(), numba.config.THREADING_LAYER
    solve(big_problem(1))
    assert (numba.get_num_threads(), numba.config.THREADING_LAYER) == before


def test_an_error_in_a_thread_is_raised():
    from nwavesdk.solvers.cpu.threads import run_jobs

    def fail(first, last):
        raise ZeroDivisionError(f"{first}-{last}")

    with pytest.raises(ZeroDivisionError):
        run_jobs(fail, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_page_s_literals_do_not_widen_float32(dtype):
    """σ' of the kernel is torch's to the last bit but where exp differs: no float64 in between."""
    for surrogate in (atan(), fast_sigmoid()):
        layer = LIFLayer(1000, 10e-3, spike_grad=surrogate)
        x = torch.linspace(-1, 3, 1000, dtype=dtype).reshape(1, 1, -1).requires_grad_()
        prepare_net(layer)
        layer(x)[0].sum().backward()
        assert torch.equal(x.grad, surrogate.derivative(x.detach() - 1))
