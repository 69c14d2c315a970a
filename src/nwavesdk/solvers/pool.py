"""A small pool of threads over ranges of jobs, as many as `torch.get_num_threads()`.

numba's own threading layers are chosen once for the whole process, and each is unsafe somewhere (two Python threads,
or after fork); kernels that release the GIL over ranges of jobs need none of them.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

__all__ = ["run_jobs"]

_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def run_jobs(kernel: Callable[[int, int], object], jobs: int, *, serial: bool = False) -> None:
    """Call `kernel(first, last)` over ranges that make up 0…jobs, in parallel unless `serial`."""
    threads = 1 if serial else min(torch.get_num_threads(), jobs)
    if threads <= 1:
        kernel(0, jobs)
        return
    pool = _pools.get(threads)
    if pool is None:
        pool = _pools.setdefault(threads, ThreadPoolExecutor(threads - 1, thread_name_prefix="nwavesdk"))
    cuts = [jobs * i // threads for i in range(threads + 1)]
    others = [pool.submit(kernel, first, last) for first, last in pairwise(cuts[1:])]
    try:
        kernel(cuts[0], cuts[1])
    finally:
        for other in others:
            other.result()
