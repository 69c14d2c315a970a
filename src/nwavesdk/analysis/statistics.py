"""Means and paired differences of a study, with intervals that hold for all comparisons jointly.

All arms share their seeds, so differences are taken seed by seed: the effect of a seed on both arms
cancels. All intervals and p values use Student's t distribution over seeds. With few seeds,
intervals are wide, as they should be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

import numpy as np

from nwavesdk.internal.imports import require

__all__ = ["LIMITS", "Pair", "Summary", "compare_pairs", "summarize"]

# Smallest and largest value of bounded measures. Other measures, such as the MSE, have none.
LIMITS = {
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "f1": (0.0, 1.0),
    "misses": (0.0, 1.0),
    "r2": (-math.inf, 1.0),
    "correlation": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Summary:
    """The values of one arm.

    Attributes:
        mean: Mean over seeds.
        low: Lower end of the 95 % interval of the mean; NaN with one seed.
        high: Upper end of the interval; NaN with one seed.
        deviation: Standard deviation over seeds; NaN with one seed.

    Example:
        >>> summary = summarize([0.90, 0.92, 0.94])
        >>> f"{summary.mean:.2f}, from {summary.low:.2f} to {summary.high:.2f}"
        '0.92, from 0.87 to 0.97'
    """

    mean: float
    low: float
    high: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The difference of two arms, `first` - `second`, paired by seed.

    Attributes:
        first: Name of an arm.
        second: Name of the other arm.
        difference: Mean difference over seeds.
        low: Lower end of the difference's interval. Intervals hold for all pairs of the study
            jointly (Bonferroni).
        high: Upper end of the interval.
        p: The p value of no difference, corrected for all pairs (Holm); NaN with one seed.
        conclusion: The conclusion from the interval, in words.

    Example:
        >>> (pair,) = compare_pairs({"atan": [0.90, 0.91, 0.92], "boxcar": [0.80, 0.82, 0.81]})
        >>> pair.first, round(pair.difference, 2), pair.conclusion
        ('atan', 0.1, 'atan is better')
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    conclusion: str


def summarize(
    values: Sequence[float],
    level: float = 0.95,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Summary:
    """Mean, interval and deviation of one arm.

    Args:
        values: One value for each seed.
        level: Confidence level of the interval.
        limits: Smallest and largest possible value, at which the interval is cut.

    Example:
        >>> f"{summarize([0.9, 0.92, 0.94]).mean:.2f}"
        '0.92'
    """
    mean = fmean(values)
    if len(values) < 2 or math.isnan(mean):
        return Summary(mean, math.nan, math.nan, math.nan)
    deviation = stdev(values)
    quantile = require("scipy.stats", "train").t.ppf((1 + level) / 2, len(values) - 1)
    reach = float(quantile * deviation / math.sqrt(len(values)))
    low = max(mean - reach, limits[0])
    high = min(mean + reach, limits[1])
    return Summary(mean, low, high, deviation)


def compare_pairs(
    arms: Mapping[str, Sequence[float]], level: float = 0.95, *, lower_is_better: bool = False
) -> list[Pair]:
    """Compare every arm of a study with every other, such as runs with two surrogates.

    Args:
        arms: For each arm one value per seed, for the same seeds in the same order.
        level: Confidence level of all intervals jointly.
        lower_is_better: Whether the values are errors, such as misses.

    Returns:
        The difference of each pair of arms, with its interval and p value.

    Raises:
        ValueError: If arms have different numbers of seeds.

    Example:
        >>> arms = {"slope 2": [0.91, 0.93, 0.92], "slope 25": [0.84, 0.88, 0.85]}
        >>> (pair,) = compare_pairs(arms)
        >>> f"{pair.low:.3f} to {pair.high:.3f}: {pair.conclusion}"
        '0.035 to 0.092: slope 2 is better'

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
        Statistics 6, 1979.
    """
    counts = {len(values) for values in arms.values()}
    if len(counts) > 1:
        raise ValueError(f"paired arms need the same seeds, got {sorted(counts)} of them.")

    names = list(combinations(arms, 2))
    differences = [
        [a - b for a, b in zip(arms[first], arms[second], strict=True)] for first, second in names
    ]

    # Bonferroni: each interval gets an equal share of the probability of an error.
    pair_level = 1 - (1 - level) / max(len(names), 1)
    summaries = [summarize(values, pair_level) for values in differences]
    p_values = _holm([_p_value(summary, max(counts)) for summary in summaries])

    return [
        Pair(
            first=first,
            second=second,
            difference=summary.mean,
            low=summary.low,
            high=summary.high,
            p=p,
            conclusion=_conclude(summary, (second, first) if lower_is_better else (first, second)),
        )
        for (first, second), summary, p in zip(names, summaries, p_values, strict=True)
    ]


def _conclude(difference: Summary, arms: tuple[str, str]) -> str:
    """The conclusion from the interval of a difference in favor of the first arm, in words."""
    if math.isnan(difference.low):
        return "one seed is not enough"
    if difference.low > 0:
        return f"{arms[0]} is better"
    return f"{arms[1]} is better" if difference.high < 0 else "no difference shown"


def _p_value(summary: Summary, seeds: int) -> float:
    """The two-sided p value of a mean of 0, by Student's t; NaN with one seed."""
    # `ttest_rel` of scipy is not used: it warns when all differences are nearly equal.
    if summary.deviation == 0:
        return float(summary.mean == 0)
    statistic = abs(summary.mean) / summary.deviation * math.sqrt(seeds)
    return float(2 * require("scipy.stats", "train").t.sf(statistic, seeds - 1))


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, which scipy does not have; NaN stays NaN."""
    # The smallest of n p values is multiplied by n, the next by n - 1, and so on. A corrected value
    # is never below the one before it.
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.take(p_values, order) * factors).clip(max=1.0)
    return [float(p) for p in corrected]
