"""The format `.ts` of the UCR/UEA archive."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nwavesdk.data.readers.ts import open_ts
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Source
from nwavesdk.internal.files import FileError

TAGS = """#Two dimensions, three series
% Another comment

@problemName Motions
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true Standing Walking
@data
"""
SERIES = "1,2,3:4,5,6:Walking\n-1.5e1,.5:7,8.:Standing\n1:2:Walking\n"


def write(folder: Path, train: str = TAGS + SERIES, test: str = TAGS + SERIES) -> tuple[Path, Path]:
    paths = (folder / "Motions_TRAIN.ts", folder / "Motions_TEST.ts")
    paths[0].write_text(train, encoding="utf-8", newline="")
    paths[1].write_text(test, encoding="utf-8", newline="")
    return paths


def read_all(source: Source) -> list[Any]:
    return [source.read(item).values for item in source.items]


def test_an_official_split_of_series_of_any_length(tmp_path: Path) -> None:
    test = TAGS.replace("Standing Walking", "Walking Standing") + "9,9:9,9:Standing"
    source = open_ts(*write(tmp_path, test=test))
    assert source.kind == "series"
    assert source.task == "classification"
    assert source.classes == ("Standing", "Walking")
    assert source.shape == (2,)
    assert [item.key for item in source.items] == [
        "Motions_TRAIN.ts/0",
        "Motions_TRAIN.ts/1",
        "Motions_TRAIN.ts/2",
        "Motions_TEST.ts/0",
    ]
    assert [item.part for item in source.items] == ["train", "train", "train", "test"]
    assert [item.class_name for item in source.items] == [
        "Walking",
        "Standing",
        "Walking",
        "Standing",
    ]
    expected = [[[1, 4], [2, 5], [3, 6]], [[-15, 7], [0.5, 8]], [[1, 2]], [[9, 9], [9, 9]]]
    for values, series in zip(read_all(source), expected, strict=True):
        np.testing.assert_array_equal(values, np.float32(series))
        assert values.dtype == np.float32
        assert values.flags.c_contiguous


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tags_are_read_in_any_case_and_order(tmp_path: Path, line_end: str) -> None:
    lines = [
        "\ufeff@CLASSLABEL TRUE a b",
        "@targetlabel false",
        "@problemname one",
        "@problemName two",
        "@univariate true",
        "@Unknown of later versions",
        "@DATA",
        "# a comment",
        "1, 2 :a",
        "",
        "3:b ",
        "   ",
    ]
    text = line_end.join(lines)
    source = open_ts(*write(tmp_path, text, text))
    assert source.shape == (1,)
    assert [values.tolist() for values in read_all(source)] == 2 * [[[1], [2]], [[3]]]


@settings(max_examples=20, deadline=None)
@given(data=st.data(), n_dimensions=st.integers(1, 4))
def test_series_that_were_written_are_read(
    tmp_path_factory: pytest.TempPathFactory, data: Any, n_dimensions: int
) -> None:
    finite = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
    shapes = st.tuples(st.integers(1, 9), st.just(n_dimensions))
    draw = st.lists(arrays.arrays(np.float32, shapes, elements=finite), min_size=1, max_size=4)
    series = data.draw(draw)
    lines = [
        ":".join(",".join(map(str, row)) for row in values.T.tolist()) + ":a\n" for values in series
    ]
    text = "@classLabel true a b\n@data\n" + "".join(lines)
    source = open_ts(*write(tmp_path_factory.mktemp("ts"), text, text))
    assert source.shape == (n_dimensions,)
    for values, expected in zip(read_all(source), series + series, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_recordings_are_read_in_any_order_also_by_a_copy(tmp_path: Path) -> None:
    source = open_ts(*write(tmp_path))
    expected = read_all(source)
    read = pickle.loads(pickle.dumps(source.read))
    for index in (5, 0, 3, 1):
        np.testing.assert_array_equal(read(source.items[index]).values, expected[index])


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    source = open_ts(*write(tmp_path))
    before = [source.digest(item) for item in source.items]
    assert before[:3] == before[3:]
    assert len(set(before[:3])) == 3
    source = open_ts(*write(tmp_path, train=TAGS + "# moved\n" + SERIES.replace("7,8.", "7,9")))
    after = [source.digest(item) for item in source.items]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True] + 3 * [True]


def test_a_file_that_changes_while_it_is_in_use_is_an_error(tmp_path: Path) -> None:
    train, test = write(tmp_path)
    source = open_ts(train, test)
    train.write_text("#" + train.read_text())
    with pytest.raises(RecordingError, match="Motions_TRAIN.ts has changed while it was in use"):
        source.read(source.items[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,?:2,3:Walking", r"a missing value \(\?\) in dimension 1, time step 2 in line 12: fill"),
        ("1,NaN:2,3:Walking", "has nan in dimension 1, time step 2 in line 12, expected finite"),
        ("1,2:2,1e99:Walking", "has inf in dimension 2, time step 2 in line 12, expected finite"),
        ("1,x:2,3:Walking", "has 'x' in dimension 1, time step 2 in line 12"),
        ("1,:2,3:Walking", "has '' in dimension 1, time step 2 in line 12"),
        ("1,2:2,3,4:Walking", "3 time steps in dimension 2, and 2 before, in line 12"),
        ("1,2::Walking", "has '' in dimension 2, time step 1 in line 12"),
        (":2:Walking", "has '' in dimension 1, time step 1 in line 12"),
        ("1,2:Walking", "has 1 dimensions in line 12, expected 2"),
        ("1:2:3:Walking", "has 3 dimensions in line 12, expected 2"),
        ("(0,1),(1,2):(0,1),(1,2):Walking", r"has '\(0' in dimension 1"),
        ("1\x1b[31m:2:Walking", r"has '1\\+x1b\[31m' in dimension 1"),
        ("１:2:Walking", "in dimension 1, time step 1"),
    ],
)
def test_a_hostile_series_is_an_error_that_names_its_line(
    tmp_path: Path, line: str, message: str
) -> None:
    source = open_ts(*write(tmp_path, TAGS + f"{line}\n" + SERIES))
    with pytest.raises(RecordingError, match=f"Motions_TRAIN.ts .*{message}") as error:
        source.read(source.items[0])
    assert str(error.value).isprintable()
    assert len(read_all(Source(**{**vars(source), "items": source.items[1:]}))) == 6


def test_lengths_are_compared_with_the_tags(tmp_path: Path) -> None:
    tags = TAGS.replace("@equalLength false", "@equalLength true\n@seriesLength 2")
    source = open_ts(*write(tmp_path, tags + SERIES))
    with pytest.raises(RecordingError, match=r"has 3 time steps in line 13, expected 2"):
        source.read(source.items[0])
    assert len(source.read(source.items[1]).values) == 2  # type: ignore[arg-type]
    tags = TAGS.replace("@equalLength false", "@equalLength false\n@seriesLength 7")
    assert len(read_all(open_ts(*write(tmp_path, tags + SERIES)))) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no line @data: add the lines that the format .ts needs"),
        (TAGS.replace("@data\n", ""), "has no line @data"),
        (TAGS.replace("@data\n", "") + SERIES, r"has '1,2,3:4,5,6:Walking' in line 11, expected"),
        ("PK\3\4\0\0", r"has 'PK.*' in line 1, expected tags up to @data"),
        (TAGS, "has no series after @data"),
        (TAGS + "\n# nothing\n", "has no series after @data"),
        (TAGS + "1:2:Running", "has the class 'Running' in line 12, expected one of @classLabel"),
        (TAGS + "1:2:?", r"has the class '\?' in line 12"),
        (TAGS + "1,2,3", "has no class in line 12"),
        (TAGS + "1:2:Wal\x1b[31m", "has the class 'Wal"),
        (TAGS.replace("@timeStamps false", "@timeStamps True"), "has time stamps .*: sample it"),
        ("@targetLabel true\n@data\n1:2.5", "has a number to predict for each series"),
        (TAGS.replace("@classLabel true", "@classLabel false"), "has no line of the form '@classL"),
        (TAGS.replace(" Standing Walking", ""), "has no line of the form '@classLabel"),
        (TAGS.replace("Standing", "Walking"), "has no line of the form .* with different names"),
        (TAGS.replace("@classLabel", "@other"), "has no line of the form '@classLabel"),
        (TAGS.replace("@classLabel true Standing Walking", "@classLabel"), "has no line of the"),
        (TAGS.replace("@univariate false", "@univariate true"), "has 2 dimensions, but @univar"),
        (TAGS.replace("@univariate false", "@univariate no"), "has 'no' after @univariate"),
        (TAGS.replace("@dimensions 2", "@dimensions -2"), "has '-2' after @dimensions"),
        (TAGS.replace("@dimensions 2", f"@dimension {10**30}"), "after @dimension, expected"),
        (TAGS.replace("@dimensions 2", "@dimensions 3") + SERIES, "has 2 dimensions, expected 3"),
    ],
)
def test_a_hostile_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordingError, match=message) as error:
        open_ts(*write(tmp_path, train=text))
    assert str(error.value).isprintable()


def test_two_files_that_do_not_belong_together_are_an_error(tmp_path: Path) -> None:
    train, test = write(tmp_path, test="@classLabel true Standing\n@data\n1:Standing\n")
    with pytest.raises(
        RecordingError, match="TEST.ts has 1 dimensions, expected 2 as in Motions_T"
    ):
        open_ts(train, test)
    write(tmp_path, test="@classLabel true Standing Running\n@data\n1:2:Running\n")
    with pytest.raises(RecordingError, match="has the class 'Running', which Motions_TRAIN.ts has"):
        open_ts(train, test)
    with pytest.raises(RecordingError, match="has the name of the other file"):
        open_ts(train, tmp_path / "other" / train.name)
    os.unlink(test)
    with pytest.raises(FileError, match="Motions_TEST.ts does not exist"):
        open_ts(train, test)


def test_a_line_without_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.data.readers.ts.LONGEST_LINE", 100)
    with pytest.raises(RecordingError, match="has more than 100 bytes in line 12"):
        open_ts(*write(tmp_path, TAGS + 99 * "1," + "1:2:Walking"))


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, len(TAGS + SERIES) - 1), damage=st.binary(max_size=6))
def test_any_damage_is_an_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, place: int, damage: bytes
) -> None:
    train, test = write(tmp_path_factory.getbasetemp())
    content = bytearray((TAGS + SERIES).encode())
    content[place : place + len(damage)] = damage
    train.write_bytes(content)
    try:
        series = read_all(open_ts(train, test))
    except RecordingError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert all(np.isfinite(values).all() for values in series)
