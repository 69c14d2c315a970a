"""`examples/qtdb.py`: its file has the values and classes of the QT database."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from examples.qtdb import CLASSES, convert
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source

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
