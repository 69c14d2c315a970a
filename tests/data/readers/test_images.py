import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.damage import bounded_memory, damaged
from nwavesdk.data.readers import images
from nwavesdk.data.readers.images import read_image
from nwavesdk.data.reading import RecordingError

Image = pytest.importorskip("PIL.Image")

Pixels = Callable[[str, bytes], Any]

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


@pytest.fixture
def pixels(tmp_path: Path) -> Pixels:
    """Reads content that is written to a file."""

    def pixels(name: str, data: bytes) -> Any:
        path = tmp_path / name
        path.write_bytes(data)
        return read_image(path).values

    return pixels


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
def test_png_gives_its_values(pixels: Pixels, data: bytes, expected: Any) -> None:
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
def test_transparent_pixels_are_composed_on_black(
    pixels: Pixels, data: bytes, expected: Any
) -> None:
    np.testing.assert_allclose(pixels("a.png", data), expected, rtol=1e-6)


def test_jpeg_gives_its_values(pixels: Pixels) -> None:
    gray = pixels("a.jpg", FILES["gray.jpg"])
    assert (gray.dtype, gray.shape) == (np.float32, (16, 16))
    np.testing.assert_allclose(gray, SLOPE / 255, atol=0.02)
    colored = pixels("A.JPEG", jpeg(np.stack([SLOPE, 255 - SLOPE, SLOPE], 2)))
    assert colored.shape == (16, 16, 3)
    np.testing.assert_allclose(colored[..., 1], 1 - SLOPE / 255, atol=0.06)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_is_turned_as_its_orientation_requires(pixels: Pixels, form: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # a camera that was turned to the left: turn the pixels to the right
    file = BytesIO()
    Image.fromarray(SLOPE[:8]).save(file, form, exif=exif)
    values = pixels("a.png" if form == "PNG" else "a.jpg", file.getvalue())
    np.testing.assert_allclose(values, np.rot90(SLOPE[:8], -1) / 255, atol=0.03)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_image_is_rejected(pixels: Pixels, name: str) -> None:
    data = FILES[name]
    # Pillow needs neither the end of the last chunk of a PNG nor the last mark of a JPEG.
    for place in range(0, len(data) - 12, 1 if len(data) < 200 else 7):
        with pytest.raises(RecordingError, match=f"{name} (is empty|cannot be read as a PNG or J)"):
            pixels(name, data[:place])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"GIF89a", r"cannot be read as a PNG or JPEG image \(cannot identify image file"),
        (b"\x1b[31m\n", "cannot be read as a PNG or JPEG image"),
        (FILES["gray.png"].replace(b"IDAT", b"iDAT"), "cannot be read as a PNG or JPEG image"),
        (BEGIN + chunk(b"IEND", b""), "cannot be read as a PNG or JPEG image"),
        (png(1, 3, GRAY, [b"\0"]), "cannot be read as a PNG or JPEG image"),
        (b"\xff\xd8\xff\x01\xff\xd9", "cannot be read as a PNG or JPEG image"),
        (
            png(1, 8, GRAY, [b"\0"], chunk(b"acTL", struct.pack(">II", 2, 0))),
            "has 3 x 1 x 1 pixels, expected one image of at most 16,777,216 pixels: convert it",
        ),
    ],
)
def test_a_hostile_image_is_an_error_of_one_line(pixels: Pixels, data: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=message) as error:
        pixels("a.png", data)
    assert str(error.value).isprintable()


def test_a_jpeg_of_several_images_is_rejected(pixels: Pixels) -> None:
    file = BytesIO()
    others = [Image.fromarray(255 - SLOPE)]
    Image.fromarray(SLOPE).save(file, "MPO", save_all=True, append_images=others)
    with pytest.raises(RecordingError, match="has 2 x 16 x 16 pixels, expected one image"):
        pixels("a.jpg", file.getvalue())


def with_jpeg_size(data: bytes, height: int, width: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def with_png_size(width: int, height: int) -> bytes:
    rest = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return BEGIN + ihdr(width, height, 8, GRAY) + rest


BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "png": (
        "a.png",
        lambda: with_png_size(5000, 5000),
        "has 1 x 5000 x 5000 pixels",
    ),
    "flat": ("a.png", lambda: with_png_size(2**31 - 1, 1), "has 1 x 2147483647 x 1 pixels"),
    "jpeg": (
        "a.jpg",
        lambda: with_jpeg_size(FILES["gray.jpg"], 65_535, 65_535),
        "has 1 x 65535 x 65535 pixels, expected one image of at most 16,777,216 pixels: convert",
    ),
    "text": (
        "a.png",
        lambda: png(
            1, 8, GRAY, [b"\0"], chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 * 10**7)))
        ),
        "cannot be read as a PNG or JPEG image",
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
def test_a_bomb_takes_little_memory(
    pixels: Pixels, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path, make, message = BOMBS[name]
    data = make()
    with bounded_memory(2**23):
        if message:
            with pytest.raises(RecordingError, match=message):
                pixels(path, data)
        else:
            assert pixels(path, data).tolist() == [[0]]


@settings(
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_an_error_of_one_line_or_another_image(
    pixels: Pixels, name: str, data: Any
) -> None:
    content = data.draw(damaged(FILES[name]))
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
