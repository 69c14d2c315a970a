"""Searches on Ray Tune: results of one machine, crashes, early stops, and a lost machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from typer.testing import CliRunner

from analysis.tune.conftest import Content, finish_here
from nwavesdk.analysis.tune import Search, Trial, TuneConfig
from nwavesdk.analysis.tune.on_ray import _scheduler, _searcher_class, finish_trials
from nwavesdk.cli import app
from nwavesdk.train import BrokenRunError, RunFolder


def toml(content: dict[str, Any]) -> str:
    """The content of the file of a search, with dots in names; TOML has the values of JSON."""
    lines = ["[run]"]
    for name, value in content["run"].items():
        fields = value if isinstance(value, dict) else {"": value}
        lines += [
            f"{name}.{key} = {json.dumps(one)}".replace(". =", " =") for key, one in fields.items()
        ]
    lines += [
        "[search]",
        *(f"{name} = {json.dumps(one)}" for name, one in content["search"].items()),
    ]
    lines.append("[space]")
    for name, dimension in content["space"].items():
        values = ", ".join(f"{key} = {json.dumps(one)}" for key, one in dimension.items())
        lines.append(f'"{name}" = {{ {values} }}')
    return "\n".join(lines)


def model_of(trial: Trial) -> bytes:
    return RunFolder(trial.path).model.read_bytes()


@pytest.mark.hpo
@pytest.mark.usefixtures("local_ray")
def test_the_command_gives_the_trials_of_one_process(
    content: Content,
    config: TuneConfig,
    finished_search: Search,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also with a trial that crashes, and again without work when all trials have ended."""
    # The pictures of the winner take long; those of the trials are drawn in the process of Ray.
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    file, out = tmp_path / "tune.toml", tmp_path / "search"
    file.write_text(toml(content(seed=config.search.seed)))
    words = ["tune", str(file), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [trial["state"] for trial in result["trials"]] == ["finished", "finished", "crashed"]
    search = Search.read(out)
    assert [t.record for t in search.trials] == [t.record for t in finished_search.trials]
    pairs = zip(search.finished(), finished_search.finished(), strict=True)
    assert all(model_of(one) == model_of(other) for one, other in pairs)
    lines = [line for line in done.stderr.splitlines() if "/3  trial" in line]
    assert [line[:12] for line in lines] == [f"{n}/3  trial {n - 1}" for n in (1, 2, 3)]
    assert not (out / "ray").exists()
    winner = RunFolder(out / "winner").read_result()
    assert result["winner"]["test_accuracy"] == winner["test_accuracy"]
    assert "test_accuracy" not in search.best().result  # type: ignore[union-attr]
    again = CliRunner().invoke(app, ["tune", "--out", str(out), "--resume", "--json"])
    assert json.loads(again.stdout) == result
    assert "trial" not in again.stderr


@pytest.mark.cluster
@pytest.mark.hpo
@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_is_worse_at_the_same_epoch_stops(content: Content, tmp_path: Path) -> None:
    given = content(trials=2, scheduler="asha", reduction=2)
    given["run"]["learning"]["epochs"] = 3
    given["space"] = {"learning.rate": {"choices": [1e-12, 0.02]}}
    search = Search.open(tmp_path / "search", TuneConfig.of(given).completed())
    good, bad = search.trial(0), search.trial(1)
    record = search.begin_trial().record  # type: ignore[union-attr]
    for trial, rate in ((good, 0.02), (bad, 1e-12)):
        trial.write(record.model_copy(update={"values": {"learning.rate": rate}}))
    # The first epochs of an earlier process, in which the good trial was much better.
    finish_here_one(search, good)
    metrics = RunFolder(good.path).metrics
    header, *rows = metrics.read_text().splitlines()
    place = header.split(",").index("val_accuracy")
    better = [
        ",".join("0.99" if i == place else v for i, v in enumerate(row.split(","))) for row in rows
    ]
    metrics.write_text("\n".join([header, *better]) + "\n")
    ended: list[str] = []
    finish_trials(search, lambda trial: ended.append(f"{trial.name} {trial.state}"))
    assert ended == ["trial 1 stopped"]
    assert list(bad.course()) == [1]
    assert [one.state for one in search.tried()] == ["finished", "stopped"]
    assert search.tried()[1].course == bad.course()


def finish_here_one(search: Search, trial: Trial) -> None:
    from nwavesdk.analysis.tune.trial import run_trial

    search.end_trial(trial, *run_trial(search.job(trial), lambda *_: None))


@pytest.mark.hpo
def test_the_scheduler_knows_what_earlier_processes_ran(finished_search: Search) -> None:
    settings = finished_search.config.search.model_copy(update={"scheduler": "asha"})
    config = finished_search.config.model_copy(update={"search": settings})
    scheduler = _scheduler(Search(finished_search.path, config))
    rungs = scheduler._brackets[0]._rungs
    first = {
        name: score
        for milestone, scores in rungs
        if milestone == 1
        for name, score in scores.items()
    }
    assert first == {f"earlier-{t.number}": t.course()[1] for t in finished_search.finished()}


@pytest.mark.hpo
@pytest.mark.parametrize(
    ("result", "is_lost", "expected"),
    [
        ({"ended": '["finished", ""]'}, False, ("finished", "")),
        ({"ended": '["crashed", "a bug"]'}, False, ("crashed", "a bug")),
        ({"epoch": 1, "ended": ""}, False, ("stopped", "")),
        (None, True, ("crashed", "its process was lost 4 times, perhaps because memory")),
    ],
)
def test_the_end_of_a_trial_is_recorded(
    content: Content,
    tmp_path: Path,
    result: dict[str, Any] | None,
    is_lost: bool,
    expected: tuple[str, str],
) -> None:
    search = Search(tmp_path, TuneConfig.of(content(trials=2)).completed())
    ended: list[Trial] = []
    searcher = _searcher_class()(search, ended.append)
    job = json.loads(searcher.suggest("x")["job"])
    assert job == json.loads(json.dumps(search.job(search.trial(0))))
    searcher.on_trial_complete("x", result, is_lost)
    (trial,) = ended
    assert trial.record.state == expected[0]
    assert trial.record.error.startswith(expected[1])
    if expected[0] != "finished":  # there is no run to tell the sampler of
        assert searcher.suggest("y")["number"] == 1
    assert isinstance(searcher.suggest("z"), str)  # that there are no more


@pytest.mark.hpo
def test_a_trial_that_cannot_go_on_now_ends_the_search_and_is_not_recorded(
    content: Content, tmp_path: Path
) -> None:
    search = Search(tmp_path, TuneConfig.of(content(trials=2)).completed())
    searcher = _searcher_class()(search, print)
    searcher.suggest("x")
    searcher.on_trial_complete("x", {"ended": '["broken", "the disk is full."]'})
    assert isinstance(searcher.failure, BrokenRunError)
    assert str(searcher.failure) == "trial 0: the disk is full. The same command continues."
    assert isinstance(searcher.suggest("y"), str)
    assert [trial.state for trial in search.trials] == ["running"]
    assert _searcher_class()(search, print).suggest("x")["number"] == 0


# A Ray cluster of two nodes


DRIVER = """
import sys
from pathlib import Path
from nwavesdk.analysis.tune import Search
from nwavesdk.analysis.tune.on_ray import finish_trials

def note(trial):
    print(trial.number, trial.state, flush=True)

if __name__ == "__main__":
    finish_trials(Search.read(Path(sys.argv[1])), note, sys.argv[2])
"""


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with one CPU each, in processes of this machine."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    node.pop("include_dashboard")
    try:
        cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()


N_TRIALS = 4
N_EPOCHS = 120


def cluster_search(content: Content, path: Path) -> Search:
    """Trials that take much longer than a process of Ray takes to begin."""
    given = content(trials=N_TRIALS, max_concurrent=2, seed=1)
    given["run"]["learning"]["epochs"] = N_EPOCHS
    given["space"]["net.tau"] = {"choices": [0.01, 0.02]}
    return Search.open(path, TuneConfig.of(given).completed())


@contextlib.contextmanager
def driving(search: Search, cluster: Any) -> Iterator[Any]:
    """The process that searches on a cluster, when trials run on both of its nodes."""
    script = search.path.parent / "driver.py"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(search.path), cluster.address]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 900
        while not is_in_the_middle(search):
            assert driver.poll() is None
            assert time.monotonic() < deadline, [trial.course() for trial in search.trials]
            time.sleep(0.05)
        yield driver
    finally:
        driver.kill()
        driver.wait()


def is_in_the_middle(search: Search) -> bool:
    """Whether a trial on each node has some epochs, and not nearly all of them."""
    courses = [len(trial.course()) for trial in search.unfinished()]
    return len([n_epochs for n_epochs in courses if 2 <= n_epochs < 0.8 * N_EPOCHS]) == 2


@pytest.mark.cluster
@pytest.mark.hpo
def test_a_search_survives_the_loss_of_a_node(
    content: Content, tmp_path: Path, two_nodes: Any
) -> None:
    """One of two nodes is killed in the middle: no trial is lost, doubled or different."""
    search = cluster_search(content, tmp_path / "search")
    (lost,) = [node for node in two_nodes.list_all_nodes() if node is not two_nodes.head_node]
    with driving(search, two_nodes) as driver:
        two_nodes.remove_node(lost, allow_graceful=False)
        output, _ = driver.communicate(timeout=900)
        assert driver.returncode == 0, output
    ended = [line.split() for line in output.splitlines()]
    assert sorted(int(number) for number, _ in ended) == list(range(N_TRIALS))
    assert {state for _, state in ended} == {"finished"}
    assert all([*trial.course()] == list(range(1, N_EPOCHS + 1)) for trial in search.trials)
    # No epoch was repeated: the trial of the lost node continued after its last checkpoint.
    logs = [trial.path.with_suffix(".log").read_text() for trial in search.trials]
    assert all(log.count(f"{N_EPOCHS}/{N_EPOCHS}") == 1 for log in logs)
    assert_equal_to_one_process(search, cluster_search(content, tmp_path / "here"))


@pytest.mark.cluster
@pytest.mark.hpo
def test_a_killed_search_on_a_cluster_goes_on(
    content: Content, tmp_path: Path, two_nodes: Any
) -> None:
    search = cluster_search(content, tmp_path / "search")
    with driving(search, two_nodes) as driver:
        driver.send_signal(signal.SIGKILL)
        output, _ = driver.communicate()
    script = tmp_path / "driver.py"
    command = [sys.executable, str(script), str(search.path), two_nodes.address]
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900, check=True)
    ended = [line.split()[0] for line in [*output.splitlines(), *again.stdout.splitlines()]]
    assert sorted(map(int, ended)) == list(range(N_TRIALS))
    assert_equal_to_one_process(search, cluster_search(content, tmp_path / "here"))


def assert_equal_to_one_process(search: Search, here: Search) -> None:
    """The models are equal to the bit to those of the same values in this process."""
    for trial in search.trials:
        here.trial(trial.number).write(trial.record.model_copy(update={"state": "running"}))
    finish_here(here)
    assert [model_of(trial) for trial in search.trials] == [model_of(t) for t in here.trials]
