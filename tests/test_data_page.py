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
LINE = re.compile(
    r"`python examples/small_data.py (\w+) (\S+) (?:&& python examples/qtdb.py \S+ (\S+) )?"
    r"&& nwave train ([^`]*)`"
)
LINES = LINE.findall(PAGE.read_text())
NEEDS_EVENTS = {"bin", "shd"}
# One report for each task and kind of data; `train/test_run_tasks.py` has the pictures of tasks.
WITH_REPORT = {"data/png", "data/labels", "data/values", "data/pattern2", "data/events"}
WITH_PICTURES = {"data/png", "data/events"}


def test_every_format_has_a_line() -> None:
    # wav and ogg are read like flac.
    assert {name for name, *_ in LINES} == FORMATS.keys() - {"wav", "ogg"}


@pytest.mark.parametrize(
    ("name", "folder", "converted", "words"),
    [
        pytest.param(*line, marks=[pytest.mark.events] if line[0] in NEEDS_EVENTS else [])
        for line in LINES
    ],
    ids=[folder for _, folder, *_ in LINES],
)
def test_a_format_is_trained_on_and_predicted_from(
    name: str,
    folder: str,
    converted: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if folder not in WITH_REPORT:
        monkeypatch.setattr("nwavesdk.train.fit.course.write_report", lambda *_: None)
    if folder not in WITH_PICTURES:
        monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    path = FORMATS[name](Path(folder))
    if converted:
        path = convert(path, Path(converted))
    net = [] if "--chip" in words else ["--net", "lif"]
    few = ["--epochs", "1", *net, "--hidden", "6", "--seed", "1"]
    result = nwave("train", *words.split(), *few, "--json")
    assert result.exit_code == 0, result.stderr
    trained = json.loads(result.stdout)
    assert 0 <= trained.get("test_accuracy", 0) <= 1
    assert {"test_accuracy", "test_r2"} & trained.keys()
    assert (Path(trained["run"]) / "report.html").is_file() == (folder in WITH_REPORT)
    assert "warning" not in result.stderr
    files = [] if name == "pattern" else [path]
    predicted = nwave("predict", trained["run"], *files, "--json")
    assert predicted.exit_code == 0, predicted.stderr
    assert json.loads(predicted.stdout)
