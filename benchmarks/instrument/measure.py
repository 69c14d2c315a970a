"""Timing of calls in turn, and parity: no time is reported for a call that gives wrong results."""

import gc
import math
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
    "difference_text",
    "load_warning",
    "measure_contenders",
    "paired_ratios",
    "time_in_turn",
]

RUNS = 7

# Largest error of a gradient, as a share of the largest expected gradient, or of 1. The same as
# GRADIENT[float32] in tests/tolerances.py.
TOLERANCE = 3e-5

# Calls shorter than this [s] are also run without being counted; see `time_in_turn`.
SHORT_CALL = 0.1


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles: half of all runs are between `low` and `high`."""

    median: float
    low: float
    high: float
    runs: int

    as_json = asdict

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


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], runs: int = RUNS, least: float = 5e-3
) -> dict[str, list[float]]:
    """Milliseconds of each call, one number per run; every run times each call once.

    A disturbance of the machine then affects all calls alike, and `paired_ratios` compares within a
    run. Each call is made three times before the first run. Short calls are repeated until a run
    lasts `least`. Before each run they are also repeated as often without being counted: meanwhile,
    threads wake up and the allocator frees what another call has left, which otherwise took ten
    times as long as a call of one millisecond. Python's garbage collector works between runs only.

    Args:
        calls: The calls by name.
        runs: Number of runs, at least 1.
        least: Shortest duration of a run [s].
    """
    repeats: dict[str, int] = {}
    uncounted: dict[str, int] = {}
    for name, call in calls.items():
        call()
        duration = min(_seconds_per_call(call, 1), _seconds_per_call(call, 1))
        repeats[name] = max(1, round(least / max(duration, 1e-9)))
        uncounted[name] = repeats[name] if duration < SHORT_CALL else 0
    samples: dict[str, list[float]] = {name: [] for name in calls}
    was_enabled = gc.isenabled()
    # Frozen objects are not examined again by the collections between runs. What the caller has
    # frozen stays so; otherwise each later collection would examine all modules.
    gc.collect()
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    gc.disable()
    try:
        for _ in range(runs):
            for name, call in calls.items():
                for _ in range(uncounted[name]):
                    call()
                samples[name].append(1e3 * _seconds_per_call(call, repeats[name]))
                gc.collect()
    finally:
        if not was_frozen:
            gc.unfreeze()
        if was_enabled:
            gc.enable()
    return samples


def paired_ratios(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """How many times faster the second is, by pairs of the same run."""
    return Spread.of([slow / fast for slow, fast in zip(slower, faster, strict=True)])


def _seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of one forward and backward pass."""

    spikes: Tensor
    gradients: dict[str, Tensor]


@dataclass(frozen=True)
class Parity:
    """The distance of an outcome from the expected one.

    Attributes:
        agrees: Whether all spikes are equal and all gradients are within the tolerance.
        spikes_differ: Number of spikes that differ.
        gradient_error: Largest difference, as a share of the largest expected gradient, or of 1.
        rate: Expected firing rate [spikes per step and neuron].
    """

    agrees: bool
    spikes_differ: int
    gradient_error: float
    rate: float

    as_json = asdict


def compare_outcomes(
    got: Callable[[], Outcome], expected: Callable[[], Outcome], tolerance: float = TOLERANCE
) -> Parity:
    """Make both calls once and compare their outcomes.

    Args:
        got: The call to test.
        expected: The call that is right.
        tolerance: Largest error of a gradient, see `TOLERANCE`.

    Raises:
        ValueError: If they return gradients of different tensors.
    """
    outcome = got()
    reference = expected()
    expected_gradients = reference.gradients
    if outcome.gradients.keys() != expected_gradients.keys():
        raise ValueError(
            f"got gradients of {sorted(outcome.gradients)}, expected gradients of "
            f"{sorted(expected_gradients)}."
        )
    differ = int((outcome.spikes != reference.spikes).sum())
    errors = [_relative_error(g, expected_gradients[n]) for n, g in outcome.gradients.items()]
    error = max(errors, default=0.0)
    agrees = differ == 0 and error <= tolerance
    return Parity(agrees, differ, error, float(reference.spikes.mean()))


def _relative_error(got: Tensor, expected: Tensor) -> float:
    error = (got.double() - expected.double()).abs().max()
    if not bool(torch.isfinite(error)):
        return math.inf
    return float(error / expected.double().abs().max().clamp(min=1.0))


@dataclass(frozen=True, eq=False)
class Contender:
    """A call to time, and the reference that it must agree with, within the tolerance."""

    call: Callable[[], Outcome]
    reference: Callable[[], Outcome]
    tolerance: float = TOLERANCE


def measure_contenders(
    ours: Mapping[str, Contender], others: Mapping[str, Callable[[], object]], runs: int = RUNS
) -> list[dict[str, Any]]:
    """Rows of a table: each contender against all other calls, measured in the same runs.

    Args:
        ours: Contenders by the name of their row.
        others: Calls to compare with, by name.
        runs: Number of runs for each median.

    Returns:
        For each contender `name`, `parity`, `times_ms` (of `ours` and of the others) and `ratios`
        (how many times longer each of the others takes). Times and ratios of a contender that
        differs from its reference are empty.
    """
    parities = {
        name: compare_outcomes(c.call, c.reference, c.tolerance) for name, c in ours.items()
    }
    calls = {f"ours {name}": ours[name].call for name, p in parities.items() if p.agrees}
    samples = time_in_turn({**calls, **others}, runs) if calls else {}
    rows: list[dict[str, Any]] = []
    for name, parity in parities.items():
        row = {"name": name, "parity": parity.as_json(), "times_ms": {}, "ratios": {}}
        if parity.agrees:
            times = samples[f"ours {name}"]
            each = {"ours": times, **{other: samples[other] for other in others}}
            row["times_ms"] = {key: Spread.of(values).as_json() for key, values in each.items()}
            row["ratios"] = {
                other: paired_ratios(samples[other], times).as_json() for other in others
            }
        rows.append(row)
    return rows


def difference_text(row: dict[str, Any]) -> str:
    """How a row without parity differs from its reference."""
    parity = row["parity"]
    return f"{parity['spikes_differ']} spikes, gradients by {parity['gradient_error']:.1e}"


def load_warning(elsewhere: float | None) -> str | None:
    """A warning if other processes used more of the cores than noise explains."""
    if elsewhere is None or elsewhere < 0.05:
        return None
    return (
        f"Other processes used {elsewhere:.0%} of the cores: these numbers are not reliable, "
        "run again."
    )
