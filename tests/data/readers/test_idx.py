import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.damage import bounded_memory, damaged
from nwavesdk.data.readers import idx
from nwavesdk.data.readers.idx import holds_idx, open_idx
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import FileError

TRAIN = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
TEST = 255 - TRAIN[:4]
NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def packed(numbers: Any, kind: int = 8) -> bytes:
    array = np.asarray(numbers, np.uint8)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.tobytes()


ARRAYS = [TRAIN, [3, 10, 0, 3, 3], TEST, [10, 10, 7, 0]]
CONTENTS = [packed(array) for array in ARRAYS]


def written(folder: Path, names: list[str] = NAMES, contents: list[bytes] = CONTENTS) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in zip(names, contents, strict=True):
        is_packed = name.endswith(".gz")
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if is_packed else content)
    return folder


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
    assert holds_idx(tmp_path)
    assert (source.kind, source.task, source.shape) == ("image", "classification", (2, 3))
    assert source.classes == ("0", "3", "7", "10")
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
    contents[0], contents[2] = packed(TRAIN[..., None]), packed(TEST[..., None])
    assert open_idx(written(tmp_path / "gray", NAMES, contents)).shape == (2, 3)


def test_a_digest_is_that_of_the_image(tmp_path: Path) -> None:
    contents = [packed(np.stack([TRAIN[0]] * 5)), *CONTENTS[1:]]
    source = open_idx(written(tmp_path, NAMES, contents))
    digests = [source.digest(item) for item in source.items]
    assert len(set(digests[:5])) == 1
    assert len(set(digests)) == 5
    # The same bytes in another shape are another image.
    turned = [packed(images.reshape(-1, 3, 2)) for images in (TRAIN, TEST)]
    other = open_idx(
        written(tmp_path / "turned", NAMES, [turned[0], CONTENTS[1], turned[1], CONTENTS[3]])
    )
    assert other.digest(other.items[0]) not in digests


def test_an_unpacked_file_comes_before_a_packed_one(tmp_path: Path) -> None:
    written(tmp_path, [f"{name}.gz" for name in NAMES])
    written(tmp_path)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(b"damaged")
    assert open_idx(tmp_path).items[0].path == tmp_path / NAMES[0]


def test_whether_a_file_is_packed_is_seen_from_its_content(tmp_path: Path) -> None:
    contents = [gzip.compress(CONTENTS[0]), *CONTENTS[1:]]
    written(tmp_path, NAMES, contents)
    (tmp_path / NAMES[1]).rename(tmp_path / f"{NAMES[1]}.gz")
    assert len(open_idx(tmp_path).items) == 9


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    written(tmp_path, [f"kuzu-{each}" for each in NAMES])
    (tmp_path / f"kuzu-{name}").unlink()
    with pytest.raises(RecordingError, match=rf"has no kuzu-{name} or kuzu-{name}\.gz: add it"):
        open_idx(tmp_path)


def test_folders_without_idx_files_or_with_several_sets_are_rejected(tmp_path: Path) -> None:
    assert not holds_idx(tmp_path)
    with pytest.raises(RecordingError, match="has no train-images-idx3-ubyte or"):
        open_idx(tmp_path)
    with pytest.raises(RecordingError, match=r"none cannot be read \(No such file or directory\)"):
        open_idx(tmp_path / "none")
    written(tmp_path, [f"emnist-{name}" for name in NAMES])
    written(tmp_path)
    with pytest.raises(
        RecordingError,
        match=r"holds several data sets \(one without a name, emnist\), expected one: give each",
    ):
        open_idx(tmp_path)


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / NAMES[3]).unlink()
    os.mkfifo(tmp_path / NAMES[3])
    with pytest.raises(FileError, match="is a pipe, expected a file"):
        open_idx(tmp_path)


def header(*sizes: int, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes)


FAULTS: dict[str, tuple[int, bytes, str]] = {
    "text": (0, b"\x1b[31m", r"is not an idx file \(it begins b'"),
    "two bytes": (0, b"\0\0", "is not an idx file"),
    "floats": (0, header(5, 2, 3, kind=13), "holds float32, expected unsigned bytes: convert it"),
    "unknown": (0, header(5, kind=99), "holds numbers of the unknown type 99, expected unsigned"),
    "labels": (0, CONTENTS[1], "has 1 axes, expected 3 or 4 for images: check that it is"),
    "images": (1, CONTENTS[0], "has 3 axes, expected 1 for labels"),
    "axes": (0, header(*[2] * 200), "has 200 axes"),
    "cut header": (0, CONTENTS[0][:9], r"is cut short \(in its header\)"),
    "cut": (0, CONTENTS[0][:-1], r"is cut short \(1 bytes are missing\)"),
    "longer": (0, CONTENTS[0] + b"x", "has more bytes than its header claims"),
    "no image": (0, header(0, 2, 3), "claims 0 numbers, expected 1 to 4,294,967,296"),
    "petabytes": (0, header(2**32 - 1, 2**32 - 1, 9), r"claims [\d,]{20,} numbers, expected 1 to"),
    "gigabytes": (0, header(2**29, 2, 2), r"is cut short \(2,147,483,648 bytes are missing\)"),
    "more labels": (1, packed([0] * 6), "has 6 labels, expected one for each of 5 images: take"),
    "sizes": (2, packed(TEST.reshape(4, 3, 2)), "has images of 3 x 2, expected 2 x 3 as for train"),
    "colors": (0, packed(np.zeros((5, 3, 2, 2))), "has images of 3 x 2 x 2, expected height x"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, name: str, is_packed: bool) -> None:
    place, content, message = FAULTS[name]
    contents = [*CONTENTS[:place], content, *CONTENTS[place + 1 :]]
    if is_packed and name == "gigabytes":
        message = r"claims 2,147,483,648 numbers, more than its \d\d bytes can hold: download"
    names = [f"{each}.gz" if is_packed else each for each in NAMES]
    written(tmp_path, names, contents)
    with bounded_memory(2**26), pytest.raises(RecordingError, match=message) as error:
        open_idx(tmp_path)
    assert error.value.path == tmp_path / names[place]
    assert str(error.value).isprintable()


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    written(tmp_path, NAMES, [b"", *CONTENTS[1:]])
    with pytest.raises(RecordingError, match=r"train-images-idx3-ubyte is empty \(0 bytes\)"):
        open_idx(tmp_path)


def test_images_of_too_many_pixels_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "MOST_PIXELS", 5)
    with pytest.raises(RecordingError, match="has images of 2 x 3, expected at most 5 pixels"):
        open_idx(written(tmp_path))


def test_a_gzip_file_is_rejected_wherever_it_is_cut_or_damaged(tmp_path: Path) -> None:
    names = [f"{name}.gz" for name in NAMES]
    written(tmp_path, names)
    path = tmp_path / names[0]
    data = path.read_bytes()
    for place in range(1, len(data)):
        path.write_bytes(data[:place])
        with pytest.raises(RecordingError, match=r"(cannot be unpacked|is not an idx|in its head)"):
            open_idx(tmp_path)
    # The checksum and the size are the last eight bytes.
    for place in (-1, -8):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(RecordingError, match=r"cannot be unpacked \(.*\): download or copy"):
            open_idx(tmp_path)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_claims(tmp_path: Path) -> None:
    contents = [CONTENTS[0] + bytes(2 * 10**7), *CONTENTS[1:]]
    written(tmp_path, [f"{name}.gz" for name in NAMES], contents)
    with bounded_memory(2**23), pytest.raises(RecordingError, match="has more bytes than its head"):
        open_idx(tmp_path)


def test_memory_is_checked_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        tmp_path, [f"{name}.gz" for name in NAMES], [packed(np.zeros((5, 50, 50))), *CONTENTS[1:]]
    )
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 12_000)
    with pytest.raises(
        ValueError, match=r"ubyte\.gz: 5 images need .* of memory, expected at most"
    ):
        open_idx(tmp_path)


@settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
@pytest.mark.parametrize("is_packed", [False, True])
def test_any_damage_is_an_error_of_one_line_or_other_images(
    tmp_path: Path, is_packed: bool, data: Any
) -> None:
    valid = gzip.compress(CONTENTS[0], mtime=0) if is_packed else CONTENTS[0]
    content = data.draw(damaged(valid, 20))
    if not holds_idx(tmp_path):
        written(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(content)
    with bounded_memory(2**26):
        try:
            source = open_idx(tmp_path)
        except RecordingError as error:
            message = str(error)
        else:
            message = ""
            assert len(source.items) == 9
            assert np.ndim(source.read(source.items[0]).values) == 2
    assert message.isprintable()
