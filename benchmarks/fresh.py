"""Suites that need fresh processes: memory, start-up and `nwave train`."""

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
from benchmarks.instrument import RUNS, Spread
from nwavesdk.layers import SpikingSequential

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]

# Large blocks return to the system immediately: resident memory must not include freed memory.
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "32768", "NWAVESDK_KEEP_MEMORY": "0"}


def run_child(job: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """Return what `benchmarks.child` prints for a job.

    Raises:
        RuntimeError: If it failed; the message has the end of its output.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.child", json.dumps(job)]
    process = subprocess.run(
        command, cwd=ROOT, env=os.environ | (environment or {}), capture_output=True, text=True
    )
    if process.returncode:
        raise RuntimeError(f"benchmarks.child failed for {job}: {process.stderr.strip()[-800:]}")
    return json.loads(process.stdout.strip().splitlines()[-1])


def memory(
    peers: Mapping[str, ModuleType], quick: bool, wanted: Callable[[str], bool]
) -> Iterator[list[Row]]:
    """Measure bytes saved for backward, and the peak of a training step against T."""
    if wanted("memory/kept per neuron-step"):
        by_contender = {
            name: run_child(
                {"job": "kept", "contender": name, "shape": cases.MEMORY_SHAPE}, RETURN_MEMORY
            )
            for name in ["ours", *peers]
        }
        yield [
            {
                "name": "memory/kept per neuron-step",
                "unit": "bytes",
                "shape": cases.MEMORY_SHAPE,
                "value": by_contender["ours"]["kept"],
                "contenders": by_contender,
            }
        ]
    ours = ["ours", "ours, streamed"]
    if "checkpoint" in inspect.signature(SpikingSequential.__init__).parameters:
        ours.append("ours, checkpoint")
    for T in () if quick else cases.MEMORY_T:
        if wanted("memory/peak of a training step"):
            mib = {
                name: run_child(
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
    """Measure import time beyond torch, and the first call with an empty and a warm cache."""
    if wanted("startup/import beyond torch"):
        taken = [run_child({"job": "imports"}) for _ in range(RUNS)]
        spread = Spread.of([t["all"] for t in taken])
        yield [
            {
                "name": "startup/import beyond torch",
                "unit": "s",
                "value": spread.median,
                "spread": spread.as_json(),
                "torch": Spread.of([t["torch"] for t in taken]).as_json(),
                "root": Spread.of([t["root"] for t in taken]).as_json(),
            }
        ]
    if wanted("startup/first call"):
        taken = _first_calls(new_page=False)
        warm = Spread.of([t["seconds"] for t in taken[1:]])
        yield [
            {"name": "startup/first call, empty cache", "unit": "s", "value": taken[0]["seconds"]},
            {
                "name": "startup/first call, warm cache",
                "unit": "s",
                "value": warm.median,
                "spread": warm.as_json(),
            },
        ]
    if wanted("startup/first call of a new page") or wanted("startup/new page over LIF"):
        yield _new_page_rows()


def _new_page_rows() -> list[Row]:
    """The first call of a page that is in no cache, and what it takes beyond LIF when it is."""
    new, lif = _first_calls(new_page=True), _first_calls(new_page=False)
    medians = [Spread.of([t["with_layer"] for t in taken[1:]]).median for taken in (new, lif)]
    return [
        {
            "name": "startup/first call of a new page, empty cache",
            "unit": "s",
            "value": new[0]["with_layer"],
        },
        {
            "name": "startup/new page over LIF, warm cache",
            "unit": "s",
            "value": medians[0] - medians[1],
        },
    ]


def _first_calls(new_page: bool) -> list[dict[str, float]]:
    """The first call of several processes that share a cache, which is empty at first."""
    with tempfile.TemporaryDirectory() as cache:
        job = {"job": "first_call", "new_page": new_page}
        return [run_child(job, {"NWAVESDK_CACHE": cache}) for _ in range(1 + RUNS)]


def job(
    peers: Mapping[str, ModuleType],  # noqa: ARG001
    quick: bool,  # noqa: ARG001
    wanted: Callable[[str], bool],
) -> Iterator[list[Row]]:
    """Measure seconds per epoch of `nwave train` on the serial solver and on the reference.

    The runs alternate, and both solvers must give the same accuracy.
    """
    if not wanted("job/nwave train"):
        return
    seconds: dict[str, list[float]] = {"serial": [], "reference": []}
    for _ in range(cases.JOB_ROUNDS):
        accuracy = []
        for solver, taken in seconds.items():
            result = run_child({"job": "epochs", "solver": solver, "count": cases.JOB_EPOCHS})
            taken += result["seconds"]
            accuracy.append(result["val_accuracy"])
        if accuracy[0] != accuracy[1]:
            raise RuntimeError(
                f"accuracy differs between the serial solver and the reference: {accuracy}"
            )
    spreads = {solver: Spread.of(taken) for solver, taken in seconds.items()}
    ratio = spreads["serial"].median / spreads["reference"].median
    yield [
        *(
            {
                "name": f"job/nwave train, {solver} solver",
                "unit": "s per epoch",
                "value": spread.median,
                "spread": spread.as_json(),
            }
            for solver, spread in spreads.items()
        ),
        {
            "name": "job/nwave train, serial over reference",
            "unit": "times the seconds",
            "value": ratio,
        },
    ]
