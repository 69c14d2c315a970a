"""Where the cells of a study run: in processes of this machine, or on a Ray cluster.

Design requirements:

- A cell is the same function with the same number of threads everywhere, so that results are equal
  to the bit.
- All results are on disk: a process that is killed loses nothing.
- All processes end with the process that started them.
- Ray prints nothing, reports no usage, and ends with the command that started it.
"""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nwavesdk
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import LOCAL, check_address, die_with_the_parent
from nwavesdk.train.run_folder import BrokenRunError, BusyError

__all__ = [
    "Executor",
    "LostError",
    "Work",
    "Workers",
    "finish_all",
    "job_result",
    "join_ray",
    "on_processes",
    "on_ray",
    "require_cpus",
]

# Time in which a process of a lost machine ends and releases its lock [s].
MAX_BUSY_SECONDS = 60.0

# Memory for the objects of tasks [bytes], which are a few kilobytes. By default, Ray would reserve
# a third of the machine's memory.
OBJECT_STORE_BYTES = 2**27

# Number of times that a job is repeated if its process or machine is lost.
RETRIES = 3

# Settings that Ray reads from the environment, unless the user has set them. By default, Ray's
# workers have such a low priority (nice 15) that they hardly advance on a busy machine.
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
}


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
            if (job := on_end(cell, partial(job_result, future))) is not None:
                begin(cell, job)


def job_result(future: Future[Any]) -> Any:
    """The result of a job. Raises the error of the job if it failed.

    Raises:
        LostError: If its process was lost.
    """
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
        yield Workers(jobs or n_cpus // threads, lambda work, job: task.remote(work, job).future())


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


@contextlib.contextmanager
def join_ray(address: str = LOCAL) -> Iterator[Any]:
    """Join a Ray cluster, or start a cluster on this machine; leave it at the end.

    A process that is already in a cluster uses this cluster, and stays in it.

    Args:
        address: `"local"`, `"auto"` for the cluster that Ray finds, or `"HOST:PORT"`.

    Yields:
        The module `ray`.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: If `address` is not an address.
        BrokenRunError: If the cluster cannot be reached.
    """
    check_address(address)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = require("ray", "hpo")
    if ray.is_initialized():
        yield ray
        return

    # The processes of the cluster have the import path of this process.
    root = str(Path(nwavesdk.__file__).parents[1])
    folders = [os.path.abspath(folder) for folder in (root, *sys.path) if folder]
    code = {"env_vars": {"PYTHONPATH": os.pathsep.join(dict.fromkeys(folders))}}
    local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}

    try:
        ray.init(
            address,
            logging_level="error",
            log_to_driver=False,
            runtime_env=code,
            **(local if address == LOCAL else {}),
        )
    except Exception as error:  # Ray raises many kinds, a plain Exception if it starts slowly
        raise BrokenRunError(
            f"--ray: the cluster at {address} cannot be reached ({one_line(error)}): start it with "
            "`ray start --head`. The cluster `local` starts on its own: the same command tries "
            "again, because other programs may keep the machine busy."
        ) from error

    # Ray prints messages about lost processes on standard output, for which it has no option. They
    # would spoil the JSON object of a command with `--json`. The setting is private to Ray: if it
    # disappears, Ray prints again.
    settings = vars(require("ray._private.worker", "hpo"))
    before = settings.get("_worker_logs_enabled")
    settings["_worker_logs_enabled"] = False
    try:
        yield ray
    finally:
        ray.shutdown()
        settings["_worker_logs_enabled"] = before


def require_cpus(ray: Any, threads: int) -> int:
    """The number of CPUs of the cluster.

    Raises:
        ValueError: If no machine of the cluster has enough CPUs for one job, which would then wait
            forever.
    """
    machines = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    largest = int(max(machines, default=0.0))
    if largest < threads:
        raise ValueError(
            f"threads: the largest machine of the Ray cluster has {largest} CPUs, got {threads}: "
            "use fewer --threads."
        )
    return int(sum(machines))
