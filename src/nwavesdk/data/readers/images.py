"""Images: PNG and JPEG as values from 0 to 1.

Design requirements:

- The structure of a file is checked before Pillow decodes it: a size that is too large costs
  nothing, and a file that is cut short is an error whatever Pillow's settings are.
- Transparent pixels are composed on black, where nothing is.
- An image is turned as its EXIF orientation requires, so that a net sees what a person sees.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Sample
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require

__all__ = ["MOST_PIXELS", "SUFFIXES", "read_image"]

# The most pixels of an image, 4,096 x 4,096: 200 MB as float32 in three colors.
MOST_PIXELS = 2**24

# Parts of a file: chunks of a PNG, which some encoders write every 4 kB, or segments of a JPEG.
MOST_PARTS = 100_000

# Passes over all pixels in a progressive JPEG; usual files have ten.
MOST_SCANS = 100

Pixels = npt.NDArray[np.float32]


class _Header(NamedTuple):
    """What the header of a file claims: its size in pixels, and whether it has no colors."""

    width: int
    height: int
    is_gray: bool


class _Format(NamedTuple):
    """A format: its name in errors and for Pillow, how it begins, and what checks it."""

    name: str
    begin: bytes
    read_header: Callable[[Path, bytes], _Header]


def read_image(path: Path, data: bytes) -> Sample:
    """The pixels of a PNG or a JPEG.

    Gray images of 16 bits keep all of them; Pillow reads 8 bits of other images of 16.

    Args:
        path: Name of the file, whose end stands for its format.
        data: Its content.

    Returns:
        A sample with values from 0 to 1, float32 `[H, W]` if the image is gray, `[H, W, 3]` (red,
        green, blue) if it has colors or a palette.

    Raises:
        RecordingError: If the bytes are of another format, are cut short or damaged, or if the
            image is animated, has another color model, or more than `MOST_PIXELS` pixels.
    """
    expected = FORMATS[path.suffix.lower()]
    if not data:
        raise RecordingError(path, "is empty (0 bytes)")
    if not data.startswith(expected.begin):
        what = f"is {_content_name(data)}, expected a {expected.name} image"
        raise RecordingError(path, what, "convert or rename it")
    header = expected.read_header(path, data)
    return Sample(_decode(path, data, expected.name, header))


def _content_name(data: bytes) -> str:
    names = (each.name for each in (PNG, JPEG) if data.startswith(each.begin))
    other = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP"}
    others = (name for begin, name in other.items() if data.startswith(begin))
    name = next(names, None) or next(others, None)
    return f"a {name} image" if name else f"not an image (it begins {data[:8]!r})"


def _checked_header(path: Path, width: int, height: int, is_gray: bool) -> _Header:
    if not 0 < width * height <= MOST_PIXELS:
        what = f"has {width} x {height} pixels, expected 1 to {MOST_PIXELS:,} pixels"
        raise RecordingError(path, what, "make it smaller")
    return _Header(width, height, is_gray)


# PNG: after 8 bytes, chunks. Each has the size of its content, its name, its content, and the CRC
# of name and content.
PNG_CHUNK = struct.Struct(">I4s")
PNG_CRC_BYTES = 4
# The content of IHDR: width, height, bits of a channel, kind of colors, two bytes that are always
# zero, whether it is interlaced.
PNG_HEADER = struct.Struct(">IIBBxx?")
# Channels by kind of colors: gray, gray with transparency; RGB, palette, RGB with transparency.
GRAY_CHANNELS = {0: 1, 4: 2}
COLOR_CHANNELS = {2: 3, 3: 1, 6: 4}
# The first column and row of each pass, and the distances between columns and between rows.
ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def _read_png(path: Path, data: bytes) -> _Header:
    header: _Header | None = None
    packed: list[memoryview] = []
    n_bytes = 0
    for name, content in _png_chunks(path, data):
        if header is None:
            if name != b"IHDR" or len(content) != PNG_HEADER.size:
                raise RecordingError(path, "is damaged (it does not begin with the chunk IHDR)")
            width, height, bits, colors, is_interlaced = PNG_HEADER.unpack(content)
            header = _checked_header(path, width, height, colors in GRAY_CHANNELS)
            channels = GRAY_CHANNELS.get(colors) or COLOR_CHANNELS.get(colors, 0)
            n_bytes = _unpacked_bytes(width, height, bits * channels, is_interlaced)
        if name == b"acTL":
            raise RecordingError(path, "is animated, expected one image", "convert it")
        if name == b"IDAT":
            packed.append(content)
        if name == b"IEND":
            _check_unpacked(path, packed, n_bytes)
            return header
    raise RecordingError(path, "is cut short (its last chunk is missing)")


def _png_chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The name and the content of each chunk that is whole."""
    view = memoryview(data)
    start = 8
    for _ in range(MOST_PARTS):
        if start + PNG_CHUNK.size > len(data):
            break
        size: int
        name: bytes
        size, name = PNG_CHUNK.unpack_from(data, start)
        end = start + PNG_CHUNK.size + size
        if end + PNG_CRC_BYTES > len(data):
            break
        (expected_crc,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[start + 4 : end]) != expected_crc:
            raise RecordingError(path, f"is damaged (the checksum of its chunk {name!r} is wrong)")
        yield name, view[start + PNG_CHUNK.size : end]
        start = end + PNG_CRC_BYTES


def _unpacked_bytes(width: int, height: int, bits: int, is_interlaced: bool) -> int:
    """What the pixels of a PNG take before they are packed [bytes]."""
    # Each row has one byte for its filter, and then whole bytes. Interlaced images come in seven
    # passes, each of which begins at (x, y) and has every nth column and mth row.
    passes = ADAM7 if is_interlaced else [(0, 0, 1, 1)]
    total = 0
    for x, y, n, m in passes:
        columns = max(0, -(-(width - x) // n))
        rows = max(0, -(-(height - y) // m))
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def _check_unpacked(path: Path, packed: list[memoryview], n_bytes: int) -> None:
    """Reject a PNG that has too few pixels; Pillow would take zeros for the rest."""
    unpacker = zlib.decompressobj()
    missing = n_bytes
    for part in packed:
        rest: bytes | memoryview = part
        while missing > 0 and rest and not unpacker.eof:
            try:
                missing -= len(unpacker.decompress(rest, 2**20))
            except zlib.error as error:
                raise RecordingError(path, f"has damaged pixels ({one_line(error)})") from None
            rest = unpacker.unconsumed_tail
    if missing > 0:
        raise RecordingError(path, f"is cut short ({missing:,} bytes of its pixels are missing)")


# JPEG: segments. Each begins with 0xFF and a code; all except 0x01 and 0xD0 to 0xD9 have a size of
# two bytes, which counts itself. After the segment "start of scan" come compressed pixels, in which
# 0xFF is followed by 0 or by the code of a restart, 0xD0 to 0xD7.
JPEG_STANDALONE = {0x01, 0xD8}
JPEG_END = 0xD9
JPEG_SCAN = 0xDA
# "Start of frame" in all encodings; the codes in between define tables.
JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")


def _read_jpeg(path: Path, data: bytes) -> _Header:
    header: _Header | None = None
    n_scans = 0
    start = 2
    for _ in range(MOST_PARTS):
        match = JPEG_MARKER.search(data, start) if n_scans else JPEG_MARKER.match(data, start)
        if match is None:
            break
        code = match[1][0]
        start = match.end()
        if code == JPEG_END and header is not None and n_scans:
            return header
        if code in JPEG_STANDALONE:
            continue
        if start + 2 > len(data):
            break
        (size,) = struct.unpack_from(">H", data, start)
        if code in JPEG_FRAMES and start + 8 <= len(data) and header is None:
            # Size, bits, height, width, number of colors.
            height, width, n_colors = struct.unpack_from(">HHB", data, start + 3)
            header = _checked_header(path, width, height, n_colors == 1)
        n_scans += code == JPEG_SCAN
        if n_scans > MOST_SCANS:
            raise RecordingError(path, f"has more than {MOST_SCANS} scans", "convert it")
        start += size
    raise RecordingError(path, "is cut short or damaged (it does not end as a JPEG does)")


def _decode(path: Path, data: bytes, name: str, header: _Header) -> Pixels:
    pillow = require("PIL.Image", "train")
    operations = require("PIL.ImageOps", "train")
    try:
        with warnings.catch_warnings(), _strict():
            warnings.simplefilter("ignore")  # of damage that is an error, and of sizes checked here
            image = pillow.open(BytesIO(data), formats=[name])
            if image.size != (header.width, header.height):  # of another header, not checked here
                raise RecordingError(path, "is damaged (it has two sizes)")
            n_images = getattr(image, "n_frames", 1)
            if n_images == 1:
                return _pixels_of(path, operations.exif_transpose(image), header.is_gray)
    except RecordingError:
        raise
    except Exception as error:  # Pillow raises different kinds, and more
        reason = one_line(error).partition(" <_io")[0]  # without the place of the bytes in memory
        raise RecordingError(path, f"cannot be read as an image ({reason})") from None
    what = f"holds {n_images} images, expected one"
    raise RecordingError(path, what, "save the first one alone")


@contextmanager
def _strict() -> Iterator[None]:
    """Let Pillow reject what is cut short, whatever the program has chosen."""
    reader = require("PIL.ImageFile", "train")
    chosen = reader.LOAD_TRUNCATED_IMAGES
    reader.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        reader.LOAD_TRUNCATED_IMAGES = chosen


def _pixels_of(path: Path, image: Any, is_gray: bool) -> Pixels:
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):  # gray of 16 bits, transparent where it has one value
        integers = np.asarray(image)
        visible = integers != transparent if isinstance(transparent, int) else True
        return _scaled(integers * visible, 65535)
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        what = f"has the color model {image.mode}, expected gray or RGB"
        raise RecordingError(path, what, "convert it")
    if transparent is None and image.mode in ("1", "L", "P", "RGB"):
        return _scaled(np.asarray(image.convert("L" if is_gray else "RGB")))
    colors = _scaled(np.asarray(image.convert("RGBA")))
    composed = colors[..., :3] * colors[..., 3:]
    return np.ascontiguousarray(composed[..., 0]) if is_gray else composed


def _scaled(integers: npt.NDArray[np.integer[Any]], largest: int = 255) -> Pixels:
    scaled: Pixels = np.divide(integers, largest, dtype=np.float32)
    return scaled


PNG = _Format("PNG", b"\x89PNG\r\n\x1a\n", _read_png)
JPEG = _Format("JPEG", b"\xff\xd8\xff", _read_jpeg)
FORMATS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG}

# Ends of the names of files that are read.
SUFFIXES = frozenset(FORMATS)
