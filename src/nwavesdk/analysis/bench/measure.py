"""Time calls against each other: in turn, after a warm-up, as medians with quartiles. Standard library only.

Whether two ways to run a net did the same; a benchmark tells no time of one that did not.

One benchmark: parity first, then times in turn, then ratios.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "RUNS",
    "TOLERANCE",
    "Contender",
    "Outcome",
    "Parity",
    "Spread",
    "compare_outcomes",
    "measure_contenders",
    "paired_ratios",
    "time_in_turn",
]

RUNS = 7
_SHORT = 0.1  # seconds below which twice as many do not matter


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles: half of all runs lie between `low` and `high`."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Median and quartiles of at least one value.

        Example:
            >>> Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
            Spread(median=3.0, low=2.0, high=4.0, runs=5)
        """
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def as_json(self) -> dict[str, float]:
        """The four numbers by name."""
        return asdict(self)


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], runs: int = RUNS, least: float = 5e-3
) -> dict[str, list[float]]:
    """Milliseconds of each call, one number a run; in every run each call has its turn.

    What disturbs the machine for a while then falls on all of them alike, and `ratios` compares within a run. Each is
    called three times before the first run. Short calls are repeated until a run lasts `least`, and as often before it
    without being counted: meanwhile threads wake up and the allocator tidies what another call has left, which took ten
    times as long as a call of a millisecond. Python's garbage collector works between runs, never in one.

    Args:
        calls: What to time, by name.
        runs: Numbers for each call, at least 1.
        least: Shortest duration of a run [s].
    """
    repeats, uncounted = dict[str, int](), dict[str, int]()
    for name, call in calls.items():
        call()
        once = min(_seconds(call, 1), _seconds(call, 1))
        repeats[name] = max(1, round(least / max(once, 1e-9)))
        uncounted[name] = repeats[name] if once < _SHORT else 0
    samples: dict[str, list[float]] = {name: [] for name in calls}
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()  # what is there now need not be looked through again between runs
    gc.disable()
    try:
        for _ in range(runs):
            for name, call in calls.items():
                for _ in range(uncounted[name]):
                    call()
                samples[name].append(1e3 * _seconds(call, repeats[name]))
                gc.collect()
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
    return samples


def paired_ratios(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """How many times faster the second is, by runs that stood side by side."""
    return Spread.of([slow / fast for slow, fast in zip(slower, faster, strict=True)])


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


TOLERANCE = (
    3e-5  # of the largest gradient expected, or of 1: GRADIENT[float32] in tests/tolerances.py
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one forward and backward pass gave."""

    spikes: Tensor
    gradients: dict[str, Tensor]


@dataclass(frozen=True)
class Parity:
    """How far an outcome is from the one expected.

    Attributes:
        agrees: every spike equal, every gradient within `TOLERANCE`.
        spikes_differ: number of spikes that differ.
        gradient_error: largest difference, as a share of the largest gradient expected, or of 1.
        rate: spikes per neuron and step, expected.
    """

    agrees: bool
    spikes_differ: int
    gradient_error: float
    rate: float

    def as_json(self) -> dict[str, Any]:
        """The four facts by name."""
        return asdict(self)


def compare_outcomes(got: Callable[[], Outcome], expected: Callable[[], Outcome]) -> Parity:
    """Run both once and compare.

    Raises:
        ValueError: they gave gradients of different things.
    """
    a, b = got(), expected()
    if a.gradients.keys() != b.gradients.keys():
        raise ValueError(
            f"gradients of {sorted(a.gradients)} against gradients of {sorted(b.gradients)}."
        )
    differ = int((a.spikes != b.spikes).sum())
    error = max((_error(a.gradients[k], b.gradients[k]) for k in a.gradients), default=0.0)
    return Parity(differ == 0 and error <= TOLERANCE, differ, error, float(b.spikes.mean()))


def _error(got: Tensor, expected: Tensor) -> float:
    error = (got.double() - expected.double()).abs().max()
    if not bool(torch.isfinite(error)):
        return float("inf")
    return float(error / expected.double().abs().max().clamp(min=1.0))


@dataclass(frozen=True, eq=False)
class Contender:
    """Something of ours to time, and the reference that it must agree with."""

    call: Callable[[], Outcome]
    reference: Callable[[], Outcome]


def measure_contenders(
    ours: Mapping[str, Contender], others: Mapping[str, Callable[[], object]], runs: int = RUNS
) -> list[dict[str, Any]]:
    """Rows of a table: each of ours against all others, measured in the same runs.

    Args:
        ours: Contenders by the name of their row.
        others: What to compare with, by name.
        runs: Numbers for each median.

    Returns:
        For each contender `name`, `parity`, `times_ms` (`ours` and the others) and `ratios` (how many times longer
        each other one takes). A contender that differs from its reference has neither times nor ratios.
    """
    parities = {
        name: compare_outcomes(contender.call, contender.reference)
        for name, contender in ours.items()
    }
    green = {f"ours {name}": ours[name].call for name, parity in parities.items() if parity.agrees}
    samples = time_in_turn({**green, **others}, runs) if green else {}
    rows: list[dict[str, Any]] = []
    for name, parity in parities.items():
        row: dict[str, Any] = {
            "name": name,
            "parity": parity.as_json(),
            "times_ms": {},
            "ratios": {},
        }
        if parity.agrees:
            mine = samples[f"ours {name}"]
            row["times_ms"] = {"ours": Spread.of(mine).as_json()}
            row["times_ms"] |= {other: Spread.of(samples[other]).as_json() for other in others}
            row["ratios"] = {
                other: paired_ratios(samples[other], mine).as_json() for other in others
            }
        rows.append(row)
    return rows
