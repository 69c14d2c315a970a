"""Suites that need fresh processes: memory, start-up and the main job; and the one place that starts such a process."""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import cases
from nwavesdk.analysis.bench import RUNS, Spread
from nwavesdk.layers import SpikingSequential

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]

# Large blocks go back to the system at once, or resident memory would tell what has been, not what is.
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "32768", "NWAVESDK_KEEP_MEMORY": "0"}


def child(job: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """What `benchmarks.child` prints for a job.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.child", json.dumps(job)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | (environment or {}), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks.child failed for {job}: {done.stderr.strip()[-800:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def memory(
    peers: Mapping[str, ModuleType], quick: bool, wanted: Callable[[str], bool]
) -> Iterator[list[Row]]:
    """Bytes kept for backward, and the peak of a training step against T; ours and the peers'."""
    if wanted("memory/kept per neuron-step"):
        by_contender = {
            name: child(
                {"job": "kept", "contender": name, "shape": cases.MEMORY_SHAPE}, RETURN_MEMORY
            )
            for name in ["ours", *peers]
        }
        yield [{"name": "memory/kept per neuron-step", "unit": "bytes", "shape": cases.MEMORY_SHAPE,
                "value": by_contender["ours"]["kept"], "contenders": by_contender}]  # fmt: skip
    ours = ["ours", "ours, streamed"]
    if "checkpoint" in inspect.signature(SpikingSequential.__init__).parameters:
        ours.append("ours, checkpoint")
    for T in () if quick else cases.MEMORY_T:
        if wanted("memory/peak of a training step"):
            mib = {
                name: child(
                    {"job": "peak", "contender": name, "T": T, **cases.MEMORY_NET}, RETURN_MEMORY
                )["mib"]
                for name in [*ours, *(peers if T <= cases.LONGEST_OF_PEERS else [])]
            }
            yield [
                {
                    "name": "memory/peak of a training step",
                    "unit": "MiB",
                    "axis": "T",
                    "at": T,
                    "contenders": mib,
                }
            ]


def startup(
    peers: Mapping[str, ModuleType],  # noqa: ARG001
    quick: bool,  # noqa: ARG001
    wanted: Callable[[str], bool],
) -> Iterator[list[Row]]:
    """Import time beyond torch, and the first call with an empty cache of kernels and with a warm one."""
    if wanted("startup/import beyond torch"):
        taken = [child({"job": "imports"}) for _ in range(RUNS)]
        spread = Spread.of([t["all"] for t in taken])
        yield [{"name": "startup/import beyond torch", "unit": "s", "value": spread.median, "spread": spread.as_json(),
                "torch": Spread.of([t["torch"] for t in taken]).as_json(),
                "root": Spread.of([t["root"] for t in taken]).as_json()}]  # fmt: skip
    if wanted("startup/first call"):
        with tempfile.TemporaryDirectory() as cache:
            taken = [
                child({"job": "first_call"}, {"NWAVESDK_CACHE": cache})["seconds"]
                for _ in range(1 + RUNS)
            ]
        warm = Spread.of(taken[1:])
        yield [
            {"name": "startup/first call, empty cache", "unit": "s", "value": taken[0]},
            {
                "name": "startup/first call, warm cache",
                "unit": "s",
                "value": warm.median,
                "spread": warm.as_json(),
            },
        ]


def job(
    peers: Mapping[str, ModuleType],  # noqa: ARG001
    quick: bool,  # noqa: ARG001
    wanted: Callable[[str], bool],
) -> Iterator[list[Row]]:
    """Seconds an epoch of `nwave train`, on the serial solver and on the reference, in turn; equal accuracy first."""
    if not wanted("job/nwave train"):
        return
    seconds: dict[str, list[float]] = {"serial": [], "reference": []}
    for _ in range(cases.JOB_ROUNDS):
        accuracy = []
        for solver, taken in seconds.items():
            given = child({"job": "epochs", "solver": solver, "count": cases.JOB_EPOCHS})
            taken += given["seconds"]
            accuracy.append(given["val_accuracy"])
        if accuracy[0] != accuracy[1]:
            raise RuntimeError(
                f"nwave train learns differently on the serial solver and the reference: {accuracy}"
            )
    spreads = {solver: Spread.of(taken) for solver, taken in seconds.items()}
    ratio = spreads["serial"].median / spreads["reference"].median
    yield [
        *({"name": f"job/nwave train, {solver} solver", "unit": "s an epoch", "value": spread.median,
           "spread": spread.as_json()} for solver, spread in spreads.items()),
        {"name": "job/nwave train, serial over reference", "unit": "times the seconds", "value": ratio},
    ]  # fmt: skip
