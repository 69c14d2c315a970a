"""The Ray cluster on which work runs: how it is joined, what tasks it gets, and how it is left.

Design requirements:

- A task is the same function with the same number of threads as on one machine, so that results
  are equal to the bit.
- A machine may be lost: its tasks run again elsewhere.
- Ray prints nothing, reports no usage, and ends with the command that started it.
"""

import contextlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nwavesdk
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import LOCAL, check_address
from nwavesdk.train.run_folder import BrokenRunError, BusyError

__all__ = [
    "Task",
    "check_code",
    "cpus",
    "finish_tasks",
    "join_ray",
    "require_local_cpus",
    "wait_while_busy",
]

# Objects of tasks are a few kilobytes; Ray would take a third of the memory [bytes].
OBJECT_STORE_BYTES = 2**27

# How often a task runs again whose process or machine was lost.
RETRIES = 3

# Longest time in which the process of a lost machine ends, and its lock with it [s].
LOST_SECONDS = 60.0

# Settings that Ray reads from the environment, unless the user has set them. By default its workers
# have a low priority (nice 15), so that next to any other work they hardly advance.
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
}

J = TypeVar("J")
R = TypeVar("R")


class Task(NamedTuple):
    """A task that ended.

    Attributes:
        place: Its place among the jobs.
        result: Returns what it returned, or raises what it raised.
    """

    place: int
    result: Callable[[], Any]


@contextlib.contextmanager
def join_ray(address: str = LOCAL) -> Iterator[Any]:
    """Join a Ray cluster, or start one on this machine; leave it at the end.

    A process that has joined a cluster before uses that one, and stays in it.

    Args:
        address: `"local"`, `"auto"` for the cluster that Ray finds, or `"HOST:PORT"`.

    Yields:
        The module `ray`.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: If the text is not an address.
        BrokenRunError: If the cluster cannot be reached.
    """
    check_address(address)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = require("ray", "hpo")
    if ray.is_initialized():
        yield ray
        return
    sizes = {"object_store_memory": OBJECT_STORE_BYTES} if address == LOCAL else {}
    local = {"include_dashboard": False, **sizes} if address == LOCAL else {}
    try:
        with _same_code():
            ray.init(address, logging_level="error", log_to_driver=False, **local)
    except Exception as error:  # of many kinds, and of none if Ray's own processes start slowly
        what = f"--ray: the cluster at {address} cannot be reached ({one_line(error)})"
        remedy = "start it with `ray start --head`, or leave the address out"
        if address == LOCAL:
            what = f"Ray did not start on this machine ({one_line(error)})"
            remedy = "the same command tries again; other programs may keep the machine busy"
        raise BrokenRunError(f"{what}: {remedy}.") from error
    try:
        with _no_messages():
            yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _no_messages() -> Iterator[None]:
    """Keep what Ray prints about lost processes and machines from standard output.

    Ray prints it there whatever its options are, and a command with `--json` prints one object. The
    name is private, so a version without it is left unchanged.
    """
    worker = require("ray._private.worker", "hpo")
    before = getattr(worker, "_worker_logs_enabled", None)
    if before is None:
        yield
        return
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextlib.contextmanager
def _same_code() -> Iterator[None]:
    """Let processes that are started meanwhile import what this one can."""
    before = os.environ.get("PYTHONPATH")
    root = str(Path(nwavesdk.__file__).parents[1])
    folders = [os.path.abspath(folder) for folder in (root, *sys.path) if folder]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def check_code(ray: Any, function: Callable[..., Any], threads: int) -> None:
    """Check that a process of the cluster can import a function, before it is retried in vain.

    Raises:
        BrokenRunError: If it cannot; the text has the reason.
    """
    content = require("ray.cloudpickle", "hpo").dumps(function)
    try:
        ray.get(ray.remote(num_cpus=threads)(_load).remote(content))
    except Exception as error:  # Ray wraps whatever the import raises
        lines = [line for line in str(getattr(error, "cause", error)).splitlines() if line.strip()]
        raise BrokenRunError(
            f"--ray: a process of the cluster cannot import what it should run ({lines[-1]}): "
            "install the same packages on all machines, or set PYTHONPATH there."
        ) from error


def _load(content: bytes) -> None:
    pickle.loads(content)


def cpus(ray: Any, threads: int) -> int:
    """CPUs of the cluster.

    Raises:
        ValueError: If no machine of it has as many as one task needs, which would wait forever.
    """
    machines = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    largest = int(max(machines, default=0.0))
    if largest < threads:
        raise ValueError(
            f"threads: the largest machine of the Ray cluster has {largest} CPUs, got {threads}: "
            "use fewer --threads."
        )
    return int(sum(machines))


def require_local_cpus(threads: int, address: str) -> None:
    """Check before anything is written that this machine has the threads of a task.

    Args:
        threads: Threads of each task.
        address: See `join_ray`; of other machines, `cpus` reads their number.

    Raises:
        ValueError: If it has fewer.
    """
    n_cpus = os.cpu_count() or 1
    if address == LOCAL and threads > n_cpus:
        raise ValueError(
            f"threads: this machine has {n_cpus} CPUs, got {threads}: use fewer --threads."
        )


def finish_tasks(
    function: Callable[[J], R], jobs: Sequence[J], threads: int, address: str = LOCAL
) -> Generator[Task]:
    """Run a function on each job as tasks of Ray, and yield each task when it ends.

    Args:
        function: A function of a module that all machines can import.
        jobs: Its arguments.
        threads: CPUs that each task occupies.
        address: See `join_ray`.

    Raises:
        ValueError: If no machine has as many CPUs.
        BrokenRunError: If the cluster cannot be reached.
    """
    with join_ray(address) as ray:
        cpus(ray, threads)
        task = ray.remote(num_cpus=threads, max_retries=RETRIES)(wait_while_busy)
        pending = {task.remote(function, job): place for place, job in enumerate(jobs)}
        try:
            while pending:
                done, _ = ray.wait(list(pending))
                for reference in done:
                    yield Task(pending.pop(reference), _getter(ray, reference))
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def wait_while_busy(function: Callable[[J], R], job: J) -> R:
    """Call a function, and again while the process of a machine that was lost has not ended.

    Raises:
        BusyError: If another process works on the job for longer than that.
    """
    deadline = time.monotonic() + LOST_SECONDS
    while True:
        try:
            return function(job)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _getter(ray: Any, reference: Any) -> Callable[[], Any]:
    def get() -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # without the traceback in its text
        except ray.exceptions.RayError as error:
            raise BrokenRunError(
                f"a process of Ray was lost {RETRIES + 1} times, perhaps because memory did not "
                f"suffice ({one_line(error)[:200]}): the same command continues."
            ) from None

    return get
