"""Searches: trials, early stops, a search after a kill, and a damaged journal."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")
pytest.importorskip("optuna")

from analysis.here import Here
from analysis.study.conftest import CRASHES, INVALID, Content
from nwavesdk.analysis.study import RunSearch, TuneConfig
from nwavesdk.analysis.study.cells import Course, CrashError, run_cell
from nwavesdk.analysis.study.executors import LostError
from nwavesdk.analysis.study.search import MAX_LOSSES, Search, state_of
from nwavesdk.analysis.study.search_file import SearchConfig
from nwavesdk.internal.files import FileError
from nwavesdk.train import BrokenRunError, Run, RunFolder

pytestmark = pytest.mark.hpo


def square(job: Any) -> Course:
    """A trial of ten epochs, whose scores are known."""
    path, values, _, until = job
    Path(path).mkdir(exist_ok=True)
    x = values["x"]
    if x > 0.9:
        raise CrashError("too large")
    n_epochs = min(until or 10, 10)
    scores = [x * epoch for epoch in range(1, n_epochs + 1)]
    return ([*scores, 10 * x], True) if n_epochs == 10 else (scores, False)


def make(path: Path, work: Any = square, **settings: Any) -> Search:
    """A search of one number from 0 to 1."""
    import optuna

    path.mkdir(exist_ok=True)
    return Search(
        path,
        file="search.json",
        content={},
        settings=SearchConfig(**{"trials": 12, "scheduler": "none", **settings}),
        space={"x": optuna.distributions.FloatDistribution(0, 1)},
        work=work,
        choices=dict,
    )


def finish(search: Search) -> list[int]:
    """Finish a search in this process; the numbers of its trials in the order of their ends."""
    ended: list[Any] = []
    search.finish(Here(), ended.append)
    return [trial.number for trial in ended]


def test_trials_end_as_finished_or_crashed_and_the_best_is_the_highest(tmp_path: Path) -> None:
    search = make(tmp_path / "search")
    assert finish(search) == list(range(12))
    for trial in make(tmp_path / "search").trials:
        x = trial.params["x"]
        assert state_of(trial) == ("crashed" if x > 0.9 else "finished")
        assert trial.user_attrs.get("error") == ("too large" if x > 0.9 else None)
        assert x > 0.9 or trial.value == 10 * x
    finished = [trial.value for trial in search.trials if state_of(trial) == "finished"]
    assert search.best.value == max(finished)
    assert finish(make(tmp_path / "search")) == []


def test_a_worse_trial_is_stopped_at_the_same_epoch(tmp_path: Path) -> None:
    search = make(tmp_path / "search", scheduler="asha", grace=2, reduction=2, trials=20)
    finish(search)
    stopped = [trial for trial in search.trials if state_of(trial) == "stopped"]
    assert stopped
    assert {len(trial.intermediate_values) for trial in stopped} <= {2, 4, 8}
    assert all(trial.params["x"] < search.best.params["x"] for trial in stopped)


class KilledError(BaseException):
    """Stands for a kill of the driver."""


def kill_at(begun: list[str], *counts: int) -> Any:
    """A function like `square` whose driver is killed when so many jobs have begun."""

    def work(job: Any) -> Course:
        begun.append(Path(job[0]).name)
        if len(begun) in counts:
            raise KilledError
        return square(job)

    return work


def test_a_trial_whose_values_are_not_drawn_yet_continues(tmp_path: Path) -> None:
    """A kill may come between two values of a trial."""
    search = make(tmp_path / "search", trials=2)
    search.study.ask()
    assert [search.values_of(trial) for trial in search.trials] == [{}]
    assert finish(make(tmp_path / "search", trials=2)) == [0, 1]
    assert len({trial.params["x"] for trial in make(tmp_path / "search").trials}) == 2


@pytest.mark.parametrize("cut", [0, 10])
def test_after_a_kill_no_trial_is_lost_or_run_twice(tmp_path: Path, cut: int) -> None:
    """Also if the kill has cut the last line of the journal."""
    begun: list[str] = []
    work = kill_at(begun, 3, 6)
    for _ in range(2):
        search = make(tmp_path / "search", work)
        with pytest.raises(KilledError):
            finish(search)
        with search.journal.open("ab") as file:
            file.write(b'{"op_code": 6, "wor'[:cut])
    search = make(tmp_path / "search", work)
    values = [trial.params["x"] for trial in search.trials]
    finish(search)
    assert [trial.number for trial in search.trials] == list(range(12))
    # A trial that was interrupted has its values and its folder again.
    assert [trial.params["x"] for trial in search.trials][: len(values)] == values
    assert sorted(begun) == sorted([*{f"trial-{n}" for n in range(12)}, "trial-2", "trial-4"])
    assert len({trial.params["x"] for trial in search.trials}) == 12


def test_an_interrupted_trial_is_compared_at_the_epochs_of_all_others(tmp_path: Path) -> None:
    """Not by the score with which it goes on."""
    settings = {"scheduler": "asha", "grace": 1, "reduction": 3, "trials": 1}
    with pytest.raises(KilledError):
        finish(make(tmp_path / "search", kill_at([], 1), **settings))

    def go_on(job: Any) -> Course:
        # It had all of its epochs but the last when it was killed.
        return square((*job[:3], max(job[3], 9)))

    search = make(tmp_path / "search", go_on, **settings)
    finish(search)
    (trial,) = search.trials
    x = trial.params["x"]
    rungs = [trial.system_attrs[f"completed_rung_{number}"] for number in range(3)]
    assert rungs == pytest.approx([x, 3 * x, 9 * x])
    assert state_of(trial) == "finished"


def test_a_folder_without_a_trial_is_an_error(tmp_path: Path) -> None:
    """Its run would have other values than the trial."""
    finish(make(tmp_path / "search", trials=1))
    search = make(tmp_path / "search", trials=2)
    search.path_of(1).mkdir()
    for _ in range(2):  # the first one must not leave a trial that the second one continues
        with pytest.raises(
            FileError, match=r"journal\.log has no trial of the folder trial-1: restore"
        ):
            finish(search)


def test_an_empty_journal_is_a_new_one(tmp_path: Path) -> None:
    """A full disk, or a kill, may leave it."""
    search = make(tmp_path / "search", trials=1)
    search.journal.write_text("")
    assert finish(search) == [0]


def test_what_is_not_the_fault_of_a_trial_ends_the_search(tmp_path: Path) -> None:
    def full(job: Any) -> Course:  # noqa: ARG001
        raise BrokenRunError("the disk is full.")

    with pytest.raises(BrokenRunError, match=r"^trial-0: the disk is full\."):
        finish(make(tmp_path / "search", full))
    assert [state_of(trial) for trial in make(tmp_path / "search").trials] == ["running"]
    assert finish(make(tmp_path / "search"))[0] == 0


def test_a_trial_whose_process_is_always_lost_does_not_block_the_search(tmp_path: Path) -> None:
    def lose_the_second(job: Any) -> Course:
        if Path(job[0]).name == "trial-1":
            raise LostError("a process of the study was lost")
        return square(job)

    for _ in range(MAX_LOSSES):
        with pytest.raises(BrokenRunError, match="was lost"):
            finish(make(tmp_path / "search", lose_the_second, trials=4))
    assert finish(make(tmp_path / "search", lose_the_second, trials=4)) == [2, 3]
    lost = make(tmp_path / "search").trials[1]
    assert state_of(lost) == "crashed"
    assert "was lost" in lost.user_attrs["error"]


def test_a_damaged_journal_is_one_line(tmp_path: Path) -> None:
    search = make(tmp_path / "search", trials=2)
    finish(search)
    search.journal.write_text("{}\n" + search.journal.read_text())
    with pytest.raises(FileError, match=r"journal\.log is not the journal of a search .*: restore"):
        finish(make(tmp_path / "search"))


# Searches of runs


def test_a_trial_is_the_run_of_its_values_and_only_the_best_is_tested(
    search: RunSearch, tmp_path: Path
) -> None:
    states = [cell.arm for cell in search.cells]
    assert sorted(states) == ["crashed", "finished", "finished", "finished"]
    (error,) = [cell.error for cell in search.cells if cell.error]
    assert error == "RuntimeError: a net with slow neurons"

    best = search.best_cell
    assert [cell.test_file.is_file() for cell in search.cells] == [
        cell == best for cell in search.cells
    ]
    scores = [cell.numbers["val_accuracy"] for cell in search.cells if cell.arm == "finished"]
    assert best.numbers["val_accuracy"] == max(scores)

    path, choices, threads, _ = search.job(search.best)
    config = best.folder.read_config()
    assert best.values == {"learning.rate": config.learning.rate, "net.tau": 0.01}
    assert (config.machine.threads, config.data.test, threads) == (1, False, 1)

    alone = Run.new(tmp_path / "run", choices)
    course = Here().call(run_cell, (path, choices, 1, None))
    scores = [row["val_accuracy"] for row in best.metrics()]
    assert course == ([*scores[:-1], best.numbers["val_accuracy"]], True)
    alone.train()
    assert alone.folder.model.read_bytes() == best.folder.model.read_bytes()


def test_a_search_is_opened_again_by_its_file(search: RunSearch, content: Content) -> None:
    again = RunSearch.open(search.path, TuneConfig.read(search.file))
    assert again.best_cell == search.best_cell
    other = TuneConfig.of(content(seed=search.settings.seed, trials=5)).completed()
    with pytest.raises(
        ValueError, match=r"holds another study \(search\.trials: got 5, expected 4"
    ):
        RunSearch.open(search.path, other)


def test_an_edited_file_does_not_continue_the_search(search: RunSearch, tmp_path: Path) -> None:
    """The trials so far have the settings with which the search began."""
    shutil.copytree(search.path, tmp_path / "search")
    file = tmp_path / "search" / "tune.json"
    text = file.read_text()
    for edited in (text.replace('"trials": 4', '"trials": 5'), text.replace('"sha256"', '"sha"')):
        assert edited != text
        file.write_text(edited)
        with pytest.raises((FileError, ValueError), match=r"tune\.json (is damaged|has a mistake)"):
            RunSearch.open(tmp_path / "search", TuneConfig.read(file))


def test_a_value_that_cannot_be_built_is_an_error_before_the_first_trial(
    content: Content, tmp_path: Path
) -> None:
    invalid = content()
    invalid["space"]["net.tau"] = {"choices": [0.01, INVALID]}
    config = TuneConfig.of(invalid).completed()
    with pytest.raises(
        ValueError, match=r"^space\.net\.tau: got 0\.04, which cannot be used: .*slower neurons"
    ):
        RunSearch.open(tmp_path / "search", config)
    assert not (tmp_path / "search").exists()


def test_if_all_trials_crash_one_line_says_so(content: Content, tmp_path: Path) -> None:
    crashing = content(trials=2)
    crashing["space"] = {"net.tau": {"choices": [CRASHES]}}
    config = TuneConfig.of(crashing).completed()
    search = RunSearch(tmp_path / "search", config)
    (tmp_path / "search").mkdir()
    with pytest.raises(BrokenRunError, match="no trial of .* has finished; .*slow neurons"):
        search.finish(Here(), lambda _: None)


def test_a_run_is_trained_until_its_next_comparison(search: RunSearch, tmp_path: Path) -> None:
    _, choices, *_ = search.job(search.best)
    choices = {**choices, "learning": {**choices["learning"], "epochs": 4}}
    model = []
    for name, stops in (("whole", [None]), ("parts", [1, 3, 3, 2, 4, None, 1])):
        counts = []
        for until in stops:
            scores, is_over = Here().call(run_cell, (str(tmp_path / name), choices, 1, until))
            counts.append(len(scores))
            assert is_over == (counts[-1] == 4)
        assert counts == ([4] if name == "whole" else [1, 3, 3, 2, 4, 4, 1])
        model.append((tmp_path / name / "model.safetensors").read_bytes())
    assert model[0] == model[1]
    assert (tmp_path / "parts.log").read_text().count("epoch   4/4") == 1


def test_the_score_of_a_run_is_that_of_the_epoch_that_is_kept(
    search: RunSearch, tmp_path: Path
) -> None:
    _, choices, *_ = search.job(search.best)
    learning = {**choices["learning"], "epochs": 6, "keep": "best", "rate": 0.3}
    for seed in range(20):
        job = (str(tmp_path / f"{seed}"), {**choices, "learning": learning, "seed": seed}, 1, None)
        scores, _ = Here().call(run_cell, job)
        assert scores[-1] == pytest.approx(max(scores), abs=1e-6)
        if RunFolder(job[0]).read_metrics()[-1]["val_accuracy"] < scores[-1]:
            return
    raise AssertionError("the last epoch was the best one in all runs")


def test_an_error_of_a_run_is_one_line_and_whole_in_its_log(
    search: RunSearch, tmp_path: Path
) -> None:
    _, choices, *_ = search.job(search.best)
    choices = {**choices, "net": {**choices["net"], "tau": CRASHES}}
    with pytest.raises(CrashError, match=r"^RuntimeError: a net with slow neurons$"):
        Here().call(run_cell, (str(tmp_path / "run"), choices, 1, None))
    assert "Traceback" in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("other")])
def test_a_log_that_is_not_a_file_is_one_line(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "run.log")
    with pytest.raises(FileError, match=r"run\.log is .*, expected a file"):
        run_cell((str(tmp_path / "run"), {"learning": {"epochs": 1}}, 1, None))
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "run").exists()


def test_the_command(
    content: Content, search: RunSearch, tmp_path: Path, here: Here, capsys: Any
) -> None:
    del capsys
    from cli.command import json_object, nwave, succeeded

    file, out = tmp_path / "tune.json", tmp_path / "search"
    file.write_text(json.dumps(content(seed=search.settings.seed)))
    done = succeeded("tune", file, "--out", out, "--json")
    result = json_object(done)
    assert [cell["arm"] for cell in result["cells"]] == [cell.arm for cell in search.cells]
    (best,) = result["best"]
    assert best["run"] == search.best_cell.name
    assert best["test_accuracy"] == search.best_cell.numbers["test_accuracy"]
    lines = [line for line in done.stderr.splitlines() if line.startswith("trial ")]
    assert len(lines) == 4
    assert len([line for line in lines if "slow neurons" in line]) == 1
    n_called = len(here.called)
    again = nwave("tune", out / "tune.json", "--out", out, "--json")
    assert json_object(again) == result
    assert len(here.called) == n_called


def test_damage_in_a_trial_is_an_error(search: RunSearch, tmp_path: Path) -> None:
    from nwavesdk.analysis.study.report import write_study_report

    shutil.copytree(search.path, tmp_path / "search")
    copied = RunSearch.open(tmp_path / "search", search.config)
    copied.best_cell.test_file.write_bytes(b"{")
    with pytest.raises(FileError, match=r"test\.json is damaged.*: remove it; the same command"):
        write_study_report(copied)
    shutil.copy(search.best_cell.test_file, copied.best_cell.test_file)
    copied.cells[0].folder.metrics.unlink()
    with pytest.raises(FileError, match=r"trial-0.metrics\.csv does not exist: .*writes it again"):
        write_study_report(copied)
