"""One line for whatever a library raises, and one check of the values of a recording."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data.source import RecordingError, checked, digest_of, reading
from nwavesdk.internal.files import FileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "one.npy"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\nlines"), r"one\.npy cannot be read as a list \(two lines\): repair or"),
        (MemoryError(), r"one\.npy cannot be read as a list \(MemoryError\)"),
        (OSError("bad <_io.BytesIO object at 0x7f> here"), r"as a list \(bad here\)"),
        (PermissionError(13, "no"), r"one\.npy cannot be read \(no\): change its permissions"),
        (RecordingError("other", "is bad"), r"^other is bad: repair or remove it\.$"),
    ],
)
def test_each_error_is_one_line(path: Path, error: Exception, message: str) -> None:
    with pytest.raises(FileError, match=message), reading(path, "a list"):
        raise error


def test_a_missing_package_is_not_a_fault_of_the_file(path: Path) -> None:
    with pytest.raises(ModuleNotFoundError), reading(path, "a list"):
        raise ModuleNotFoundError


def test_warnings_of_damage_are_not_shown(path: Path) -> None:
    with reading(path, "a list"):
        warnings.warn("damaged", stacklevel=1)


def test_what_is_not_a_file_with_content_is_never_opened(path: Path) -> None:
    path.with_name("empty").touch()
    os.mkfifo(path.with_name("pipe"))
    for name, message in {
        "empty": r"is empty \(0 bytes\): write",
        "pipe": "is a pipe, expected a file",
        ".": "is a folder, expected a file",
        "none": "does not exist: check the name",
        "one.npy": "7 bytes, expected at most 6",
    }.items():
        file = path.parent / name
        with pytest.raises(FileError, match=message), reading(file, "", "write it", max_bytes=6):
            pytest.fail("opened")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(2, complex), "holds values of type complex128 and shape .* integers or floats"),
        (np.zeros((3, 0)), r"holds values of type float64 and shape \[3, 0\], expected 1 to"),
        (np.array([[0, 1], [np.nan, 3]]), r"has nan at index \[1, 0\], expected finite"),
        (np.array([0, 1e300]), r"has 1e\+300 at index \[1\]"),
    ],
)
def test_values_that_are_not_finite_numbers_are_an_error(
    path: Path, values: np.ndarray, message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        checked(path, values)


def test_the_type_and_the_shape_of_an_array_count_for_a_digest() -> None:
    zeros = np.zeros((2, 2), np.int8)
    others = [zeros.astype(np.int16), zeros.reshape(4), zeros + 1]
    digests = {digest_of("a", array) for array in [zeros, *others]} | {digest_of("b", zeros)}
    assert len(digests) == 5
    assert digest_of("a", zeros.copy()) in digests
