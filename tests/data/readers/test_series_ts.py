"""The format `.ts` of the UCR/UEA archive."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.source import RecordingError, Source

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


def write(folder: Path, train: str = TAGS + SERIES, test: str = TAGS + SERIES) -> Path:
    (folder / "Motions_TRAIN.ts").write_text(train, encoding="utf-8", newline="")
    (folder / "Motions_TEST.ts").write_text(test, encoding="utf-8", newline="")
    return folder


def open_ts(path: Path) -> Source:
    return open_source(path, Faults(path, "raise"))


def read_all(source: Source) -> list[Any]:
    return [source.read(item).values for item in source.items]


def test_an_official_split_of_series_of_any_length(tmp_path: Path) -> None:
    test = TAGS.replace("Standing Walking", "Walking Standing") + "9,9:9,9:Standing"
    path = write(tmp_path, test=test)
    # Comments may have any encoding.
    (path / "Motions_TEST.ts").write_bytes("#Décembre\n".encode("latin-1") + test.encode())
    source = open_ts(path)
    assert (source.kind, source.task, source.shape) == ("series", "classification", (2,))
    assert source.classes == ("Standing", "Walking")
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
        assert (values.dtype, values.flags.c_contiguous) == (np.float32, True)


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
    source = open_ts(write(tmp_path, text, text))
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
    text = "@classLabel true a b\n@data\n1" + ":1" * (n_dimensions - 1) + ":b\n" + "".join(lines)
    source = open_ts(write(tmp_path_factory.mktemp("ts"), text, text))
    assert source.shape == (n_dimensions,)
    first = np.ones((1, n_dimensions))
    for values, expected in zip(read_all(source), [first, *series] * 2, strict=True):
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,?:2,3:Walking", r"a series in line 12 \(could not convert string '\?'"),
        ("1,NaN:2,3:Walking", r".0 has nan at index \[1, 0\], expected finite float32"),
        ("1,2:2,1e99:Walking", r".0 has inf at index \[1, 1\], expected finite float32"),
        ("1,:2,3:Walking", "a series in line 12"),
        ("1,2:2,3,4:Walking", "a series in line 12"),
        (":2:Walking", "in line 12"),
        ("1,2:Walking", r"in line 12 .*it has 1 dimensions, expected 2"),
        ("1:2:3:Walking", r"in line 12 .*it has 3 dimensions, expected 2"),
        ("1\x1b[31m:2:Walking", "in line 12"),
        ("１:2:Walking", "in line 12"),
    ],
)
def test_a_wrong_series_is_an_error_that_names_it(tmp_path: Path, line: str, message: str) -> None:
    source = open_ts(write(tmp_path, TAGS + f"{line}\n" + SERIES))
    with pytest.raises(RecordingError, match=f"Motions_TRAIN.ts.*{message}") as error:
        source.read(source.items[0])
    assert str(error.value).isprintable()
    assert len(read_all(replace(source, items=source.items[1:]))) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PK\3\4\0\0", "expected tags such as"),
        (TAGS.replace("@missing", "@miss\x9fing") + SERIES, "expected tags such as"),
        (TAGS.replace("@data\n", "") + SERIES, "expected tags such as"),
        (TAGS + "\n# nothing\n", "and series after @data"),
        ("\0" + TAGS + SERIES, "expected tags such as"),
        (TAGS + "1:2:Running", "line 12 ends 'Running', expected a colon and one of @classLabel"),
        (TAGS + "1,2,3", "line 12 ends '1,2,3'"),
        (TAGS + "1:2:Wal\x1b[31m", "line 12 ends 'Wal"),
        (TAGS.replace("@timeStamps false", "@timeStamps True") + SERIES, "without time stamps"),
        ("@targetLabel true\n@data\n1:2.5", "without time stamps and @targetLabel"),
        (TAGS.replace("@classLabel true", "@classLabel false") + SERIES, "'@classLabel true"),
        (TAGS.replace("Standing", "Walking") + SERIES, "'@classLabel true"),
        (TAGS.replace("@classLabel true Standing Walking", "@classLabel"), "'@classLabel true"),
    ],
)
def test_a_file_without_classes_or_series_is_an_error(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RecordingError, match=message) as error:
        open_ts(write(tmp_path, train=text))
    assert str(error.value).isprintable()
