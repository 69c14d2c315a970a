"""Ranges of jobs in parallel, on as many threads as `torch.get_num_threads()`.

Where torch computes with GNU OpenMP (its Linux builds), the jobs run in torch's own team: after an operation its
threads wait in a busy loop for the next one, and threads of ours would have to fight them for the cores. A fork would
lose the team, and the child hang in its next operation, torch's as well as ours: so the team is sent home before a fork
and gathers anew on both sides. Elsewhere a small pool of our own does it. numba's threading layers are chosen once for
the whole process, and each is unsafe somewhere (two Python threads, or after fork); kernels that release the GIL over
ranges of jobs need none of them.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch

__all__ = ["run_jobs", "run_native", "thread_count"]

_pools: dict[int, ThreadPoolExecutor] = {}
_HARD = 2  # omp_pause_hard: give up the threads
_lost = False  # whether a fork has cost this process its team
_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def thread_count(jobs: int) -> int:
    """On how many threads that many jobs are run."""
    return max(1, min(torch.get_num_threads(), jobs))


def run_native(function: int, block: int, threads: int) -> None:
    """Call the machine code at address `function` with the number `block` on each of so many threads at once."""
    team = None if _lost or threads == 1 else _openmp()
    if team is not None:
        team.GOMP_parallel(_BODY(function), block, threads, 0)
        return
    call = _BODY(function)
    others = [_pool(threads).submit(call, block) for _ in range(threads - 1)]
    try:
        call(block)
    finally:  # an interrupt must not free what the others still work on
        for other in others:
            other.result()


def run_jobs(kernel: Callable[[int, int], object], jobs: int, *, serial: bool = False) -> None:
    """Call `kernel(first, last)` over ranges that make up 0…jobs, in parallel unless `serial`."""
    threads = 1 if serial else thread_count(jobs)
    if threads == 1:
        kernel(0, jobs)
        return
    cuts = [jobs * i // threads for i in range(threads + 1)]
    team = None if _lost else _openmp()
    if team is None:
        _run_in_pool(kernel, cuts)
    else:
        _run_in_team(team, kernel, cuts)


def _run_in_team(team: ctypes.CDLL, kernel: Callable[[int, int], object], cuts: list[int]) -> None:
    ranges = list(pairwise(cuts))
    errors: list[BaseException] = []

    def body(_: int | None) -> None:
        try:
            while True:  # the team may be smaller than was asked for
                kernel(*ranges.pop())
        except IndexError:
            return
        except BaseException as error:
            errors.append(error)

    team.GOMP_parallel(_BODY(body), None, len(ranges), 0)
    if errors:
        raise errors[0]
    while ranges:  # an interrupt took a thread before it began
        kernel(*ranges.pop())


def _run_in_pool(kernel: Callable[[int, int], object], cuts: list[int]) -> None:
    pool = _pool(len(cuts) - 1)
    others = [pool.submit(kernel, first, last) for first, last in pairwise(cuts[1:])]
    try:
        kernel(cuts[0], cuts[1])
    finally:
        for other in others:
            other.result()


def _pool(threads: int) -> ThreadPoolExecutor:
    pool = _pools.get(threads)
    if pool is None:
        pool = _pools.setdefault(
            threads, ThreadPoolExecutor(threads - 1, thread_name_prefix="nwavesdk")
        )
    return pool


@cache
def _openmp() -> ctypes.CDLL | None:
    """The GNU OpenMP library that torch has loaded, or None."""
    try:
        loaded = {
            line.split()[-1]
            for line in Path("/proc/self/maps").read_text().splitlines()
            if "libgomp" in line
        }
        shipped = {
            path for path in loaded if Path(path).is_relative_to(Path(torch.__file__).parent)
        }
        if (
            len(shipped or loaded) != 1
        ):  # none, or torch's cannot be told from those of other packages
            return None
        team = ctypes.CDLL((shipped or loaded).pop())
        team.GOMP_parallel.argtypes = [_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        team.GOMP_parallel.restype = None
        team.omp_pause_resource_all.argtypes = [ctypes.c_int]
    except (OSError, AttributeError):
        return None
    return team


def _before_fork() -> None:
    global _lost
    team = _openmp()
    _lost = team is not None and team.omp_pause_resource_all(_HARD) != 0


def _after_fork_in_parent() -> None:
    global _lost
    _lost = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_pools.clear
    )
