"""Statistics of a study against scipy's tests and against Holm's procedure worked step by step."""

import math

import pytest

pytest.importorskip("scipy")

from scipy import stats

from nwavesdk.analysis import compare_pairs, summarize
from nwavesdk.analysis.statistics import LIMITS


def test_interval_of_an_arm_is_student_s() -> None:
    values = [0.91, 0.93, 0.96, 0.90, 0.94]
    summary = summarize(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (summary.low, summary.high) == pytest.approx(tuple(expected))
    assert summary.deviation == pytest.approx(stats.tstd(values))


def test_an_interval_ends_where_the_measure_does() -> None:
    summary = summarize([0.4, 0.5, 0.98], limits=LIMITS["accuracy"])
    assert (summary.low, summary.high) == (0, 1)
    assert summarize([0.4, 0.5, 0.98]).high > 1
    assert summarize([-2.0, 0.5, 0.9], limits=LIMITS["r2"]).low < -1


def test_pairs_are_paired_t_tests_with_holm_and_bonferroni() -> None:
    arms = {
        "a": [0.9, 0.92, 0.94, 0.95],
        "b": [0.88, 0.91, 0.9, 0.93],
        "c": [0.9, 0.9, 0.95, 0.96],
    }
    pairs = {(p.first, p.second): p for p in compare_pairs(arms)}
    uncorrected = {key: stats.ttest_rel(arms[key[0]], arms[key[1]]) for key in pairs}
    largest = 0.0
    for rank, key in enumerate(sorted(uncorrected, key=lambda key: uncorrected[key].pvalue)):
        largest = max(largest, min(1.0, uncorrected[key].pvalue * (3 - rank)))
        assert pairs[key].p == pytest.approx(largest)
        expected = uncorrected[key].confidence_interval(1 - 0.05 / 3)
        assert (pairs[key].low, pairs[key].high) == pytest.approx(tuple(expected))


def test_of_errors_fewer_are_better() -> None:
    arms = {"a": [0.9, 0.91, 0.92], "b": [0.1, 0.11, 0.13]}
    conclusions = [
        compare_pairs(arms, lower_is_better=lower)[0].conclusion for lower in (False, True)
    ]
    assert conclusions == ["a is better", "b is better"]


def test_one_seed_gives_no_interval() -> None:
    (pair,) = compare_pairs({"a": [0.9], "b": [0.8]})
    assert pair.difference == pytest.approx(0.1)
    assert math.isnan(pair.low)
    assert math.isnan(pair.p)
    assert pair.conclusion == "one seed is not enough"


def test_conclusions() -> None:
    better = [0.9, 0.91, 0.92]
    worse = [0.1, 0.11, 0.13]
    assert compare_pairs({"a": better, "b": worse})[0].conclusion == "a is better"
    assert compare_pairs({"a": worse, "b": better})[0].conclusion == "b is better"
    assert compare_pairs({"a": worse, "b": worse})[0].conclusion == "no difference shown"


def test_differences_without_spread() -> None:
    """Also those that are equal up to rounding, of which scipy's tests warn."""
    assert compare_pairs({"a": [0.5, 0.7], "b": [0.5, 0.7]})[0].p == 1.0
    assert compare_pairs({"a": [1.0, 2.0], "b": [0.0, 1.0]})[0].p == 0.0
    assert compare_pairs({"a": [0.9, 0.3, 0.4], "b": [0.8, 0.2, 0.3]})[0].p < 1e-20


def test_arms_need_the_same_seeds() -> None:
    with pytest.raises(ValueError, match="paired arms need the same seeds"):
        compare_pairs({"a": [1.0], "b": [1.0, 2.0]})
