"""Where the cells of a study run: in processes of this machine, or on a Ray cluster.

Design requirements:

- A cell is the same function with the same number of threads everywhere, so that results are equal
  to the bit.
- All results are on disk: a process that is killed loses nothing.
- All processes end with the process that started them.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, NamedTuple, TypeVar

from nwavesdk.analysis.study.cluster import RETRIES, join_ray, require_cpus
from nwavesdk.internal.files import one_line
from nwavesdk.internal.processes import die_with_the_parent
from nwavesdk.train.run_folder import BrokenRunError, BusyError

__all__ = ["Executor", "LostError", "Work", "Workers", "finish_all", "on_processes", "on_ray"]

# Time in which a process of a lost machine ends and releases its lock [s].
MAX_BUSY_SECONDS = 60.0


class LostError(BrokenRunError):
    """The process of a job ended without a result."""


# The function that a process calls with a job: a function of a module, or a `functools.partial` of
# such a function.
Work = Callable[[Any], Any]

C = TypeVar("C")


class Workers(NamedTuple):
    """Processes that run jobs.

    Attributes:
        jobs: Number of jobs that run at a time.
        submit: Begins a call of a function with a job.
    """

    jobs: int
    submit: Callable[[Work, Any], Future[Any]]


# A context that starts the processes, and ends them.
Executor = contextlib.AbstractContextManager[Workers]


def finish_all(
    workers: Workers,
    work: Work,
    cells: Iterable[tuple[C, Any]],
    on_end: Callable[[C, Callable[[], Any]], Any],
) -> None:
    """Run cells next to each other. The next cell is taken from `cells` when a process is free.

    Args:
        workers: The processes.
        work: The function that a process calls with the job of a cell.
        cells: Cells with their jobs.
        on_end: Called with a cell and a function that returns the result of its job, or raises its
            error. It returns a further job of the cell, or None. If it raises an error, all cells
            end.
    """
    remaining = iter(cells)
    running: dict[Future[Any], C] = {}

    def begin(cell: C, job: Any) -> None:
        with _naming_losses():
            running[workers.submit(work, job)] = cell

    while True:
        while len(running) < workers.jobs and (pair := next(remaining, None)):
            begin(*pair)
        if not running:
            return

        for future in wait(running, return_when=FIRST_COMPLETED).done:
            cell = running.pop(future)
            if (job := on_end(cell, partial(_result_of, future))) is not None:
                begin(cell, job)


def _result_of(future: Future[Any]) -> Any:
    """The result of a job. Raises the error of the job if it failed."""
    with _naming_losses():
        return future.result()


@contextlib.contextmanager
def _naming_losses() -> Iterator[None]:
    """Raise a LostError if a process was lost, and otherwise the error of its job."""
    try:
        yield
    except Exception as error:
        # Ray wraps the error of a job in its own error, whose text has the traceback.
        cause = getattr(error, "cause", None) or error
        is_from_ray = type(cause).__module__.partition(".")[0] == "ray"
        if not is_from_ray and not isinstance(cause, BrokenProcessPool):
            raise cause from None

        lost = f"{RETRIES + 1} times " if is_from_ray else ""
        raise LostError(
            f"a process of the study was lost {lost}({one_line(cause)[:200]}), perhaps because "
            "memory did not suffice: the same command continues; fewer runs at a time, as with "
            "--jobs, have more memory each."
        ) from None


@contextlib.contextmanager
def on_processes(jobs: int) -> Iterator[Workers]:
    """Run jobs on processes of this machine.

    Args:
        jobs: Number of jobs that run at a time.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit thread pools
    with ProcessPoolExecutor(jobs, context, initializer=die_with_the_parent) as pool:
        try:
            yield Workers(jobs, pool.submit)
        except BaseException:
            # The pool would wait until all runs end, which can take hours. Their last epochs are on
            # disk, so the processes can be killed.
            for process in multiprocessing.active_children():
                process.kill()
            raise


@contextlib.contextmanager
def on_ray(address: str, threads: int, gpus: int = 0, jobs: int | None = None) -> Iterator[Workers]:
    """Run jobs as tasks of a Ray cluster, whose machines must all see the files of the jobs.

    A job whose process or machine is lost runs again elsewhere.

    Args:
        address: The cluster; see `join_ray`.
        threads: CPUs that each job occupies.
        gpus: GPUs that each job occupies.
        jobs: Maximal number of jobs at a time; None for as many as the CPUs allow.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: If no machine has enough CPUs for a job.
        BrokenRunError: If the cluster cannot be reached.
    """
    with join_ray(address) as ray:
        n_cpus = require_cpus(ray, threads)
        options = {"num_cpus": threads, "num_gpus": gpus, "max_retries": RETRIES}
        task = ray.remote(**options)(_work_if_free)

        def submit(work: Work, job: Any) -> Future[Any]:
            future: Future[Any] = task.remote(work, job).future()
            return future

        yield Workers(jobs or n_cpus // threads, submit)


def _work_if_free(work: Work, job: Any) -> Any:
    """Work on a job. If a process of a lost machine still has its lock, wait for its end."""
    deadline = time.monotonic() + MAX_BUSY_SECONDS
    while True:
        try:
            return work(job)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
