import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.damage import bounded_memory
from nwavesdk.data.readers.images import read_image
from nwavesdk.data.source import RecordingError

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
