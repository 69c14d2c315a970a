"""Cross-validations: ordinary runs, one per fold, which are continued after an interruption."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from analysis.folds.conftest import finish_here
from nwavesdk.analysis.folds import FoldStudy
from nwavesdk.analysis.folds.report import write_folds
from nwavesdk.analysis.statistics import summarize
from nwavesdk.internal.files import FileError
from nwavesdk.train import Run, RunConfig, RunFolder

RECORDINGS = 48  # of the folder `tones`


def test_each_fold_is_a_run_and_each_recording_is_tested_once(finished_folds: FoldStudy) -> None:
    assert [fold.path.name for fold in finished_folds.folds] == ["fold-1", "fold-2", "fold-3"]
    assert not finished_folds.missing()
    for fold in finished_folds.folds:
        config = RunFolder(fold.path).read_config()
        assert (config.data.folds, config.data.fold) == (3, fold.number)
        assert sum(fold.facts.recordings) == RECORDINGS
        assert fold.confusion.sum() == fold.facts.recordings[2]
        assert fold.name == f"fold {fold.number}"
    counts = finished_folds.confusion()
    # Three classes with 16 recordings each.
    assert counts.sum(axis=1).tolist() == [16, 16, 16]


def test_the_mean_is_that_of_the_folds(finished_folds: FoldStudy) -> None:
    accuracies = [fold.result["test_accuracy"] for fold in finished_folds.folds]
    assert finished_folds.headline == "test_accuracy"
    assert finished_folds.summaries()["test_accuracy"] == summarize(accuracies)
    right = np.trace(finished_folds.confusion())
    sizes = [fold.facts.recordings[2] for fold in finished_folds.folds]
    assert right == pytest.approx(np.dot(accuracies, sizes))


def test_only_what_is_missing_is_run(
    finished_folds: FoldStudy, fold_choices: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(finished_folds.path, tmp_path / "study")
    study = FoldStudy.open(tmp_path / "study", fold_choices, threads=1)
    shutil.rmtree(study.folds[1].path)
    (study.folds[2].path / "test.json").unlink()
    assert [fold.number for fold in study.missing()] == [2, 3]
    kept = [RunFolder(study.folds[k].path).model for k in (0, 2)]
    before = [file.stat().st_mtime_ns for file in kept]
    finish_here(study)
    assert not study.missing()
    assert [file.stat().st_mtime_ns for file in kept] == before
    weights = [RunFolder(one.folds[1].path).model for one in (study, finished_folds)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert study.confusion().tolist() == finished_folds.confusion().tolist()


def test_the_headline_is_known_before_the_first_fold_has_finished(
    finished_folds: FoldStudy, fold_choices: dict[str, Any], tmp_path: Path
) -> None:
    """Folds run side by side, and any of them may end first."""
    shutil.copytree(finished_folds.path, tmp_path / "study")
    study = FoldStudy.open(tmp_path / "study", fold_choices, threads=1)
    RunFolder(study.folds[0].path).result.unlink()
    assert study.headline == "test_accuracy"


def test_leaving_one_out_has_a_fold_for_each_speaker(
    fold_choices: dict[str, Any], tmp_path: Path
) -> None:
    """The first digit of a file's name counts as its speaker."""
    data = {"leave_one_out": "speaker", "speaker_pattern": r"/(\d)"}
    data = {**fold_choices["data"], **data, "folds": None}
    study = FoldStudy.open(tmp_path / "study", {**fold_choices, "data": data}, threads=1)
    assert study.n_folds == 10
    again = FoldStudy.open(tmp_path / "study", {**fold_choices, "data": data}, threads=1)
    assert again.n_folds == 10
    assert study.folds[3].name == "fold 4"


def test_folds_without_a_test_set_are_validated_only(
    fold_choices: dict[str, Any],
    finished_folds: FoldStudy,
    tmp_path: Path,
) -> None:
    data = {**fold_choices["data"], "test": False}
    study = FoldStudy.open(tmp_path / "study", {**fold_choices, "data": data}, threads=1)
    for fold, tested in zip(study.folds, finished_folds.folds, strict=True):
        shutil.copytree(tested.path, fold.path)
        (fold.path / "test.json").unlink()
    assert not study.missing()
    assert study.headline == "val_accuracy"
    assert set(study.summaries()) >= {"val_accuracy"}
    assert not [name for name in study.summaries() if name.startswith("test")]
    assert not study.confusion().size
    assert "all numbers are of validation sets" in write_folds(study).read_text()


@pytest.mark.parametrize("reads_test", [True, False])
def test_folds_of_data_that_have_changed_are_refused(tmp_path: Path, reads_test: bool) -> None:
    x = np.random.default_rng(0).standard_normal((24, 5, 2))
    file = tmp_path / "set.npz"
    np.savez(file, x=x, y=np.arange(24) % 2)
    choices = {"data": {"source": str(file), "folds": 4, "test": reads_test}}
    study = FoldStudy.open(tmp_path / "study", choices, threads=1)
    for fold in study.folds[1:3]:
        _, of_fold, _ = study.job(fold)
        run = Run.prepare(fold.path, RunConfig.of(of_fold))
        RunFolder(fold.path).begin(run.config)
    FoldStudy.open(study.path, choices, threads=1)
    for index in range(24):
        changed = x.copy()
        changed[index, 0, 0] += 1
        np.savez(file, x=changed, y=np.arange(24) % 2)
        with pytest.raises(ValueError, match=r"have changed since the run began .*: restore them"):
            FoldStudy.open(study.path, choices, threads=1)


def test_a_study_that_begins_says_what_its_runs_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).standard_normal((60, 5, 2))
    file = tmp_path / "set.npz"
    np.savez(file, x=x, y=np.arange(60) % 6 == 0)
    choices = {"data": {"source": str(file), "folds": 2}}
    for note in ("nwave: note: the classes are not balanced: ", ""):
        FoldStudy.open(tmp_path / "study", choices, threads=1)
        printed = capsys.readouterr().err
        assert printed.startswith(note)
        assert printed.count("\n") == bool(note)


def test_another_study_or_folder_is_refused(
    finished_folds: FoldStudy, fold_choices: dict[str, Any], tmp_path: Path
) -> None:
    other = {**fold_choices, "seed": 1}
    with pytest.raises(ValueError, match=r"holds another study \(choices.seed: got 1"):
        FoldStudy.open(finished_folds.path, other, threads=1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is in use and is not a study"):
        FoldStudy.open(tmp_path, fold_choices, threads=1)


@pytest.mark.parametrize(
    ("section", "choices", "words"),
    [
        ("machine", {"devices": 2}, "machine.devices: folds run side by side, each on one device"),
        ("data", {"folds": 17}, "Class 'high' has 16 recordings, too few for 17 sets"),
        ("data", {"split": "speaker"}, "recordings have no speaker"),
        ("data", {"folds": 1}, "data.folds: expected at least 2"),
    ],
)
def test_folds_that_cannot_be_had_leave_nothing_behind(
    fold_choices: dict[str, Any], tmp_path: Path, section: str, choices: dict[str, Any], words: str
) -> None:
    merged = {**fold_choices, section: {**fold_choices[section], **choices}}
    with pytest.raises(ValueError, match=words):
        FoldStudy.open(tmp_path / "study", merged, threads=1)
    assert not (tmp_path / "study").exists()


def test_a_damaged_file_of_the_study_is_an_error(tmp_path: Path) -> None:
    assert FoldStudy.recorded_choices(tmp_path) is None
    for content, words in [("{", "is not JSON"), ('{"choices": 3}', "does not hold the choices")]:
        (tmp_path / "folds.json").write_text(content)
        with pytest.raises(FileError, match=words):
            FoldStudy.recorded_choices(tmp_path)
    (tmp_path / "folds.json").write_text(json.dumps({"choices": {"data": {"folds": 2}}}))
    assert FoldStudy.recorded_choices(tmp_path) == {"data": {"folds": 2}}
