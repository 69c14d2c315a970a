"""The Ray cluster on which cells run: joining and leaving it.

Design requirement: Ray prints nothing, reports no usage, and ends with the command that started it.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nwavesdk
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import LOCAL, check_address
from nwavesdk.train.run_folder import BrokenRunError

__all__ = ["RETRIES", "join_ray", "require_cpus"]

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
        fault = f"--ray: the cluster at {address} cannot be reached ({one_line(error)})"
        remedy = "start it with `ray start --head`, or remove the address"
        if address == LOCAL:
            fault = f"Ray did not start on this machine ({one_line(error)})"
            remedy = "the same command tries again; other programs may keep the machine busy"
        raise BrokenRunError(f"{fault}: {remedy}.") from error

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
