import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.damage import bounded_memory
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.source import RecordingError, Source
from nwavesdk.internal.files import FileError

TRAIN = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
TEST = 255 - TRAIN[:4]
NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def header(*sizes: int, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes)


def packed(numbers: Any) -> bytes:
    array = np.asarray(numbers, np.uint8)
    return header(*array.shape) + array.tobytes()


ARRAYS = [TRAIN, [3, 10, 0, 3, 3], TEST, [10, 10, 7, 0]]
CONTENTS = [packed(array) for array in ARRAYS]


def written(folder: Path, names: list[str] = NAMES, contents: list[bytes] = CONTENTS) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in zip(names, contents, strict=True):
        is_packed = name.endswith(".gz")
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if is_packed else content)
    return folder


def open_idx(folder: Path) -> Source:
    return open_source(folder, Faults(folder, "raise"))


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        [f"{name}.gz" for name in NAMES],
        [name.replace("-idx", ".idx") for name in NAMES],
        [f"emnist-letters-{name.replace('t10k', 'test')}.gz" for name in NAMES],
    ],
)
def test_the_four_files_become_images_with_classes_and_parts(
    tmp_path: Path, names: list[str]
) -> None:
    (tmp_path / "README-images").touch()
    source = open_idx(written(tmp_path, names))
    assert (source.kind, source.task, source.shape) == ("image", "classification", (2, 3))
    assert source.classes == ("0", "3", "10", "7")
    assert [item.part for item in source.items] == ["train"] * 5 + ["test"] * 4
    assert [item.class_name for item in source.items] == [
        *("3", "10", "0", "3", "3"),
        *("10", "10", "7", "0"),
    ]
    assert source.items[1].key == f"{names[0].removesuffix('.gz')}/1"
    assert source.items[6].path == tmp_path / names[2]
    values = [source.read(item).values for item in source.items]
    assert {value.dtype for value in values} == {np.dtype(np.float32)}
    np.testing.assert_allclose(values, np.concatenate([TRAIN, TEST]) / 255, rtol=1e-6)


def test_colors_are_the_last_axis_of_idx4(tmp_path: Path) -> None:
    colored = [np.stack([images, images, images], -1) for images in (TRAIN, TEST)]
    contents = [packed(colored[0]), CONTENTS[1], packed(colored[1]), CONTENTS[3]]
    source = open_idx(written(tmp_path, [n.replace("idx3", "idx4") for n in NAMES], contents))
    assert source.shape == (2, 3, 3)
    np.testing.assert_allclose(source.read(source.items[2]).values, colored[0][2] / 255, rtol=1e-6)


def test_of_a_file_that_is_there_twice_the_unpacked_one_is_read(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(b"damaged")
    assert open_idx(tmp_path).items[0].path == tmp_path / NAMES[0]
    assert [item.part for item in open_idx(tmp_path / NAMES[0]).items] == [None] * 5


def test_labels_may_be_packed_where_images_are_not(tmp_path: Path) -> None:
    written(tmp_path)
    labels = tmp_path / NAMES[1]
    labels.with_name(f"{labels.name}.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    assert len(open_idx(tmp_path).items) == 9


def test_missing_labels_are_an_error(tmp_path: Path) -> None:
    written(tmp_path, [f"kuzu-{name}" for name in NAMES])
    (tmp_path / f"kuzu-{NAMES[3]}").unlink()
    with pytest.raises(FileError, match="kuzu-t10k-labels-idx1-ubyte does not exist"):
        open_idx(tmp_path)


# The number of the file, its content, and the fault.
FAULTS: dict[str, tuple[int, bytes, str]] = {
    "text": (0, b"\x1b[31m", "cannot be read as an idx file"),
    "floats": (0, header(5, 2, 3, kind=13), "it begins .*, expected unsigned bytes"),
    "empty": (0, header(0, 2, 3), r"with the sizes \[0, 2, 3\], expected unsigned bytes"),
    "cut header": (0, CONTENTS[0][:9], "cannot be read as an idx file"),
    "cut": (0, CONTENTS[0][:-1], "cannot be read as an idx file"),
    "longer": (0, CONTENTS[0] + b"x", "cannot be read as an idx file"),
    "petabytes": (0, header(2**32 - 1, 2**32 - 1, 9), "GB of memory, expected at most"),
    "labels": (0, CONTENTS[1], r"shapes \(5,\) and \(5,\), expected one label for each image"),
    "images as labels": (1, CONTENTS[0], "expected one label for each image"),
    "more labels": (1, packed([0] * 6), r"shapes \(5, 2, 3\) and \(6,\), expected one label"),
    "colors": (0, packed(np.zeros((5, 3, 2, 2))), r"expected .* \[H, W, 3\]"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, name: str, is_packed: bool) -> None:
    place, content, message = FAULTS[name]
    contents = [*CONTENTS[:place], content, *CONTENTS[place + 1 :]]
    names = [f"{each}.gz" if is_packed else each for each in NAMES]
    written(tmp_path, names, contents)
    with bounded_memory(2**26), pytest.raises(RecordingError, match=message) as error:
        open_idx(tmp_path)
    assert error.value.path == tmp_path / names[0 if "label" in name else place]
    assert str(error.value).isprintable()


def test_both_sets_have_images_of_one_size(tmp_path: Path) -> None:
    written(tmp_path, NAMES, [*CONTENTS[:2], packed(TEST.reshape(4, 3, 2)), CONTENTS[3]])
    with pytest.raises(ValueError, match=r"t10k.* features \[3, 2\], .* \[2, 3\] as in train-"):
        open_idx(tmp_path)


@pytest.mark.parametrize("place", [1, 20, -9, -8, -2])
def test_a_damaged_gzip_file_is_an_error(tmp_path: Path, place: int) -> None:
    path = written(tmp_path, [f"{name}.gz" for name in NAMES]) / f"{NAMES[0]}.gz"
    data = path.read_bytes()
    # The checksum and the size are the last eight bytes.
    for damage in (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
        path.write_bytes(damage)
        with pytest.raises(RecordingError, match="cannot be read as an idx file"):
            open_idx(tmp_path)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_claims(tmp_path: Path) -> None:
    contents = [CONTENTS[0] + bytes(2 * 10**7), *CONTENTS[1:]]
    written(tmp_path, [f"{name}.gz" for name in NAMES], contents)
    with (
        bounded_memory(2**23),
        pytest.raises(RecordingError, match="cannot be read as an idx file"),
    ):
        open_idx(tmp_path)
