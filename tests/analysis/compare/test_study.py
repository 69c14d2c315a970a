"""Studies: paired bit by bit, resumable, and the same on every kind of worker."""

import multiprocessing
import shutil
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from analysis.compare.conftest import ARMS, finish_here
from nwavesdk.analysis.cells import _CellLog, finish_on_processes, finish_on_ray
from nwavesdk.analysis.compare import Study
from nwavesdk.analysis.tested import file_of_test, read_tested
from nwavesdk.internal.files import FileError
from nwavesdk.train import BrokenRunError, Run, RunConfig, RunFolder
from nwavesdk.train.config import merge_choices
from nwavesdk.train.run_folder import lock


def ignore(_: Any) -> None:
    """Called with every finished cell."""


def two_arms(path: Path, choices: dict[str, Any]) -> Study:
    return Study.open(path, ["fast_sigmoid", "atan"], 1, choices, threads=1)


def hashes(study: Study) -> dict[tuple[str, int], str]:
    return {(cell.arm, cell.seed): cell.weights_sha256 for cell in study.cells}


def assert_paired(study: Study) -> None:
    """Two identical arms give the same weights, and another surrogate gives others."""
    found = hashes(study)
    first, again, other = study.arms
    for seed in range(study.seeds):
        assert found[first, seed] == found[again, seed] != found[other, seed]
    assert all(cell.result["dead"] for cell in study.cells)


def test_arms_of_a_seed_are_paired(finished_study: Study) -> None:
    """Initial weights, order of data, dropout and arithmetic are those of the seed."""
    assert list(finished_study.arms) == [
        "fast_sigmoid(slope=25.0)",
        "fast_sigmoid(slope=25.0) #2",
        "atan(alpha=2.0)",
    ]
    assert_paired(finished_study)
    by_seed = {cell.seed: cell.weights_sha256 for cell in finished_study.cells}
    assert by_seed[0] != by_seed[1]


def test_arms_are_paired_under_mismatch(study_choices: dict[str, Any], tmp_path: Path) -> None:
    choices = {
        **study_choices,
        "chip": {"profile": "h1v1", "training": "mismatch"},
        "data": {
            **{"source": study_choices["data"]["source"], "sample_rate": 8000},
            "duration": 0.3,
        },
        "net": {**study_choices["net"], "name": "chip", "dt": 5e-3},
    }
    study = Study.open(tmp_path / "study", ARMS, 1, choices, threads=1)
    finish_here(study)
    assert_paired(study)


def test_only_missing_cells_are_run(
    finished_study: Study, study_choices: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(finished_study.path, tmp_path / "study")
    study = Study.open(tmp_path / "study", ARMS, 2, study_choices, threads=1)
    shutil.rmtree(study.cells[1].path)
    assert study.missing() == [study.cells[1]]
    results = [RunFolder(cell.path).result for cell in study.cells]
    before = [file.stat().st_mtime_ns for file in results if file.exists()]
    finish_here(study)
    assert not study.missing()
    assert [f.stat().st_mtime_ns for f in results if f != results[1]] == before
    assert hashes(study) == hashes(finished_study)


def test_the_measure_is_known_before_the_first_cell_has_finished(
    finished_study: Study, study_choices: dict[str, Any], tmp_path: Path
) -> None:
    """Cells run side by side, and any of them may end first."""
    shutil.copytree(finished_study.path, tmp_path / "study")
    study = Study.open(tmp_path / "study", ARMS, 2, study_choices, threads=1)
    RunFolder(study.cells[0].path).result.unlink()
    assert study.measure == "accuracy"


def test_threads_are_those_of_the_study(finished_study: Study) -> None:
    config = RunFolder(finished_study.cells[0].path).read_config()
    assert config.arithmetic.threads == 1


def test_runs_of_data_that_have_changed_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((12, 5, 2))
    file = tmp_path / "set.npz"
    np.savez(file, x=x, y=np.arange(12) % 2)
    choices = {"data": {"source": str(file)}}
    study = two_arms(tmp_path / "study", choices)
    cell = study.cells[1]
    _, of_cell, _ = study.job(cell)
    RunFolder(cell.path).begin(Run.prepare(cell.path, RunConfig.of(of_cell)).config)
    two_arms(study.path, choices)
    np.savez(file, x=x + 1, y=np.arange(12) % 2)
    with pytest.raises(ValueError, match=r"have changed since the run began .*: restore them"):
        two_arms(study.path, choices)


@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
def test_a_killed_study_leaves_no_process_and_continues_bit_by_bit(
    finished_study: Study, study_choices: dict[str, Any], tmp_path: Path
) -> None:
    broken = two_arms(tmp_path / "broken", study_choices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks with threads
        process = multiprocessing.get_context("fork").Process(
            target=finish_on_processes, args=(broken, broken.missing(), 1, ignore)
        )
        process.start()
    deadline = time.monotonic() + 90
    metrics = broken.cells[0].path / "metrics.csv"
    while not metrics.is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    process.kill()
    process.join()
    assert children
    while any(is_alive(int(child)) for child in children) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(is_alive(int(child)) for child in children)
    finish_on_processes(broken, broken.missing(), 2, ignore)
    assert hashes(broken).items() <= hashes(finished_study).items()


def is_alive(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.hpo
@pytest.mark.cluster
@pytest.mark.usefixtures("local_ray")
def test_ray_gives_the_same_weights(
    finished_study: Study, study_choices: dict[str, Any], tmp_path: Path
) -> None:
    study = two_arms(tmp_path / "study", study_choices)
    finish_on_ray(study, study.missing(), ignore)
    assert hashes(study).items() <= hashes(finished_study).items()


@pytest.mark.parametrize(
    ("arms", "seeds", "words"),
    [
        (["atan"], 1, r"needs at least two surrogates, got \['atan'\]"),
        (["atan", "nonsense"], 1, "nonsense"),
        (["atan", "sigmoid"], 0, "compare: seeds must be a whole number from 1 to 10000, got 0"),
        (["atan", "sigmoid"], 2**70, "seeds must be a whole number from 1 to 10000"),
    ],
)
def test_invalid_studies_are_refused(
    study_choices: dict[str, Any], tmp_path: Path, arms: list[str], seeds: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Study.open(tmp_path / "study", arms, seeds, study_choices, threads=1)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("section", "choices"),
    [
        ("data", {"source": "/nothing/there"}),
        ("chip", {"profile": "/nothing/there.toml"}),
        ("net", {"hidden": [100_000] * 9}),
    ],
)
def test_a_study_that_cannot_run_leaves_nothing_behind(
    study_choices: dict[str, Any], tmp_path: Path, section: str, choices: dict[str, Any]
) -> None:
    """So that the same command with a correct option begins the study."""
    of_chip = {"data": {"source": study_choices["data"]["source"]}}
    begun = of_chip if section == "chip" else study_choices
    merged = merge_choices(begun, {section: choices})
    with pytest.raises((ValueError, FileNotFoundError), match=r"nothing/there|memory"):
        two_arms(tmp_path / "study", merged)
    assert not (tmp_path / "study").exists()


def test_a_folder_of_something_else_is_refused(
    study_choices: dict[str, Any], tmp_path: Path
) -> None:
    two_arms(tmp_path / "study", study_choices)
    with pytest.raises(
        ValueError, match=r"holds another study \(surrogates: got .*; seeds: got 2, expected 1"
    ):
        Study.open(tmp_path / "study", ["atan", "sigmoid"], 2, study_choices, threads=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is in use and is not a study"):
        two_arms(tmp_path / "other", study_choices)


def test_what_a_killed_begin_left_counts_as_nothing(
    study_choices: dict[str, Any], tmp_path: Path
) -> None:
    draft = tmp_path / ".study.json.17.01234567.draft"
    draft.write_text("half")
    study = two_arms(tmp_path, study_choices)
    finish_on_processes(study, [], 1, ignore)
    assert not draft.exists()
    assert two_arms(tmp_path, study_choices).cells == study.cells
    study.file.write_text("{")
    with pytest.raises(FileError, match=r"study\.json is not JSON .*: restore or remove it"):
        two_arms(tmp_path, study_choices)


def test_one_process_works_on_a_study(study_choices: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    study = two_arms(tmp_path, study_choices)
    with (
        lock(study.file, "works on the study"),
        pytest.raises(BrokenRunError, match="another process works on the study in .*: wait"),
    ):
        finish_on_processes(study, study.missing(), 1, ignore)


def test_an_error_names_its_cell_and_no_log_is_written_through_a_link(
    study_choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nwavesdk.analysis.cells.ProcessPoolExecutor",
        lambda *_, **__: ThreadPoolExecutor(1),
    )
    study = two_arms(tmp_path / "study", study_choices)
    cell = study.cells[1]
    cell.path.mkdir(parents=True)
    (cell.path / "thesis.tex").write_text("years of work")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    log = cell.path.with_suffix(".log")
    log.symlink_to(mine)
    with pytest.raises(
        BrokenRunError, match=r"^atan\(alpha=2\.0\), seed 0: .*seed-0 is in use and holds no run"
    ):
        finish_on_processes(study, [cell], 1, ignore)
    _CellLog(log).write("progress")
    assert mine.read_text() == "mine"
    log.unlink()
    _CellLog(log).write("progress")
    assert log.read_text() == "progress"


def test_the_test_set_is_read_when_all_cells_are_finished(
    finished_study: Study,
) -> None:
    for cell in finished_study.cells:
        folder = RunFolder(cell.path)
        assert not folder.read_config().data.test
        tested = read_tested(cell.path)
        assert tested.measures["test_accuracy"] == cell.result["test_accuracy"]
        assert np.sum(tested.confusion) == folder.read_config().facts.recordings[2]
        assert np.trace(tested.confusion) / np.sum(tested.confusion) == pytest.approx(
            cell.result["test_accuracy"]
        )
    assert not finished_study.untested()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is damaged .*its checksum is wrong"),
        (b'{"measures": {"test_accuracy": 1.0}}', "is damaged .*its checksum is wrong"),
        (None, "is damaged"),
    ],
)
def test_a_damaged_test_of_a_cell_is_an_error_with_the_remedy(
    finished_study: Study, content: bytes | None, words: str
) -> None:
    cell, _, other = finished_study.cells[:3]
    file = file_of_test(cell.path)
    intact = file.read_bytes()
    file.write_bytes(file_of_test(other.path).read_bytes() if content is None else content)
    try:
        with pytest.raises(FileError, match=f"{words}.*: remove it; the same command writes it"):
            _ = cell.result
    finally:
        file.write_bytes(intact)
