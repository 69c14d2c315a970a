"""The benchmark of calls: parity of all that is compared, rows, targets, and live input."""

import importlib
import json
from dataclasses import replace

import pytest
import torch

from benchmarks import compare, table
from benchmarks.calls import cases, live, loop, rivals, suite
from benchmarks.calls import table as call_table
from benchmarks.calls.cases import LayerCallCase, NetCase
from benchmarks.calls.ways import LOOP, STEP, WHOLE, make_call
from benchmarks.cases import contender_of
from benchmarks.instrument import Contender, Outcome
from benchmarks.peers import NAMES, plain

SIZES = (40, 16, 16, 4)


def test_steps_go_on_and_loops_start_from_rest():
    for way, goes_on in ((STEP, True), (LOOP, False)):
        case = NetCase(way, B=2, T=20, sizes=SIZES)
        call = case.build_call("auto", *case.draw_data())
        assert torch.equal(call().spikes, call().spikes) != goes_on


@pytest.mark.parametrize("name", [*NAMES, "plain"])
def test_the_modules_of_peers_have_our_spikes_and_gradients(name):
    pytest.importorskip({"plain": "torch"}.get(name, name))
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    case = NetCase(LOOP, B=2, T=30, sizes=SIZES)
    nets, parities = rivals.agreeing_nets(case, {name: peer})
    assert parities[name]["agrees"], parities
    assert 0.02 < parities[name]["rate"] < 0.3
    x, _ = case.draw_data()
    call = make_call(case.way, nets[name], x)
    again = [call() for _ in range(2)]
    assert torch.equal(again[0].spikes, again[1].spikes)
    assert again[0].gradients.keys() == {"0.weight", "2.weight", "4.weight"}


def test_a_peer_that_differs_gets_no_number():
    class Other:
        cell = staticmethod(lambda _: plain.cell(0.5))
        GRADIENT = plain.GRADIENT

    nets, parities = rivals.agreeing_nets(NetCase(STEP, B=2, T=30, sizes=SIZES), {"norse": Other})
    assert nets == {}
    row = {
        "name": "calls/LIF/step/64x1",
        "parity": {"agrees": True},
        "calls": 1,
        "times_ms": {"ours": {"median": 1.0}},
        "ratios": {"torch": {"median": 1.0, "low": 1.0, "high": 1.0}},
        "peers": parities,
    }
    differ = parities["norse"]["spikes_differ"]
    assert call_table.stepwise_cells(row)[4] == f"differs ({differ} spikes, gradients by 0.0e+00)"


@pytest.fixture
def _uncompiled(monkeypatch):
    """The numba loops as Python: compiling them takes longer than all these tests."""
    for name in ("run_forward", "run_backward"):
        monkeypatch.setattr(loop, name, getattr(loop, name).py_func)


@pytest.mark.usefixtures("_uncompiled")
def test_the_numba_loop_has_our_spikes_and_gradients():
    case = LayerCallCase((2, 30, 4))
    data = case.draw_data()
    rivals.require_parity("the loop", rivals.loop_call(case, *data), contender_of(case, *data).call)


def test_other_code_without_parity_is_an_error():
    outcome = Outcome(torch.zeros(3), {})
    with pytest.raises(RuntimeError, match="the loop differs from the reference by 2 spikes"):
        rivals.require_parity(
            "the loop", lambda: Outcome(torch.tensor([1.0, 0.0, 1.0]), {}), lambda: outcome
        )


@pytest.mark.parametrize("kind", ["LIF", "learned", *cases.CHIPS])
def test_the_layers_of_all_nets_fire(kind):
    net = NetCase(WHOLE, B=4, kind=kind).build_net("reference")
    cases.prepare_net(net)
    x, _ = NetCase(WHOLE, B=4).draw_data()
    with torch.no_grad():
        layers = net.record(x).layers
    rates = [float(layer.spk.mean()) for layer in layers.values()]
    assert all(0.03 < rate < 0.15 for rate in rates)


@pytest.mark.usefixtures("_uncompiled")
def test_rows_and_tables_from_small_cases(monkeypatch):
    monkeypatch.setattr(suite, "FEWEST_RUNS", 1)
    monkeypatch.setattr(suite, "MAX_RUNS", 1)
    monkeypatch.setattr(cases, "NEXT_TO_PEERS", [NetCase(LOOP, 2, 4, sizes=SIZES)])
    monkeypatch.setattr(cases, "LIVE", NetCase("live", 1, 5, sizes=SIZES))
    monkeypatch.setattr(cases, "NEXT_TO_LOOP", [LayerCallCase((2, 4, 3))])
    monkeypatch.setattr(cases, "LEARNED", [])
    monkeypatch.setattr(cases, "NEURONS", [])
    monkeypatch.setattr(cases, "ON_CHIPS", [NetCase(STEP, 2, 4, "LIF", SIZES)])
    monkeypatch.setattr(cases, "RECURRENT", [LayerCallCase((2, 4, 3), way=LOOP, recurrent=True)])
    rows = [row for group in suite.measure({}, False, lambda _: True) for row in group]
    assert [row["name"] for row in rows] == [
        "calls/LIF/loop/2x4/40-16-16-4",
        "calls/LIF/live/1x5/40-16-16-4",
        "calls/LIF/whole/2x4x3",
        "calls/LIF/step/2x4/40-16-16-4",
        "calls/recurrent/loop/2x4x3",
    ]
    others = [[*row["ratios"]] for row in rows if "ratios" in row]
    assert others == [["torch"], ["numba loop"], ["LIF"], ["LIF + products"]]
    assert [row["calls"] for row in rows if "calls" in row] == [1, 1, 4, 1]
    assert rows[1]["live"].keys() == {"ours", "torch"}
    spread = {"median": 10.0}
    limits = {"copy_gb_s": spread, "gemm_gflop_s": spread}
    section = {"limits": limits, "rows": json.loads(json.dumps(rows)), "busy_elsewhere": 0.0}
    text = table.section_text("calls", section)
    for part in ("≤ 1.3 LIF + products", "LIF/live/1x5/40-16-16-4 torch", "Medians of 1 or more "):
        assert part in text
    run = {"date": "2026-11-26", "commit": "abc", "dirty": False}
    assert table.call_table({"sections": {"calls": section | {"run": run}}}).count("\n|---|") == 3


def test_every_case_of_a_target_exists_and_has_parity_with_its_base():
    names = [case.name for case in cases.CASES]
    assert len(names) == len(set(names))
    for beginning in cases.TARGETS:
        assert any(name.startswith(beginning) for name in names), beginning
    for case in cases.CASES:
        row = {"name": case.name, **case.facts()}
        assert cases.targets_of(row), case.name
    assert compare.case_names(False, lambda name: name.startswith("calls/LIF/step")) == [
        "calls/LIF/step/1x50/40-128-128-12",
        "calls/LIF/step/64x50/40-128-128-12",
    ]
    assert not any(name.startswith("calls") for name in compare.case_names(False, lambda _: True))


def test_the_cells_of_a_call():
    row = {
        "name": "calls/LIF/step/1x50/40-128-128-12",
        "parity": {"agrees": True},
        "calls": 50,
        "times_ms": {"ours": {"median": 1.0}},
        "ratios": {
            "snntorch": {"median": 4.0, "low": 2.0, "high": 5.0},
            "torch": {"median": 2.0, "low": 1.0, "high": 2.5},
        },
        "peers": {},
    }
    assert call_table.stepwise_cells(row) == [
        *("LIF/step/1x50/40-128-128-12", "0.02", "0.25 [0.20, 0.50]", "-", "-", "-"),
        *("0.50 [0.40, 1.00]", "≤ 0.2 snntorch missed, ≤ 0.6 torch met"),
    ]
    learned = {
        **{"name": "calls/learned/loop/1x50", "parity": {"agrees": True}, "calls": 1},
        **{"times_ms": {"ours": {"median": 2.2}}},
        **{"ratios": {"LIF": {"median": 1 / 1.1, "low": 0.8, "high": 1.0}}},
    }
    cells = ["learned/loop/1x50", "2.2", "1.10 [1.00, 1.25] LIF", "≤ 1.15 LIF met"]
    assert call_table.call_cells(learned) == cells
    differs = {"agrees": False, "spikes_differ": 3, "gradient_error": 0.5}
    text = "differs from the reference (3 spikes, gradients by 5.0e-01): no number"
    assert call_table.stepwise_cells({**row, "parity": differs})[1] == text
    assert call_table.call_cells({**learned, "parity": differs})[1] == text
    live_row = {"name": "calls/LIF/live/1x5", "live": {}, "parity": differs}
    assert call_table.live_lines(live_row) == [["LIF/live/1x5", text]]


def test_the_tolerance_of_adex_is_its_rounding():
    tolerances = {}
    for neuron in ("AdExLayer", "AdLIFLayer"):
        case = LayerCallCase((8, 100, 16), neuron=neuron)
        tolerances[neuron] = contender_of(case, *case.draw_data()).tolerance
    assert tolerances["AdExLayer"] > 2 * tolerances["AdLIFLayer"]


def test_rows_and_comparisons_use_the_tolerance_of_a_case(monkeypatch):
    values = {"call": 1.0, "reference": 1.0005}
    calls = {
        name: lambda value=value: Outcome(torch.zeros(1), {"x": torch.tensor([value])})
        for name, value in values.items()
    }
    loose = Contender(**calls, tolerance=1e-3)
    monkeypatch.setattr(suite, "MAX_RUNS", suite.FEWEST_RUNS)
    case = LayerCallCase((2, 4, 3))
    assert suite._row(case, loose, {})["parity"]["agrees"]
    assert not suite._row(case, replace(loose, tolerance=1e-5), {})["parity"]["agrees"]
    monkeypatch.setattr(compare.cases, "contender_of", lambda *_: loose)
    monkeypatch.setattr(compare, "prepare_timing", lambda: None)
    monkeypatch.setattr(compare, "_cases", lambda: {"case": case})
    assert compare.times(["case"])["medians"]["case"] > 0


def test_live_numbers_of_known_steps():
    steps = [k * 1e-3 for k in range(1, 101)]
    found = live.summary([[5e-3, *steps], [7e-3, *steps], [6e-3, *steps]])
    assert found["first_ms"] == pytest.approx(6)
    assert found["p50_ms"] == pytest.approx(51)
    assert found["p99_ms"] == pytest.approx(100)
    assert found["steps_per_s"] == pytest.approx(101 / 5.056)
    assert found["real_time"] == pytest.approx(found["steps_per_s"] / 100)


def test_the_layer_of_a_ratio_is_lif_with_fixed_constants():
    assert NetCase(STEP, 1, kind="h1v2").as_lif() == NetCase(STEP, 1)
    assert LayerCallCase((2, 4, 3), learn=True).as_lif() == LayerCallCase((2, 4, 3))
    zoo = replace(LayerCallCase((2, 4, 3)), neuron="ALIFLayer")
    assert zoo.facts() == {"calls": 1, "states": 2}
    assert zoo.as_lif().name == "calls/LIF/whole/2x4x3"
