"""Time calls against each other: in turn, after a warm-up, as medians with quartiles. Standard library only."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

__all__ = ["RUNS", "Spread", "ratios", "time_in_turn"]

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


def ratios(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """How many times faster the second is, by runs that stood side by side."""
    return Spread.of([slow / fast for slow, fast in zip(slower, faster, strict=True)])


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
