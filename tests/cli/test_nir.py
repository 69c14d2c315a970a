"""`nwave import`, `nwave nir check` and `nwave export --nir`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.command import json_object, nwave, rejected, succeeded
from train.runs import chip_choices, small_choices, write_untrained

pytestmark = pytest.mark.interop

DT = ("--dt", 0.001, "--discretization", "exact")
SOFT = ("--allow", "soft-reset")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A file of a graph with a recurrent layer and a read-out."""
    from nwavesdk.interop.nir import graph_bytes, to_nir
    from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential

    layer = LIFLayer(8, 20e-3, reset_mechanism="zero", layer_topology="RC")
    net = SpikingSequential(LIFSynapse(12, 8), layer, LIFSynapse(8, 3), LILayer(3))
    path = tmp_path / "graph.nir"
    path.write_bytes(graph_bytes(to_nir(net, discretization="exact")))
    return path


def test_export_refuses_what_nir_does_not_have_and_names_options_of_the_command(
    run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.nir"
    error = rejected("export", run, "--nir", path, "--discretization", "exact")
    assert "got a reset by subtraction, expected a reset to a value" in error
    assert "train with --reset zero (reset_mechanism=" in error
    assert "or allow it with --allow soft-reset" in error
    assert not path.exists()
    missing = nwave("export", run, "--nir", path)
    assert "net.nir needs --discretization, because NIR does not say" in missing.stderr


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"net": {"name": "lif", "neuron": "adlif"}}, "write one step by --torch or --onnx, or"),
        (None, "or the net of a run for a chip without --nir"),
    ],
)
def test_a_run_that_nir_cannot_hold_is_refused_with_what_the_command_can_write(
    tones: Path, tmp_path: Path, changes: dict[str, Any] | None, remedy: str
) -> None:
    choices = small_choices(tones) if changes else chip_choices(tones)
    for section, values in (changes or {}).items():
        choices[section] |= values
    run = tmp_path / "run"
    write_untrained(run, choices)
    error = rejected("export", run, "--nir", tmp_path / "n.nir", "--discretization", "exact")
    assert remedy in error


@pytest.mark.parametrize("preset", ["lif", "conv", "delay"])
def test_a_run_with_a_reset_to_zero_is_exported_for_all_readers(
    tones: Path, tmp_path: Path, preset: str
) -> None:
    data = {"source": str(tones), "bands": 12}
    write_untrained(tmp_path / "run", {"data": data, "net": {"name": preset, "reset": "zero"}})
    method = ("--nir", tmp_path / "net.nir", "--discretization", "exact", "--json")
    written = json_object(nwave("export", tmp_path / "run", *method))
    assert written["check"]["equal"]
    assert written["check"]["spikes"] > 100
    assert not any("reset" in note for note in written["notes"])


@pytest.mark.parametrize("discretization", ["exact", "euler"])
def test_a_trained_net_equals_its_file_on_its_data(
    run: Path, tmp_path: Path, discretization: str
) -> None:
    path = tmp_path / "net.nir"
    method = ("--discretization", discretization)
    written = json_object(nwave("export", run, "--nir", path, *method, *SOFT, "--json"))
    assert written["bytes"] == path.stat().st_size
    assert written["check"]["equal"]
    assert "every other reader resets to 0" in written["notes"][-1]

    options = ("--dt", written["dt"], *method, *SOFT, "--json")
    words = ("nir", "check", path, *options, "--against", run, "--recordings", 1000)
    check = json_object(nwave(*words))
    assert check["equal"]
    assert 1 < check["recordings"] < 1000  # all of the validation set
    assert check["spikes"] > 30
    assert check["seed"] is None
    assert json_object(nwave("nir", "check", path, *options))["equal"]


def test_a_file_that_differs_from_the_run_has_exit_code_1(run: Path, tmp_path: Path) -> None:
    import nir

    path = tmp_path / "net.nir"
    nwave("export", run, "--nir", path, "--discretization", "exact", *SOFT)
    graph = nir.read(path)
    name = next(n for n, node in graph.nodes.items() if type(node).__name__ == "LIF")
    graph.nodes[name].v_threshold = graph.nodes[name].v_threshold * 0.9
    nir.write(path, graph)
    options = ("--dt", graph.metadata["nwavesdk_dt"], "--discretization", "exact", *SOFT)
    result = nwave("nir", "check", path, *options, "--against", run)
    assert result.exit_code == 1
    assert f"node {name}, neuron" in result.stdout
    assert nwave("nir", "check", path, *options).exit_code == 0


def test_a_check_prints_what_was_assumed(graph: Path) -> None:
    result = succeeded("nir", "check", graph, "--dt", 0.002, "--discretization", "exact")
    assert result.stdout.startswith("the graph was written with dt=0.001, and is read with 0.002")


def test_import_prints_the_net_and_writes_a_page(graph: Path, tmp_path: Path) -> None:
    out = tmp_path / "imported"
    result = succeeded("import", graph, *DT, "--out", out)
    for text in (
        "(lif_1): LIFLayer(8, taus=0.02",
        "linear_1_recurrent becomes the recurrent weights of lif_1",
        "against a reader that shares no code, on random input:",
        f"nwave train --net {out}/net.py:build",
    ):
        assert text in result.stdout
    assert (out / "net.nir").read_bytes() == graph.read_bytes()

    error = rejected("import", graph, *DT, "--out", out)
    assert "imported has a file net.py or net.nir: choose another folder" in error

    report = json_object(nwave("import", graph, *DT, "--json"))
    assert report["layers"]["lif_1"] == "LIFLayer"
    assert report["parameters"] == 12 * 8 + 8 * 8 + 8 * 3
    assert report["page"] is None


def test_an_imported_net_is_trained(run: Path, tones: Path, tmp_path: Path) -> None:
    """The net of a run, whose kernels are compiled."""
    graph, out = tmp_path / "net.nir", tmp_path / "imported"
    method = ("--discretization", "exact", *SOFT)
    dt = json_object(nwave("export", run, "--nir", graph, *method, "--json"))["dt"]
    nwave("import", graph, "--dt", dt, *method, "--out", out)
    words = ("--data", tones, "--bands", 12, "--hold", 1, "--epochs", 1, "--batch-size", 8)
    net = ("--net", f"{out}/net.py:build")
    succeeded("train", "--out", tmp_path / "run", *words, *net, "--json")
    (out / "net.nir").write_bytes(b"")
    error = rejected("eval", tmp_path / "run", *net)
    assert "net.nir has changed: restore it, or import the graph again" in error


def test_a_graph_of_another_library_needs_its_source(tmp_path: Path) -> None:
    import nir

    values = {"tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0}
    node = nir.LIF(**{name: np.full(4, value) for name, value in values.items()})
    path = tmp_path / "snntorch.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Linear(np.ones((4, 3))), node))
    options = ("--dt", 0.005, "--discretization", "euler")
    error = rejected("import", path, *options)
    assert "snntorch.nir: node 'lif' (LIF): got tau of 0.001 s, expected times" in error
    report = json_object(nwave("import", path, *options, "--source", "snntorch", "--json"))
    assert any(
        "snnTorch writes time constants for a step of 0.0001 s" in n for n in report["notes"]
    )
    soft = nwave("import", path, *options, "--source", "snntorch", *SOFT)
    assert "a spike subtracts the threshold, in its step, as allowed" in soft.stdout


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("import", "FILE"), "--dt: missing"),
        (("import", "FILE", "--dt", "nan"), "--dt: expected at most 1000000 (got 'nan')"),
        (("import", "FILE", "--dt", 1e-3), "--discretization: missing"),
        (
            ("import", "FILE", *DT, "--allow", "all"),
            "allow must be one of 'soft-reset', 'delayed-reset', got 'all'",
        ),
        (("import", "FILE", *DT, "--input-shape", "2,x"), "--input-shape: got '2,x', expected up"),
        (("import", "FILE", *DT, "--input-shape", "9,9,9,9,9"), "expected up to 4 sizes from 1"),
        (
            ("import", "FILE", *DT, "--input-shape", "9999999"),
            "with a product of at most 2,000,000",
        ),
        (("import", "nothing.nir", *DT), "nothing.nir does not exist: check the name"),
        (("import", "FILE", *DT, "--source", "norse"), "graph.nir: nwavesdk has written the graph"),
        (("nir", "show", "FILE", *DT), "check: "),
        (("nir", "check", "FILE", *DT, "--net", "n.py:build"), "has no effect without --against"),
        (("nir", "check", "FILE", *DT, "--against", "no-run"), "no-run holds no run"),
        (("nir", "check", "FILE", *DT, "--against", ".", "--seed", 0), "--seed: has no effect"),
        (("export", "no-run", *SOFT), "--allow: has no effect without --nir"),
        (("export", "no-run", "--nir", "x.nir", "--chip", "h1v1"), "has no effect with"),
    ],
)
def test_wrong_words_end_in_one_line(words: tuple[Any, ...], match: str, graph: Path) -> None:
    assert match in rejected(*(graph if word == "FILE" else word for word in words))


def test_a_missing_extra_is_one_line(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "nir", None)
    error = rejected("import", graph, *DT)
    assert "nir is not installed: pip install '.[interop]' in a clone of nwavesdk" in error
    assert json.loads(nwave("import", graph, *DT, "--json").stdout).keys() == {"error"}
