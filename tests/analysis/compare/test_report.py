"""Reports of a finished study, and `nwave compare` from its options to them."""

import json
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from typer.testing import CliRunner

from nwavesdk.analysis.compare import Study
from nwavesdk.analysis.compare.report import comparison_json, comparison_lines, write_comparison
from nwavesdk.cli import app
from nwavesdk.internal.files import FileError


def test_json_has_cells_arms_and_pairs(finished_study: Study) -> None:
    content = comparison_json(finished_study)
    assert [(c["arm"], c["seed"]) for c in content["cells"]] == [
        (cell.arm, cell.seed) for cell in finished_study.cells
    ]
    assert all(len(c["weights_sha256"]) == 64 for c in content["cells"])
    accuracies = finished_study.accuracies()
    assert len(content["pairs"]) == 3
    for pair in content["pairs"]:
        values = zip(accuracies[pair["first"]], accuracies[pair["second"]], strict=True)
        assert pair["difference"] == pytest.approx(sum(a - b for a, b in values) / 2)
        assert len(pair["interval"]) == 2
    assert content["pairs"][0]["conclusion"] == "no difference shown"  # of two identical arms


def test_lines_have_arms_and_pairs(finished_study: Study) -> None:
    lines = comparison_lines(finished_study)
    assert "test accuracy, 2 seeds" in lines[0]
    assert len(lines) == 1 + 3 + 1 + 3
    assert lines[5].startswith("fast_sigmoid(slope=25.0) - fast_sigmoid(slope=25.0) #2: +0.0000")


def test_page_loads_nothing(finished_study: Study) -> None:
    page = write_comparison(finished_study).read_text()
    assert "https://" not in page
    assert page.count("http://") == page.count("http://www.w3.org/2000/svg")
    for text in ("Differences", "grad_1", "atan(alpha=2.0)"):
        assert text in page
    file = finished_study.path / "comparison.json"
    expected = json.loads(json.dumps(comparison_json(finished_study)))
    assert json.loads(file.read_text()) == expected


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"{", r"config\.json is not the config of a run"),
        ("metrics.csv", b"\x8b", r"metrics\.csv does not hold the metrics.*: remove it"),
        ("metrics.csv", b"x" * 2**18, r"metrics\.csv does not hold .*field limit.*: remove it"),
        ("result.json", b"{", r"result\.json is damaged"),
        ("model.safetensors", b"\x08", r"model\.safetensors is "),
    ],
)
def test_damage_in_a_cell_is_an_error_that_changes_nothing(
    finished_study: Study, name: str, content: bytes, words: str
) -> None:
    write_comparison(finished_study)
    outputs = [finished_study.path / file for file in ("comparison.json", "report.html")]
    before = [file.stat().st_ino for file in outputs]
    file = finished_study.cells[-1].path / name
    intact = file.read_bytes()
    file.write_bytes(content)
    try:
        with pytest.raises(FileError, match=words):
            write_comparison(finished_study)
    finally:
        file.write_bytes(intact)
    assert [file.stat().st_ino for file in outputs] == before


def test_the_command(tones: Path, tmp_path: Path, finished_in_turn: list[tuple[str, int]]) -> None:
    options = ["--data", tones, "--epochs", "1", "--seeds", "1", "--jobs", "2"]
    options += ["--net", "lif", "--hidden", "8"]
    out = tmp_path / "study"
    command = ["compare", "--surrogates", "fast_sigmoid,atan(alpha=3)", *options, "--out", out]
    arguments = [str(argument) for argument in command]
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    arms = ["fast_sigmoid(slope=25.0)", "atan(alpha=3.0)"]
    assert [(c["surrogate"], c["seed"]) for c in content["cells"]] == [(arm, 0) for arm in arms]
    assert all(0 <= c["test_accuracy"] <= 1 for c in content["cells"])
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "look at" in again.stdout
    # They are trained, then tested, and neither again.
    assert finished_in_turn == 2 * [(f"{arm}, seed 0", 2) for arm in arms]
    assert json.loads((out / "comparison.json").read_text())["cells"] == content["cells"]
    wrong = CliRunner().invoke(
        app, ["compare", "--out", str(tmp_path / "other"), "--surrogates", "atan"]
    )
    assert wrong.exit_code == 2
    assert "needs at least two surrogates" in wrong.stderr
    assert not (tmp_path / "other").exists()
