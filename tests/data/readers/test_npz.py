"""Arrays in a `.npz` that are read part by part, and archives that lie."""

import pickle
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.readers.test_npy import EVENTS, header_of, saved
from data.readers.zips import SAVES, replace_content, write_zip
from nwavesdk.data.readers import npz
from nwavesdk.data.readers.npz import Archive
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import FileError

X = np.random.default_rng(0).standard_normal((50, 20, 3))


def read_everything(path: Path) -> list[Any]:
    archive = Archive(path)
    return [archive.member(name).read_all() for name in archive.names]


def fails(path: Path, message: str) -> None:
    with pytest.raises(RecordingError, match=f"set.npz .*{message}") as error:
        read_everything(path)
    assert str(error.value).isprintable()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.npz"


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        arrays.arrays(
            st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes(min_len=1)),
            arrays.array_shapes(min_dims=0),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(list(SAVES)),
    st.booleans(),
)
def test_arrays_that_were_saved_are_read(
    tmp_path_factory: pytest.TempPathFactory, saved_arrays: list[Any], save: str, transpose: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "set.npz"
    saved_arrays = [array.T if transpose else array for array in saved_arrays]
    SAVES[save](path, *saved_arrays)
    archive = Archive(path)
    assert archive.names == tuple(f"arr_{index}" for index in range(len(saved_arrays)))
    for name, expected in zip(archive.names, saved_arrays, strict=True):
        np.testing.assert_array_equal(archive.member(name).read_all(), expected)


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_are_read_in_any_order_also_by_a_copy(path: Path, save: str, order: Any) -> None:
    SAVES[save](path, x=np.asarray(X, order=order), y=np.arange(50))
    archive = Archive(path)
    x = archive.member("x")
    y = archive.member("y")
    for index in (30, 31, 2, 49, 0):
        np.testing.assert_array_equal(x.read(60 * index, (20, 3)), X[index])
        assert y.read(index, (1,)) == index
    copy = pickle.loads(pickle.dumps(x))
    np.testing.assert_array_equal(copy.read(60 * 40, (20, 3)), X[40])


@pytest.mark.parametrize("save", SAVES)
def test_memory_is_that_of_the_part(path: Path, save: str) -> None:
    SAVES[save](path, x=np.zeros((500, 1000), np.int64), y=np.arange(500))
    tracemalloc.start()
    try:
        x = Archive(path).member("x")
        for index in range(0, 500, 50):
            x.read(1000 * index, (1000,))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_large_array_in_fortran_order_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(path, x=np.asarray(X, order="F"), y=X)
    monkeypatch.setattr(npz, "MOST_WHOLE_BYTES", 5000)
    with pytest.raises(RecordingError, match=r"24,000 bytes in 'x', .* 5,000: save numpy.ascont"):
        Archive(path).member("x").read(0, (20, 3))
    with pytest.raises(RecordingError, match=r"24,000 bytes in 'y', expected at most 5,000: cut"):
        Archive(path).member("y").read_all()
    assert Archive(path).member("y").read(0, (20, 3)).shape == (20, 3)


# hostile files


@pytest.mark.parametrize("save", SAVES)
def test_an_archive_that_is_cut_anywhere_is_an_error(path: Path, save: str) -> None:
    SAVES[save](path, x=X[:2], y=np.arange(2))
    content = path.read_bytes()
    for length in (*range(1, len(content), 61), len(content) - 1):
        path.write_bytes(content[:length])
        fails(path, "is not a .npz file .*: write it with numpy.savez")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), save=st.sampled_from(list(SAVES)))
def test_any_damage_is_an_error_or_other_values(
    tmp_path_factory: pytest.TempPathFactory, data: Any, save: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "set.npz"
    SAVES[save](path, x=X[0, :2], y=np.arange(2))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=8))
    content[place : place + len(damage)] = damage
    path.write_bytes(content)
    try:
        read_everything(path)
    except RecordingError as error:
        assert str(error).isprintable()  # noqa: PT017


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"has a member 'x' that is not an array \(it is empty \(0 bytes\)\)"),
        (b"hello", r"that is not an array \(it begins b'hello'\): write it with numpy.savez"),
        (saved(np.array([{}, None]), allow_pickle=True), r"Python objects, .*\.astype\(str\)"),
        (saved(np.zeros((3, 2)))[:-1], r"has 175 bytes in 'x', expected 176 for its shape \[3, 2"),
        (saved(np.zeros((3, 2))) + bytes(9), "has 185 bytes in 'x', expected 176"),
        (saved(np.zeros((3, 2))) + bytes(9_000_000), "has 9,000,176 bytes in 'x', expected 176"),
        (
            header_of(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**60},)}}"),
            "expected 9,223,372,036,854,775,[0-9]* for its shape",
        ),
        (
            header_of(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**60}, 0)}}"),
            r"has no values in 'x' \(its shape is \[1152921504606846976, 0\]\)",
        ),
        (saved(np.zeros((0, 5, 2))), r"has no values in 'x' \(its shape is \[0, 5, 2\]\)"),
    ],
)
def test_a_hostile_member_is_an_error(
    path: Path, content: bytes, message: str, deflate: bool
) -> None:
    fails(write_zip(path, {"x.npy": content}, deflate=deflate), message)


def test_a_structured_array_is_read_as_it_is(path: Path) -> None:
    np.savez(path, x=np.zeros(5, EVENTS))
    assert Archive(path).member("x").header.dtype.names == ("t", "x", "y", "p")


def test_a_bomb_is_an_error_before_it_is_unpacked(path: Path) -> None:
    # 40 MB of zeros, which are 40 kB; the list of members and the header promise 10 values.
    honest = saved(np.zeros(10))
    bomb = honest + bytes(40_000_000)
    np.savez(path, x=0, y=np.arange(3))
    replace_content(path, "x.npy", bomb, len(honest), zlib.crc32(honest))
    tracemalloc.start()
    try:
        fails(path, "has a member 'x' that unpacks to more than it promises")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_promise_that_no_zip_can_hold_is_an_error(path: Path) -> None:
    huge = header_of(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**40},)}}")
    np.savez(path, x=0)
    replace_content(path, "x.npy", huge, 2**40 + len(huge), 0)
    fails(path, "promises 1,099,511,627,8[0-9]* bytes in 'x', more than it can hold in")


def test_other_zips_are_errors(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the second name
        with ZipFile(path, "w") as archive:
            archive.writestr("x.npy", saved(np.zeros(3)))
            archive.writestr("x.npy", saved(np.zeros(4)))
    fails(path, "has two members 'x': write it with numpy.savez")
    with ZipFile(path, "w", ZIP_BZIP2) as archive:
        archive.writestr("x.npy", saved(np.zeros(3)))
    fails(path, "has a member 'x' that is encrypted, or neither stored nor deflated")
    np.savez(path, x=X)
    with ZipFile(path, "a") as archive:
        archive.getinfo("x.npy").flag_bits |= 1
        archive.writestr("y.npy", b"")  # so that the list is written again
    fails(path, "has a member 'x' that is encrypted")
    write_zip(path, {"x\x1b[31m.npy": b"1"})
    fails(path, "has a member 'x.*x1b.*' that is not an array")


def test_a_member_whose_place_is_wrong_is_an_error(path: Path) -> None:
    np.savez(path, x=X, y=X)
    with ZipFile(path, "a") as archive:
        archive.getinfo("x.npy").header_offset += 5
        archive.writestr("z.npy", saved(np.zeros(3)))
    fails(path, "is damaged at its member 'x': copy it again")


def test_a_member_that_ends_behind_the_file_is_an_error(path: Path) -> None:
    np.savez(path, x=X)
    with ZipFile(path, "a") as archive:
        archive.getinfo("x.npy").compress_size += 10**6
        archive.writestr("y.npy", b"")
    fails(path, r"is cut short \([0-9,]+ bytes of its member 'x' are missing\): copy it again")


def test_a_list_of_members_that_is_too_long_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zip(path, {f"x_{index}.npy": b"" for index in range(1500)})
    monkeypatch.setattr(npz, "MOST_LIST_BYTES", 70_000)
    fails(path, r"is not a .npz file \(its list of members is longer than 70,000 bytes\)")


def test_what_is_not_a_zip_is_an_error(path: Path) -> None:
    with pytest.raises(FileError, match=r"set.npz does not exist: check the name"):
        Archive(path)
    path.touch()
    fails(path, r"is empty \(0 bytes\)")
    path.write_bytes(saved(X))
    fails(path, "is not a .npz file")


def test_an_archive_that_changes_while_it_is_in_use_is_an_error(path: Path) -> None:
    np.savez(path, x=X)
    x = Archive(path).member("x")
    np.savez(path, x=X, y=X)
    with pytest.raises(RecordingError, match="has changed while it was in use"):
        x.read(0, (20, 3))
