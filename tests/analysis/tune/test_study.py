"""Searches: continued after a kill, with crashed trials, and refused where they cannot begin."""

import json
import multiprocessing
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from analysis.tune.conftest import CRASHES, Content, finish_here, seed_of
from nwavesdk.analysis.tune import Search, TuneConfig
from nwavesdk.internal.files import FileError
from nwavesdk.train import Run, RunConfig, RunFolder

pytestmark = pytest.mark.hpo


def weights(search: Search) -> list[bytes]:
    """The files of the trained models, without their seals, which cover the path of the data."""
    return [RunFolder(trial.path).model.read_bytes() for trial in search.finished()]


def test_a_crashed_trial_is_recorded_and_the_others_finish(finished_search: Search) -> None:
    trials = finished_search.trials
    assert [trial.state for trial in trials] == ["finished", "finished", "crashed"]
    assert trials[2].record.error.endswith("RuntimeError: a net with slow neurons).")
    assert finished_search.best() in trials[:2]
    assert finished_search.n_ended == 3
    assert finished_search.begin_trial() is None
    for trial in trials[:2]:
        assert not RunFolder(trial.path).read_config().data.test
        assert not [name for name in trial.result if name.startswith("test")]


def test_a_trial_is_the_run_of_its_values(finished_search: Search, tmp_path: Path) -> None:
    trial = finished_search.trials[0]
    values = finished_search.values(trial)
    config = RunFolder(trial.path).read_config()
    assert (config.learning.rate, config.net.tau) == tuple(values.values())
    assert config.machine.threads == 1
    alone = Run.new(tmp_path / "run", RunConfig.of(finished_search.choices(values)))
    alone.train()
    assert alone.folder.model.read_bytes() == RunFolder(trial.path).model.read_bytes()


def begin_here(path: Path, content: dict[str, Any]) -> None:
    """What the process does that is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with open(os.devnull, "w") as sys.stderr:
        finish_here(Search.open(path, TuneConfig.of(content).completed()))


@pytest.mark.skipif(sys.platform != "linux", reason="a fork has the imports of this process")
def test_a_killed_search_goes_on_as_if_it_had_not_been(
    finished_search: Search, tmp_path: Path
) -> None:
    path = tmp_path / "killed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks with threads
        process = multiprocessing.get_context("fork").Process(
            target=begin_here, args=(path, finished_search.content())
        )
        process.start()
    deadline = time.monotonic() + 60
    begun = path / "trial-1" / "metrics.csv"
    while not begun.is_file() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.join()
    search = Search.read(path)
    assert process.exitcode == -9
    assert search.trials[0].state == "finished"
    first = RunFolder(search.trials[0].path).result.stat().st_mtime_ns
    finish_here(search)
    assert RunFolder(search.trials[0].path).result.stat().st_mtime_ns == first
    assert [trial.record for trial in search.trials] == [
        trial.record for trial in finished_search.trials
    ]
    assert weights(search) == weights(finished_search)


def test_a_trial_whose_end_was_not_recorded_counts(finished_search: Search, tmp_path: Path) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    expected = search.tried()
    first = search.trials[0]
    first.write(first.record.model_copy(update={"state": "running"}))
    assert not search.unfinished()
    assert search.tried() == expected


def test_another_search_or_folder_is_refused(
    finished_search: Search, content: Content, tmp_path: Path
) -> None:
    other = TuneConfig.of(content(seed=999)).completed()
    with pytest.raises(ValueError, match=r"holds another study \(search.seed: got 999"):
        Search.open(finished_search.path, other)
    with pytest.raises(FileError, match=r"holds no search \(no tune.json\)"):
        Search.read(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is in use and is not a study"):
        Search.open(tmp_path, other)


def test_a_search_that_cannot_run_leaves_nothing_behind(content: Content, tmp_path: Path) -> None:
    given = content()
    given["run"]["data"]["source"] = "/nothing/there"
    with pytest.raises((ValueError, FileNotFoundError), match="nothing/there"):
        Search.open(tmp_path / "search", TuneConfig.of(given).completed())
    assert not (tmp_path / "search").exists()


def test_one_proposal_that_can_run_is_enough(content: Content, tmp_path: Path) -> None:
    given = content(seed=seed_of(content, [True]))
    search = Search.open(tmp_path / "search", TuneConfig.of(given).completed())
    first = search.begin_trial()
    assert first is not None
    assert search.values(first)["net.tau"] == CRASHES
    given["space"]["net.tau"] = {"choices": [CRASHES, 0.04]}
    with pytest.raises(ValueError, match="a net with slow neurons"):
        Search.open(tmp_path / "other", TuneConfig.of(given).completed())
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("{}", r"is not the record of a trial \(values: missing"),
        (
            '{"values": {"learning.rate": 0.01, "net.tau": 0.5}}',
            "holds values that are not of the space",
        ),
        ('{"values": {"learning.rate": 0.01}}', "holds values that are not of the space"),
    ],
)
def test_a_damaged_record_is_an_error_with_the_remedy(
    finished_search: Search, tmp_path: Path, text: str, words: str
) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    search.trials[1].file.write_text(text)
    with pytest.raises(FileError, match=f"trial-1.json {words}.*remove it with trial-1"):
        search.tried()


def test_a_record_that_is_missing_or_of_another_run_is_an_error(
    finished_search: Search, tmp_path: Path
) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    first = search.trials[0]
    values = {**first.record.values, "learning.rate": 0.0123}
    first.write(first.record.model_copy(update={"values": values}))
    with pytest.raises(FileError, match=r"belong to trial-0, whose learning.rate is another one"):
        search.tried()
    first.file.unlink()
    with pytest.raises(FileError, match=r"trial-0.json does not exist, although trial-0 does"):
        search.begin_trial()


def test_a_damaged_file_of_the_search_is_an_error(finished_search: Search, tmp_path: Path) -> None:
    content = json.loads(finished_search.file.read_text())
    content["search"]["trials"] = 0
    (tmp_path / "tune.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match=r"is not a search \(search.trials: expected at least 1"):
        Search.read(tmp_path)


def test_trials_of_data_that_have_changed_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((12, 5, 2))
    file = tmp_path / "set.npz"
    np.savez(file, x=x, y=np.arange(12) % 2)
    content = {
        "run": {"data": {"source": str(file)}},
        "search": {"trials": 2, "scheduler": "none"},
        "space": {"learning.rate": {"choices": [1e-3, 1e-2]}},
    }
    config = TuneConfig.of(content).completed()
    search = Search.open(tmp_path / "search", config)
    trial = search.begin_trial()
    assert trial is not None
    choices = search.choices(search.values(trial))
    RunFolder(trial.path).begin(Run.prepare(trial.path, RunConfig.of(choices)).config)
    Search.read(search.path)
    np.savez(file, x=x + 1, y=np.arange(12) % 2)
    with pytest.raises(ValueError, match=r"have changed since the run began .*: restore them"):
        Search.read(search.path)
    # Once all have ended, the results are shown, whatever became of the data.
    search.end_trial(trial, "crashed")
    other = search.begin_trial()
    assert other is not None
    search.end_trial(other, "crashed")
    Search.read(search.path)
