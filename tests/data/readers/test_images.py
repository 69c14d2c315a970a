"""None"""

import gzip
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.damage import bounded_memory
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.readers.images import read_image
from nwavesdk.data.source import RecordingError, Source
from nwavesdk.internal.files import FileError

Image = pytest.importorskip("PIL.Image")


Pixels = Callable[[bytes], Any]

BEGIN = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def header(width: int, height: int, bits: int, colors: int) -> bytes:
    content = struct.pack(">IIBBBBB", width, height, bits, colors, 0, 0, 0)
    return BEGIN + chunk(b"IHDR", content)


def png(width: int, bits: int, colors: int, rows: list[bytes], *chunks: bytes) -> bytes:
    """A PNG whose rows of pixels are not filtered."""
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return header(width, len(rows), bits, colors) + b"".join(chunks) + pixels + END


def encoded(values: np.ndarray, form: str = "JPEG", **how: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(values).save(file, form, quality=95, **how)
    return file.getvalue()


@pytest.fixture
def pixels(tmp_path: Path) -> Pixels:
    """Reads content that is written to a file."""

    def pixels(data: bytes) -> Any:
        path = tmp_path / "a.png"
        path.write_bytes(data)
        values = read_image(path).values
        assert isinstance(values, np.ndarray)
        assert values.dtype == np.float32
        return values

    return pixels


# A slope that JPEG keeps: from dark to light, from left to right.
SLOPE = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
FILES = {
    "gray.png": png(2, 8, GRAY, [b"\x00\x80", b"\xff\x33"]),
    "palette.png": png(
        2, 8, PALETTE, [b"\0\1"], chunk(b"PLTE", bytes(range(6))), chunk(b"tRNS", b"\x80")
    ),
    "rgba.png": png(1, 8, RGBA, [b"\xff\x80\x40\x80"]),
    "gray.jpg": encoded(SLOPE),
}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(8, 1, GRAY, [b"\xa5"]), [[1, 0, 1, 0, 0, 1, 0, 1]]),
        (png(2, 8, GRAY, [b"\x00\x80", b"\xff\x33"]), [[0, 128 / 255], [1, 0.2]]),
        (png(2, 16, GRAY, [b"\x00\x01\xff\xff"]), [[1 / 65535, 1]]),
        (png(1, 8, RGB, [b"\xff\x80\x00"]), [[[1, 128 / 255, 0]]]),
        (png(1, 16, RGB, [b"\xff\x00\x80\x00\x00\x00"]), [[[1, 128 / 255, 0]]]),
        (
            png(2, 1, PALETTE, [b"\x40"], chunk(b"PLTE", b"\0\0\0\xff\x33\0")),
            [[[0] * 3, [1, 0.2, 0]]],
        ),
        # Transparent pixels are composed on black.
        (png(1, 8, GRAY_ALPHA, [b"\xff\x33"]), [[0.2]]),
        (png(1, 16, GRAY_ALPHA, [b"\xff\xff\x33\x33"]), [[0.2]]),
        (png(1, 8, RGBA, [b"\xff\x00\xff\x33"]), [[[0.2, 0, 0.2]]]),
        (png(2, 8, GRAY, [b"\x50\xff"], chunk(b"tRNS", b"\0\x50")), [[0, 1]]),
        (png(2, 16, GRAY, [b"\x50\x00\xff\xff"], chunk(b"tRNS", b"\x50\0")), [[0, 1]]),
        (
            png(1, 8, PALETTE, [b"\0"], chunk(b"PLTE", b"\xff\0\0"), chunk(b"tRNS", b"\x33")),
            [[[0.2, 0, 0]]],
        ),
    ],
)
def test_png_gives_its_values(pixels: Pixels, data: bytes, expected: Any) -> None:
    values = pixels(data)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert values.shape == np.shape(expected)


def test_jpeg_gives_its_values(pixels: Pixels) -> None:
    gray = pixels(FILES["gray.jpg"])
    assert gray.shape == (16, 16)
    np.testing.assert_allclose(gray, SLOPE / 255, atol=0.02)
    colored = pixels(encoded(np.stack([SLOPE, 255 - SLOPE, SLOPE], 2)))
    assert colored.shape == (16, 16, 3)
    np.testing.assert_allclose(colored[..., 1], 1 - SLOPE / 255, atol=0.06)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_is_turned_as_its_orientation_requires(pixels: Pixels, form: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # a camera that was turned to the left: turn the pixels to the right
    values = pixels(encoded(SLOPE[:8], form, exif=exif))
    np.testing.assert_allclose(values, np.rot90(SLOPE[:8], -1) / 255, atol=0.03)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_image_is_rejected(pixels: Pixels, name: str) -> None:
    data = FILES[name]
    # Pillow needs neither the end of the last chunk of a PNG nor the last mark of a JPEG.
    for place in range(0, len(data) - 12, 1 if len(data) < 200 else 7):
        with pytest.raises(RecordingError, match=r"a\.png (is empty|cannot be read as a PNG or J)"):
            pixels(data[:place])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GIF89a", r"\(cannot identify image file"),
        (FILES["gray.png"].replace(b"IDAT", b"iDAT"), ""),
        (BEGIN + END, ""),
        (png(1, 3, GRAY, [b"\0"]), ""),
        (b"\xff\xd8\xff\x01\xff\xd9", ""),
        (
            png(1, 8, GRAY, [b"\0"], chunk(b"acTL", struct.pack(">II", 2, 0))),
            "it has 3 x 1 x 1 pixels, expected one image of at most 16,777,216 pixels",
        ),
        (
            encoded(SLOPE, "MPO", save_all=True, append_images=[Image.fromarray(SLOPE)]),
            "it has 2 x 16 x 16 pixels, expected one image",
        ),
    ],
)
def test_a_hostile_image_is_an_error_of_one_line(pixels: Pixels, data: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=f"as a PNG or JPEG image .*{message}") as error:
        pixels(data)
    assert str(error.value).isprintable()


ZEROS = zlib.compress(bytes(2 * 10**7))
# Files that would take much more memory than they have bytes.
BOMBS = {
    "png": (header(5000, 5000, 8, GRAY) + END, "has 1 x 5000 x 5000 pixels"),
    "flat": (header(2**31 - 1, 1, 8, GRAY) + END, "has 1 x 2147483647 x 1 pixels"),
    "jpeg": (
        FILES["gray.jpg"].replace(b"\x08\0\x10\0\x10", b"\x08" + 4 * b"\xff"),
        "1 x 65535 x 655",
    ),
    "text": (png(1, 8, GRAY, [b"\0"], chunk(b"zTXt", b"a\0\0" + ZEROS)), ""),
    "deep": (header(1, 1, 8, GRAY) + chunk(b"IDAT", ZEROS) + END, None),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory(
    pixels: Pixels, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data, message = BOMBS[name]
    with bounded_memory(2**23):
        if message is None:
            assert pixels(data).tolist() == [[0]]
        else:
            with pytest.raises(RecordingError, match=f"as a PNG or JPEG image .*{message}"):
                pixels(data)


TRAIN = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
TEST = 255 - TRAIN[:4]
NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx_header(*sizes: int, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes)


def packed(numbers: Any) -> bytes:
    array = np.asarray(numbers, np.uint8)
    return idx_header(*array.shape) + array.tobytes()


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
    "floats": (0, idx_header(5, 2, 3, kind=13), "it begins .*, expected unsigned bytes"),
    "empty": (0, idx_header(0, 2, 3), r"with the sizes \[0, 2, 3\], expected unsigned bytes"),
    "cut header": (0, CONTENTS[0][:9], "cannot be read as an idx file"),
    "cut": (0, CONTENTS[0][:-1], "cannot be read as an idx file"),
    "longer": (0, CONTENTS[0] + b"x", "cannot be read as an idx file"),
    "petabytes": (0, idx_header(2**32 - 1, 2**32 - 1, 9), "GB of memory, expected at most"),
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
