"""`nwave train`, and errors of `nwave tune`, whose search `analysis.study` tests."""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from cli.command import json_object, nwave, rejected, succeeded
from nwavesdk.cli import train
from nwavesdk.cli.train import finish_study
from nwavesdk.train import Run, RunConfig, RunFolder
from train.runs import difference

pytest.importorskip("lightning")


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
    resumed = succeeded("train", "--out", out, "--resume", "--json")
    assert "is finished: nothing to resume" in resumed.stderr
    assert json_object(resumed) == json_object(first)
    error = rejected("train", "--out", out, "--resume", "--epochs", 9)
    assert "--epochs: a resumed run keeps its choices, got 9, expected 2" in error
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
        succeeded("train", "--out", tmp_path / name, "--config", recorded, *options)
        after = RunFolder(tmp_path / name).read_config()
        assert difference(after, before) == changed
        assert difference(after, before, {changed or "facts.begun_with"}) is None


@pytest.mark.usefixtures("_untrained")
def test_the_config_of_a_run_gives_its_data_to_another_net(run: Path, tmp_path: Path) -> None:
    options = ("--config", run / "config.json", "--net", "conv")
    succeeded("train", "--out", tmp_path / "run", *options)
    after = RunFolder(tmp_path / "run").read_config()
    assert after.net.name == "conv"
    assert difference(after, RunFolder(run).read_config(), {"net", "page"}) is None


@pytest.mark.usefixtures("_untrained")
def test_the_same_options_resume_a_run_and_another_is_one_line(tones: Path, tmp_path: Path) -> None:
    words = ["train", "--out", tmp_path / "run"]
    options = ["--data", tones, "--net", "lif", "--neuron", "adlif", "--hidden", "8", "--bands", 12]
    options += ["--constants", "tau_w=0.2", "--learn", "a", "--no-test", "--augment", "shift=0.1"]
    assert nwave(*words, *options).exit_code == 0

    for same in ([], options):
        succeeded(*words, "--resume", *same)

    for other, named in (
        (["--constants", "tau_w=0.3"], "--constants"),
        (["--neuron", "lif"], "--neuron"),
        (["--learn", "b"], "--learn"),
        (["--net", "conv"], "--net"),
        (["--task", "labels"], "--task"),
        (["--augment", "none"], "--augment"),
    ):
        assert rejected(*words, "--resume", *options, *other).startswith(f"nwave: {named}: ")


@pytest.mark.parametrize(
    ("center", "measured", "linear", "is_hinted"),
    [
        (True, {"val_accuracy": 0.9, "test_accuracy": 0.5}, 0.7, True),
        (True, {"val_accuracy": 0.5}, 0.7, True),  # with --no-test
        (True, {"val_accuracy": 0.5}, 0.59, False),
        (False, {"val_accuracy": 0.5}, 0.7, False),
        (True, {"val_r2": 0.5, "test_r2": 0.5}, 0.9, True),
    ],
)
def test_a_hint_names_what_centering_takes_from_a_net(
    center: bool, measured: dict[str, float], linear: float, is_hinted: bool
) -> None:
    score = next(iter(measured)).removeprefix("val_")
    result = {**measured, **LOSSES, f"linear_{score}": linear}
    text = "\n".join(train._notes(result, config_of(center=center)))
    assert ("try --no-center" in text) == is_hinted
    assert f"a linear model has {train.MEASURE_TITLES[score]} {linear:.4f}" in text


LOSSES = {
    "val_loss": 0.2,
    "lowest_loss": 0.2,
    "lowest_loss_epoch": 12,
    "best_epoch": 20,
    "epochs": 20,
}


def config_of(center: bool = False, keep: str = "last") -> Any:
    data = {"kind": "sound", "source": "here", "center": center}
    task = {"name": "classification"}
    return RunConfig.of({"data": data, "task": task, "learning": {"keep": keep}})


def test_result_and_report_say_if_validation_was_clearly_better_earlier() -> None:
    result = {"val_accuracy": 0.5, **LOSSES, "val_loss": 0.43, "lowest_loss": 0.24}
    note = (
        "the validation loss was clearly lower after epoch 12 (0.2400) than after the last epoch, "
        "which is kept (0.4300): try fewer --epochs, or --keep best"
    )
    assert train._notes(result, config_of()) == [note]
    # Neither chance nor the best epoch has a note.
    assert not train._notes({**result, "lowest_loss": 0.4}, config_of())
    (best,) = train._notes({**result, "best_epoch": 12}, config_of(keep="best"))
    assert best == "these are the weights of epoch 12: see --keep"
    assert not train._notes(result, config_of(keep="best"))


def test_the_notes_of_a_run_have_its_cost() -> None:
    counts = {"hidden_rate": 0.04, "effective_macs": 5.0, "effective_acs": 1200.0}
    result = {"val_accuracy": 0.9, **LOSSES, **counts, "dense_macs": 9000.0}
    assert train._notes(result, config_of()) == [
        "hidden layers fire in 4.0 % of steps, 1,205 synaptic operations per recording (dense: "
        "9,000 MACs)",
    ]


def test_series_of_one_step_train_with_notes_on_outliers_and_centering(tmp_path: Path) -> None:
    parts = 65 * ["train"] + 16 * ["val"] + 20 * ["test"]  # a batch of one would be left over
    y = np.arange(len(parts)) % 2
    x = np.random.default_rng(0).standard_normal((len(parts), 1, 2))
    x[:, 0, 0] += 6 * y
    x[0, 0, 1] = -999
    np.savez(tmp_path / "set.npz", x=x, y=y, split=parts)
    words = ("--data", tmp_path / "set.npz", "--out", tmp_path / "run", "--epochs", 1, "--center")
    result = succeeded("train", *words, "--batch-size", 8)
    assert "nwave: note: nine tenths of feature 2 lie between" in result.stderr
    assert "which the net does not get: try --no-center" in result.stdout


def test_finetune_goes_on_with_the_choices_of_a_run(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rounded"
    result = succeeded("train", "--finetune", run, "--weight-bits", 5, "--out", out)
    before, after = (json.loads((path / "config.json").read_text()) for path in (run, out))
    assert after["net"] == before["net"]
    assert after["data"] == before["data"]
    assert after["learning"]["epochs"] == 1  # a fifth of 2
    assert after["learning"]["rate"] == before["learning"]["rate"] / 10
    assert after["learning"]["weight_bits"] == 5
    assert nwave("train", "--resume", "--finetune", run, "--out", out).exit_code == 0

    error = rejected("train", "--weight-bits", 8, "--out", tmp_path / "other")
    assert "nwave: --weight-bits: needs a trained run, got 8 without one: add" in error
    result = nwave("train", "--finetune", tmp_path, "--out", tmp_path / "other")
    assert "holds no run" in result.stderr


CONFIG = """
[run]
data = { source = "/nothing/there", kind = "sound" }
task.name = "classification"
[space]
"learning.rate" = { low = 1e-3, high = 1e-1, log = true }
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--out", "new"], "CONFIG: missing"),
        (
            ["--out", "new", "--resume"],
            "no such option: --resume, the same command continues a search, also with "
            "DIR/tune.json as CONFIG",
        ),
        pytest.param(
            ["tune.toml"],
            "--out: missing, expected a folder for the search",
            marks=pytest.mark.hpo,
        ),
        pytest.param(["out.toml"], "/nothing/there", marks=pytest.mark.hpo),
        pytest.param(["other.toml", "--out", "new"], "other.toml", marks=pytest.mark.hpo),
        (["tune.toml", "--out", "new", "--threads", "0"], "--threads: "),
        (["tune.toml", "--out", "new", "--ray=nowhere"], "--ray: got 'nowhere', expected local"),
        pytest.param(
            ["bad.toml", "--out", "new"],
            "bad.toml has a mistake: search.trals",
            marks=pytest.mark.hpo,
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tune.toml").write_text(CONFIG)
    Path("out.toml").write_text(f"[search]\nout = 'new'\n{CONFIG}")
    Path("bad.toml").write_text(f"[search]\ntrals = 3\n{CONFIG}")
    assert re.search(line, rejected("tune", *words))
    assert not Path("new").exists()


@pytest.mark.hpo
def test_data_that_are_missing_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tune.toml").write_text(CONFIG)
    assert "/nothing/there" in rejected("tune", tmp_path / "tune.toml", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_missing_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    (tmp_path / "tune.toml").write_text(CONFIG)
    error = rejected("tune", tmp_path / "tune.toml", "--out", tmp_path / "new")
    assert "optuna is not installed: pip install '.[hpo]' in a clone of nwavesdk" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name != "posix", reason="only POSIX lets a process catch SIGTERM")
def test_sigterm_ends_a_study_like_an_interrupt_and_is_left_to_others_after_it() -> None:
    class TerminatedStudy:
        def finish(self, *_: object) -> None:
            assert callable(signal.getsignal(signal.SIGTERM))  # otherwise these tests would end
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        finish_study(TerminatedStudy(), as_json=False, threads=1, jobs=1, ray=None)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == handler
