import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.damage import bounded_memory, damaged
from nwavesdk.data.readers import mat
from nwavesdk.data.readers.mat import read_mat
from nwavesdk.data.reading import RecordingError

scipy_io = pytest.importorskip("scipy.io")

X = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
# numpy's types by the codes of the types in which numbers are stored.
STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}


def saved(arrays: dict[str, Any], compress: bool = True) -> bytes:
    file = BytesIO()
    scipy_io.savemat(file, arrays, do_compression=compress)
    return file.getvalue()


def part(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(
    name: bytes = b"x",
    shape: tuple[int, ...] = (2, 3),
    stored: int = 3,
    content: bytes | None = None,
    order: str = "<",
    flags: int = 6,
) -> bytes:
    """An array that is not packed, with its own type and size."""
    if content is None:
        content = np.arange(int(np.prod(shape))).astype(order + STORED[stored]).tobytes()
    inner = part(order, 6, struct.pack(f"{order}II", flags, 0))
    inner += part(order, 5, struct.pack(f"{order}{len(shape)}i", *shape))
    inner += part(order, 1, name) + part(order, stored, content)
    return part(order, 14, inner)


def short_name(element: bytes) -> bytes:
    """The array `x` with its name in a short part, as MATLAB writes it."""
    long = part("<", 1, b"x")
    short = struct.pack("<HH", 1, 1) + b"x\0\0\0"
    inner = element[8:].replace(long, short)
    return part("<", 14, inner)


def file_of(*elements: bytes, order: str = "<", version: int = 1) -> bytes:
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", version << 8)
    return header + (b"IM" if order == "<" else b"MI") + b"".join(elements)


def packed(element: bytes) -> bytes:
    content = zlib.compress(element)
    return struct.pack("<II", 15, len(content)) + content


def read(folder: Path, data: bytes, *names: str) -> dict[str, Any]:
    path = folder / "a.mat"
    path.write_bytes(data)
    return read_mat(path, names or ("x",))


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
def test_arrays_that_scipy_writes_are_read(tmp_path: Path, dtype: str, compress: bool) -> None:
    arrays = {"y": X + 1, "other": "text", "x": X.astype(dtype), "s": {"a": 1}, "c": X * 1j}
    found = read(tmp_path, saved(arrays, compress), "x", "y")
    assert set(found) == {"x", "y"}
    np.testing.assert_array_equal(found["x"], X.astype(dtype))
    np.testing.assert_array_equal(found["y"], X + 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("stored", STORED)
def test_numbers_are_read_in_the_type_in_which_they_are_stored(
    tmp_path: Path, stored: int, order: str
) -> None:
    found = read(tmp_path, file_of(matrix(stored=stored, order=order), order=order))["x"]
    assert found.dtype == np.dtype(order + STORED[stored])
    assert found.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_short_parts_and_other_elements_are_read(tmp_path: Path) -> None:
    data = file_of(part("<", 1, b"unknown"), packed(short_name(matrix())), matrix(b"long name"))
    assert read(tmp_path, data)["x"].shape == (2, 3)
    assert read(tmp_path, data, "long name")["long name"].shape == (2, 3)


def test_the_first_of_two_arrays_with_a_name_is_read(tmp_path: Path) -> None:
    data = file_of(matrix(shape=(1, 1)), matrix(shape=(2, 2)))
    assert read(tmp_path, data)["x"].shape == (1, 1)


def with_wrong_checksum() -> bytes:
    data = bytearray(file_of(packed(matrix())))
    data[-1] ^= 1
    return bytes(data)


HUGE = 2**30
FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"a\.mat is empty \(0 bytes\)"),
    "text": (b"\x1b[31m", "is not a MAT-file of version 5 .it begins"),
    "version 7.3": (file_of(version=2), r"of version 7\.3, expected version 5: save it with -v7"),
    "version": (file_of(version=9), "of an unknown version, expected version 5"),
    "order": (file_of()[:-2] + b"XX", "of an unknown version"),
    "no array": (file_of(matrix(b"y")), r"has no array x, expected x \(found: none of them\)"),
    "cut header": (file_of()[:100], r"is cut short \(in its header\): download or copy it again"),
    "cut tag": (file_of(matrix())[:132], r"is cut short \(in an array\)"),
    "cut array": (file_of(matrix())[:-1], r"is cut short \(in an array\)"),
    "cut other": (file_of(matrix(), matrix(b"y"))[:-1], r"is cut short \(in an array\)"),
    "cut packed": (file_of(packed(matrix()[:-9])), r"damaged array \(it ends too early\)"),
    "checksum": (with_wrong_checksum(), r"damaged array \(.* incorrect data check\)"),
    "longer": (file_of(packed(matrix() + bytes(10))), "it does not end behind its numbers"),
    "packed twice": (file_of(packed(packed(matrix()))), "its type is 15, expected 14"),
    "not packed": (file_of(part("<", 15, b"abcdefgh")), "damaged array .*incorrect header check"),
    "cells": (file_of(matrix(flags=1)), "has cells in its array x, expected real numbers: save it"),
    "structures": (file_of(matrix(flags=2)), "has structures in"),
    "objects": (file_of(matrix(flags=3)), "has objects in"),
    "text array": (file_of(matrix(flags=4)), "has text in"),
    "sparse": (file_of(matrix(flags=5)), "has sparse numbers in"),
    "complex": (file_of(matrix(flags=6 | 0x800)), "has complex numbers in"),
    "function": (file_of(matrix(flags=16)), "has other things in"),
    "stored": (file_of(matrix(stored=14, content=b"")), "the type of its numbers is 14"),
    "no flags": (file_of(part("<", 14, part("<", 6, b""))), "its flags are missing"),
    "axes": (file_of(matrix(shape=(1,) * 33)), "a part has type 5 and 132 bytes"),
    "one axis": (file_of(matrix(shape=(6,))), r"an array x of shape \[6\], expected 1 to"),
    "no number": (file_of(matrix(shape=(0, 3))), r"of shape \[0, 3\], expected 1 to 134,217,728"),
    "negative": (
        file_of(matrix(shape=(-2, -3), content=bytes(12))),
        r"of shape \[-2, -3\], expected 1 to 134,217,728 numbers: save fewer",
    ),
    "huge": (
        file_of(matrix(shape=(HUGE, HUGE), content=b"")),
        r"of shape \[1073741824, 1073741824\], expected",
    ),
    "fewer": (file_of(matrix(content=bytes(10))), r"array x has 10 bytes for 6 numbers"),
    "more": (file_of(matrix(content=bytes(16))), r"array x has 16 bytes for 6 numbers"),
    "long name": (file_of(matrix(b"x" * 300)), "a part has type 1 and 300 bytes"),
    "short": (
        file_of(part("<", 14, struct.pack("<HH", 6, 8) + bytes(8))),
        "a short part has 8 bytes",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_is_wrong_is_one_line(tmp_path: Path, name: str) -> None:
    data, message = FAULTS[name]
    with bounded_memory(2**26), pytest.raises(RecordingError, match=message) as error:
        read(tmp_path, data)
    assert str(error.value).isprintable()


def test_too_many_arrays_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat, "MOST_ELEMENTS", 2)
    with pytest.raises(RecordingError, match="has more than 2 arrays: save fewer"):
        read(tmp_path, file_of(matrix(), matrix(b"y"), matrix(b"z")))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    # 20 MB in an array that nobody asked for, behind the numbers, and instead of few numbers.
    long = bytes(2 * 10**7)
    unread = file_of(packed(matrix(b"y", (5000, 4000), 2, long)), matrix())
    behind = file_of(packed(matrix() + long))
    instead = file_of(packed(matrix(content=long)))
    with bounded_memory(2**23):
        assert read(tmp_path, unread)["x"].size == 6
        for wrong in (behind, instead):
            with pytest.raises(RecordingError, match="has a damaged array"):
                read(tmp_path, wrong)


def test_memory_is_checked_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 100)
    assert read(tmp_path, file_of(matrix()))["x"].size == 6
    with pytest.raises(ValueError, match=r"a\.mat: the numbers of its array x need .* of memory"):
        read(tmp_path, file_of(matrix(shape=(20, 20))))


@settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
@pytest.mark.parametrize("is_packed", [False, True])
def test_any_damage_is_an_error_of_one_line_or_other_numbers(
    tmp_path: Path, is_packed: bool, data: Any
) -> None:
    element = data.draw(st.one_of(st.just(matrix()), damaged(matrix(), 60)))
    content = data.draw(damaged(file_of(packed(element) if is_packed else element), 200))
    with bounded_memory(2**26):
        try:
            found = read(tmp_path, content)["x"]
        except RecordingError as error:
            message = str(error)
        else:
            message = ""
            assert found.dtype.kind in "iuf"
            assert found.nbytes <= 1000
    assert message.isprintable()
