"""The report of a finished cross-validation, and `nwave train --folds` from its options to it."""

import json
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from typer.testing import CliRunner

from nwavesdk.analysis.folds import FoldStudy
from nwavesdk.analysis.folds.report import folds_json, folds_lines, write_folds
from nwavesdk.cli import app


def test_json_has_means_intervals_folds_and_the_summed_matrix(finished_folds: FoldStudy) -> None:
    content = folds_json(finished_folds)
    summary = finished_folds.summaries()["test_accuracy"]
    assert content["test_accuracy"] == summary.mean
    assert content["intervals"]["test_accuracy"] == [summary.low, summary.high]
    assert content["split_by"] == "recording"
    assert [fold["fold"] for fold in content["folds"]] == [1, 2, 3]
    assert all("fold 1 of 3 by" in fold["split"] for fold in content["folds"][:1])
    assert sum(map(sum, content["confusion"])) == 48
    assert content["classes"] == ["high", "low", "middle"]


def test_lines_have_every_fold_and_the_mean(finished_folds: FoldStudy) -> None:
    first, *folds, mean = folds_lines(finished_folds)
    assert first.strip() == "test accuracy"
    assert [line.split()[:2] for line in folds] == [["fold", str(n)] for n in (1, 2, 3)]
    assert mean.startswith("mean")
    assert "95 % interval [" in mean


def test_the_page_is_one_file_with_pictures(finished_folds: FoldStudy) -> None:
    page = write_folds(finished_folds).read_text()
    assert "https://" not in page
    for text in ("3 folds by recording", "mean test accuracy", "all 48 recordings", "One line per"):
        assert text in page
    assert page.count("data:image/png;base64,") == 4
    pictures = {file.name for file in (finished_folds.path / "pictures").iterdir()}
    assert pictures == {"folds.png", "confusion_matrix.png"}
    expected = json.loads(json.dumps(folds_json(finished_folds)))
    assert json.loads((finished_folds.path / "result.json").read_text()) == expected


def test_the_command_trains_all_folds_and_continues(
    tones: Path, tmp_path: Path, finished_in_turn: list[tuple[str, int]]
) -> None:
    out = tmp_path / "folds"
    options = [
        "--data",
        tones,
        "--epochs",
        "1",
        "--net",
        "lif",
        "--hidden",
        "8",
        "--bands",
        "8",
        "--hold",
        "1",
    ]
    command = ["train", "--out", out, "--folds", "2", *options, "--accelerator", "cpu"]
    command += ["--jobs", "2"]
    arguments = [str(argument) for argument in command]
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["n_folds"] == 2
    assert finished_in_turn == [("fold 1", 2), ("fold 2", 2)]
    assert "2/2  fold 2: " in done.stderr
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "look at" in again.stdout
    resumed = CliRunner().invoke(app, ["train", "--out", str(out), "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert finished_in_turn == [("fold 1", 2), ("fold 2", 2)]
    other = CliRunner().invoke(app, ["train", "--out", str(out), "--resume", "--seed", "3"])
    assert other.exit_code == 2
    assert "holds another study (choices.seed: got 3" in other.stderr


def test_jobs_have_no_effect_on_a_single_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--out", str(tmp_path / "run"), "--jobs", "2"])
    assert done.exit_code == 2
    assert "--jobs: has no effect on a single run" in done.stderr
