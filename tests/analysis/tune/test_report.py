"""The report of a search: JSON, lines, pictures and a page, offline."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune import Search
from nwavesdk.analysis.tune.report import (
    check_any_finished,
    search_json,
    search_lines,
    trial_line,
    write_search,
)
from nwavesdk.internal.files import FileError
from nwavesdk.train import BrokenRunError

pytestmark = pytest.mark.hpo


def test_json_has_all_trials_and_the_best(finished_search: Search) -> None:
    content = search_json(finished_search)
    assert [trial["state"] for trial in content["trials"]] == ["finished", "finished", "crashed"]
    best = content["trials"][content["best"]]
    assert content["values"] == best["values"]
    assert best[content["measure"]] == max(t.get("val_accuracy", 0) for t in content["trials"])
    assert "a net with slow neurons" in content["trials"][2]["error"]
    assert content["importance"] == {}
    assert content["importance_trials"] == 2
    assert content["winner"] is None


def test_lines_have_the_best_and_what_was_read(finished_search: Search) -> None:
    lines = search_lines(finished_search)
    assert lines[0] == "3 trials: 2 finished, 1 crashed"
    assert lines[-1] == "the test set has not been read"
    ended = [trial_line(finished_search, trial) for trial in finished_search.trials]
    assert ended[0].startswith("3/3  trial 0: ")
    assert "on the validation set" in ended[0]
    assert "trial 2: crashed: " in ended[2]


def test_the_page_is_whole_and_loads_nothing(finished_search: Search, tmp_path: Path) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    page = write_search(search).read_text()
    assert "https://" not in page
    assert page.count("http://") == page.count("http://www.w3.org/2000/svg")
    for text in ("Trials", "learning.rate", "a net with slow neurons", "2 finished, 1 crashed"):
        assert text in page
    assert "not computed: 2 finished trials, expected at least 8" in page
    assert (search.path / "pictures" / "parallel_coordinates.png").is_file()
    file = search.path / "result.json"
    assert json.loads(file.read_text()) == json.loads(json.dumps(search_json(search)))


def test_if_all_trials_crashed_one_line_says_so(finished_search: Search, tmp_path: Path) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    for trial in search.trials:
        search.end_trial(trial, "crashed", "a bug.")
    with pytest.raises(BrokenRunError, match=r"all 3 trials crashed, the first with: a bug: "):
        check_any_finished(search)
    with pytest.raises(BrokenRunError):
        write_search(search)
    assert not (search.path / "result.json").exists()


def test_damage_in_a_trial_is_an_error_that_changes_nothing(
    finished_search: Search, tmp_path: Path
) -> None:
    shutil.copytree(finished_search.path, tmp_path / "search")
    search = Search.read(tmp_path / "search")
    (search.trials[0].path / "result.json").write_bytes(b"{")
    with pytest.raises(FileError, match=r"result\.json is damaged"):
        write_search(search)
    assert not (search.path / "result.json").exists()
