"""Speed next to other processes that compute: `python -m benchmarks.busy`.

For 0, 1 and 2 such processes, prints mean milliseconds of layers, training steps and epochs of the
main job on one thread, and the ratio of each other number of threads to it. Threads alternate in
fresh processes. Means, not medians: a thread without a core costs a few calls a lot of time.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import torch

from benchmarks.epochs import epochs
from benchmarks.fresh import run_child
from benchmarks.instrument import LayerCase, TrainingCase, build_contender, prepare_timing
from nwavesdk.internal.load import usable_cores

CASES: tuple[LayerCase | TrainingCase, ...] = (
    LayerCase((16, 100, 64)),
    LayerCase((64, 100, 20)),
    LayerCase((64, 250, 128)),
    LayerCase((64, 100, 512)),
    TrainingCase(16, 100, (40, 64, 10)),
    TrainingCase(),
    TrainingCase(density=None),
)
EPOCHS = 3
SECONDS = 1.0  # per case
SETTLE = 0.5  # seconds before a case is timed, in which it finds out how busy the machine is


def times(threads: int) -> dict[str, float]:
    """Mean milliseconds of each case; runs in a fresh process."""
    prepare_timing(threads)
    means = {}
    for case in CASES:
        call = build_contender(case, *case.draw_data()).call
        call()
        _calls_within(SETTLE, call)
        means[case.name] = 1e3 * SECONDS / _calls_within(SECONDS, call)
    torch.set_num_threads(threads)
    means["epoch of the main job"] = 1e3 * statistics.mean(epochs("auto", EPOCHS)["seconds"])
    return means


def _calls_within(seconds: float, call) -> float:
    """How many calls take so long."""
    start = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - start) < seconds:
        call()
        count += 1
    return count * seconds / passed


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many other processes compute within a `with` block."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.enter_context(process)
            stack.callback(process.kill)
        yield


def main() -> None:
    """Print a table for each number of busy processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per number [3]")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="[0 1 2]")
    options = parser.parse_args()
    numbers = range(1, usable_cores() + 1)
    for count in options.busy:
        rounds = []
        with busy_processes(count):
            for _ in range(options.rounds):
                rounds.append([run_child({"job": "busy", "threads": n}) for n in numbers])
        print(f"\n{count} busy processes on {usable_cores()} cores")
        print(f"{'':<48} {'1 thread, ms':>14}", *(f"{n:>4} threads" for n in numbers[1:]))
        for name in rounds[0][0]:
            base = statistics.median(first[name] for first, *_ in rounds)
            ratios = [
                statistics.median(means[n - 1][name] / means[0][name] for means in rounds)
                for n in numbers[1:]
            ]
            print(f"{name:<48} {base:>14.2f}", *(f"{ratio:>10.2f} ×" for ratio in ratios))


if __name__ == "__main__":
    main()
