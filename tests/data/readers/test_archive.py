"""Data sets in a `.npz`."""

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.readers.zips import SAVES
from nwavesdk.data.readers.archive import open_npz
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Sample, Source, Task

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((4, 5, 2, 3)).astype(np.float32)
LENGTHS = np.array([1, 5, 2, 3])
RAGGED = [X[index, :length] for index, length in enumerate(LENGTHS)]
JOINED = np.concatenate(RAGGED)
SEPARATE = {f"x_{index}": series for index, series in enumerate(RAGGED)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.npz"


def opened(path: Path, task: Task | None = None, **arrays: Any) -> Source:
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
        assert sample.values.dtype == np.float32  # type: ignore[union-attr]
        if targets is None:
            assert sample.target is None
        else:
            np.testing.assert_array_equal(sample.target, targets[index])
            assert sample.target is not None
            is_labels = source.task == "labels"
            assert sample.target.dtype == (np.int64 if is_labels else np.float32)


# forms of recordings


@pytest.mark.parametrize("save", SAVES)
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
def test_forms_of_recordings(path: Path, save: str, arrays: Any, values: Any) -> None:
    SAVES[save](path, y=[0, 1, 0, 1], **arrays)
    source = open_npz(path)
    assert source.kind == "series"
    assert source.task == "classification"
    assert source.shape == values[0].shape[1:]
    assert [item.key for item in source.items] == [f"set.npz/{index}" for index in range(4)]
    assert_holds(source, values)


@settings(max_examples=10, deadline=None)
@given(data=st.data(), save=st.sampled_from(list(SAVES)))
def test_all_forms_hold_the_same_recordings(
    tmp_path_factory: pytest.TempPathFactory, data: Any, save: str
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
            SAVES[save](path, **form_of_x, **form_of_y)
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
    assert source.task == "classification"
    assert classes_of(source) == expected
    assert source.classes == classes
    assert_holds(source, X)


@pytest.mark.parametrize(
    ("y", "names", "expected", "classes"),
    [
        ([[5, 7], [7, 7]], None, [[0, 1], [1, 1]], ("5", "7")),
        ([[-1, 1], [1, 1]], None, [[0, 1], [1, 1]], ("-1", "1")),
        ([[False, True], [True, True]], None, [[0, 1], [1, 1]], ("0", "1")),
        (np.array([[9, 0]] * 2, np.uint64), None, [[1, 0], [1, 0]], ("0", "9")),
        ([[2, 0], [0, 0]], ["p", "qrs", "t"], [[2, 0], [0, 0]], ("p", "qrs", "t")),
    ],
)
def test_a_class_for_each_step(
    path: Path, y: Any, names: Any, expected: Any, classes: tuple[str, ...]
) -> None:
    source = opened(path, x=X[:2, :2], y=y, **({} if names is None else {"classes": names}))
    assert source.task == "labels"
    assert source.classes == classes
    assert classes_of(source) == [None, None]
    assert_holds(source, X[:2, :2], expected)


def test_labels_of_recordings_of_any_length(path: Path) -> None:
    labels = [np.arange(length) % 3 for length in LENGTHS]
    source = opened(path, x=JOINED, lengths=LENGTHS, y=np.concatenate(labels))
    assert source.task == "labels"
    assert_holds(source, RAGGED, labels)
    source = opened(path, **SEPARATE, **{f"y_{i}": each for i, each in enumerate(labels)})
    assert_holds(source, RAGGED, labels)
    # What is in the padding is not a label.
    padded = np.full((4, 5), 99)
    for row, each in zip(padded, labels, strict=True):
        row[: len(each)] = each
    source = opened(path, x=X, lengths=LENGTHS, y=padded)
    assert source.classes == ("0", "1", "2")
    assert_holds(source, RAGGED, labels)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (X[:, :, 0, 0], X[:, :, 0, :1]),
        (X[:, :, 0], X[:, :, 0]),
        (np.arange(40).reshape(4, 5, 2), np.arange(40).reshape(4, 5, 2)),
        (np.asarray(X[:, :, 0], order="F"), X[:, :, 0]),
    ],
)
def test_values_for_each_step(path: Path, y: Any, expected: Any) -> None:
    source = opened(path, x=X, y=y)
    assert source.task == "regression"
    assert source.classes == ()
    assert_holds(source, X, expected)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"y": X[0, :, 0]}, X[:1, :, 0]),
        ({"y": np.stack([X[0, :, 0, 0], X[0, :, 0, 1]]).T}, X[:1, :, 0, :2]),  # Fortran order
        ({"y": X[:, :, 0]}, X[:, :, 0]),
        ({"y": np.arange(10).reshape(5, 2)}, [np.arange(10).reshape(5, 2)]),
        ({"y": JOINED[:, 0], "lengths": LENGTHS}, [each[:, 0] for each in RAGGED]),
        ({"y_0": X[0, :3, 0], "y_1": X[1, :, 0]}, [X[0, :3, 0], X[1, :, 0]]),
    ],
)
def test_a_pattern_has_no_input(path: Path, arrays: Any, expected: Any) -> None:
    source = opened(path, **arrays)
    assert source.task == "pattern"
    assert source.shape == ()
    assert_holds(source, [np.zeros((len(each), 0)) for each in expected], expected)


def test_integers_are_values_if_that_task_is_chosen(path: Path) -> None:
    y = np.arange(20).reshape(4, 5) % 3
    assert opened(path, x=X, y=y).task == "labels"
    source = opened(path, "regression", x=X, y=y)
    assert source.task == "regression"
    assert_holds(source, X, y[..., None])


@pytest.mark.parametrize(
    ("task", "arrays", "message"),
    [
        ("labels", {"x": X, "y": X[:, :, 0, 0]}, "values for each step in y, which is for the ta"),
        ("classification", {"x": X, "y": X[:, :, 0, 0] > 0}, "one integer for each step in y, wh"),
        ("regression", {"x": X, "y": [0, 1, 1, 0]}, "one value for each recording in y, which is"),
        ("pattern", {"x": X, "y": X[:, :, 0]}, "for the task regression, not for pattern"),
        ("regression", {"y": X[:, :, 0]}, "has no x, which is for the task pattern, not for regr"),
    ],
)
def test_a_task_that_the_data_are_not_for_is_an_error(
    path: Path, task: Task, arrays: Any, message: str
) -> None:
    with pytest.raises(RecordingError, match=f"{message}.*: choose "):
        opened(path, task, **arrays)


def test_groups_and_an_official_split(path: Path) -> None:
    split = ["train", "test", "val", "train"]
    source = opened(path, x=X, y=[0, 1, 0, 1], group=["ann", "bob", "ann", "cy"], split=split)
    assert [item.group for item in source.items] == ["ann", "bob", "ann", "cy"]
    assert [item.part for item in source.items] == split
    source = opened(path, x=X, y=[0, 1, 0, 1], group=[7, 7, 8, -1])
    assert [item.group for item in source.items] == ["7", "7", "8", "-1"]
    assert {item.part for item in source.items} == {None}


# streaming


def test_a_digest_is_that_of_a_recording_with_its_target(path: Path) -> None:
    y = DRAW.standard_normal((4, 5, 2))
    source = opened(path, x=X, y=y)
    before = [source.digest(item) for item in source.items]
    assert len(set(before)) == 4
    changed_x = X.copy()
    changed_x[1, 4, 1, 2] += 1
    changed_y = y.copy()
    changed_y[2, 0, 0] += 1
    source = opened(path, x=changed_x, y=changed_y, group=[1, 1, 2, 2])
    after = [source.digest(item) for item in source.items]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, True]
    source = opened(path, x=X, y=[0, 1, 0, 1])
    before = [source.digest(item) for item in source.items]
    source = opened(path, x=X, y=[0, 1, 1, 1])
    after = [source.digest(item) for item in source.items]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize("save", SAVES)
def test_recordings_are_read_in_any_order_also_by_a_copy(path: Path, save: str) -> None:
    SAVES[save](path, x=X, y=X[:, :, 0])
    source = open_npz(path)
    read = pickle.loads(pickle.dumps(source.read))
    for index in (3, 0, 2, 1):
        np.testing.assert_array_equal(read(source.items[index]).values, X[index])
        np.testing.assert_array_equal(read(source.items[index]).target, X[index, :, 0])


@pytest.mark.parametrize("save", SAVES)
def test_memory_is_that_of_a_recording(path: Path, save: str) -> None:
    """20 MB are read with less than 2 MB, those of labels included."""
    x = np.zeros((100, 250, 100), np.int64)
    SAVES[save](path, x=x, y=np.arange(25_000).reshape(100, 250) % 7)
    del x
    tracemalloc.start()
    try:
        source = open_npz(path)
        for item in source.items[::10]:
            source.digest(item)
            source.read(item)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# hostile files


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"has no array y: add classes \[R\], or values \[R, T, D\]"),
        ({"X": X, "y": [0]}, "has an array 'X', expected only x, y, lengths, group, split, class"),
        ({"x": X, "labels": [0]}, "has an array 'labels', expected only"),
        ({"x": X, "x_0": X[0], "y": [0, 1, 1, 0]}, "has 1 arrays x_<number>, and also x"),
        ({"x_0": X[0], "x_2": X[0], "y": [0, 1]}, "has 2 arrays x_<number>, and no x_1: save x"),
        ({"x_0": X[0], "x_01": X[0], "y": [0, 1]}, "has an array 'x_01'"),
        ({"x_0": X[0], "x_1": X[0, :, 0], "y": [0, 1]}, r"x_1 of shape \[5, 3\], expected \[5, 2"),
        ({"x_0": X[0], "x_1": 3.0, "y": [0, 1]}, r"has x_1 of shape \[\], expected \[T, \*featu"),
        ({"x": X[0, :, 0, 0], "y": [0]}, r"has x of shape \[5\], expected \[R, T, \*features\]"),
        ({"x": X, "y": [0, 1, 0]}, "has 3 classes in y, and 4 recordings in x: save one class"),
        ({"x": X, "y": [0.0, 1, 0, 1]}, "y of dtype float64 with one value for each recording"),
        ({"x": X, "y": 1}, r"has y of shape \[\], expected \[4, 5, ...\]"),
        (
            {"x": X, "y": [[0], [1], [0], [1]]},
            r"shape \[4, 1\], expected \[4\] with a .* y\[:, 0\]\.$",
        ),
        (
            {"x": X, "y": [[0.0], [1.0], [0.0], [1.0]]},
            r"shape \[4, 1\], .*: save y\[:, 0\]\.astype\(int\) if these are classes\.$",
        ),
        ({"x": X, "y": X[:3, :, 0]}, r"has y of shape \[3, 5, 3\], expected \[4, 5, ...\]"),
        ({"x": X, "y": X[:, :4, 0]}, r"has y of shape \[4, 4, 3\], expected \[4, 5, ...\]"),
        ({"x": X, "y": X}, r"has y with values of shape \[2, 3\] for a step, expected \[D\]"),
        ({"x": X.astype(complex), "y": [0, 1, 0, 1]}, "has x of dtype complex128, expected num"),
        ({"x": X.astype("U"), "y": [0, 1, 0, 1]}, "has x of dtype <U32, expected numbers"),
        ({"x": X, "y": X[:, :, 0].astype(complex)}, "has y of dtype complex128, expected numb"),
        ({"x": X, "y": X[:, :, 0, 0].astype("U")}, "has y of dtype <U32, expected numbers"),
        ({"x": X, "y": X[:, 0, 0, 0] * 1j}, "y of dtype complex64 with one value for each rec"),
        ({"x": X, "y": [0, 1, 2, 3], "classes": ["a", "b"]}, "labels from 0 to 3 in y, expected"),
        ({"x": X, "y": [0, -1, 0, 0], "classes": ["a", "b"]}, "has labels from -1 to 0 in y"),
        ({"x": X, "y": np.full((4, 5), 2), "classes": ["a", "b"]}, "labels from 2 to 2 in y"),
        ({"x": X, "y": ["a", "c", "a", "a"], "classes": ["a", "b"]}, "'c' in y, which is not in"),
        ({"x": X, "y": X[:, :, 0], "classes": ["a", "b"]}, "has names of classes, and values in"),
        ({"x": X, "y": [0, 1, 0, 1], "classes": [0, 1]}, r"classes of shape \[2\] and dtype int"),
        ({"x": X, "y": [0, 1, 0, 1], "classes": ["a", "a"]}, "has 'a' twice in classes"),
        ({"x": X, "y": ["a", "", "a", "b"]}, "has an empty or unprintable text in y"),
        ({"x": X, "y": ["a", "\x1b[31m", "a", "b"]}, "has an empty or unprintable text in y"),
        ({"x": X, "y": [b"a", b"\xff", b"a", b"b"]}, "has an empty or unprintable text in y"),
        ({"x": X, "y": np.full(4, 2**31, "<u4").view("<U1")}, "empty or unprintable text in y"),
        ({"x": X, "y": [0, 1, 0, 1], "group": [1, 2]}, "has group of 2 recordings, expected 4"),
        ({"x": X, "y": [0, 1, 0, 1], "group": X[:, 0, 0, 0]}, r"group of shape \[4\] and dtype f"),
        ({"x": X, "y": [0, 1, 0, 1], "split": ["train"] * 5}, "has split of 5 recordings, expec"),
        ({"x": X, "y": [0, 1, 0, 1], "split": ["train", "Test", "x", "val"]}, "has 'Test' in spl"),
        ({"x": X, "y": [0, 1, 0, 1], "split": [0, 1, 2, 0]}, "split of shape .* expected texts"),
        ({"x": JOINED, "y": [0, 1, 0, 1], "lengths": [1, 5, 2, 4]}, r"x of shape \[11, 2, 3\], e"),
        ({"x": JOINED, "y": [0, 1, 0, 1], "lengths": [0, 6, 2, 3]}, "has lengths from 0 to 6, ex"),
        ({"x": JOINED, "y": [0, 1, 0, 1], "lengths": [2**62] * 4}, "has lengths from 46116860184"),
        ({"x": JOINED, "y": [0, 1, 0, 1], "lengths": [1.0, 5, 2, 3]}, "dtype float64, expected i"),
        ({"x": JOINED, "y": [0, 1, 0, 1], "lengths": [[11]]}, r"lengths of shape \[1, 1\] and d"),
        ({"x": X, "y": [0, 1, 0, 1], "lengths": [1, 6, 2, 3]}, r"expected \[4, 6, ...\] or \[12"),
        ({**SEPARATE, "y": [0, 1, 0, 1], "lengths": [1, 5, 2, 4]}, r"has x_3 of shape \[3, 2, 3"),
        ({**SEPARATE, "y": [0, 1, 0, 1], "lengths": [1, 5, 2]}, "4 arrays x_<number>, expected 3"),
        ({**SEPARATE, "y": np.zeros(12, int)}, "has 12 classes in y, and 4 recordings in x"),
        (
            {"y": X[0, :, 0, 0]},
            r"has y of shape \[5\], expected .*; .* one pattern as y\[:, None\]",
        ),
        ({"x": X, "y": np.eye(4)}, r"y of shape \[4, 4\] with a one in each row, expected \[4\] w"),
        (
            {"x": JOINED, "y": np.eye(4, dtype=int), "lengths": [1, 5, 2, 3]},
            "one in each row, .* y.ar",
        ),
        ({"x": X, "y": np.ones((4, 4))}, r"y of shape \[4, 4\], expected \[4, 5, ...\]: save"),
        ({"x": X, "y": ["a", "b", " a", "b"]}, "has 'a' and ' a' in y, which differ in spaces: re"),
        ({"y": [0, 1, 0, 1], "x": np.zeros((4, 0, 3))}, "has no values in 'x'"),
        ({"y": X[:, :, 0, 0].astype("U"), "lengths": [5, 5, 5, 5]}, "y of dtype <U32, expected"),
        ({"x": X[:, :1], "y": np.full((4, 1), 2**63, np.uint64)}, "has the label 922337203685477"),
        ({"x": np.zeros((1, 1001)), "y": [range(1001)]}, "more than 1,000 different integers in"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"set.npz .*{message}") as error:
        opened(path, **arrays)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("value", "name", "message"),
    [
        (np.nan, "x", r"has nan in x of recording 2 at index \[4, 1, 0\], expected finite float32"),
        (-np.inf, "x", r"has -inf in x of recording 2 at index \[4, 1, 0\]"),
        (1e300, "x", r"has 1e\+300 in x of recording 2"),
        (np.nan, "y", r"has nan in y of recording 2 at index \[4, 1, 0\]"),
    ],
)
def test_a_value_that_is_not_finite_is_an_error_of_its_recording(
    path: Path, value: float, name: str, message: str
) -> None:
    spoiled = X.astype(np.float64)
    spoiled[2, 4, 1, 0] = value
    if name == "x":
        source = opened(path, x=spoiled, y=[0, 1, 0, 1])
    else:
        source = opened(path, x=X, y=spoiled.reshape(4, 5, 6))
        message = message.replace(r"1, 0\]", r"3\]")
    remedy = "divide all" if np.isfinite(value) else "fill in missing values"
    with pytest.raises(RecordingError, match=f"{message}.*: {remedy}"):
        source.read(source.items[2])
    others = tuple(item for item in source.items if item.index != 2)
    assert len(samples(replace(source, items=others))) == 3


def test_too_much_is_an_error_before_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwavesdk.data.readers.layout.MOST_VALUES", 29)
    with pytest.raises(RecordingError, match="has 30 values in a recording, expected at most 29"):
        opened(path, x=X, y=[0, 1, 0, 1])
    monkeypatch.setattr("nwavesdk.data.readers.layout.MOST_RECORDINGS", 3)
    for arrays in ({"x": X}, {"x": X, "lengths": [5, 5, 5, 5]}):
        with pytest.raises(RecordingError, match="has 4 recordings, expected at most 3: split"):
            opened(path, y=[0, 1, 0, 1], **arrays)


def test_a_step_without_a_class_is_minus_one_if_classes_have_names(tmp_path: Path) -> None:
    y = np.array([[0, -1, 1, 1], [1, 1, 0, -1]])
    x = np.zeros((2, 4, 3), np.float32)
    np.savez(tmp_path / "named.npz", x=x, y=y, classes=["rest", "move"])
    source = open_npz(tmp_path / "named.npz")
    assert source.classes == ("rest", "move")
    assert source.read(source.items[0]).target.tolist() == [0, -1, 1, 1]
    np.savez(tmp_path / "signs.npz", x=x, y=y)
    source = open_npz(tmp_path / "signs.npz")
    assert source.classes == ("-1", "0", "1")
    assert source.read(source.items[0]).target.tolist() == [1, 0, 2, 2]
