"""Series in files: `.npy` and `.csv`."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nwavesdk.data import source
from nwavesdk.data.readers.series import SeriesOptions, read_csv, read_npy
from nwavesdk.data.source import RecordingError, Sample

FINITE = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
INTERPOLATE = SeriesOptions((), "interpolate")

# The fixture writes each example over the one before it.
few = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Reads content that is written to a file.
Read = Callable[..., Sample]


def saved(array: Any, **how: Any) -> bytes:
    file = BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(function: Callable[..., Sample], content: bytes, *options: SeriesOptions) -> Sample:
        path = tmp_path / "1.csv"
        path.write_bytes(content)
        sample = function(path, *options)
        assert isinstance(sample.values, np.ndarray)
        assert sample.values.dtype == np.float32
        return sample

    return read


def fails(read: Read, function: Any, content: bytes, message: str, *options: Any) -> None:
    with pytest.raises(RecordingError, match=rf"1\.csv .*{message}") as error:
        read(function, content, *options)
    assert str(error.value).isprintable()


# npy


@few
@given(
    array=arrays.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "u1", "?"]),
        arrays.array_shapes(max_dims=4),
        elements={"allow_nan": False, "allow_infinity": False, "max_value": 1, "min_value": 0},
    ),
    transpose=st.booleans(),
)
def test_a_saved_series_is_read(read: Read, array: Any, transpose: bool) -> None:
    array = array.T if transpose else array
    sample = read(read_npy, saved(array))
    assert sample.target is None
    expected = array.astype(np.float32)
    np.testing.assert_array_equal(
        sample.values, expected[:, None] if expected.ndim == 1 else expected
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\): write it with numpy.save"),
        (b"PK\3\4", r"cannot be read as a .npy file \("),
        (saved(np.zeros(4, [("t", "i8"), ("x", "i4")])), "holds values of type .*, expected 1 to"),
        (saved(np.array([{}]), allow_pickle=True), r"cannot be read as a .npy file \("),
        (saved(np.zeros((2, 2), complex)), "holds values of type complex128"),
        (saved(np.float32(1)), r"cannot be read as a .npy file \("),
        (saved(np.zeros((0, 3))), r"of type float64 and shape \[0, 3\]"),
        (saved(np.zeros((3, 2)))[:-1], r"cannot be read as a .npy file \("),
        (saved(np.array([1e300])), r"has 1e.300 at index"),
        (
            saved(np.zeros(8)).replace(b"(8,)", f"({2**60},)".encode()),
            r"cannot be read as a .npy file \(",
        ),
    ],
)
def test_a_hostile_npy_is_an_error(read: Read, content: bytes, message: str) -> None:
    fails(read, read_npy, content, message)


# csv


@few
@given(
    table=arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=FINITE),
    delimiter=st.sampled_from([",", ";", "\t", ", "]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    has_bom=st.booleans(),
    name=st.sampled_from(["", "name", '"a name"', '"a, b; ""c"""', '"two\nlines"']),
    n_empty=st.integers(0, 3),
)
def test_a_written_table_is_read(
    read: Read, table: Any, delimiter: str, line_end: str, has_bom: bool, name: str, n_empty: int
) -> None:
    if table.shape[1] == 1:
        delimiter = ","
    lines = [delimiter.join(map(str, row)) for row in table.tolist()]
    lines = ([delimiter.join(table.shape[1] * [name])] if name else []) + lines + n_empty * [""]
    text = line_end.join(lines).encode()
    sample = read(read_csv, b"\xef\xbb\xbf" + text if has_bom else text)
    np.testing.assert_array_equal(sample.values, table)


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
def test_forms_of_tables(read: Read, text: str, expected: list[list[float]]) -> None:
    np.testing.assert_array_equal(read(read_csv, text.encode()).values, np.float32(expected))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes"),
        (b"\xef\xbb\xbf\r\n \n", "cannot be read as a table of numbers"),
        (b"\xff\xfe1\0,\0", "cannot be read as a table of numbers .'utf-8' codec"),
        (b"a,b\n", r"shape \[0, 1\], expected 1 to"),
        (b"1,2\n3,x\n", "'x' to float32 in line 2, column 2.*write numbers such as"),
        (b"a,b\n1,2\n3,\n", "'' to float32 in line 3, column 2.*--missing interpolate"),
        (b'"a\nx","b"\n1,2\nx,3', "'x' to float32 in line 4, column 1"),
        (b"a,1\n2,3\n", "'a' to float32 in line 1, column 1"),
        (b"1,2\n3,1_0\n", "'1_0' to float32 in line 2, column 2"),
        (b"1,2\n3\n", "number of columns changed from 2 to 1 in line 2"),
        (b"a,b\n1,2\n3,4,5\n", "number of columns changed from 2 to 3 in line 3"),
        (b",x,y\n0,1,2\n1,3,4\n", r"\['', 'x', 'y'\], expected a name per column: .*index=False"),
        (b",0,1\n0,1,2\n1,3,4\n", "'' to float32 in line 1, column 1"),
        (b"a,b,c\n1,2\n", "its 2 columns have the names .*, expected a name per column"),
        (b"1,2\n\n3,4\n", "it has lines without numbers"),
        (b"1,2\n3," + 200_000 * b"x", "cannot be read as a table of numbers"),
        (b"1,2\n3,\x1b[31m\n", r"'\\x1b\[31m' to float32 in line 2"),
        (b"a,b\n1,2\n3,nan\n", r"has nan at index \[1, 1\].*--missing interpolate"),
        (b"1,2\n1e300,2\n", r"has inf at index \[1, 0\]"),
    ],
)
def test_a_hostile_csv_is_an_error(read: Read, content: bytes, message: str) -> None:
    fails(read, read_csv, content, message)


TABLE = b'"time",x,y\n2026-01-01 10:00,1,2\n"NA,0,""",,NaN\n2026-01-01 10:02,5,6\n'


@pytest.mark.parametrize(
    ("columns", "expected", "names"),
    [
        (("x",), [[1], [3], [5]], ("x",)),
        (("y", "x"), [[2, 1], [4, 3], [6, 5]], ("y", "x")),
        (("2", "y"), [[1, 2], [3, 4], [5, 6]], ("x", "y")),
    ],
)
def test_columns_are_chosen_and_missing_values_interpolated(
    read: Read, columns: tuple[str, ...], expected: list[list[float]], names: tuple[str, ...]
) -> None:
    sample = read(read_csv, TABLE, SeriesOptions(columns, "interpolate"))
    np.testing.assert_array_equal(sample.values, np.float32(expected))
    assert sample.names == names
    assert sample.n_filled == len(columns)


def test_missing_values_at_the_ends_are_the_nearest(read: Read) -> None:
    sample = read(read_csv, b'NA,1,\n 2," ",null\nnan,3,7\n4,,\n', INTERPOLATE)
    expected = np.float32([[2, 1, 7], [2, 2, 7], [3, 3, 7], [4, 3, 7]])
    np.testing.assert_array_equal(sample.values, expected)
    assert sample.n_filled == 7
    holes = np.where(np.arange(12).reshape(4, 3) % 5 == 1, np.nan, expected)
    sample = read(read_npy, saved(np.asfortranarray(holes[..., None], np.float32)), INTERPOLATE)
    assert (sample.n_filled, sample.values.shape) == (3, (4, 3, 1))
    spaces = 10**5 * b" "  # with them, a regular expression could take quadratic time
    fails(read, read_csv, b"1," + spaces + b"x", "to float32 in line 1, column 2", INTERPOLATE)
    chosen = read(read_npy, saved(expected.reshape(4, 3, 1)), SeriesOptions(("3", "1")))
    np.testing.assert_array_equal(chosen.values, expected[:, [2, 0]])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (TABLE, SeriesOptions(), "'2026-01-01 10:00' to float32 in line 2, .*--columns x,y,z"),
        (TABLE, SeriesOptions(("x",)), "'' to float32 in line 3, column 2.*--missing interpolate"),
        (TABLE, SeriesOptions(("y",)), r"has nan at index \[1, 0\], expected"),
        (TABLE, SeriesOptions(("z", "x")), "no column 'z': it has time, x, y"),
        (b"1,2\n", SeriesOptions(("3",)), "no column '3': it has 1, 2"),
        (b"a,b\n1,\n2,\n", INTERPOLATE, r"values in column 2 \(.*\): choose other"),
        (b"a,b\n1,x\n", INTERPOLATE, "'x' to float32 in line 2, column 2"),
        (b"a,b\n1,1_0\n", INTERPOLATE, "'1_0' to float32 in line 2, column 2"),
        (b"1,inf\n2,\n", INTERPOLATE, r"has inf at index \[0, 1\]"),
        (b"1,2\n3\n", SeriesOptions(("2",)), "cannot be read as a table of numbers"),
    ],
)
def test_wrong_columns_and_values_are_an_error(
    read: Read, content: bytes, options: SeriesOptions, message: str
) -> None:
    fails(read, read_csv, content, message, options)


def test_too_many_values_are_an_error(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_VALUES", 5)
    fails(read, read_csv, b"1,2\n3,4\n5,6\n", r"shape \[3, 2\], expected 1 to 5 in")
    monkeypatch.setattr("nwavesdk.data.readers.series.MAX_CSV_BYTES", 5)
    fails(read, read_csv, b"1,2\n3,4\n", "8 bytes, expected at most 5")


HEADER = saved(np.ones((4, 3), np.float32))


@settings(few, max_examples=100)
@given(
    text=st.text('0123.,;\t\n\r"-+eEnaifx \ufeff', max_size=40),
    place=st.integers(0, 127),
    damage=st.binary(min_size=1, max_size=8),
)
def test_any_text_or_damaged_header_is_a_series_or_an_error_of_one_line(
    read: Read, text: str, place: int, damage: bytes
) -> None:
    header = HEADER[:place] + damage + HEADER[place + len(damage) :]
    for function, content in ((read_csv, text.encode()), (read_npy, header)):
        try:
            values: Any = read(function, content).values
        except RecordingError as error:
            assert str(error).isprintable()  # noqa: PT017  # not every case fails
        else:
            assert values.ndim >= 2
            assert values.size
            assert np.isfinite(values).all()
