"""Series in files: `.npy` and `.csv`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.readers.test_npy import EVENTS, header_of, saved
from nwavesdk.data.readers.series import SeriesOptions, read_csv, read_npy
from nwavesdk.data.reading import RecordingError

PATH = Path("set/a/1.csv")
FINITE = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


def fails(read: Callable[[Path, bytes], Any], content: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"^set/a/1.csv .*{message}") as error:
        read(PATH, content)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def values_of(content: bytes) -> Any:
    values = read_csv(PATH, content).values
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float32
    return values


# npy


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "u1", "?"]),
        arrays.array_shapes(max_dims=4),
        elements={"allow_nan": False, "allow_infinity": False, "max_value": 1, "min_value": 0},
    ),
    st.booleans(),
)
def test_a_saved_series_is_read(array: Any, transpose: bool) -> None:
    array = array.T if transpose else array
    sample = read_npy(PATH, saved(array))
    assert sample.target is None
    expected = array.astype(np.float32)
    np.testing.assert_array_equal(
        sample.values, expected[:, None] if expected.ndim == 1 else expected
    )
    assert sample.values.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not a .npy file \(it is empty \(0 bytes\)\): write it with numpy.save"),
        (b"PK\3\4", "it begins b'PK"),
        (saved(np.zeros(4, EVENTS)), r"holds events \(records with the fields t, x, y, p\)"),
        (saved(np.array([{}]), allow_pickle=True), "Python objects"),
        (saved(np.zeros((2, 2), complex)), "holds values of dtype complex128, expected real"),
        (saved(np.array(["a"])), "holds values of dtype <U1"),
        (saved(np.zeros(2, "M8[s]")), r"holds values of dtype datetime64\[s\]"),
        (saved(np.float32(1)), r"array of shape \[\], expected \[T, \*features\]"),
        (saved(np.zeros((0, 3))), r"array of shape \[0, 3\]"),
        (saved(np.zeros((3, 0))), r"array of shape \[3, 0\]"),
        (saved(np.zeros((3, 2)))[:-1], "has 175 bytes, expected 176 for the shape in its header"),
        (saved(np.zeros((3, 2))) + b"\0", "has 177 bytes, expected 176"),
        (saved(np.array([[0, 1], [np.nan, 3]])), r"has nan at index \[1, 0\], expected finite"),
        (saved(np.array([0, 0, -np.inf])), r"has -inf at index \[2\]"),
        (saved(np.array([1e300])), r"has inf at index \[0\], expected finite float32 numbers"),
        (
            header_of(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**60}, 2)}}"),
            "has 2,305,843,009,213,693,952 values, expected at most 134,217,728: cut it",
        ),
        (header_of("{'descr': '|V0', 'fortran_order': False, 'shape': (9, 9)}"), "dtype"),
    ],
)
def test_a_hostile_npy_is_an_error(content: bytes, message: str) -> None:
    fails(read_npy, content, message)


# csv


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=FINITE),
    st.sampled_from([",", ";", "\t", ", "]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["", "name", '"a name"', '"a, b; ""c"""', '"two\nlines"']),
    st.integers(0, 3),
)
def test_a_written_table_is_read(
    table: Any, delimiter: str, line_end: str, has_bom: bool, name: str, n_empty: int
) -> None:
    if table.shape[1] == 1:
        delimiter = ","
    lines = [delimiter.join(map(str, row)) for row in table.tolist()]
    lines = ([delimiter.join(table.shape[1] * [name])] if name else []) + lines + n_empty * [""]
    text = line_end.join(lines).encode()
    values = values_of(b"\xef\xbb\xbf" + text if has_bom else text)
    np.testing.assert_array_equal(values, table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n2\n3", [[1], [2], [3]]),
        ("7", [[7]]),
        ("# a,b\n1,2", [[1, 2]]),  # as numpy.savetxt writes names
        ('"1";"2"\n"3";"4"\n', [[1, 2], [3, 4]]),
        ("time [s], x;value\n0;1\n", [[0, 1]]),
        (" 1 ,\t2\n3,4", [[1, 2], [3, 4]]),
        ("-1e-3,+.5,5.\n", [[-1e-3, 0.5, 5]]),
        ("1,2\n3,4\n \n  \n", [[1, 2], [3, 4]]),
    ],
)
def test_forms_of_tables(text: str, expected: list[list[float]]) -> None:
    np.testing.assert_array_equal(values_of(text.encode()), np.float32(expected))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes"),
        (b"\xef\xbb\xbf\r\n \n", r"is empty \(7 bytes, none of them visible\)"),
        (b"\xff\xfe1\0,\0", "is not text in UTF-8: export it"),
        (b"1,2\n\0,3\n", "is not text in UTF-8"),
        (b"a,b\n", "has no line with numbers: write one line per time step"),
        (b'""', "has no numbers in line 1"),
        (b"1,2\n3,x\n", "has 'x' in line 2, column 2, expected a number: write numbers such as"),
        (b"a,b\n1,2\n3,\n", "has '' in line 3, column 2"),
        (b'"a\nx","b"\n1,2\nx,3', "has 'x' in line 4, column 1"),
        (b"a,1\n2,3\n", "has 'a' in line 1, column 1"),
        (b"1,5;2\n3;4\n", "has '1,5' in line 1, column 1"),
        (b"1,2\n3,1_0\n", "has '1_0' in line 2, column 2"),
        (b"1,2\n3,0x1\n", "has '0x1' in line 2, column 2"),
        ("1,２".encode(), "has '２' in line 1, column 2"),
        (b"1,2\n3\n", r"wrong number of cells in line 2 \(1, expected 2\)"),
        (b"1,2\n3,4,5\n", r"wrong number of cells in line 2 \(3, expected 2\)"),
        (b",x,y\n0,1,2\n1,3,4\n", r"no name in its first column, .*: leave them out \(index=F"),
        (b",0,1\n0,1,2\n1,3,4\n", r"no name in its first column, .*: leave them out \(index=F"),
        (b",,\n0,1,2\n1,3,4\n", "has no numbers in line 1"),
        (b",0,2\n0,1,2\n1,3,4\n", "has '' in line 1, column 1, expected a number"),
        (b"a,b,c\n1,2\n", "has 3 names in its first line, and 2 columns below"),
        (b"1,2\n\n3,4\n", "has no numbers in line 2"),
        (b'1,2\n"3\n",4\n', "is not a table of numbers"),
        (b"1,2\n3," + 200_000 * b"x", "is not a table of numbers"),
        (b"1,2\n3," + 1000 * b"x", r"has 'x{40}…' in line 2"),
        (b"1,2\n3,\x1b[31m\n", r"has '\\+x1b\[31m' in line 2"),
        (b"a,b\n1,2\n3,nan\n", "has nan in line 3, column 2, expected finite float32 numbers"),
        (b"1,2\n-inf,2\n", "has -inf in line 2, column 1"),
        (b"1,2\n1e300,2\n", "has inf in line 2, column 1"),
    ],
)
def test_a_hostile_csv_is_an_error(content: bytes, message: str) -> None:
    fails(read_csv, content, message)


TABLE = b'"time",x,y\n2026-01-01 10:00,1,2\n2026-01-01 10:01,,NaN\n2026-01-01 10:02,5,6\n'


@pytest.mark.parametrize(
    ("columns", "expected", "names"),
    [
        (("x",), [[1], [3], [5]], ("x",)),
        (("y", "x"), [[2, 1], [4, 3], [6, 5]], ("y", "x")),
        (("2", "y"), [[1, 2], [3, 4], [5, 6]], ("x", "y")),
    ],
)
def test_columns_are_chosen_and_missing_values_interpolated(
    columns: tuple[str, ...], expected: list[list[float]], names: tuple[str, ...]
) -> None:
    sample = read_csv(PATH, TABLE, SeriesOptions(columns, "interpolate"))
    np.testing.assert_array_equal(sample.values, np.float32(expected))
    assert sample.names == names
    assert sample.n_filled == len(columns)


def test_missing_values_at_the_ends_are_the_nearest() -> None:
    options = SeriesOptions((), "interpolate")
    text = b'NA,1,\n 2,"",null\nnan,3,7\n4,,\n'
    sample = read_csv(PATH, text, options)
    expected = np.float32([[2, 1, 7], [2, 2, 7], [3, 3, 7], [4, 3, 7]])
    np.testing.assert_array_equal(sample.values, expected)
    assert sample.n_filled == 7
    holes = np.where(np.arange(12).reshape(4, 3) % 5 == 1, np.nan, expected)
    sample = read_npy(PATH, saved(holes.astype(np.float32)), options)
    assert sample.n_filled == 3
    assert np.isfinite(sample.values).all()
    chosen = read_npy(PATH, saved(expected.reshape(4, 3, 1)), SeriesOptions(("3", "1")))
    np.testing.assert_array_equal(chosen.values, expected[:, [2, 0]])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (TABLE, SeriesOptions(), "has '2026-01-01 10:00' in line 2, .*, as in --columns x,y,z"),
        (TABLE, SeriesOptions(("x",)), r"has '' in line 3, column 2, .*--missing interpolate"),
        (TABLE, SeriesOptions(("y",)), r"has nan in line 3, column 3, .*--missing interpolate"),
        (TABLE, SeriesOptions(("z", "x")), "has no column 'z': it has time, x, y: name columns"),
        (b"1,2\n", SeriesOptions(("3",)), "has no column '3': it has 2 columns without names"),
        (b"a,b\n1,\n2,\n", SeriesOptions((), "interpolate"), "has no value in column 2: choose"),
        (b"a,b\n1,x\n", SeriesOptions((), "interpolate"), "has 'x' in line 2, column 2, expected"),
        (b"1,inf\n2,\n", SeriesOptions((), "interpolate"), "has inf in line 1, column 2"),
        (b"1,2\n3\n", SeriesOptions(("2",)), "wrong number of cells in line 2"),
    ],
)
def test_wrong_columns_and_values_are_an_error(
    content: bytes, options: SeriesOptions, message: str
) -> None:
    fails(lambda path, data: read_csv(path, data, options), content, message)


def test_too_many_values_are_an_error_before_they_are_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nwavesdk.data.readers.series.MOST_VALUES", 5)
    fails(read_csv, b"1,2\n3,4\n5,x\n", "has 6 values, expected at most 5: cut it")
    fails(read_npy, saved(np.zeros((3, 2))), "has 6 values, expected at most 5: cut it")


@settings(max_examples=150, deadline=None)
@given(st.text('0123.,;\t\n\r"-+eEnaifx \ufeff', max_size=40))
def test_any_text_is_a_table_or_an_error_of_one_line(text: str) -> None:
    try:
        values = values_of(text.encode())
    except RecordingError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert values.ndim == 2
        assert values.size
        assert np.isfinite(values).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 127), st.binary(min_size=1, max_size=8))
def test_any_damage_of_a_header_is_an_error_of_one_line(place: int, damage: bytes) -> None:
    content = bytearray(saved(np.ones((4, 3), np.float32)))
    content[place : place + len(damage)] = damage
    try:
        values = read_npy(PATH, bytes(content)).values
    except RecordingError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert values.size  # type: ignore[union-attr]
