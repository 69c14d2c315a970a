"""The benchmark's own honesty: its statistics, its parity gate, its files and its command."""

import json
import math
import time

import pytest
import torch
from typer.testing import CliRunner

from nwavesdk.analysis import bench
from nwavesdk.analysis.bench import (
    Contender,
    LayerCase,
    Outcome,
    Spread,
    TrainingCase,
    add_lower_bound,
    compare_outcomes,
    layer_contender,
    layer_input,
    measure_contenders,
    paired_ratios,
    quick_lines,
    quick_report,
    time_in_turn,
    training_contender,
    training_data,
)
from nwavesdk.analysis.bench.measure import TOLERANCE
from nwavesdk.cli import app
from tolerances import GRADIENT

SMALL = LayerCase((2, 12, 6))
TINY = {"runs": 2, "copy_bytes": 1 << 12, "gemm_size": 16}


@pytest.fixture(autouse=True)
def _threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_spread_is_median_and_quartiles():
    assert Spread.of([9.0, 1.0, 3.0, 2.0, 100.0, 4.0, 5.0]) == Spread(4.0, 2.5, 7.0, 7)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0, 1)


def test_ratios_are_taken_within_a_run():
    assert paired_ratios([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == Spread(2.0, 2.0, 2.0, 3)


def test_calls_take_turns_after_a_warm_up():
    log = []

    def slow():
        log.append("a")
        time.sleep(0.02)

    def other():
        log.append("b")
        time.sleep(0.02)

    samples = time_in_turn({"a": slow, "b": other}, runs=3)
    assert "".join(log) == "aaabbb" + "aabb" * 3  # the first of each turn does not count
    assert all(len(values) == 3 and min(values) >= 20 for values in samples.values())


def test_a_short_call_is_repeated_and_told_for_one():
    calls = []
    samples = time_in_turn({"short": lambda: calls.append(time.sleep(1e-3))}, runs=2, least=10e-3)
    assert len(calls) > 6
    assert all(1 <= ms < 9 for ms in samples["short"])


@pytest.mark.parametrize(
    "case",
    [SMALL, LayerCase((2, 12, 6), "atan", learn=True), LayerCase((2, 12, 6), recurrent=True)],
)
def test_layers_are_at_parity_and_tell_every_gradient(case):
    contender = layer_contender(case, *layer_input(case))
    expected = {"x"} | ({"log_taus", "thresholds"} if case.learn else set())
    assert contender.call().gradients.keys() == expected | (
        {"recurrent_weights"} if case.recurrent else set()
    )
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.3


@pytest.mark.parametrize("density", [0.03, 0.5, None])
def test_a_training_step_is_at_parity_whatever_the_order_of_its_sums(density):
    case = TrainingCase(4, 20, (64, 32, 8), density)
    x, labels = training_data(case)
    contender = training_contender(case, x, labels)
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.5
    w = case.weights()[0]
    flipped = (x.flip(-1) @ w.flip(0)).double()
    assert torch.equal((x @ w).double(), flipped)
    assert torch.equal(flipped, x.double() @ w.double())


@pytest.mark.parametrize("wrong", ["spike", "gradient", "not a number"])
def test_a_red_case_has_no_number(wrong):
    x, grad = layer_input(SMALL)
    honest = layer_contender(SMALL, x, grad)

    def solver() -> Outcome:
        outcome = honest.call()
        spikes, gradient = outcome.spikes.clone(), outcome.gradients["x"].clone()
        if wrong == "spike":
            spikes[0, 3, 2] = 1 - spikes[0, 3, 2]
        else:
            gradient[0, 3, 2] += 1e-3 if wrong == "gradient" else math.nan
        return Outcome(spikes, {"x": gradient})

    timed = []
    ours = {"red": Contender(solver, honest.reference), "green": honest}
    red, green = measure_contenders(ours, {"other": lambda: timed.append(1)}, runs=2)
    assert not red["parity"]["agrees"]
    assert red["times_ms"] == red["ratios"] == {}
    assert green["times_ms"].keys() == {"ours", "other"}
    assert green["ratios"].keys() == {"other"}
    (row,) = measure_contenders(
        {"red": ours["red"]}, {"other": lambda: pytest.fail("timed for nothing")}, runs=2
    )
    report = {**quick_report([SMALL], **TINY), "rows": [add_lower_bound(row, SMALL)]}
    assert "floor_ms" not in row
    assert "no time is told" in "\n".join(quick_lines(report))


def test_gradients_of_different_things_are_not_compared():
    spikes = torch.zeros(2)
    with pytest.raises(ValueError, match="gradients of"):
        compare_outcomes(lambda: Outcome(spikes, {"x": spikes}), lambda: Outcome(spikes, {}))


def test_the_tolerance_is_the_tests_own():
    assert GRADIENT[torch.float32] == TOLERANCE


def test_bench_prints_exactly_one_object(monkeypatch):
    cases = (SMALL, TrainingCase(2, 8, (12, 8, 4)))
    monkeypatch.setattr(bench, "quick_report", lambda: quick_report(cases, **TINY))
    result = CliRunner().invoke(app, ["bench", "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [row["name"] for row in report["rows"]] == [case.name for case in cases]
    for row in report["rows"]:
        assert row["parity"]["agrees"]
        assert row["floor_ms"] > 0
        assert {"ours", "reference"} <= row["times_ms"].keys()
        assert {"median", "low", "high", "runs"} == row["ratios"]["reference"].keys()
    assert report["machine"]["threads"] <= 2
    assert report["limits"]["copy_gb_s"]["median"] > 0
    table = CliRunner().invoke(app, ["bench"])
    assert all(case.name in table.stdout for case in cases)


def test_other_processes_are_told():
    assert bench.load_warning(None) is None
    assert bench.load_warning(0.01) is None
    assert "30%" in bench.load_warning(0.3)
