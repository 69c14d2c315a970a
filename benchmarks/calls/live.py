"""Live input: one recording, step by step without a gradient, and how long each step takes."""

import statistics
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.calls import rivals
from benchmarks.calls.cases import LIVE_RATE, NetCase
from benchmarks.calls.ways import Net
from benchmarks.cases import contender_of
from benchmarks.instrument import compare_outcomes
from benchmarks.peers import plain

ROUNDS = 7


def measure(case: NetCase, peers: Mapping[str, ModuleType], rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure a net next to all libraries that agree with ours, and to plain torch.

    All of them run the recording in turn, several times; see `summary`.

    Args:
        case: The net and the length of the recording.
        peers: Adapters of the libraries.
        rounds: How often each of them runs the recording.
    """
    x, grad = case.draw_data()
    ours = contender_of(case, x, grad)
    parity = compare_outcomes(ours.call, ours.reference)
    row = {"name": case.name, "parity": parity.as_json(), "rate": LIVE_RATE, "live": {}}
    if not parity.agrees:
        return row
    others, parities = rivals.agreeing_nets(case, {**peers, "torch": plain})
    nets = {"ours": case.called(), **others}
    taken: dict[str, list[list[float]]] = {name: [] for name in nets}
    for k in range(1 + rounds):
        for name, net in nets.items():
            seconds = run_recording(net, x)
            if k:  # the first round loads all code
                taken[name].append(seconds)
    live = {name: summary(runs) for name, runs in taken.items()}
    return {**row, "live": live, "peers": parities}


@torch.no_grad()
def run_recording(net: Net, x: Tensor) -> list[float]:
    """Return the seconds of each step of a recording [1, T, N], from rest."""
    net.reset()
    seconds = []
    for t in range(x.shape[1]):
        start = time.perf_counter()
        net.forward(x[:, t])
        seconds.append(time.perf_counter() - start)
    return seconds


def summary(runs: list[list[float]]) -> dict[str, float]:
    """Return what a live user needs to know of the seconds of each step of several runs.

    `first_ms` is the median first step of a run, `p50_ms` and `p99_ms` are percentiles of all
    others. `steps_per_s` is from the median run, and `real_time` how many times faster than
    `LIVE_RATE` that is.
    """
    later = sorted(seconds for run in runs for seconds in run[1:])
    per_second = statistics.median(len(run) / sum(run) for run in runs)
    return {
        "first_ms": 1e3 * statistics.median(run[0] for run in runs),
        "p50_ms": 1e3 * later[len(later) // 2],
        "p99_ms": 1e3 * later[len(later) * 99 // 100],
        "steps_per_s": per_second,
        "real_time": per_second / LIVE_RATE,
    }
