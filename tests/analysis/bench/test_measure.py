"""Statistics of times, turns of calls, and the parity without which no time is reported."""

import math
import time

import pytest
import torch

from nwavesdk.analysis.bench import (
    Contender,
    LayerCase,
    Outcome,
    Spread,
    build_contender,
    compare_outcomes,
    measure_contenders,
    paired_ratios,
    time_in_turn,
)
from nwavesdk.analysis.bench.measure import TOLERANCE
from tolerances import GRADIENT

SMALL = LayerCase((2, 12, 6))


def test_a_spread_is_median_and_quartiles():
    assert Spread.of([9.0, 1.0, 3.0, 2.0, 100.0, 4.0, 5.0]) == Spread(4.0, 2.5, 7.0, 7)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0, 1)


def test_ratios_are_taken_within_a_run():
    assert paired_ratios([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == Spread(2.0, 2.0, 2.0, 3)


def test_calls_take_turns_after_a_warm_up():
    log = []

    def call(name):
        log.append(name)
        time.sleep(0.02)

    samples = time_in_turn({"a": lambda: call("a"), "b": lambda: call("b")}, runs=3)
    assert "".join(log) == "aaabbb" + "aabb" * 3  # The first of each turn does not count.
    assert all(len(values) == 3 and min(values) >= 20 for values in samples.values())


def test_a_short_call_is_repeated_and_its_mean_reported():
    calls = []
    samples = time_in_turn({"short": lambda: calls.append(time.sleep(1e-3))}, runs=2, least=10e-3)
    assert len(calls) > 6
    assert all(1 <= ms < 9 for ms in samples["short"])


@pytest.mark.parametrize("defect", ["spike", "gradient", "not a number"])
def test_a_contender_without_parity_is_not_timed(defect):
    x, grad = SMALL.draw_data()
    correct = build_contender(SMALL, x, grad)

    def solve() -> Outcome:
        outcome = correct.call()
        spikes = outcome.spikes.clone()
        gradient = outcome.gradients["x"].clone()
        if defect == "spike":
            spikes[0, 3, 2] = 1 - spikes[0, 3, 2]
        else:
            gradient[0, 3, 2] += 1e-3 if defect == "gradient" else math.nan
        return Outcome(spikes, {"x": gradient})

    ours = {"wrong": Contender(solve, correct.reference), "correct": correct}
    wrong, right = measure_contenders(ours, {"other": lambda: None}, runs=2)
    assert not wrong["parity"]["agrees"]
    assert wrong["times_ms"] == wrong["ratios"] == {}
    assert right["times_ms"].keys() == {"ours", "other"}
    assert right["ratios"].keys() == {"other"}
    unneeded = {"other": lambda: pytest.fail("timed without need")}
    assert not measure_contenders({"wrong": ours["wrong"]}, unneeded, runs=2)[0]["times_ms"]


def test_gradients_of_different_tensors_are_not_compared():
    spikes = torch.zeros(2)
    with pytest.raises(ValueError, match=r"got gradients of \['x'\], expected those of \[\]"):
        compare_outcomes(lambda: Outcome(spikes, {"x": spikes}), lambda: Outcome(spikes, {}))


def test_the_tolerance_is_that_of_the_tests():
    assert GRADIENT[torch.float32] == TOLERANCE
