"""Cells on processes of this machine, or on a Ray cluster: the same function, the same threads, the same results."""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from nwavesdk.data import require
from nwavesdk.lab.compare.study import Cell, Study

__all__ = ["finish_on_processes", "finish_on_ray", "run_cell"]

Job = tuple[str, dict[str, Any], int]
Told = Callable[[Cell], None]


def run_cell(job: Job) -> None:
    """Finish the run of one cell: begin it, go on from its last epoch, or leave it as it is."""
    import torch

    from nwavesdk.train import Run, RunConfig, RunFolder

    path, choices, threads = job
    torch.set_num_threads(threads)
    folder = RunFolder(Path(path))
    if not folder.finished:
        (Run.open(folder.path) if folder.config.is_file() else Run.new(folder.path, RunConfig.of(choices))).train()


def finish_on_processes(study: Study, cells: Sequence[Cell], jobs: int, told: Told) -> None:
    """Finish cells, `jobs` at a time.

    Raises:
        Exception: The first that a cell raised; other cells that had begun are finished before.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit thread pools
    with ProcessPoolExecutor(max(1, min(jobs, len(cells))), context, initializer=_die_with_the_parent) as pool:
        futures = {pool.submit(_quietly, study.job(cell)): cell for cell in cells}
        try:
            for future in as_completed(futures):
                future.result()
                told(futures[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def finish_on_ray(study: Study, cells: Sequence[Cell], told: Told) -> None:
    """Finish cells as Ray tasks, on the cluster that Ray finds or on this machine; all must see the study's folder.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    ray = require("ray", "hpo")
    began = not ray.is_initialized()
    if began:
        ray.init(logging_level="error", include_dashboard=False, log_to_driver=False)
    try:
        task = ray.remote(num_cpus=study.threads, max_retries=2)(_quietly)
        waiting = {task.remote(study.job(cell)): cell for cell in cells}
        while waiting:
            done, _ = ray.wait(list(waiting))
            for reference in done:
                ray.get(reference)
                told(waiting.pop(reference))
    finally:
        if began:
            ray.shutdown()


def _quietly(job: Job) -> None:
    """Run a cell with its lines of progress in `train.log`, as cells run side by side."""
    import contextlib

    folder = Path(job[0])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".log"), "a") as log, contextlib.redirect_stderr(log):
        run_cell(job)


def _die_with_the_parent() -> None:
    """A study that is killed must not leave processes behind that write to cells which the next one begins."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_IGN)
