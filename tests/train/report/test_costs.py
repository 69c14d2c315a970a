"""The costs and the simple models of a finished run, and scores of models that are known."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from nwavesdk.data import NetInput, Series
from nwavesdk.data.recordings import Recordings, Standard
from nwavesdk.data.recordings import standardized as standardize

pytest.importorskip("lightning")

from nwavesdk.metrics import count_operations
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.report import task_reports
from nwavesdk.train.report.costs import count_on_series, linear_note, simple_scores


def test_the_result_has_the_counts_of_the_test_set(finished: Path) -> None:
    run = Run.open(finished)
    net = run.trained().net
    batch = run.data.test.whole()
    found = count_operations(net, batch.x, batch.lengths)
    result = RunFolder(finished).read_result()
    assert result["counted_recordings"] == len(run.data.test) == found.recordings
    assert result["dense_macs"] == pytest.approx(found.dense, abs=0.06)
    assert result["effective_macs"] == pytest.approx(found.effective_macs, abs=0.06)
    assert result["effective_acs"] == pytest.approx(found.effective_acs, abs=0.06)
    assert result["not_counted"] == []
    # The output layer spikes, too, and is not hidden.
    assert result["hidden_rate"] == pytest.approx(result["rates"][0], abs=1e-6)
    assert 0 < result["majority_accuracy"] <= result["linear_accuracy"] <= 1


def test_counts_in_small_batches_are_those_of_one(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(finished)
    net = run.trained().net
    whole = count_on_series(net, run.data.test)
    monkeypatch.setattr("nwavesdk.train.report.costs.MAX_INPUT_VALUES", 1)
    assert count_on_series(net, run.data.test).effective_macs == pytest.approx(whole.effective_macs)


def test_the_report_begins_with_a_summary(finished: Path) -> None:
    text = RunFolder(finished).report.read_text()
    cards = text[text.index('<div class="cards">') : text.index('<table class="facts">')]
    result = RunFolder(finished).read_result()
    for part in ("Accuracy against a linear model", "How sparse", "What confuses it"):
        assert part in cards
    assert f"{100 * result['hidden_rate']:.1f} %" in cards
    assert "95 % interval" in text
    assert "; training and test may share speakers or devices</small>" in text
    for heading in ("Measures", "Layers", "Operations"):
        assert f"<h2>{heading}</h2>" in text


def test_the_report_has_the_notes_on_the_data(finished: Path, tmp_path: Path) -> None:
    folder = copytree(finished, tmp_path / "run")
    assert "<h2>Notes</h2>" not in RunFolder(folder).report.read_text()
    run = Run.open(folder)
    run.data = replace(run.data, notes=("skipped 1 files of the data: a <b>.wav",))
    run.notes = ["the classes are not balanced"]
    run.train()
    text = RunFolder(folder).report.read_text()
    notes = text[text.index("<h2>Notes</h2>") :]
    assert notes.index("skipped 1 files of the data: a &lt;b&gt;.wav") < notes.index("</table>")
    assert notes.index("the classes are not balanced") < notes.index("</table>")


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        ([[5, 0], [0, 5]], "No errors on the test set."),
        ([[4, 1], [3, 2]], "Errors of this kind: 3 of 4."),
    ],
)
def test_the_report_describes_what_a_net_confuses(
    tally: list[list[int]], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_reports, "_recordings_of", lambda *_: "")
    run: Any = SimpleNamespace(
        facts=SimpleNamespace(classes=("a", "b")),
        evaluation=SimpleNamespace(tally=torch.tensor(tally)),
        part="test",
    )
    card, _ = task_reports._confusions(run, "recordings")
    assert card.text == expected


def test_the_table_of_classes_has_those_with_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_reports, "_right_decisions", lambda _: torch.ones(2, 8))
    monkeypatch.setattr(task_reports, "_recordings_of", lambda *_: "")
    run = MagicMock(**{"task.name": "classification", "facts.classes": ("a", "b", "c")})
    tally = torch.tensor([[5, 0, 0], [1, 2, 0], [0, 0, 0]])
    run.evaluation = SimpleNamespace(measures={"accuracy": 0.9}, tally=tally)
    page = task_reports._page_of_classes(run)
    (table,) = (part for part in page.sections if getattr(part, "heading", "")[:8] == "Accuracy")
    assert [row[0] for row in table.rows] == ["b", "c"]  # there are no recordings of c


@pytest.mark.parametrize(("linear", "has_note"), [(0.52, True), (0.505, False), (None, False)])
def test_a_note_follows_a_linear_model_that_is_better(linear: float, has_note: bool) -> None:
    config = MagicMock(**{"option.return_value": False})
    note = linear_note({"val_accuracy": 0.5, "linear_accuracy": linear}, config)
    assert (note is not None and "try more --epochs" in note) == has_note


def test_what_fails_leaves_the_run_finished(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nwavesdk.train.fit.evaluation import evaluate_net
    from nwavesdk.train.report.costs import describe_run

    def fail(*_: object) -> None:
        raise RuntimeError("a net\nthat fails")

    monkeypatch.setattr("nwavesdk.train.report.costs.count_on_series", fail)
    run = Run.open(finished)
    trained = run.trained()
    net, task = trained.net, trained.task
    evaluation = evaluate_net(net, task, run.data.test, run.config.learning.batch_size)
    assert describe_run(run.data, task, net, run.data.test, evaluation) == ({}, None)
    assert "a net that fails" in capsys.readouterr().err


F = 4


def series_of(frames, labels=None, targets=(), task="classification"):
    recordings = Recordings(
        frames=tuple(frame.astype(np.float32) for frame in frames),
        labels=np.zeros(len(frames), np.int64) if labels is None else np.asarray(labels),
        classes=("a", "b") if task != "regression" else (),
        keys=tuple(map(str, range(len(frames)))),
        fingerprint="0" * 64,
        task=task,
        targets=targets,
    )
    standard = Standard(np.zeros(F, np.float32), np.ones(F, np.float32))
    return Series(recordings, NetInput(standard=standard))


def noise(count, seed, steps=30):
    return list(np.random.default_rng(seed).normal(size=(count, steps, F)))


def classes(count, seed):
    """Class b has a larger deviation in one feature; its mean says nothing."""
    labels = (np.arange(count) % 4 == 0).astype(np.int64)
    frames = noise(count, seed)
    for frame, label in zip(frames, labels, strict=True):
        frame[:, 1] *= 1 + 2 * label
    return series_of(frames, labels)


def test_a_linear_classifier_sees_deviations():
    scores = simple_scores(classes(80, 0), classes(20, 1), classes(40, 2), "classification")
    assert scores == {"majority_accuracy": 0.75, "linear_accuracy": 1.0}


@pytest.mark.parametrize("standardized", [False, True])
def test_rounding_errors_say_nothing(standardized):
    """Class b is longer; means and deviations have other rounding errors then."""
    labels = np.arange(40) % 2
    frames = [np.full((20 + 7 * label, F), -15.2) for label in labels]
    if standardized:
        waves = [np.sin(np.arange(20 + 7 * label))[:, None].repeat(F, 1) for label in labels]
        frames = [standardize(wave.astype(np.float32)) for wave in waves]
    series = series_of(frames, labels)
    assert simple_scores(series, series, series, "classification")["linear_accuracy"] == 0.5


def test_more_inputs_than_recordings_are_solved_too():
    few = classes(6, 0)
    assert simple_scores(few, few, few, "classification")["linear_accuracy"] == 1


def test_unlabeled_steps_do_not_count():
    frames = noise(6, 0)
    labels = [(frame[:, 2] > 0).astype(np.int64) for frame in frames]
    for target, frame in zip(labels, frames, strict=True):
        target[::3] = -1
        frame[::3] = 1e3
    series = series_of(frames, targets=labels, task="labels")
    scores = simple_scores(series, series, series, "labels")
    assert scores["linear_accuracy"] > 0.9
    assert 0.4 < scores["majority_accuracy"] < 0.6


def test_a_linear_target_has_an_r2_of_one():
    frames = noise(6, 0)
    targets = [(frame[:, :2] * 3 + 1).astype(np.float32) for frame in frames]
    series = series_of(frames, targets=targets, task="regression")
    assert simple_scores(series, series, series, "regression") == {
        "linear_r2": pytest.approx(1, abs=1e-4)
    }
