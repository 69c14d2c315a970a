"""`nwave train`."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from cli.command import json_object, nwave
from nwavesdk.cli import train
from nwavesdk.train import Run, RunConfig, RunFolder


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
    assert "already holds a finished run: choose another --out" in json_object(refused)["error"]
    resumed = nwave("train", "--out", out, "--resume", "--json")
    assert resumed.exit_code == 0
    assert "is finished: nothing to resume" in resumed.stderr
    assert json_object(resumed) == json_object(first)
    changed = nwave("train", "--out", out, "--resume", "--epochs", 9)
    assert changed.exit_code == 2
    assert "--epochs: a resumed run keeps its choices, got 9, expected 2" in changed.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.fixture
def _untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs begin, and are not trained."""
    monkeypatch.setattr(Run, "train", lambda _: None)


@pytest.mark.usefixtures("_untrained")
@pytest.mark.parametrize("fixture", ["run", "chip_run"])
def test_the_config_of_a_run_begins_the_same_run_again(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    recorded = RunFolder(request.getfixturevalue(fixture)).config
    before = RunFolder(recorded.parent).read_config()
    for name, options, changed in (
        ("same", (), None),
        ("seed", ("--seed", 9), "seed"),
        ("rate", ("--learning-rate", 0.001), "learning.rate"),
    ):
        result = nwave("train", "--out", tmp_path / name, "--config", recorded, *options)
        assert result.exit_code == 0, result.output
        after = RunFolder(tmp_path / name).read_config()
        assert after.difference(before) == changed
        assert after.difference(before, {changed or "facts.begun_with"}) is None


@pytest.mark.usefixtures("_untrained")
def test_the_config_of_a_run_gives_its_data_to_another_net(run: Path, tmp_path: Path) -> None:
    options = ("--config", run / "config.json", "--net", "conv")
    result = nwave("train", "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    after = RunFolder(tmp_path / "run").read_config()
    assert after.net.name == "conv"
    assert after.difference(RunFolder(run).read_config(), {"net", "page"}) is None


@pytest.mark.usefixtures("_untrained")
def test_the_same_options_resume_a_run_and_another_is_one_line(tones: Path, tmp_path: Path) -> None:
    words = ["train", "--out", tmp_path / "run"]
    options = ["--data", tones, "--net", "lif", "--neuron", "adlif", "--hidden", "8", "--bands", 12]
    options += ["--constants", "tau_w=0.2", "--learn", "a", "--no-test", "--augment", "shift=0.1"]
    assert nwave(*words, *options).exit_code == 0
    for same in ([], options):
        result = nwave(*words, "--resume", *same)
        assert result.exit_code == 0, result.output
    for other, named in (
        (["--constants", "tau_w=0.3"], "--constants"),
        (["--neuron", "lif"], "--neuron"),
        (["--learn", "b"], "--learn"),
        (["--net", "conv"], "--net"),
        (["--task", "labels"], "--task"),
        (["--augment", "none"], "--augment"),
    ):
        result = nwave(*words, "--resume", *options, *other)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"nwave: {named}: ")
        assert len(result.stderr.splitlines()) == 1


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
    data = {"kind": "sound", "source": "here", "center": center}
    config = RunConfig.of({"data": data, "task": {"name": "classification"}})
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
