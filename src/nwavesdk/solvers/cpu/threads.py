"""The process that CPU kernels run in: its threads, and how its allocator treats large tensors.

Threads. Jobs run on as many threads as `torch.get_num_threads()`. Where torch computes with GNU
OpenMP (its Linux builds), they run in torch's own team: after an operation its threads wait for the
next one in a busy loop, and threads of ours would have to compete with them for the cores. After a
fork the child has no team, and its next operation would hang, torch's as well as ours. So the team
is dissolved before a fork and forms again on both sides. Elsewhere a small thread pool of our own
does the work. numba's threading layers are chosen once for the whole process, and each is unsafe
somewhere (with two Python threads, or after a fork). Kernels that release the GIL over ranges of
jobs need none of them.

Busy machines. Other processes may need the cores, too. Then a thread that has no core holds up all
threads that wait for it, and those that wait in a busy loop keep it from getting one. So we
measure the load by other processes a few times a second. While they leave fewer cores than we have
threads, our kernels run on the cores that are free, and torch's threads sleep while they wait.
Results do not depend on the load: the pieces of work, and the threads of torch's own operations,
stay the same.

Allocator. glibc returns blocks of several MiB to the system and requests them again, and then the
page faults of a fresh tensor cost more than our kernels. The first serial call raises two of its
thresholds once. `NWAVESDK_KEEP_MEMORY=0` leaves them unchanged. Other C libraries have no such
call, and nothing happens there.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch

from nwavesdk.internal.load import LoadMonitor, usable_cores

__all__ = [
    "keep_large_blocks",
    "native_function",
    "run_jobs",
    "run_kernel",
    "run_native",
    "thread_count",
]

_OMP_PAUSE_HARD = 2  # OpenMP's omp_pause_hard: give up the threads
_TRIM_THRESHOLD = -1  # parameter numbers of mallopt(3)
_MMAP_THRESHOLD = -3
_LOAD_WINDOW = 0.2  # seconds over which the load by other processes is measured
_NEGLIGIBLE_LOAD = 0.25  # cores
_NATIVE_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_NATIVE_RESULT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)

_pools: dict[int, ThreadPoolExecutor] = {}
_team_is_lost = False  # whether a fork has cost this process its team


@cache
def keep_large_blocks() -> bool:
    """Raise glibc's thresholds, once in this process. Returns whether they were raised."""
    if os.environ.get("NWAVESDK_KEEP_MEMORY", "1") == "0":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(
            libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        )
    except (OSError, AttributeError):
        return False


def thread_count(jobs: int) -> int:
    """The number of threads on which that many jobs run."""
    return max(1, min(torch.get_num_threads(), jobs))


def native_function(address: int, *, has_result: bool = False) -> Callable[[int], int]:
    """The machine code at an address, a function of the address of its arguments.

    Args:
        address: The address.
        has_result: Whether it returns a whole number.
    """
    return (_NATIVE_RESULT if has_result else _NATIVE_CALL)(address)


def run_native(function: Callable[[int], object], block: int, threads: int) -> None:
    """Call a `native_function` with the argument `block` on every thread that has a core.

    A single call must do all of the work if it is the only one.
    """
    threads = _cores.free_threads(threads)
    team = None if _team_is_lost else _openmp_team()
    if threads == 1:
        function(block)
    elif team is not None:
        team.GOMP_parallel(function, block, threads, 0)
    else:
        _run_in_pool(lambda: function(block), threads)


def run_jobs(kernel: Callable[[int, int], object], jobs: int, *, serial: bool = False) -> None:
    """Call `kernel(first, last)` over ranges that cover 0…jobs, in parallel unless `serial`."""
    threads = 1 if serial else thread_count(jobs)
    if threads == 1:
        kernel(0, jobs)
        return
    ranges = list(pairwise(jobs * i // threads for i in range(threads + 1)))
    errors: list[BaseException] = []

    def take_ranges(_: int | None = None) -> None:
        try:
            while True:  # the team may be smaller than requested: take ranges until none is left
                kernel(*ranges.pop())
        except IndexError:
            return
        except BaseException as error:
            errors.append(error)

    run_native(_NATIVE_CALL(take_ranges), 0, threads)
    if errors:
        raise errors[0]
    while ranges:  # an interrupt stopped a thread before it began
        kernel(*ranges.pop())


def run_kernel(
    kernel: Callable[..., object], jobs: int, *arguments: object, serial: bool = False
) -> None:
    """Call `kernel(first, last, *arguments)` as `run_jobs`; tensors become contiguous arrays."""
    arrays = [
        argument.detach().contiguous().numpy() if isinstance(argument, torch.Tensor) else argument
        for argument in arguments
    ]
    run_jobs(lambda first, last: kernel(first, last, *arrays), jobs, serial=serial)


def _run_in_pool(work: Callable[[], object], threads: int) -> None:
    """Call `work` on this thread and on threads - 1 threads of the pool."""
    others = [_pool(threads).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:  # an interrupt must not free the memory that the other threads still use
        for other in others:
            other.result()


def _pool(threads: int) -> ThreadPoolExecutor:
    pool = _pools.get(threads)
    if pool is None:
        # The calling thread works too, so the pool has one thread fewer.
        workers = ThreadPoolExecutor(threads - 1, thread_name_prefix="nwavesdk")
        pool = _pools.setdefault(threads, workers)
    return pool


@cache
def _openmp_team() -> ctypes.CDLL | None:
    """The GNU OpenMP library that torch has loaded, or None."""
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
        loaded = {line.split()[-1] for line in maps if "libgomp" in line}
        shipped = {path for path in loaded if Path(torch.__file__).parent in Path(path).parents}

        candidates = shipped or loaded
        if len(candidates) != 1:  # none, or several: it is unknown which of them torch uses
            return None

        team = ctypes.CDLL(candidates.pop())
        team.GOMP_parallel.argtypes = [_NATIVE_CALL, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        team.GOMP_parallel.restype = None
        team.omp_pause_resource_all.argtypes = [ctypes.c_int]
    except (OSError, AttributeError):
        return None
    return team


class _ShortWaits:
    """Lets the waiting threads of torch's team sleep, from `start` to `end`.

    A waiting thread of GNU OpenMP stays in a busy loop for milliseconds, unless the library has
    more threads than the machine has cores (its manual, GOMP_SPINCOUNT). So a second team that
    does nothing makes all waits short for as long as it exists.
    """

    def __init__(self) -> None:
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        team = _openmp_team()
        user_decides = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
        if self._thread is not None or team is None or user_decides:
            return

        # With torch's threads, the team must have more threads than there are cores.
        size = max(2, usable_cores() - torch.get_num_threads() + 2)
        formed = threading.Event()
        self._end.clear()

        def keep_team() -> None:
            team.GOMP_parallel(_NATIVE_CALL(lambda _: None), None, size, 0)
            formed.set()
            self._end.wait()  # a team exists as long as the thread that formed it

        self._thread = threading.Thread(target=keep_team, name="nwavesdk-waits", daemon=True)
        self._thread.start()
        formed.wait()

    def end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._end.set()
            thread.join()


class _Cores:
    """The cores that other processes leave to this one, as measured in the last window."""

    def __init__(self) -> None:
        self.waits = _ShortWaits()
        self._free = usable_cores()
        self._monitor = LoadMonitor()
        self._window_end = time.monotonic() + _LOAD_WINDOW
        self._lock = threading.Lock()

    def free_threads(self, threads: int) -> int:
        """The number of threads, of those requested, that have a free core; at least 1."""
        if time.monotonic() > self._window_end and self._lock.acquire(blocking=False):
            try:
                self._measure()
            finally:
                self._lock.release()
        return max(1, min(threads, self._free))

    def _measure(self) -> None:
        elsewhere = self._monitor.elsewhere() or 0.0
        self._free = int(usable_cores() * (1 - elsewhere) + _NEGLIGIBLE_LOAD)
        self._monitor = LoadMonitor()
        self._window_end = time.monotonic() + _LOAD_WINDOW

        if self._free < torch.get_num_threads():
            self.waits.start()
        else:
            self.waits.end()


_cores = _Cores()


def _dissolve_team_before_fork() -> None:
    global _team_is_lost
    _cores.waits.end()
    team = _openmp_team()
    _team_is_lost = team is not None and team.omp_pause_resource_all(_OMP_PAUSE_HARD) != 0


def _regain_team_after_fork() -> None:
    global _team_is_lost
    _team_is_lost = False


def _begin_in_child() -> None:
    global _cores
    _pools.clear()
    _cores = _Cores()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_dissolve_team_before_fork,
        after_in_parent=_regain_team_after_fork,
        after_in_child=_begin_in_child,
    )
