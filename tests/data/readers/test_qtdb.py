from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.readers.qtdb import CLASSES, open_qtdb
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import FileError

scipy_io = pytest.importorskip("scipy.io")

DRAW = np.random.default_rng(0)
X = {"train": DRAW.integers(-1, 2, (3, 7, 4)), "test": DRAW.integers(-1, 2, (2, 7, 4))}
LABELS = {part: DRAW.integers(0, 6, x.shape[:2]) for part, x in X.items()}
Y = {part: np.eye(6)[labels] for part, labels in LABELS.items()}


def written(folder: Path, part: str = "", **arrays: Any) -> Path:
    """Both files, with other arrays in one of them."""
    for each in ("train", "test"):
        content = {"x": X[each], "y": Y[each], "t": np.arange(7)} | (arrays if each == part else {})
        scipy_io.savemat(folder / f"QTDB_{each}.mat", content, do_compression=True)
    return folder


def test_both_files_become_series_with_a_class_for_each_step(tmp_path: Path) -> None:
    source = open_qtdb(written(tmp_path))
    assert (source.kind, source.task, source.shape) == ("series", "labels", (4,))
    assert source.classes == CLASSES == ("P", "PQ", "QR", "RS", "ST", "TP")
    assert [item.part for item in source.items] == ["train"] * 3 + ["test"] * 2
    assert source.items[4].key == "QTDB_test.mat/1"
    assert source.items[4].path == tmp_path / "QTDB_test.mat"
    for item in source.items:
        sample = source.read(item)
        assert isinstance(sample.values, np.ndarray)
        assert sample.target is not None
        assert (sample.values.dtype, sample.target.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(sample.values, X[str(item.part)][item.index])
        np.testing.assert_array_equal(sample.target, LABELS[str(item.part)][item.index])


def test_a_step_without_a_class_gets_the_first_one(tmp_path: Path) -> None:
    classes = Y["train"].copy()
    classes[1, 2:4] = 0
    source = open_qtdb(written(tmp_path, "train", y=classes))
    target = source.read(source.items[1]).target
    assert target is not None
    expected = LABELS["train"][1].copy()
    expected[2:4] = 0
    np.testing.assert_array_equal(target, expected)


def test_a_digest_is_that_of_values_and_classes(tmp_path: Path) -> None:
    values = np.zeros((4, 7, 4))
    values[1, 0, 0] = 1
    classes = np.eye(6)[np.zeros((4, 7), int)]
    classes[2, 3] = np.eye(6)[4]
    source = open_qtdb(written(tmp_path, "train", x=values, y=classes))
    digests = [source.digest(item) for item in source.items[:4]]
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


def without(array: np.ndarray, place: Any, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed[place] = value
    return changed


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "matrix": (
        "train",
        {"x": X["train"][0]},
        r"has x \[7, 4\] and y \[3, 7, 6\], expected x \[rec",
    ),
    "classes": (
        "test",
        {"y": Y["test"][..., :5]},
        r"has x \[2, 7, 4\] and y \[2, 7, 5\], expected",
    ),
    "steps": ("test", {"y": Y["test"][:, :5]}, r"and y \[2, 5, 6\], expected x \[recordings"),
    "two": ("train", {"y": np.ones((3, 7, 6))}, "a y that is not 1 for the class of a step and 0"),
    "three": ("train", {"y": 3 * Y["train"]}, "a y that is not 1 for the class of a step and 0"),
    "nan": ("train", {"y": without(Y["train"], 0, np.nan)}, "a y that is not 1 for the class"),
    "channels": ("test", {"x": X["test"][..., :3]}, "has 3 channels, expected 4 as for training"),
    "text": ("test", {"x": "text"}, "has text in its array x, expected real numbers"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_files_that_do_not_fit_are_named(tmp_path: Path, name: str) -> None:
    part, arrays, message = FAULTS[name]
    with pytest.raises(RecordingError, match=message) as error:
        open_qtdb(written(tmp_path, part, **arrays))
    assert error.value.path == tmp_path / f"QTDB_{part}.mat"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (written(tmp_path) / "QTDB_test.mat").unlink()
    with pytest.raises(FileError, match=r"QTDB_test\.mat does not exist"):
        open_qtdb(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_values_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    source = open_qtdb(written(tmp_path, "train", x=without(X["train"], (1, 2, 3), value)))
    source.read(source.items[0])
    with pytest.raises(RecordingError, match=r"train\.mat has values .* not finite in recording 1"):
        source.read(source.items[1])
