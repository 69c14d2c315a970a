"""Means and paired differences of a study, with intervals that hold for all comparisons at once.

Arms share seeds, so differences are taken seed by seed: what a seed does to both arms cancels. Everything rests on
Student's t over seeds: with few of them intervals are wide, as they should be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from nwavesdk.internal.extras import require

__all__ = ["Pair", "Summary", "compare_pairs", "summarize"]


@dataclass(frozen=True)
class Summary:
    """One arm.

    Attributes:
        mean: over seeds.
        low: lower end of its 95 % interval; nan with one seed.
        high: upper end.
        deviation: standard deviation over seeds; nan with one seed.
    """

    mean: float
    low: float
    high: float
    deviation: float


@dataclass(frozen=True)
class Pair:
    """One arm against another, `first` - `second`, paired by seed.

    Attributes:
        first: name of an arm.
        second: name of the other.
        difference: mean over seeds.
        low: lower end of its 95 % interval, for all pairs of the study at once (Bonferroni).
        high: upper end.
        p: of no difference, by Holm's correction over all pairs; nan with one seed.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float

    @property
    def told(self) -> str:
        """What can be concluded, in words."""
        if math.isnan(self.p):
            return "one seed tells nothing of chance"
        if self.low > 0:
            return f"{self.first} is better"
        return f"{self.second} is better" if self.high < 0 else "no difference shown"


def summarize(values: Sequence[float], level: float = 0.95) -> Summary:
    """Mean and interval of one arm.

    Example:
        >>> f"{summarize([0.9, 0.92, 0.94]).mean:.2f}"
        '0.92'
    """
    mean, deviation = _moments(values)
    reach = _reach(len(values), deviation, 1 - level)
    return Summary(mean, mean - reach, mean + reach, deviation)


def compare_pairs(arms: Mapping[str, Sequence[float]], level: float = 0.95) -> list[Pair]:
    """Every arm against every other.

    Args:
        arms: For each arm one value a seed, the same seeds in the same order.
        level: Of the intervals, all together.

    Raises:
        ValueError: Arms have different numbers of seeds.

    References:
        Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    counts = {len(values) for values in arms.values()}
    if len(counts) > 1:
        raise ValueError(f"paired arms need the same seeds, got {sorted(counts)} of them.")
    names = list(combinations(arms, 2))
    differences = [
        [a - b for a, b in zip(arms[first], arms[second], strict=True)] for first, second in names
    ]
    moments = [_moments(values) for values in differences]
    seeds = counts.pop() if counts else 0
    corrected = _holm([_p(seeds, mean, deviation) for mean, deviation in moments])
    pairs = []
    for (first, second), (mean, deviation), p in zip(names, moments, corrected, strict=True):
        reach = _reach(seeds, deviation, (1 - level) / len(names))
        pairs.append(Pair(first, second, mean, mean - reach, mean + reach, p))
    return pairs


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _reach(n: int, deviation: float, error: float) -> float:
    """Half the width of an interval of Student's t."""
    if n < 2:
        return math.nan
    t: float = require("scipy.stats", "train").t.ppf(1 - error / 2, n - 1)
    return t * deviation / math.sqrt(n)


def _p(n: int, mean: float, deviation: float) -> float:
    if n < 2:
        return math.nan
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    t = abs(mean) / (deviation / math.sqrt(n))
    return float(2 * require("scipy.stats", "train").t.sf(t, n - 1))


def _holm(values: Sequence[float]) -> list[float]:
    corrected, worst = [math.nan] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        if not math.isnan(values[index]):
            worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
            corrected[index] = worst
    return corrected
