"""Statistics of times, turns of calls, parity, the cases, and the table of `benchmarks.quick`."""

import gc
import json
import math
import time

import pytest
import torch

from benchmarks import quick
from benchmarks.instrument import (
    Contender,
    LayerCase,
    Outcome,
    Spread,
    TrainingCase,
    add_lower_bound,
    build_contender,
    compare_outcomes,
    load_warning,
    machine,
    measure_contenders,
    paired_ratios,
    time_in_turn,
)
from benchmarks.instrument.measure import TOLERANCE
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
    gc.freeze()
    samples = time_in_turn({"short": lambda: calls.append(time.sleep(1e-3))}, runs=2, least=10e-3)
    assert len(calls) > 6
    assert gc.get_freeze_count()  # what was frozen is not collected again later
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
    with pytest.raises(ValueError, match=r"got gradients of \['x'\], expected gradients of \[\]"):
        compare_outcomes(lambda: Outcome(spikes, {"x": spikes}), lambda: Outcome(spikes, {}))


def test_the_tolerance_is_that_of_the_tests():
    assert GRADIENT[torch.float32] == TOLERANCE


@pytest.mark.parametrize(
    "case",
    [
        LayerCase((2, 12, 6)),
        LayerCase((2, 12, 6), recurrent=True),
    ],
)
def test_layers_have_parity_and_return_every_gradient(case):
    contender = build_contender(case, *case.draw_data())
    expected = {"x"} | ({"recurrent_weights"} if case.recurrent else set())
    assert contender.call().gradients.keys() == expected
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.3


@pytest.mark.parametrize("density", [0.03, 0.5, None])
def test_a_training_step_has_parity_whatever_the_order_of_its_sums(density):
    case = TrainingCase(4, 20, (64, 32, 8), density)
    x, labels = case.draw_data()
    contender = build_contender(case, x, labels)
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.5
    w = case.weights()[0]
    flipped = (x.flip(-1) @ w.flip(0)).double()
    assert torch.equal((x @ w).double(), flipped)
    assert torch.equal(flipped, x.double() @ w.double())


CASES = [LayerCase((2, 12, 6)), TrainingCase(2, 8, (12, 8, 4))]


@pytest.fixture
def _small(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(quick, "CASES", CASES)
    monkeypatch.setattr(quick, "RUNS", 2)
    monkeypatch.setattr(machine, "COPY_BYTES", 1 << 12)
    monkeypatch.setattr(machine, "GEMM_SIZE", 16)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_small")
def test_the_quick_table_as_json_and_as_text(capsys):
    quick.main(["--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in printed["rows"]] == [case.name for case in CASES]
    for row in printed["rows"]:
        assert row["parity"]["agrees"]
        assert row["floor_ms"] > 0
        assert {"ours", "reference"} <= row["times_ms"].keys()
        assert {"median", "low", "high", "runs"} == row["ratios"]["reference"].keys()
    assert printed["machine"]["threads"] <= 2
    assert printed["limits"]["copy_gb_s"]["median"] > 0
    table = "\n".join(quick.report_lines(printed))
    assert all(case.name in table for case in CASES)

    parity = {"agrees": False, "spikes_differ": 3, "gradient_error": 0.5}
    row = {"name": "wrong", "parity": parity, "times_ms": {}, "ratios": {}}
    assert "floor_ms" not in add_lower_bound(row, CASES[0])
    lines = quick.report_lines({**printed, "rows": [row]})
    assert lines[4].endswith(
        "differs from the reference, so not timed: 3 spikes, gradients by 5.0e-01"
    )


def test_load_by_other_processes_is_reported():
    assert load_warning(None) is None
    assert load_warning(0.01) is None
    assert "30%" in load_warning(0.3)
