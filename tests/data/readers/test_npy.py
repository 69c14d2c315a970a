"""Headers of `.npy` files."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nwavesdk.data.readers.npy import parse_header

EVENTS = np.dtype([("t", "<f8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])


def saved(array: Any, **how: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


def header_of(text: str, version: bytes = b"\x01\x00") -> bytes:
    """A file with this text as its header, and no values."""
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(
        st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes()),
        arrays.array_shapes(min_dims=0, min_side=0),
    ),
    st.booleans(),
)
def test_a_header_describes_what_numpy_saved(array: Any, transpose: bool) -> None:
    array = array.T if transpose else array
    content = saved(array)
    header = parse_header(content)
    assert header.shape == array.shape
    assert header.dtype == array.dtype
    assert header.n_values == array.size
    assert header.file_size == len(content)
    assert not header.is_fortran or array.flags.f_contiguous


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_versions_of_the_format_are_read(version: tuple[int, int]) -> None:
    stream = BytesIO()
    np.lib.format.write_array(stream, np.zeros((3, 2)), version)
    assert parse_header(stream.getvalue()).shape == (3, 2)


def test_a_header_of_python_2_is_read() -> None:
    content = header_of("{'descr': '<f8', 'fortran_order': False, 'shape': (3L, 2L), }\n")
    assert parse_header(content).shape == (3, 2)


def test_a_header_is_found_at_the_begin_of_a_file() -> None:
    assert parse_header(saved(np.zeros(100_000))[:16_384]).file_size == 800_128


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (b"RIFF1234", "it begins b'RIFF12'"),
        (b"\x93NUMPY", "its header is damaged"),
        (b"\x93NUMPY\x09\x00\x10\x00", "its header is damaged"),
        (saved(np.zeros(3))[:40], "its header is damaged"),
        (header_of("{'descr': '<f8', 'fortran_order': False}"), "its header is damaged"),
        (header_of("__import__('os').abort()"), "its header is damaged"),
        (header_of("(" * 9000), "its header is damaged"),
        (header_of("-" * 9000 + "1"), "its header is damaged"),
        (header_of("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2)}"), r"\[-1, 2\]"),
        (header_of("{'descr': 'f99', 'fortran_order': False, 'shape': (1, 2)}"), "damaged"),
        (header_of("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "Python objects"),
        (saved(np.array([[1], [1, 2]], object), allow_pickle=True), "Python objects"),
        (
            saved(np.zeros(2, [("a", "O")]), allow_pickle=True),
            "Python objects, which are not read because they can run code",
        ),
    ],
)
def test_a_damaged_header_is_an_error(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_header(content)
