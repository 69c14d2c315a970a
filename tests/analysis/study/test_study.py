"""Comparisons and folds: paired to the bit, continued, and refused where they cannot begin."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from analysis.here import Here
from analysis.study.conftest import ARMS
from cli.command import json_object, nwave, succeeded
from nwavesdk.analysis import summarize
from nwavesdk.analysis.study import (
    Cell,
    Study,
    compare_surrogates,
    cross_validate,
    on_processes,
    on_ray,
)
from nwavesdk.analysis.study.cells import run_cell
from nwavesdk.internal.files import FileError
from nwavesdk.train import BrokenRunError, Run
from nwavesdk.train.config import merge_choices
from nwavesdk.train.run_folder import lock
from train.event_folders import write_events
from train.runs import Choices

RECORDINGS = 48


def two_arms(path: Path, choices: Choices) -> Study:
    return compare_surrogates(path, ["fast_sigmoid", "atan"], 1, choices, threads=1)


def weights(study: Study) -> dict[tuple[str, Any], bytes]:
    """The weights of each finished cell, by arm and seed or fold."""
    files = {
        (cell.arm, cell.values.get("seed", cell.name)): cell.folder.model.read_bytes()
        for cell in study.cells
        if cell.folder.model.is_file()
    }
    # The header of a file has its seal, and its length in eight bytes before it.
    return {key: file[8 + int.from_bytes(file[:8], "little") :] for key, file in files.items()}


def assert_paired(study: Study) -> None:
    """Two identical arms have the same weights, and another surrogate has others."""
    trained = weights(study)
    first, again, other = dict.fromkeys(cell.arm for cell in study.cells)
    for seed in {seed for _, seed in trained}:
        assert trained[first, seed] == trained[again, seed] != trained[other, seed]


def test_arms_of_a_seed_are_paired(comparison: Study) -> None:
    """Initial weights, order of data, dropout and arithmetic follow from the seed."""
    assert list(dict.fromkeys(cell.arm for cell in comparison.cells)) == [
        "fast_sigmoid(slope=25.0)",
        "fast_sigmoid(slope=25.0) #2",
        "atan(alpha=2.0)",
    ]
    assert_paired(comparison)
    assert comparison.pairs()[0].conclusion == "no difference shown"  # of two identical arms
    assert all(cell.folder.read_config().machine.threads == 1 for cell in comparison.cells)
    accuracies = [cell.numbers["test_accuracy"] for cell in comparison.cells[::3]]
    assert comparison.summaries("test_accuracy")[comparison.cells[0].arm] == summarize(accuracies)


def test_arms_are_paired_under_mismatch(choices: Choices, tmp_path: Path) -> None:
    data = {"source": choices["data"]["source"], "sample_rate": 8000, "duration": 0.3}
    net = {**choices["net"], "name": "chip", "dt": 5e-3}
    chip = {"profile": "h1v1", "training": "mismatch"}
    of_chip = {**choices, "chip": chip, "data": data, "net": net}
    study = compare_surrogates(tmp_path / "study", ARMS, 1, of_chip, threads=1)
    study.finish(Here())
    assert_paired(study)


def test_each_recording_is_tested_in_one_fold(folds: Study) -> None:
    assert [cell.name for cell in folds.cells] == ["fold 1", "fold 2", "fold 3"]
    tested = [cell.facts["recordings"][2] for cell in folds.cells]
    assert sum(tested) == RECORDINGS
    # The test follows when all folds are trained: the runs have not read their test sets.
    assert all("test_accuracy" not in cell.folder.read_result() for cell in folds.cells)
    confusion = sum(np.array(cell.numbers["confusion"]) for cell in folds.cells)
    assert confusion.sum(axis=1).tolist() == [16, 16, 16]
    accuracies = [cell.numbers["test_accuracy"] for cell in folds.cells]
    assert np.trace(confusion) == pytest.approx(np.dot(accuracies, tested))
    assert folds.headline == (f"{np.mean(accuracies):.4f}", "mean test accuracy of folds")


def test_detectors_are_compared_by_misses(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    source = write_events(tmp_path / "events", background=3)
    choices = {
        "data": {"source": str(source), "bands": 12},
        "net": {"name": "lif", "hidden": [8]},
        "learning": {"epochs": 2, "batch_size": 8},
    }
    study = two_arms(tmp_path / "study", choices)
    study.finish(Here())
    cell = study.cells[0]
    scores, _ = Here().call(run_cell, study.job(cell))
    assert scores[-1] == 1 - cell.numbers["val_misses"]
    assert scores[0] == cell.metrics()[0]["val_balanced_accuracy"]

    misses = [cell.numbers["test_misses"] for cell in study.cells]
    assert study.headline[0] == f"{min(misses):.4f}"
    assert study.headline[1].startswith("mean test misses of ")


@pytest.mark.parametrize("name", ["comparison", "folds"])
def test_only_what_is_missing_is_run(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, choices: Choices
) -> None:
    finished: Study = request.getfixturevalue(name)
    shutil.copytree(finished.path, tmp_path / "study")
    if name == "folds":
        study = cross_validate(tmp_path / "study", finished.choices, threads=1)
    else:
        study = compare_surrogates(tmp_path / "study", ARMS, 2, choices, threads=1)

    shutil.rmtree(study.cells[1].path)
    study.cells[2].test_file.unlink()
    before = study.cells[0].folder.result.stat().st_mtime_ns
    executor, ended = Here(), []
    study.finish(executor, ended.append)
    removed, untested = study.cells[1].path.name, study.cells[2].path.name
    assert executor.called == [
        ("run_cell", removed),
        ("test_cell", removed),
        ("test_cell", untested),
    ]
    assert ended == [study.cells[1]]
    assert study.cells[0].folder.result.stat().st_mtime_ns == before
    assert weights(study) == weights(finished)

    study.finish(executor)
    assert len(executor.called) == 3


def test_leaving_one_out_has_a_fold_for_each_speaker(fold_choices: Choices, tmp_path: Path) -> None:
    """The first digit of a file's name counts as its speaker."""
    data = {"leave_one_out": "speaker", "speaker_pattern": r"/(\d)"}
    data = {**fold_choices["data"], **data, "folds": None}
    for _ in range(2):
        study = cross_validate(tmp_path / "study", {**fold_choices, "data": data}, threads=1)
        assert len(study.cells) == 10


def test_folds_without_a_test_set_are_validated_only(
    fold_choices: Choices, folds: Study, tmp_path: Path
) -> None:
    data = {**fold_choices["data"], "test": False}
    study = cross_validate(tmp_path / "study", {**fold_choices, "data": data}, threads=1)
    for cell, tested in zip(study.cells, folds.cells, strict=True):
        shutil.copytree(tested.path, cell.path)
        cell.test_file.unlink()
    assert not study.missing()
    assert not study.untested()
    assert study.headline[1] == "mean val accuracy of folds"
    assert "No test set has been read" in study.summary


def begin_runs(study: Study, *indices: int) -> None:
    """Begin some cells and do not train them."""
    for index in indices:
        path, changed, *_ = study.job(study.cells[index])
        Run.new(path, changed)


@pytest.mark.parametrize("reads_test", [True, False])
def test_data_that_have_changed_are_refused(tmp_path: Path, reads_test: bool) -> None:
    x = np.random.default_rng(0).standard_normal((24, 5, 2))
    file = tmp_path / "set.npz"
    np.savez(file, x=x, y=np.arange(24) % 2)
    choices = {"data": {"source": str(file), "folds": 4, "test": reads_test}}
    begin_runs(cross_validate(tmp_path / "study", choices, threads=1), 1, 2)
    for index in range(24):
        changed = x.copy()
        changed[index, 0, 0] += 1
        np.savez(file, x=changed, y=np.arange(24) % 2)
        with pytest.raises(ValueError, match=r"have changed since the run began .*: restore them"):
            cross_validate(tmp_path / "study", choices, threads=1)


@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
def test_a_killed_command_leaves_no_process_and_continues_to_the_same_bits(
    comparison: Study, choices: Choices, tmp_path: Path
) -> None:
    study = two_arms(tmp_path / "study", choices)
    words = ["--data", choices["data"]["source"], "--bands", "12", "--hold", "1", "--net", "lif"]
    words += ["--hidden", "24", "--population", "3", "--dropout", "0.2", "--epochs", "2"]
    words += ["--batch-size", "8", "--learning-rate", "0.02", "--surrogates", "fast_sigmoid,atan"]
    words += ["--seeds", "1", "--jobs", "1", "--out", str(study.path)]
    begin = "from nwavesdk.cli import main; main()"
    command = subprocess.Popen([sys.executable, "-c", begin, "compare", *words])
    deadline = time.monotonic() + 90
    while not any(cell.folder.metrics.is_file() for cell in study.cells):
        assert command.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    command.kill()
    command.wait()

    for cell in study.cells:
        while cell.folder.config.is_file() and not is_free(cell):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    study.finish(Here())
    assert weights(study).items() <= weights(comparison).items()


def is_free(cell: Cell) -> bool:
    """Whether no process trains the run of a cell."""
    with contextlib.suppress(BrokenRunError), cell.folder.lock():
        return True
    return False


@pytest.mark.hpo
@pytest.mark.cluster
@pytest.mark.usefixtures("local_ray")
def test_ray_gives_the_same_weights(comparison: Study, choices: Choices, tmp_path: Path) -> None:
    study = two_arms(tmp_path / "study", choices)
    study.finish(on_ray("local", 1))
    assert weights(study).items() <= weights(comparison).items()


def test_an_unknown_surrogate_is_refused(choices: Choices, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        compare_surrogates(tmp_path / "study", ["atan", "nonsense"], 1, choices, threads=1)
    assert not (tmp_path / "study").exists()


def test_one_surrogate_has_a_mean_and_no_difference(choices: Choices, tmp_path: Path) -> None:
    study = compare_surrogates(tmp_path / "study", ["atan"], 2, choices, threads=1)
    study.finish(Here())
    assert study.title == "1 surrogate, 2 seeds"
    assert [*study.tables] == ["means"]


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("data", {"source": "/nothing/there"}, "nothing/there"),
        ("net", {"hidden": [100_000] * 9}, "memory"),
        ("machine", {"devices": 2}, "machine.devices: folds run side by side, each on one device"),
        ("learning", {"finetune": "/a/fold-1"}, "learning.finetune: the folds have .* /a/fold-1"),
        ("data", {"folds": 17}, "Class 'high' has 16 recordings, too few for 17 sets"),
        ("data", {"split": "speaker"}, "recordings have no speaker"),
        ("data", {"folds": 1}, "data.folds: expected at least 2"),
    ],
)
def test_a_study_that_cannot_run_leaves_nothing_behind(
    fold_choices: Choices, tmp_path: Path, section: str, changes: Any, words: str
) -> None:
    """So that the same command with a correct option begins the study."""
    with pytest.raises(ValueError, match=words):
        cross_validate(
            tmp_path / "study", merge_choices(fold_choices, {section: changes}), threads=1
        )
    assert not (tmp_path / "study").exists()


def test_a_folder_of_something_else_is_refused(
    choices: Choices, fold_choices: Choices, tmp_path: Path
) -> None:
    two_arms(tmp_path / "study", choices)
    with pytest.raises(ValueError, match=r"holds another study \(choices\.data\.folds: got 3, exp"):
        cross_validate(tmp_path / "study", fold_choices, threads=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    for begin in (two_arms, lambda *words: cross_validate(*words, threads=1)):
        with pytest.raises(ValueError, match="other holds files that are not part of this study"):
            begin(tmp_path / "other", fold_choices)


def test_what_a_killed_begin_left_counts_as_nothing(choices: Choices, tmp_path: Path) -> None:
    draft = tmp_path / ".study.json.17.01234567.draft"
    draft.write_text("half")
    study = two_arms(tmp_path, choices)
    with lock(study.file, "works on the study"), pytest.raises(BrokenRunError, match="another pro"):
        study.finish(on_processes(1))
    assert not draft.exists()
    study.file.write_text("{")
    with pytest.raises(FileError, match=r"study\.json is damaged .*: restore it; other settings"):
        two_arms(tmp_path, choices)


def test_an_edited_description_is_one_line(
    folds: Study, fold_choices: Choices, tmp_path: Path
) -> None:
    text = folds.file.read_text()
    (tmp_path / "study.json").write_text(text.replace('"threads": 1', '"threads": 2'))
    with pytest.raises(FileError, match=r"study\.json is damaged .*: restore it; other settings"):
        cross_validate(tmp_path, fold_choices, threads=1)
    done = nwave("train", "--out", tmp_path, "--resume")
    assert done.exit_code == 2
    assert "study.json is damaged" in done.stderr


def test_a_study_that_begins_says_what_its_runs_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).standard_normal((60, 5, 2))
    file = tmp_path / "set.npz"
    np.savez(file, x=x, y=np.arange(60) % 6 == 0)
    choices = {"data": {"source": str(file), "folds": 2}}
    for note in ("nwave: note: the classes are not balanced: ", ""):
        cross_validate(tmp_path / "study", choices, threads=1)
        printed = capsys.readouterr().err
        assert printed.startswith(note)
        assert printed.count("\n") == bool(note)


def test_an_error_of_a_cell_names_it(choices: Choices, tmp_path: Path) -> None:
    study = two_arms(tmp_path / "study", choices)
    begin_runs(study, 0)
    study.cells[0].folder.config.write_text("{")
    with pytest.raises(BrokenRunError, match=r"^fast_sigmoid\(slope=25.0\), seed 0: .*config.json"):
        study.finish(Here())


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (
            ("compare", "--surrogates", "fast_sigmoid,atan(alpha=3)", "--seeds", "1"),
            ["fast_sigmoid(slope=25.0), seed 0", "atan(alpha=3.0), seed 0"],
        ),
        (("train", "--folds", "2"), ["fold 1", "fold 2"]),
    ],
)
def test_the_commands(
    tones: Path, tmp_path: Path, here: Here, words: tuple[str, ...], names: list[str]
) -> None:
    options = ("--data", tones, "--epochs", 1, "--net", "lif", "--hidden", 8)
    command = (*words, *options, "--out", tmp_path / "study")
    done = succeeded(*command, "--json")
    content = json_object(done)
    assert [cell["name"] for cell in content["cells"]] == names
    assert all(0 <= cell["test_accuracy"] <= 1 for cell in content["cells"])
    assert sorted(name for name, _ in here.called) == 2 * ["run_cell"] + 2 * ["test_cell"]
    # They are trained, then tested, and neither again.
    again = nwave(*command, *(["--resume"] if words[0] == "train" else []))
    assert "look at" in again.stdout
    assert len(here.called) == 4
    assert json.loads((tmp_path / "study" / "result.json").read_text()) == content


def test_numbers_that_a_run_lacks_are_undefined(
    folds: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of a detector have no latency without a detection, and numbers by signal-to-noise."""
    lacking = {"test_median_latency": None, "test_by_snr": {}, "test_misses_interval": [0.0, 1.0]}
    numbers = type(folds.cells[0]).numbers.fget
    monkeypatch.setattr(
        type(folds.cells[0]), "numbers", property(lambda cell: numbers(cell) | lacking)
    )
    rows = {row[1]: row[2] for row in folds.tables["means"].rows}
    assert np.isnan(rows["test_median_latency"])
    assert not {"test_by_snr", "test_misses_interval"} & rows.keys()
