"""The lines of docs/data.md: every format is trained on; the file of the QT database."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cli.command import succeeded
from examples.qtdb import CLASSES, convert
from examples.small_data import FORMATS
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source

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
    result = succeeded(
        "train", "--out", "runs/one", "--data", path, *options.split(), *few, "--json"
    )
    trained = json.loads(result.stdout)
    assert 0 <= trained.get("test_accuracy", 0) <= 1
    assert {"test_accuracy", "test_r2"} & trained.keys()
    assert (Path(trained["run"]) / "report.html").is_file() == (name in WITH_REPORT)
    assert "warning" not in result.stderr

    files = [] if name == "pattern" else [path]
    predicted = succeeded("predict", trained["run"], *files, "--json")
    assert json.loads(predicted.stdout)


DRAW = np.random.default_rng(0)
X = {"train": DRAW.integers(-1, 2, (3, 7, 4)), "test": DRAW.integers(-1, 2, (2, 7, 4))}
LABELS = {part: DRAW.integers(0, 6, x.shape[:2]) for part, x in X.items()}


def write_parts(folder: Path, columns: np.ndarray) -> Path:
    """Both files, with `y` of the test file."""
    for part, y in (("train", np.eye(6)[LABELS["train"]]), ("test", columns)):
        savemat(folder / f"QTDB_{part}.mat", {"x": X[part], "y": y, "t": np.arange(7)})
    return folder


def test_each_step_has_its_class_or_the_first_one(tmp_path: Path) -> None:
    columns = np.eye(6)[LABELS["test"]]
    columns[1, 2:4] = 0
    path = convert(write_parts(tmp_path, columns), tmp_path / "ecg.npz")
    source = open_source(path, Faults(tmp_path, "raise"))
    assert (source.kind, source.task, source.shape) == ("series", "labels", (4,))
    assert source.classes == CLASSES
    assert [item.part for item in source.items] == ["train"] * 3 + ["test"] * 2
    labels = np.concatenate([LABELS["train"], LABELS["test"]])
    labels[4, 2:4] = 0
    values = np.concatenate([X["train"], X["test"]])
    for item, x, y in zip(source.items, values, labels, strict=True):
        sample = source.read(item)
        np.testing.assert_array_equal(sample.values, x)
        np.testing.assert_array_equal(sample.target, y)


@pytest.mark.parametrize("columns", [np.ones((2, 7, 6)), np.zeros((2, 7, 5))])
def test_a_file_of_another_form_is_named(tmp_path: Path, columns: np.ndarray) -> None:
    folder = write_parts(tmp_path, columns)
    with pytest.raises(ValueError, match=r"QTDB_test\.mat has .* y .*"):
        convert(folder, tmp_path / "ecg.npz")
