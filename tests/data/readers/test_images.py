import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.damage import bounded_memory, damaged
from nwavesdk.data.readers import images
from nwavesdk.data.readers.images import SUFFIXES, read_image
from nwavesdk.data.reading import RecordingError

Image = pytest.importorskip("PIL.Image")
ImageFile = pytest.importorskip("PIL.ImageFile")

BEGIN = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def ihdr(width: int, height: int, bits: int, colors: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colors, 0, 0, 0))


def png(width: int, bits: int, colors: int, rows: list[bytes], *chunks: bytes) -> bytes:
    """A PNG whose rows of pixels are not filtered."""
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = ihdr(width, len(rows), bits, colors)
    return BEGIN + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg(values: np.ndarray, mode: str | None = None, **how: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(values, mode).save(file, "JPEG", quality=95, **how)
    return file.getvalue()


def pixels(name: str, data: bytes) -> Any:
    return read_image(Path(name), data).values


COLORS = np.arange(24 * 16 * 3).reshape(24, 16, 3).astype(np.uint8)
# A slope that JPEG keeps: from dark to light, from left to right.
SLOPE = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
FILES = {
    "gray.png": png(2, 8, GRAY, [b"\x00\x80", b"\xff\x33"]),
    "palette.png": png(
        2, 8, PALETTE, [b"\0\1"], chunk(b"PLTE", bytes(range(6))), chunk(b"tRNS", b"\x80")
    ),
    "rgba.png": png(1, 8, RGBA, [b"\xff\x80\x40\x80"]),
    "gray.jpg": jpeg(SLOPE),
    "progressive.jpeg": jpeg(COLORS, progressive=True),
}


def test_the_suffixes_are_those_of_png_and_jpeg() -> None:
    assert frozenset({".png", ".jpg", ".jpeg"}) == SUFFIXES


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(8, 1, GRAY, [b"\xa5"]), [[1, 0, 1, 0, 0, 1, 0, 1]]),
        (png(4, 2, GRAY, [b"\x1b"]), [[0, 1 / 3, 2 / 3, 1]]),
        (png(2, 4, GRAY, [b"\x0f"]), [[0, 1]]),
        (png(2, 8, GRAY, [b"\x00\x80", b"\xff\x33"]), [[0, 128 / 255], [1, 0.2]]),
        (png(2, 16, GRAY, [b"\x00\x01\xff\xff"]), [[1 / 65535, 1]]),
        (png(1, 8, RGB, [b"\xff\x80\x00"]), [[[1, 128 / 255, 0]]]),
        (png(1, 16, RGB, [b"\xff\x00\x80\x00\x00\x00"]), [[[1, 128 / 255, 0]]]),
        (
            png(2, 1, PALETTE, [b"\x40"], chunk(b"PLTE", b"\0\0\0\xff\x33\0")),
            [[[0] * 3, [1, 0.2, 0]]],
        ),
    ],
)
def test_png_gives_its_values(data: bytes, expected: Any) -> None:
    values = pixels("a.png", data)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-7)
    assert values.shape == np.shape(expected)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(1, 8, GRAY_ALPHA, [b"\xff\x33"]), [[0.2]]),
        (png(1, 16, GRAY_ALPHA, [b"\xff\xff\x33\x33"]), [[0.2]]),
        (png(1, 8, RGBA, [b"\xff\x00\xff\x33"]), [[[0.2, 0, 0.2]]]),
        (png(2, 8, GRAY, [b"\x50\xff"], chunk(b"tRNS", b"\0\x50")), [[0, 1]]),
        (png(2, 16, GRAY, [b"\x50\x00\xff\xff"], chunk(b"tRNS", b"\x50\0")), [[0, 1]]),
        (png(8, 1, GRAY, [b"\xf0"], chunk(b"tRNS", b"\0\1")), [[0] * 8]),
        (png(1, 8, RGB, [b"\1\2\3"], chunk(b"tRNS", b"\0\1\0\2\0\3")), [[[0] * 3]]),
        (
            png(1, 8, PALETTE, [b"\0"], chunk(b"PLTE", b"\xff\0\0"), chunk(b"tRNS", b"\x33")),
            [[[0.2, 0, 0]]],
        ),
    ],
)
def test_transparent_pixels_are_composed_on_black(data: bytes, expected: Any) -> None:
    np.testing.assert_allclose(pixels("a.png", data), expected, rtol=1e-6)


def test_jpeg_gives_its_values() -> None:
    gray = pixels("a.jpg", FILES["gray.jpg"])
    assert (gray.dtype, gray.shape) == (np.float32, (16, 16))
    np.testing.assert_allclose(gray, SLOPE / 255, atol=0.02)
    colored = pixels("A.JPEG", jpeg(np.stack([SLOPE, 255 - SLOPE, SLOPE], 2)))
    assert colored.shape == (16, 16, 3)
    np.testing.assert_allclose(colored[..., 1], 1 - SLOPE / 255, atol=0.06)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_is_turned_as_its_orientation_requires(form: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # a camera that was turned to the left: turn the pixels to the right
    file = BytesIO()
    Image.fromarray(SLOPE[:8]).save(file, form, exif=exif)
    values = pixels("a.png" if form == "PNG" else "a.jpg", file.getvalue())
    np.testing.assert_allclose(values, np.rot90(SLOPE[:8], -1) / 255, atol=0.03)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("truncated", [False, True])
def test_a_cut_image_is_rejected_wherever_it_is_cut(
    name: str, truncated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated)
    data = FILES[name]
    for place in range(0, len(data), 1 if len(data) < 200 else 7):
        with pytest.raises(RecordingError, match="is (empty|cut short|not an image)"):
            pixels(name, data[:place])
    with pytest.raises(RecordingError, match="is cut short"):
        pixels(name, data[:-1])


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (zlib.compress(b"\0\1\2"), r"cut short \(147 bytes of its pixels are missing\)"),
        (
            zlib.compress(bytes(range(150)))[:80],
            r"cut short \(\d+ bytes of its pixels are missing\)",
        ),
        (zlib.compress(bytes(149)), r"cut short \(1 bytes of its pixels are missing\)"),
        (b"\0\0\0", r"has damaged pixels \(.* unknown compression method\)"),
        (b"", r"cut short \(150 bytes of its pixels are missing\)"),
    ],
)
def test_pixels_that_are_missing_are_an_error(packed: bytes, message: str) -> None:
    data = BEGIN + ihdr(2, 50, 8, GRAY) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    with pytest.raises(RecordingError, match=message):
        pixels("a.png", data)


def test_a_setting_of_pillow_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # The 16 numbers of codes in its first table, which are too large.
    data = FILES["gray.jpg"]
    place = data.index(b"\xff\xc4") + 5
    data = data[:place] + 16 * b"\xff" + data[place + 16 :]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RecordingError, match=r"cannot be read as an image \(broken data stream"):
        pixels("a.jpg", data)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


# Of each pass over an interlaced PNG: first column and row, distances between columns and rows.
PASSES = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]


def adam7(image: np.ndarray, missing: int = 0) -> bytes:
    """An interlaced gray PNG, perhaps without the last bytes of its pixels."""
    rows = b""
    for x, y, n, m in PASSES:
        part = image[y::m, x::n]
        rows += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, GRAY, 0, 0, 1)
    pixels = chunk(b"IDAT", zlib.compress(rows[: len(rows) - missing]))
    return BEGIN + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 9), (8, 8), (13, 17)])
def test_interlaced_png_is_read_if_no_pixel_is_missing(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_allclose(pixels("a.png", adam7(image)), image / 255, rtol=1e-6)
    with pytest.raises(RecordingError, match=r"cut short \(1 bytes of its pixels are missing"):
        pixels("a.png", adam7(image, missing=1))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.png", b"", r"a\.png is empty \(0 bytes\)"),
        ("a.png", FILES["gray.jpg"], "is a JPEG image, expected a PNG image: convert or rename it"),
        ("a.jpg", FILES["gray.png"], "is a PNG image, expected a JPEG image: convert or rename it"),
        ("a.jpeg", b"GIF89a", "is a GIF image, expected a JPEG image"),
        ("a.png", b"RIFF\0\0\0\0WEBP", "is a WebP image, expected a PNG image"),
        ("a.png", b"\x1b[31m\n", r"is not an image \(it begins b'.*'\), expected a PNG image"),
    ],
)
def test_another_format_than_the_name_stands_for_is_rejected(
    name: str, data: bytes, message: str
) -> None:
    with pytest.raises(RecordingError, match=message) as error:
        pixels(name, data)
    assert str(error.value).isprintable()


def test_an_animated_png_is_rejected() -> None:
    animation = chunk(b"acTL", struct.pack(">II", 2, 0))
    with pytest.raises(RecordingError, match="is animated, expected one image: convert it"):
        pixels("a.png", png(1, 8, GRAY, [b"\0"], animation))


def test_a_jpeg_of_several_images_is_rejected() -> None:
    file = BytesIO()
    Image.fromarray(SLOPE).save(
        file, "MPO", save_all=True, append_images=[Image.fromarray(255 - SLOPE)]
    )
    with pytest.raises(RecordingError, match="holds 2 images, expected one: save the first"):
        pixels("a.jpg", file.getvalue())


def test_another_color_model_is_rejected() -> None:
    file = BytesIO()
    Image.fromarray(COLORS).convert("CMYK").save(file, "JPEG")
    with pytest.raises(RecordingError, match="has the color model CMYK, expected gray or RGB"):
        pixels("a.jpg", file.getvalue())


def with_jpeg_size(data: bytes, height: int, width: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def with_png_size(width: int, height: int) -> bytes:
    rest = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return BEGIN + ihdr(width, height, 8, GRAY) + rest


def with_two_sizes() -> bytes:
    data = with_png_size(2, 2)
    return data[:33] + ihdr(20_000, 4000, 8, GRAY) + data[33:]


def with_two_frames() -> bytes:
    data = FILES["gray.jpg"]
    place = data.index(b"\xff\xc0")
    frame = data[place : place + 13]
    large = with_jpeg_size(frame, 60_000, 1000)
    # Behind the first one, and behind the scan.
    return data[: place + 13] + large + data[place + 13 :]


BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "png": (
        "a.png",
        lambda: with_png_size(5000, 5000),
        "has 5000 x 5000 pixels, expected 1 to 16,",
    ),
    "flat": ("a.png", lambda: with_png_size(2**31 - 1, 1), "has 2147483647 x 1 pixels"),
    "nothing": ("a.png", lambda: with_png_size(0, 7), "has 0 x 7 pixels, expected 1 to 16,777,216"),
    "jpeg": (
        "a.jpg",
        lambda: with_jpeg_size(FILES["gray.jpg"], 65_535, 65_535),
        "has 65535 x 65535 pixels, expected 1 to 16,777,216 pixels: make it smaller",
    ),
    "no height": ("a.jpg", lambda: with_jpeg_size(FILES["gray.jpg"], 0, 16), "has 16 x 0 pixels"),
    "two sizes": ("a.png", with_two_sizes, r"is damaged \(it has two sizes\)"),
    "two frames": ("a.jpg", with_two_frames, r"is damaged \(it has two sizes\)"),
    "scans": (
        "a.jpg",
        lambda: FILES["gray.jpg"][:-2] + b"\xff\xda\0\2" * 100 + b"\xff\xd9",
        "has more than 100 scans: convert it",
    ),
    "text": (
        "a.png",
        lambda: png(
            1, 8, GRAY, [b"\0"], chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 * 10**7)))
        ),
        "cannot be read as an image",
    ),
    "deep": (
        "a.png",
        lambda: (
            BEGIN
            + ihdr(1, 1, 8, GRAY)
            + chunk(b"IDAT", zlib.compress(bytes(2 * 10**7)))
            + chunk(b"IEND", b"")
        ),
        "",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path, make, message = BOMBS[name]
    data = make()
    with bounded_memory(2**23):
        if message:
            with pytest.raises(RecordingError, match=message):
                pixels(path, data)
        else:
            assert pixels(path, data).tolist() == [[0]]


def test_the_number_of_pixels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 64)
    assert pixels("a.png", png(16, 8, GRAY, [bytes(16)] * 4)).shape == (4, 16)
    with pytest.raises(RecordingError, match="has 13 x 5 pixels, expected 1 to 64 pixels: make"):
        pixels("a.png", png(13, 8, GRAY, [bytes(13)] * 5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            FILES["gray.png"].replace(b"IDAT", b"iDAT"),
            r"the checksum of its chunk b'iDAT' is wrong",
        ),
        (BEGIN + chunk(b"IEND", b""), "it does not begin with the chunk IHDR"),
        (png(1, 3, GRAY, [b"\0"]), r"cannot be read as an image \(cannot identify image file\)"),
        (png(1, 8, PALETTE, [b"\0"])[:-12], "is cut short"),
    ],
)
def test_a_damaged_png_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        pixels("a.png", data)


@pytest.mark.parametrize(
    "rest", [b"\xff\xd9", b"\xff\xda\0\2\xff\xd9", b"\xff\xff\xff", b"\xff\x01"]
)
def test_a_jpeg_without_pixels_is_rejected(rest: bytes) -> None:
    with pytest.raises(RecordingError, match="is cut short or damaged"):
        pixels("a.jpg", b"\xff\xd8\xff\x01" + rest)


def with_checksums(data: bytes) -> bytes:
    """A PNG with right checksums, as far as it has chunks."""
    start = 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4])
        crc = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        data = data[:end] + crc + data[end + 4 :] if end + 4 <= len(data) else data
        start = end + 4
    return data


@settings(deadline=None, max_examples=50, database=None)
@given(st.data())
@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_an_error_of_one_line_or_another_image(name: str, data: Any) -> None:
    content = data.draw(damaged(FILES[name]))
    if name.endswith("png") and data.draw(st.booleans()):
        content = with_checksums(content)
    with bounded_memory(2**26), patch.object(images, "MOST_PIXELS", 10**5):
        try:
            values = pixels(name, content)
        except RecordingError as error:
            message = str(error)
        else:
            message = ""
            assert values.dtype == np.float32
            assert values.ndim in (2, 3)
            assert 0 <= values.min() <= values.max() <= 1
    assert message.isprintable()
