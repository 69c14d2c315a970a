"""The winner reads the test set, once; no trial does."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune import Search
from nwavesdk.analysis.tune.winner import finish_winner
from nwavesdk.train import Run, RunFolder

pytestmark = pytest.mark.hpo


@pytest.mark.usefixtures("without_pictures")
def test_the_winner_is_tested_once_and_not_trained_again(
    finished_search: Search, tmp_path: Path
) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    best = search.best()
    assert best is not None
    scores = [trial.result["val_accuracy"] for trial in search.finished()]
    assert best.result["val_accuracy"] == max(scores)
    before = {path: path.stat().st_mtime_ns for path in best.path.rglob("*")}
    winner = finish_winner(search, best)
    result = winner.read_result()
    assert result["test_accuracy"] == Run.open(best.path, net_of(search)).test()["test_accuracy"]
    assert result["val_accuracy"] == best.result["val_accuracy"]
    assert result["seconds"] == best.result["seconds"]  # of training, which was not repeated
    assert winner.read_config().data.test
    assert winner.report.is_file()
    assert {path: path.stat().st_mtime_ns for path in best.path.rglob("*")} == before
    time = winner.result.stat().st_mtime_ns
    assert finish_winner(search, best).result.stat().st_mtime_ns == time


@pytest.mark.usefixtures("without_pictures")
def test_a_winner_whose_test_was_interrupted_is_finished(
    finished_search: Search, tmp_path: Path
) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    best = search.best()
    assert best is not None
    expected = finish_winner(search, best)
    text = expected.read_result()
    for name in ("result.json", "checkpoint.ckpt", "report.html", "model.safetensors"):
        (expected.path / name).unlink()
    again = finish_winner(search, best).read_result()
    assert {**again, "seconds": 0} == {**text, "seconds": 0}
    assert RunFolder(expected.path).complete


def net_of(search: Search) -> str:
    return f"{search.config.run['net']['page']['file']}:build"
