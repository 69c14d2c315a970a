"""Runs on lists of events: from files to the report, resumed to the same bits, and examined."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from examples import small_data as small
from nwavesdk.analysis.run_batch import RunBatch
from nwavesdk.train import Run
from train.runs import metrics_without_time, model_bytes, no_pictures, stop_after


def choices_of(folder: Path, events: str) -> dict[str, Any]:
    return {
        "seed": 3,
        "data": {"source": str(folder), "events": events, "bin": 1e-3},
        "net": {"name": "lif", "hidden": [12], "population": 2},
        "learning": {"epochs": 3, "batch_size": 4, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make_structured(tmp_path_factory.mktemp("events") / "files")


@pytest.fixture(scope="module")
@no_pictures()
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run.new(tmp_path_factory.mktemp("run") / "lists", choices_of(folder, "lists"))
    run.train()
    return run.folder.path


def test_lists_have_the_loss_of_frames(folder: Path, finished: Path, tmp_path: Path) -> None:
    choices = choices_of(folder, "frames")
    choices["net"]["first_weights"] = "drawn"
    Run.new(tmp_path / "frames", choices).train()
    of_lists, *_ = metrics_without_time(finished)
    of_frames, *_ = metrics_without_time(tmp_path / "frames")
    # The two products add up in other orders.
    assert float(of_lists["train_loss"]) == pytest.approx(float(of_frames["train_loss"]), rel=1e-4)


def test_a_run_on_lists_has_its_report(finished: Path) -> None:
    assert (finished / "report.html").is_file()


def test_a_resumed_run_has_the_same_bits(folder: Path, finished: Path, tmp_path: Path) -> None:
    stop_after(Run.new(tmp_path / "broken", choices_of(folder, "lists")), 1)
    Run.open(tmp_path / "broken").train()
    assert model_bytes(tmp_path / "broken") == model_bytes(finished)
    assert metrics_without_time(tmp_path / "broken") == metrics_without_time(finished)


def test_diagnosis_takes_gradients_of_a_dense_batch(finished: Path) -> None:
    recorded = RunBatch.open(finished).record_pass()
    assert len(dict(recorded.gradients())) == 2
