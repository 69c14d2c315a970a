"""The lines of docs/data.md: every format is trained on, and predicted from, by one command."""

import json
import re
from pathlib import Path

import pytest

from cli.command import nwave
from examples.qtdb import convert
from examples.small_data import FORMATS

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
# A row of the table of formats: the name of the small data set, and lines of options or "none".
ROW = re.compile(r"^\| `(\w+)` \| (?:.*) \| (.+) \|$", re.MULTILINE)
TABLE = PAGE.read_text().partition("<!-- formats -->")[2].partition("\n\n")[0]
LINES = [
    (name, options.strip("`") if options != "none" else "")
    for name, cell in ROW.findall(TABLE)
    for options in cell.split(", or ")
]
NEEDS_EVENTS = {"bin", "shd"}
# One report for each task and kind of data; `train/test_run_tasks.py` has the pictures of tasks.
WITH_REPORT = {"png", "labels", "values", "pattern", "events"}
WITH_PICTURES = {"png", "events"}


def test_every_format_has_a_line() -> None:
    # wav and ogg are read like flac.
    assert {name for name, _ in LINES} == FORMATS.keys() - {"wav", "ogg"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(*line, marks=[pytest.mark.events] if line[0] in NEEDS_EVENTS else [])
        for line in LINES
    ],
    ids=[" ".join(line).strip() for line in LINES],
)
def test_a_format_is_trained_on_and_predicted_from(
    name: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if name not in WITH_REPORT:
        monkeypatch.setattr("nwavesdk.train.fit.course.write_report", lambda *_: None)
    if name not in WITH_PICTURES:
        monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    path = FORMATS[name](Path("data", name))
    if name == "ecg":
        path = convert(path, Path("data", "ecg.npz"))

    net = [] if {"--chip", "--net"} & {*options.split()} else ["--net", "lif"]
    few = ["--epochs", "1", *net, "--hidden", "6", "--seed", "1"]
    result = nwave("train", "--out", "runs/one", "--data", path, *options.split(), *few, "--json")
    assert result.exit_code == 0, result.stderr
    trained = json.loads(result.stdout)
    assert 0 <= trained.get("test_accuracy", 0) <= 1
    assert {"test_accuracy", "test_r2"} & trained.keys()
    assert (Path(trained["run"]) / "report.html").is_file() == (name in WITH_REPORT)
    assert "warning" not in result.stderr

    files = [] if name == "pattern" else [path]
    predicted = nwave("predict", trained["run"], *files, "--json")
    assert predicted.exit_code == 0, predicted.stderr
    assert json.loads(predicted.stdout)
