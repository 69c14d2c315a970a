"""The report of all studies: a page that loads nothing, JSON, and damage that changes nothing."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from benchmarks import accuracy
from nwavesdk.analysis.study import RunSearch, Study, TuneConfig
from nwavesdk.analysis.study.report import result_of, write_study_report
from nwavesdk.internal.files import FileError
from nwavesdk.internal.formats import json_text


@pytest.fixture
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A copy of a finished study, which a test may change."""
    finished = request.getfixturevalue(request.param)
    path = Path(shutil.copytree(finished.path, tmp_path / "study"))
    if request.param == "search":
        return RunSearch.open(path, TuneConfig.read(path / "tune.json"))
    from nwavesdk.analysis.study.study import Cell

    cells = [
        Cell(c.name, path / c.path.relative_to(finished.path), changes=c.changes, arm=c.arm)
        for c in finished.cells
    ]
    names = ("choices", "threads", "title", "summary", "has_test")
    return Study(path=path, cells=cells, **{name: getattr(finished, name) for name in names})


EACH = pytest.mark.parametrize(
    ("copied", "texts"),
    [
        ("comparison", ["Differences", "Where the gradient passes", "atan(alpha=2.0)", "values"]),
        ("folds", ["3 folds", "split of the first run", "fold 3", "confusion_matrix"]),
        pytest.param(
            "search",
            ["Best trial", "learning.rate", "a net with slow neurons", "parallel_coordinate"],
            marks=pytest.mark.hpo,
        ),
    ],
    indirect=["copied"],
    ids=lambda value: value if isinstance(value, str) else "",
)


@EACH
def test_the_page_is_whole_and_loads_nothing(copied: Any, texts: list[str]) -> None:
    page = write_study_report(copied).read_text()
    assert "https://" not in page
    assert page.count("http://") == page.count("http://www.w3.org/2000/svg")
    for text in texts[:-1]:
        assert text in page
    assert (copied.path / "pictures" / f"{texts[-1]}.png").is_file()
    content = json.loads((copied.path / "result.json").read_text())
    assert content == json.loads(json_text(result_of(copied)))
    assert [cell["name"] for cell in content["cells"]] == [cell.name for cell in copied.cells]


def test_json_has_means_and_differences(comparison: Study) -> None:
    content = result_of(comparison)
    values = comparison.values("test_accuracy")
    means = {row["arm"]: row for row in content["means"] if row["number"] == "test_accuracy"}
    assert {arm: row["mean"] for arm, row in means.items()} == {
        arm: pytest.approx(sum(numbers) / 2) for arm, numbers in values.items()
    }
    assert len(content["differences"]) == 3
    for row in content["differences"]:
        pairs = zip(values[row["first"]], values[row["second"]], strict=True)
        assert row["difference"] == pytest.approx(sum(a - b for a, b in pairs) / 2)


def test_json_has_null_where_a_number_is_not_defined(
    comparison: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one seed, an interval is not defined."""
    monkeypatch.setattr(Study, "tables", {"means": comparison.tables["means"]})
    comparison.tables["means"].rows[0][3] = math.nan  # type: ignore[index]  # a list
    assert json.loads(json_text(result_of(comparison)))["means"][0]["low"] is None


@pytest.mark.parametrize("copied", ["comparison"], indirect=True)
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"{", r"config\.json is not the config of a run"),
        ("metrics.csv", b"\x8b", r"metrics\.csv does not hold the metrics.*: remove it"),
        ("result.json", b"{", r"result\.json is damaged"),
        (
            "test.json",
            b"{",
            r"test\.json is damaged.*: remove it; the same command writes it again",
        ),
    ],
)
def test_damage_in_a_cell_is_an_error_that_changes_nothing(
    copied: Study, name: str, content: bytes, words: str
) -> None:
    (copied.cells[-1].path / name).write_bytes(content)
    with pytest.raises(FileError, match=words):
        write_study_report(copied)
    assert not (copied.path / "result.json").exists()
    assert not (copied.path / "report.html").exists()


@pytest.mark.parametrize("copied", ["folds"], indirect=True)
def test_a_page_that_cannot_be_written_costs_nothing_else(
    copied: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "nwavesdk.analysis.study.study.draw_values", lambda *_: (_ for _ in ()).throw(KeyError("x"))
    )
    assert write_study_report(copied) == copied.path / "result.json"
    assert "the study is finished, but" in capsys.readouterr().err


def test_the_table_of_accuracies_has_means_over_folds_and_no_path(folds: Study) -> None:
    numbers = accuracy.run_numbers(result_of(folds))
    assert numbers["accuracy"] == pytest.approx(sum(numbers["folds"]) / 3)
    assert len(numbers["folds"]) == len(numbers["epochs"]) == 3
    assert "/" not in json.dumps(numbers)
