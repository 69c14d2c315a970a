"""`nwave train`."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from cli.command import json_object, nwave
from nwavesdk.cli import train
from nwavesdk.train import RunConfig, RunFolder


def test_train_prints_one_object_and_its_progress(
    trained: tuple[Path, Result],
) -> None:
    out, result = trained
    assert result.exit_code == 0
    report = json_object(result)
    assert report == {"run": str(out), **RunFolder(out).read_result()}
    assert report["seed"] == 5
    assert "3 classes: high, low, middle\n" in result.stderr
    assert "epoch   2/2" in result.stderr
    assert json.loads((out / "config.json").read_text())["net"]["hidden"] == [16, 8]


def test_a_finished_run_is_neither_overwritten_nor_resumed(
    trained: tuple[Path, Result], tones: Path
) -> None:
    out, first = trained
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    refused = nwave("train", "--out", out, "--data", tones, "--json")
    assert refused.exit_code == 2
    assert "already holds a run: add --resume" in json_object(refused)["error"]
    resumed = nwave("train", "--out", out, "--resume", "--json")
    assert resumed.exit_code == 0
    assert "is finished: nothing to resume" in resumed.stderr
    assert json_object(resumed) == json_object(first)
    changed = nwave("train", "--out", out, "--resume", "--epochs", 9)
    assert changed.exit_code == 2
    assert "--epochs: a resumed run keeps its own choices, got 9, expected 2" in changed.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_many_classes_take_one_line() -> None:
    line = train._classes_line([f"word {index:02}" for index in range(30)])
    assert line.startswith("30 classes: word 00, word 01, ")
    assert line.endswith(", word 10, …")


@pytest.mark.parametrize(
    ("center", "measure", "linear", "is_hinted"),
    [
        (True, "test_accuracy", 0.7, True),
        (True, "val_accuracy", 0.7, True),  # with --no-test
        (True, "test_accuracy", 0.59, False),
        (False, "test_accuracy", 0.7, False),
    ],
)
def test_a_hint_names_what_centering_takes_from_a_net(
    monkeypatch: pytest.MonkeyPatch, center: bool, measure: str, linear: float, is_hinted: bool
) -> None:
    config = RunConfig.of({"data": {"source": "here", "center": center}})
    monkeypatch.setattr(RunFolder, "read_config", lambda _: config)
    lines = train._centering_lines(Path("run"), {measure: 0.5, "linear_accuracy": linear})
    assert any("--no-center" in line for line in lines) == is_hinted
    assert train._centering_lines(Path("run"), {"test_r2": 0.5, "linear_r2": 0.9}) == []


def test_result_and_report_say_if_validation_was_clearly_better_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = {keep: RunConfig.of({"learning": {"keep": keep}}) for keep in ("last", "best")}
    course = {"epochs": 60, "seconds": 9.0, "seed": 0, "val_loss": 0.43}
    result = {**course, "lowest_loss": 0.24, "lowest_loss_epoch": 12}
    note = (
        "the validation loss was clearly lower after epoch 12 (0.2400) than after the last one, "
        "which is kept (0.4300): try fewer --epochs, or --keep best"
    )
    monkeypatch.setattr(RunFolder, "read_config", lambda _: configs["last"])
    assert train._loss_lines(Path("run"), result) == [note]
    # Neither chance, nor a result of an earlier version, nor the best epoch has a note.
    assert not train._loss_lines(Path("run"), {**result, "lowest_loss": 0.4})
    assert not train._loss_lines(Path("run"), course)
    monkeypatch.setattr(RunFolder, "read_config", lambda _: configs["best"])
    assert not train._loss_lines(Path("run"), result)


def test_series_of_one_step_train_with_notes_on_outliers_and_centering(tmp_path: Path) -> None:
    parts = 65 * ["train"] + 16 * ["val"] + 20 * ["test"]  # a batch of one would be left over
    y = np.arange(len(parts)) % 2
    x = np.random.default_rng(0).standard_normal((len(parts), 1, 2))
    x[:, 0, 0] += 6 * y
    x[0, 0, 1] = -999
    np.savez(tmp_path / "set.npz", x=x, y=y, split=parts)
    words = ("--data", tmp_path / "set.npz", "--out", tmp_path / "run", "--epochs", 1, "--center")
    result = nwave("train", *words, "--batch-size", 8)
    assert result.exit_code == 0
    assert "nwave: note: nine tenths of feature 2 lie between" in result.stderr
    assert "which the net does not get: try --no-center" in result.stdout
