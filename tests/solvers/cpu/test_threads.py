"""Threads, forks and memory of the process that kernels run in."""

import os
import subprocess
import sys
import threading
import time

import numba
import pytest
import torch

from contract import NEURONS, SURROGATES
from forked import run_code, start_code
from nwavesdk.solvers import Problem, Spec, solve
from nwavesdk.solvers.cpu import threads
from nwavesdk.solvers.cpu.threads import keep_large_blocks, run_jobs


def big_problem(seed):
    g = torch.Generator().manual_seed(seed)
    row = NEURONS["lif_subtraction"]
    x = torch.rand(16, 50, 200, generator=g)
    constants = tuple(c.float() for c in row.constants(200, g))
    return Problem(
        Spec(neuron=row.neuron, surrogate=SURROGATES["atan"]), x, (torch.zeros(16, 200),), constants
    )


@pytest.fixture(params=["team", "pool"])
def _each_kind_of_threads(request, monkeypatch):
    """Torch's OpenMP team, where there is one, and the pool that serves elsewhere."""
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp_team", lambda: None)


@pytest.mark.usefixtures("_each_kind_of_threads")
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


@pytest.mark.usefixtures("_each_kind_of_threads")
def test_jobs_cover_the_whole_range():
    seen = []
    run_jobs(lambda first, last: seen.extend(range(first, last)), 7)
    assert sorted(seen) == list(range(7))


@pytest.mark.usefixtures("_each_kind_of_threads")
def test_an_error_in_a_thread_is_raised():
    def fail(first, last):
        raise ZeroDivisionError(f"{first}-{last}")

    with pytest.raises(ZeroDivisionError):
        run_jobs(fail, 8)


def test_the_user_s_numba_settings_stay():
    before = numba.get_num_threads(), numba.config.THREADING_LAYER
    solve(big_problem(1))
    assert (numba.get_num_threads(), numba.config.THREADING_LAYER) == before


@pytest.fixture
def busy_machine(monkeypatch):
    """A machine whose cores all have work of other processes."""
    cores = threads._Cores()
    monkeypatch.setattr(threads, "_cores", cores)
    monkeypatch.setattr(threads.LoadMonitor, "elsewhere", lambda _: 1.0)
    cores._window_end = 0.0
    yield cores
    cores.waits.end()


@pytest.mark.usefixtures("_each_kind_of_threads")
def test_on_a_busy_machine_the_calling_thread_does_all_jobs(busy_machine):
    quiet = big_problem(0)
    workers = []

    def work(*_):
        workers.append(threading.get_ident())
        time.sleep(0.02)  # another thread would take the next piece

    run_jobs(work, 8)
    assert set(workers) == {threading.get_ident()}
    assert len(workers) == torch.get_num_threads()  # the pieces stay the same
    busy = solve(quiet)
    busy_machine._free = 8
    assert torch.equal(busy.mem, solve(quiet).mem)


def test_cores_without_other_work_run_all_threads(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    cores = threads._Cores()
    for load, free in [(0.0, 4), (0.05, 4), (0.1, 3), (0.25, 3), (0.5, 2), (1.0, 1), (None, 4)]:
        monkeypatch.setattr(threads.LoadMonitor, "elsewhere", lambda _, load=load: load)
        cores._window_end = 0.0
        assert cores.free_threads(4) == free
    cores.waits.end()


@pytest.mark.skipif(threads._openmp_team() is None, reason="torch has no GNU OpenMP")
def test_waiting_threads_sleep_on_a_busy_machine():
    code = """
import os, time, torch
from nwavesdk.solvers.cpu.threads import _ShortWaits
torch.set_num_threads(2)

def core_time():
    start = time.process_time()
    for _ in range(10):
        torch.zeros(1 << 17)  # on two threads
        time.sleep(0.02)
    return time.process_time() - start

waits = _ShortWaits()
core_time()
before = core_time()
waits.start()
during = core_time()
waits.end()
after = core_time()
os.environ["OMP_WAIT_POLICY"] = "ACTIVE"  # as if the user had decided
waits.start()
print(during < before / 3, during < after / 3, waits._thread)
"""
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=120, env=environment,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True", "None"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_runs_too(tmp_path):
    """While threads spin, and while they sleep because the machine is busy."""
    code = """
import os, torch
torch.set_num_threads(2)
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers.cpu import threads
layer = LIFLayer(256, 10e-3)
x = torch.rand(16, 50, 256)
for busy in (False, True):
    if busy:
        threads._cores.waits.start()
    prepare_net(layer)
    expected = layer(x)[0]
    child = os.fork()
    if child == 0:
        prepare_net(layer)
        os._exit(0 if torch.equal(layer(x)[0], expected) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_code(code, tmp_path).stdout.split() == ["0", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_the_workers_of_a_data_loader_and_of_a_pool(tmp_path):
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
fork = {"num_workers": 2, "multiprocessing_context": "fork"}
loaded = [float(v) for v in DataLoader(Data(), batch_size=None, **fork)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    pooled = pool.map(spikes, range(4))
print(loaded == expected == pooled, [spikes(i) for i in range(4)] == expected)
"""
    assert run_code(code, tmp_path).stdout.split() == ["True", "True"]


def test_processes_that_train_data_parallel_agree(tmp_path):
    code = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from nwavesdk.layers import HWLayer, HWSynapse, LIFLayer, LIFSynapse, SpikingSequential, prepare_net
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
net = SpikingSequential(
    LIFSynapse(8, 16), LIFLayer(16, 10e-3, layer_topology="RC"),
    HWSynapse(16, 4, quantization_bits=6, stddev=0.1), HWLayer(4, 10e-3, ileak_mismatch=True),
)
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
    started = [start_code(code, tmp_path, rank, tmp_path / "store") for rank in range(2)]
    assert [process.finish().stdout.strip() for process in started] == ["True", "True"]


def test_torch_s_team_is_found_among_those_of_other_packages(tmp_path):
    code = """
import ctypes, shutil, sys, torch
from pathlib import Path
from nwavesdk.solvers.cpu.threads import _openmp_team
maps = Path("/proc/self/maps").read_text().splitlines()
mine = {line.split()[-1] for line in maps if "libgomp" in line}
if len(mine) != 1 or not Path(*mine).is_relative_to(Path(torch.__file__).parent):
    print("skip")
else:
    ctypes.CDLL(shutil.copy(*mine, sys.argv[1]))
    print(_openmp_team()._name == mine.pop())
"""
    found = run_code(code, tmp_path, tmp_path / "libgomp-another.so.1").stdout.strip()
    if found == "skip":
        pytest.skip("torch brings no OpenMP library of its own")
    assert found == "True"


ALLOCATE = """
import resource, torch
from nwavesdk.layers import LIFLayer, prepare_net
layer = LIFLayer(512, 10e-3)
x = torch.rand(64, 300, 512)  # 39 MB, more than glibc ever keeps by its own rules (32)
with torch.no_grad():
    for i in range(6):
        if i == 3:  # the heap has grown to what it needs
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        prepare_net(layer)
        layer(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_fresh_tensors_cost_no_page_faults(tmp_path):
    if keep_large_blocks():
        kept, fresh = (run_code(ALLOCATE, tmp_path, NWAVESDK_KEEP_MEMORY=keep) for keep in "10")
        assert int(kept.stdout) < int(fresh.stdout) / 10


def test_the_environment_may_forbid_it(monkeypatch):
    monkeypatch.setenv("NWAVESDK_KEEP_MEMORY", "0")
    assert keep_large_blocks.__wrapped__() is False
