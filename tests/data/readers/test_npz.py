"""Data sets in a `.npz`."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data.readers.npz import open_npz
from nwavesdk.data.source import RecordingError, Sample, Source, TaskName

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((4, 5, 2, 3)).astype(np.float32)
LENGTHS = np.array([1, 5, 2, 3])
RAGGED = [X[index, :length] for index, length in enumerate(LENGTHS)]
JOINED = np.concatenate(RAGGED)
SEPARATE = {f"x_{index}": series for index, series in enumerate(RAGGED)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.npz"


def opened(path: Path, task: TaskName | None = None, **arrays: Any) -> Source:
    np.savez(path, **arrays)
    return open_npz(path, task)


def samples(source: Source) -> list[Sample]:
    return [source.read(item) for item in source.items]


def classes_of(source: Source) -> list[Any]:
    return [item.class_name for item in source.items]


def assert_holds(source: Source, values: Any, targets: Any = None) -> None:
    """The recordings have these values and targets, with the dtypes of the contract."""
    read = samples(source)
    assert len(read) == len(values)
    for index, sample in enumerate(read):
        np.testing.assert_array_equal(sample.values, values[index])
        assert sample.values.dtype == np.float32  # type: ignore[union-attr]  # an array
        if targets is None:
            assert sample.target is None
        else:
            np.testing.assert_array_equal(sample.target, targets[index])
            assert sample.target is not None
            is_labels = source.task == "labels"
            assert sample.target.dtype == (np.int64 if is_labels else np.float32)


# forms of recordings


@pytest.mark.parametrize(
    ("arrays", "values"),
    [
        ({"x": X}, X),
        ({"x": np.asarray(X, order="F")}, X),
        ({"x": X.astype(">f8")}, X),
        ({"x": X[..., 0, 0]}, X[..., 0, 0, None]),
        ({"x": X[:, :, 0] > 0}, X[:, :, 0] > 0),
        ({"x": JOINED, "lengths": LENGTHS}, RAGGED),
        ({"x": JOINED[:, 0, 0], "lengths": LENGTHS}, [each[:, :1, 0] for each in RAGGED]),
        ({"x": X, "lengths": LENGTHS}, RAGGED),
        (
            {"x": X[..., 0, 0], "lengths": LENGTHS - (LENGTHS == 5)},
            [X[0, :1, 0, :1], X[1, :4, 0, :1], X[2, :2, 0, :1], X[3, :3, 0, :1]],
        ),
        (SEPARATE, RAGGED),
        ({**SEPARATE, "x_1": np.asarray(RAGGED[1], order="F")}, RAGGED),
        ({**SEPARATE, "lengths": LENGTHS}, RAGGED),
        ({"x": X, "lengths": np.array([5, 5, 5, 5], np.uint8)}, X),
    ],
)
def test_forms_of_recordings(path: Path, arrays: Any, values: Any) -> None:
    source = opened(path, y=[0, 1, 0, 1], **arrays)
    assert (source.kind, source.task) == ("series", "classification")
    assert source.shape == values[0].shape[1:]
    assert [item.key for item in source.items] == ["0", "1", "2", "3"]
    assert_holds(source, values)


@settings(max_examples=10, deadline=None)
@given(data=st.data(), save=st.sampled_from([np.savez, np.savez_compressed]))
def test_all_forms_hold_the_same_recordings(
    tmp_path_factory: pytest.TempPathFactory, data: Any, save: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "set.npz"
    lengths = np.array(data.draw(st.lists(st.integers(2, 9), min_size=1, max_size=5)))
    features = data.draw(st.lists(st.integers(1, 3), max_size=2))
    n_columns = data.draw(st.integers(1, 3))
    series = [DRAW.standard_normal((length, *features)) for length in lengths]
    targets = [DRAW.standard_normal((length, n_columns)) for length in lengths]
    padded = np.zeros((len(lengths), 12, *features))
    for index, each in enumerate(series):
        padded[index, : len(each)] = each
    forms_of_x = [
        {f"x_{index}": each for index, each in enumerate(series)},
        {"x": np.concatenate(series), "lengths": lengths},
        {"x": padded, "lengths": lengths},
    ]
    forms_of_y = [
        {f"y_{index}": each for index, each in enumerate(targets)},
        {"y": np.concatenate(targets)},
    ]
    values = [np.float32(each.reshape(*each.shape[:1], *(features or [1]))) for each in series]
    digests = set()
    for form_of_x in forms_of_x:
        for form_of_y in forms_of_y:
            save(path, **form_of_x, **form_of_y)
            source = open_npz(path)
            assert source.task == "regression"
            assert_holds(source, values, list(map(np.float32, targets)))
            digests.add(tuple(map(source.digest, source.items)))
    assert len(digests) == 1


# what is learned


@pytest.mark.parametrize(
    ("y", "names", "expected", "classes"),
    [
        ([10, 2, 2, -1], None, ["10", "2", "2", "-1"], ("-1", "2", "10")),
        (np.array([3, 0, 3, 0], np.uint8), None, ["3", "0", "3", "0"], ("0", "3")),
        ([True, False, True, True], None, ["1", "0", "1", "1"], ("0", "1")),
        (["b", "a", "ä", "b"], None, ["b", "a", "ä", "b"], ("a", "b", "ä")),
        ([b"b", b"a", b"a", b"b"], None, ["b", "a", "a", "b"], ("a", "b")),
        ([1, 0, 1, 1], ["no", "yes", "why"], ["yes", "no", "yes", "yes"], ("no", "yes", "why")),
        (["b", "a", "a", "b"], ["b", "a"], ["b", "a", "a", "b"], ("b", "a")),
    ],
)
def test_a_class_for_each_recording(
    path: Path, y: Any, names: Any, expected: list[str], classes: tuple[str, ...]
) -> None:
    source = opened(path, x=X, y=y, **({} if names is None else {"classes": names}))
    assert (source.task, source.classes) == ("classification", classes)
    assert classes_of(source) == expected
    assert_holds(source, X)


@pytest.mark.parametrize(
    ("y", "names", "expected", "classes"),
    [
        ([[5, 7], [7, 7]], None, [[0, 1], [1, 1]], ("5", "7")),
        ([[-1, 1], [1, 1]], None, [[0, 1], [1, 1]], ("-1", "1")),
        ([[False, True], [True, True]], None, [[0, 1], [1, 1]], ("0", "1")),
        (np.array([[9, 0]] * 2, np.uint64), None, [[1, 0], [1, 0]], ("0", "9")),
        ([[2, 0], [0, 0]], ["p", "qrs", "t"], [[2, 0], [0, 0]], ("p", "qrs", "t")),
        ([[1, -1], [0, 0]], ["p", "qrs", "t"], [[1, -1], [0, 0]], ("p", "qrs", "t")),
    ],
)
def test_a_class_for_each_step(
    path: Path, y: Any, names: Any, expected: Any, classes: tuple[str, ...]
) -> None:
    source = opened(path, x=X[:2, :2], y=y, **({} if names is None else {"classes": names}))
    assert (source.task, source.classes) == ("labels", classes)
    assert classes_of(source) == [None, None]
    assert_holds(source, X[:2, :2], expected)


def test_labels_of_recordings_of_any_length(path: Path) -> None:
    labels = [np.arange(length) % 3 for length in LENGTHS]
    # What is in the padding is not a label.
    padded = np.stack([np.append(row, np.full(5 - len(row), 99)) for row in labels])
    for arrays in (
        {"x": JOINED, "lengths": LENGTHS, "y": np.concatenate(labels)},
        {"x": X, "lengths": LENGTHS, "y": padded},
        {**SEPARATE, **{f"y_{index}": row for index, row in enumerate(labels)}},
    ):
        source = opened(path, **arrays)
        assert (source.task, source.classes) == ("labels", ("0", "1", "2"))
        assert_holds(source, RAGGED, labels)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": X, "y": X[:, :, 0, 0]}, X[:, :, 0, :1]),
        ({"x": X, "y": X[:, :, 0]}, X[:, :, 0]),
        ({"x": X, "y": np.arange(40).reshape(4, 5, 2)}, np.arange(40).reshape(4, 5, 2)),
        ({"x": X, "y": np.asarray(X[:, :, 0], order="F")}, X[:, :, 0]),
        ({"x": JOINED, "lengths": LENGTHS, "y": np.eye(11)}, np.split(np.eye(11), [1, 6, 8])),
        ({"y": X[0, :, 0]}, X[:1, :, 0]),
        ({"y": X[:, :, 0]}, X[:, :, 0]),
        ({"y": np.arange(10).reshape(5, 2)}, [np.arange(10).reshape(5, 2)]),
        ({"y": JOINED[:, 0], "lengths": LENGTHS}, [each[:, 0] for each in RAGGED]),
        ({"y_0": X[0, :3, 0], "y_1": X[1, :, 0]}, [X[0, :3, 0], X[1, :, 0]]),
    ],
)
def test_values_for_each_step_with_or_without_input(path: Path, arrays: Any, expected: Any) -> None:
    source = opened(path, **arrays)
    has_input = "x" in arrays
    assert source.task == ("regression" if has_input else "pattern")
    assert (source.classes, source.shape) == ((), (2, 3) if has_input else ())
    values = RAGGED if "lengths" in arrays else X
    if not has_input:
        values = [np.zeros((len(each), 0)) for each in expected]
    assert_holds(source, values, expected)


def test_integers_are_values_if_that_task_is_chosen(path: Path) -> None:
    y = np.arange(20).reshape(4, 5) % 3
    source = opened(path, "regression", x=X, y=y)
    assert source.task == "regression"
    assert_holds(source, X, y[..., None])


def test_groups_and_an_official_split(path: Path) -> None:
    split = ["train", "test", "val", "train"]
    source = opened(path, x=X, y=[0, 1, 0, 1], group=["ann", "bob", "ann", "cy"], split=split)
    assert [item.group for item in source.items] == ["ann", "bob", "ann", "cy"]
    assert [item.part for item in source.items] == split
    source = opened(path, x=X, y=[0, 1, 0, 1], group=[7, 7, 8, -1])
    assert [item.group for item in source.items] == ["7", "7", "8", "-1"]
    assert {item.part for item in source.items} == {None}


def test_a_digest_is_that_of_a_recording_with_its_target(path: Path) -> None:
    y = DRAW.standard_normal((4, 5, 2))
    source = opened(path, x=X, y=y)
    before = [source.digest(item) for item in source.items]
    x = X.copy()
    x[1, 4, 1, 2] += 1
    y[2, 0, 0] += 1
    source = opened(path, x=x, y=y, group=[1, 1, 2, 2])
    after = [source.digest(item) for item in source.items]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, True]


def test_a_digest_follows_the_meaning_of_labels(path: Path) -> None:
    digests = set()
    for y in ([0, 1, 0, 1], [0, 1, 1, 1], [[-1, 1, 2, 1, 1]] * 4):
        for names in ({}, {"classes": ["p", "q", "r"]}):
            source = opened(path, x=X, y=y, **names)
            digests |= {source.digest(item) for item in source.items}
    assert len(digests) == 5 + 5 + 8


# hostile files


CLASSES = {"y": [0, 1, 0, 1]}
NO_X = r"x has .* rows .*, expected numbers \[R, T, \*features\]"
NO_Y = r"y has .* rows .*, expected classes \[R\] .*, or numbers \[R, T\] or \[R, T, D\]"
NO_TEXT = "expected texts or integers with one axis, all printable"
NO_CLASS = "it has the labels .*, expected 0 to 1, or names, of the classes"
REJECTED: list[tuple[dict[str, Any], str]] = [
    ({"X": X, "y": [0]}, "it has the arrays X, y, expected x, y or both, and only x, y, lengths"),
    ({"x": X, "x_0": X[0], **CLASSES}, "it has the arrays x, x_0, y, expected"),
    ({"x_0": X[0], "x_2": X[0], "y": [0, 1]}, "it has the arrays lengths, x, x_2, y, expected"),
    ({"x_0": X[0], "x_1": X[0, :, 0], "y": [0, 1]}, NO_X),
    ({"x": X[0, :, 0, 0], "y": [0]}, NO_X),
    ({"x": X.astype("U"), **CLASSES}, NO_X),
    ({"x": X[:0], "y": []}, "x has 0 rows"),
    ({"x": JOINED, **CLASSES, "lengths": [1, 5, 2, 4]}, NO_X),
    ({"x": X, **CLASSES, "lengths": [1, 6, 2, 3]}, NO_X),
    ({**SEPARATE, **CLASSES, "lengths": [1, 5, 2]}, NO_X),
    ({"x": JOINED, **CLASSES, "lengths": [1.0, 5, 2, 3]}, "integers"),
    ({"y": X[0, :, 0, 0]}, NO_Y),
    ({"x": X, "y": [0, 1, 0]}, NO_Y),
    ({"x": X, "y": 1}, "cannot be read as a data set"),
    ({"x": X, "y": [[0], [1], [0], [1]]}, NO_Y),
    ({"x": X, "y": X[:, :4, 0]}, NO_Y),
    ({"x": X, "y": X}, NO_Y),
    ({"x": X, "y": np.eye(4)}, r"expected classes \[R\] \(one-hot: y\.argmax\(axis=1\)\)"),
    ({"x": JOINED, "y": np.eye(4, 9, dtype=int), "lengths": LENGTHS}, NO_Y),
    ({"x": X, "y": [0.0, 1, 0, 1]}, NO_TEXT),
    ({"x": X, "y": ["a", "", "a", "b"]}, NO_TEXT),
    ({"x": X, "y": ["a", "\x1b[31m", "a", "b"]}, NO_TEXT),
    ({"x": X, "y": [b"a", b"\xff", b"a", b"b"]}, "cannot be read as a data set"),
    ({"x": X, **CLASSES, "group": np.array([], "U1")}, NO_TEXT),
    ({"x": X, **CLASSES, "classes": [["a", "b"]]}, NO_TEXT),
    ({"x": X, "y": [0, 1, 2, 3], "classes": ["a", "b"]}, NO_CLASS),
    ({"x": X, "y": np.full((4, 5), -1), "classes": ["a", "b"]}, NO_CLASS),
    ({"x": X, "y": ["a", "c", "a", "a"], "classes": ["a", "b"]}, NO_CLASS),
    ({"x": X, "y": X[:, :, 0], "classes": ["a", "b"]}, NO_CLASS),
    ({"x": X, **CLASSES, "classes": ["a", "a"]}, NO_CLASS),
    ({"x": X, **CLASSES, "group": [1, 2]}, "group or split do not fit 4 recordings"),
    ({"x": X, **CLASSES, "split": ["train", "Test", "x", "val"]}, "do not fit .*, and train, val"),
    ({"x": np.zeros((1, 1001)), "y": [range(1001)]}, "1,001 different integers in y, expected at"),
]


@pytest.mark.parametrize(("arrays", "message"), REJECTED)
def test_arrays_that_do_not_fit_are_an_error(path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"set.npz .*{message}.*: save it again") as error:
        opened(path, **arrays)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["x", "y"])
def test_a_value_that_is_not_finite_is_an_error_of_its_recording(
    path: Path, value: float, name: str
) -> None:
    arrays: dict[str, Any] = {"x": X.astype(float), "y": X[:, :, 0].astype(float)}
    arrays[name][2, 4, 1] = value
    source = opened(path, **arrays)
    with pytest.raises(RecordingError, match=rf"set.npz.{name}_2 has .* at index .* finite"):
        source.read(source.items[2])
    others = tuple(item for item in source.items if item.index != 2)
    assert len(samples(replace(source, items=others))) == 3


def npy(array: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x.npy": npy(X)[:-1]}, "cannot be read as a data set"),
        ({"x.npy": b"text", "y.npy": npy([0])}, "cannot be read as a data set"),
        ({"x.npy": npy(X), "notes.txt": b"text"}, "cannot be .*notes.txt, x, expected x, y"),
        ({"x.npy": npy(np.array([[1.0], [2.0, 3.0]], object))}, "cannot .*Object arrays cannot be"),
    ],
)
def test_a_file_that_is_not_one_of_numpy_is_an_error(
    path: Path, content: dict[str, bytes], message: str
) -> None:
    with ZipFile(path, "w") as archive:
        for name, member in content.items():
            archive.writestr(name, member)
    with pytest.raises(RecordingError, match=rf"set\.npz {message}.*: save it again") as error:
        open_npz(path)
    assert str(error.value).isprintable()


def test_a_file_that_is_not_a_zip_is_an_error(path: Path) -> None:
    path.write_bytes(npy(X))
    with pytest.raises(RecordingError, match=r"cannot be read as a data set of numpy\.savez"):
        open_npz(path)


def test_memory_is_checked_before_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 100)
    with pytest.raises(ValueError, match=r"set\.npz .*its arrays need .* of memory"):
        opened(path, x=X, y=[0, 1, 0, 1])


def test_recordings_without_classes_need_no_y(path: Path) -> None:
    source = opened(path, x=X)
    assert (source.task, classes_of(source)) == ("classification", [None] * 4)
    assert_holds(source, X)
