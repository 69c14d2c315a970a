"""Where the cells of a study run: in processes of this machine, or on a Ray cluster.

Design requirements:

- A cell is the same function with the same number of threads everywhere, so that results are equal
  to the bit.
- The process that asks, the driver, hears of each epoch before the next one begins. It ends a cell
  by raising an error: a cell that is killed has lost nothing.
- All processes end with the driver.
"""

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from typing import Any, Self, TypeVar

from nwavesdk.analysis.study.cluster import RETRIES, join_ray, require_cpus
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import die_with_the_parent
from nwavesdk.train.run_folder import BrokenRunError, BusyError

__all__ = ["Executor", "Processes", "RayCluster", "Report", "Work", "finish_all", "ignore"]

# Longest time in which the process of a lost machine ends, and its lock with it [s].
MAX_BUSY_SECONDS = 60.0

# How often the driver asks a process of Ray for its epochs [s].
POLL_SECONDS = 0.1

# What is called after each epoch with its number and its score.
Report = Callable[[int, float], None]

# What a process does with a job: a function of a module, or a `functools.partial` of one.
Work = Callable[[Any, Report], Any]

C = TypeVar("C")


def ignore(epoch: int, score: float) -> None:
    """A report to nobody."""


def finish_all(
    executor: "Executor",
    work: Work,
    cells: Iterable[tuple[C, Any]],
    on_end: Callable[[C, Future[Any]], None],
    on_report: Callable[[C, int, float], None] = lambda *_: None,
) -> None:
    """Run cells side by side; each is taken when a process is free for it.

    Args:
        executor: Where they run; entered.
        work: What a process does with the job of a cell.
        cells: Cells with their jobs.
        on_end: Called with a cell and its result, or its error; what it raises ends all cells.
        on_report: Called with a cell, the number of an epoch and its score, from a thread of the
            cell; what it raises ends this cell.
    """

    def call(cell: C, job: Any) -> Any:
        return executor.call(work, job, lambda *report: on_report(cell, *report))

    remaining = iter(cells)
    running: dict[Future[Any], C] = {}
    with ThreadPoolExecutor(executor.jobs) as pool:
        try:
            while True:
                while len(running) < executor.jobs and (pair := next(remaining, None)):
                    running[pool.submit(call, *pair)] = pair[0]
                if not running:
                    return
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    on_end(running.pop(future), future)
        except BaseException:
            executor.stop()
            raise


class Processes:
    """Processes of this machine, while it is entered.

    Args:
        jobs: How many jobs run at a time.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        # A server that has imported this package forks a process in milliseconds. This process
        # would fork its thread pools, too.
        has_server = "forkserver" in multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if has_server else "spawn")
        self._context.set_forkserver_preload(["nwavesdk.train.run"])
        self._running: set[Any] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def call(self, work: Work, job: Any, on_report: Report) -> Any:
        """What a function returns in another process; called from several threads.

        Raises:
            BrokenRunError: If the process was lost.
            Exception: What the function or `on_report` raises; the process is then killed.
        """
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, work, job))
        self._running.add(process)
        process.start()
        there.close()
        try:
            while True:
                name, content = here.recv()
                if name == "result":
                    return content
                if name == "error":
                    raise content
                on_report(*content)
                here.send(None)
        except (EOFError, ConnectionError):
            raise BrokenRunError(
                "a process of the study was killed, perhaps because memory did not suffice: the "
                "same command continues the study; give it fewer --jobs."
            ) from None
        finally:
            process.kill()
            process.join()
            self._running.discard(process)

    def stop(self) -> None:
        """Kill all processes."""
        for process in list(self._running):
            process.kill()


def _serve(connection: Connection, work: Work, job: Any) -> None:
    """Work on a job, and send its epochs and its result or error to the driver."""
    die_with_the_parent()

    def report(epoch: int, score: float) -> None:
        connection.send(("report", (epoch, score)))
        connection.recv()

    try:
        answer = ("result", work(job, report))
    except Exception as error:
        answer = ("error", error)
    connection.send(answer)


class RayCluster:
    """Processes of a Ray cluster, whose machines must all see the files of the jobs.

    It is used like `Processes`. A job whose process or machine is lost runs again on another one.

    Args:
        address: The cluster; see `join_ray`.
        threads: CPUs that each job occupies.
        gpus: GPUs that each job occupies.
        jobs: How many jobs run at a time, at most; None for as many as the cluster has CPUs for.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: On entering, if no machine has as many CPUs.
        BrokenRunError: On entering, if the cluster cannot be reached.
    """

    def __init__(self, address: str, threads: int, gpus: int = 0, jobs: int | None = None) -> None:
        self._address = address
        self._threads = threads
        self._gpus = gpus
        self._max_jobs = jobs
        self._workers: list[Any] = []
        self._idle: list[Any] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._ray = stack.enter_context(join_ray(self._address))
            n_cpus = require_cpus(self._ray, self._threads)
            self._left = stack.pop_all()
        self.jobs = self._max_jobs or n_cpus // self._threads
        self._new_worker = self._ray.remote(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_concurrency=2,
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )(_Worker).remote
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._left.close()

    def call(self, work: Work, job: Any, on_report: Report) -> Any:
        """See `Processes.call`."""
        if not self._idle:
            worker = self._new_worker()
            self._workers.append(worker)
            self._idle.append(worker)
        worker = self._idle.pop()
        try:
            content = self._follow(worker, worker.work.remote(work, job), on_report)
        except BaseException:
            self._ray.kill(worker)
            raise
        self._idle.append(worker)
        return content

    def _follow(self, worker: Any, result: Any, on_report: Report) -> Any:
        """Report the epochs of a job until it ends."""
        ray, errors = self._ray, require("ray.exceptions", "hpo")
        told = 0
        try:
            while not ray.wait([result], timeout=POLL_SECONDS)[0]:
                for epoch, score in ray.get(worker.reports_after.remote(told)):
                    on_report(epoch, score)
                    told = epoch
            return ray.get(result)
        except errors.RayTaskError as error:
            raise error.cause from None  # without the traceback in its text
        except errors.RayError as error:
            raise BrokenRunError(
                f"a process of Ray was lost {RETRIES + 1} times, perhaps because memory did not "
                f"suffice ({one_line(error)[:200]}): the same command continues."
            ) from None

    def stop(self) -> None:
        """Kill all processes."""
        for worker in self._workers:
            self._ray.kill(worker)


Executor = Processes | RayCluster


class _Worker:
    """A process of Ray: one thread works on a job, and another one answers the driver."""

    def __init__(self) -> None:
        self._reports: dict[int, float] = {}
        self._told = 0
        self._changed = threading.Condition()

    def work(self, work: Work, job: Any) -> Any:
        """Work on a job, also if the process of a machine that was lost has not ended yet."""
        self._reports, self._told = {}, 0
        deadline = time.monotonic() + MAX_BUSY_SECONDS
        while True:
            try:
                return work(job, self._report)
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _report(self, epoch: int, score: float) -> None:
        """Wait until the driver has heard of an epoch."""
        with self._changed:
            self._reports[epoch] = score
            self._changed.wait_for(lambda: self._told >= epoch)

    def reports_after(self, told: int) -> list[tuple[int, float]]:
        """The epochs after one that the driver has heard of."""
        with self._changed:
            self._told = told
            self._changed.notify_all()
            return sorted(report for report in self._reports.items() if report[0] > told)
