"""The process that CPU kernels run in: its threads, and how its allocator treats large tensors.

Threads. Jobs run on as many threads as `torch.get_num_threads()`. Where torch computes with GNU
OpenMP (its Linux builds), they run in torch's own team: after an operation its threads wait for the
next one in a busy loop, and threads of ours would have to compete with them for the cores. After a
fork the child has no team, and its next operation would hang, torch's as well as ours. So the team
is dissolved before a fork and forms again on both sides. Elsewhere a small thread pool of our own
does the work. numba's threading layers are chosen once for the whole process, and each is unsafe
somewhere (with two Python threads, or after a fork). Kernels that release the GIL over ranges of
jobs need none of them.

Allocator. glibc returns blocks of several MiB to the system and requests them again, and then the
page faults of a fresh tensor cost more than our kernels. The first serial call raises two of its
thresholds once. `NWAVESDK_KEEP_MEMORY=0` leaves them unchanged. Other C libraries have no such
call, and nothing happens there.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch

__all__ = ["keep_large_blocks", "native_function", "run_jobs", "run_native", "thread_count"]

_OMP_PAUSE_HARD = 2  # OpenMP's omp_pause_hard: give up the threads
_TRIM_THRESHOLD = -1  # parameter numbers of mallopt(3)
_MMAP_THRESHOLD = -3
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
    """Call a `native_function` with the argument `block` on every thread."""
    team = None if _team_is_lost else _openmp_team()
    if team is not None:
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

    team = None if _team_is_lost else _openmp_team()
    if team is not None:
        team.GOMP_parallel(_NATIVE_CALL(take_ranges), None, threads, 0)
    else:
        _run_in_pool(take_ranges, threads)
    if errors:
        raise errors[0]
    while ranges:  # an interrupt stopped a thread before it began
        kernel(*ranges.pop())


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


def _dissolve_team_before_fork() -> None:
    global _team_is_lost
    team = _openmp_team()
    _team_is_lost = team is not None and team.omp_pause_resource_all(_OMP_PAUSE_HARD) != 0


def _regain_team_after_fork() -> None:
    global _team_is_lost
    _team_is_lost = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_dissolve_team_before_fork,
        after_in_parent=_regain_team_after_fork,
        after_in_child=_pools.clear,
    )
