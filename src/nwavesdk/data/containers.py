"""Containers of sound: which one a file is by its first bytes, and whether it is whole.

libsndfile decodes what it can: it ignores the missing end of a wav, a missing or damaged page of an
Ogg file, and the checksum of a FLAC file. A container is therefore checked by its own structure.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "CONTAINERS",
    "FLAC",
    "OGG",
    "WAV",
    "Container",
    "container_of",
    "content_name",
    "differs_from_md5",
]

# Data sizes from here on are not sizes: a recorder that writes to a pipe does not know the size,
# and writes a number near 2^31 or 2^32.
UNKNOWN_SIZE = 0x7FFF_F000

# Chunks that are looked at in search of the sound; a wav has a handful before it.
MOST_CHUNKS = 1000

# Pages of an Ogg file. A live stream writes one per packet, at most 400 a second.
MOST_PAGES = 1_000_000

# How files begin.
CONTENTS = {
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"ID3": "an MP3 file",
    b"FORM": "an AIFF file",
    b"caff": "a CAF file",
    b".snd": "an AU file",
    b"riff": "a W64 file",
    b"RIFX": "a big-endian RIFX file",
    b"RIFF": "a RIFF file of another kind",
    b"RF64": "an RF64 file of another kind",
}

# The bits of each byte in reverse order.
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Container:
    """A kind of sound file that is read.

    Args:
        name: As in "expected a wav".
        suffixes: Ends of its file names.
        formats: What libsndfile calls it.
        encodings: What libsndfile calls the encodings that are read; empty for all.
        dtype: What its samples are decoded to: int32 (full scale 2^31) if they are compared with a
            checksum, otherwise float32.
        begins: Whether a file begins like this container.
        find_fault: What is wrong with the structure of a file that begins like it, or "".
    """

    name: str
    suffixes: frozenset[str]
    formats: frozenset[str]
    encodings: frozenset[str]
    dtype: Literal["int32", "float32"]
    begins: Callable[[bytes], bool]
    find_fault: Callable[[bytes], str]


def container_of(path: Path) -> Container:
    """The container that the name of a file stands for; a wav if it stands for none."""
    suffix = path.suffix.lower()
    return next((each for each in CONTAINERS if suffix in each.suffixes), WAV)


def content_name(data: bytes) -> str:
    """What a file is by its first bytes, such as "a FLAC file"; it is not empty."""
    if WAV.begins(data) and data[8:12] == b"WAVE":
        return "a wav"
    if data[4:8] == b"ftyp":
        return "an MP4 file"
    if data[0] == 0xFF and data[1:2] >= b"\xe0":  # a frame without a header begins with 11 ones
        return "an MP3 or AAC file"
    names = (name for begin, name in CONTENTS.items() if data.startswith(begin))
    return next(names, f"not sound (it begins {data[:8]!r})")


def _begins_wav(data: bytes) -> bool:
    return data[:4] in (b"RIFF", b"RF64") and b"WAVE".startswith(data[8:12])


def _find_wav_fault(data: bytes) -> str:
    # The header "RIFF<size>WAVE" has 12 bytes. Each chunk has a name, a size and its content, which
    # is padded to an even length. The chunk "ds64" of RF64 has the true sizes: 8 bytes each, of the
    # file and of the sound.
    start = 12
    sound_bytes = 0
    missing = 0
    for _ in range(MOST_CHUNKS):
        if start + 8 > len(data):
            break
        name: bytes
        size: int
        name, size = struct.unpack_from("<4sI", data, start)
        if name == b"ds64" and start + 24 <= len(data):
            (sound_bytes,) = struct.unpack_from("<Q", data, start + 16)
        if name == b"data":
            if size >= UNKNOWN_SIZE:
                size = sound_bytes
            missing = max(0, start + 8 + size - len(data))
            break
        start += 8 + size + size % 2
    return f"is cut short ({missing:,} bytes of its sound are missing)" if missing else ""


def _begins_flac(data: bytes) -> bool:
    return data.startswith(b"fLaC")


# "fLaC" is followed by blocks: one byte with the kind and, as its highest bit, whether the block is
# the last; three bytes with the size, big-endian; the content. The first block, STREAMINFO, has
# kind 0 and 34 bytes. Its bytes 13 to 17 hold the number of samples in their last 36 bits, and the
# 16 bytes from byte 18 on the MD5 of all samples, or zeros.
STREAMINFO = 8
STREAMINFO_SIZE = 34


def _find_flac_fault(data: bytes) -> str:
    start = 4
    is_last = False
    while not is_last:
        if start + 4 > len(data):
            return "is cut short (it ends before its sound)"
        (head,) = struct.unpack_from(">I", data, start)
        size = head & 0xFF_FFFF
        if start == 4 and head & 0x7FFF_FFFF != STREAMINFO_SIZE:
            return "has a damaged header (it does not begin with STREAMINFO)"
        is_last = bool(head >> 31)
        start += 4 + size
    if start >= len(data):
        return "is cut short (it ends before its sound)"
    n_samples = int.from_bytes(data[STREAMINFO + 13 : STREAMINFO + 18]) & 0xF_FFFF_FFFF
    if not n_samples:
        return "does not record its length (it was encoded to a pipe, not to a file)"
    return ""


def differs_from_md5(data: bytes, samples: npt.NDArray[np.int32], encoding: str) -> bool:
    """Whether the samples of a whole FLAC file differ from those that were encoded.

    Args:
        data: The file.
        samples: `[samples, channels]`, full scale 2^31.
        encoding: Their encoding by its name in libsndfile, from which their width follows.
    """
    expected = data[STREAMINFO + 18 : STREAMINFO + STREAMINFO_SIZE]
    if not any(expected):
        return False
    # The MD5 is that of little-endian numbers with as few bytes as hold the bits of a sample: the
    # upper bytes of 32 bits.
    n_bytes = {"PCM_S8": 1, "PCM_16": 2, "PCM_24": 3}[encoding]
    words = np.ascontiguousarray(samples.astype("<i4", copy=False)).view(np.uint8)
    upper = words.reshape(-1, 4)[:, 4 - n_bytes :]
    return md5(upper.tobytes(), usedforsecurity=False).digest() != expected


def _begins_ogg(data: bytes) -> bool:
    return data.startswith(b"OggS")


# The header of a page: "OggS", version, flags, position (8 bytes), number of the stream, number of
# the page, checksum, and how many segments follow. Then come the sizes of the segments, one byte
# each, and the segments.
PAGE = struct.Struct("<4sBBqIIIB")
CHECKSUM_START = 22
FIRST_PAGE = 2
LAST_PAGE = 4


def _find_ogg_fault(data: bytes) -> str:
    start = 0
    flags = 0
    first: tuple[int, int] | None = None
    for count in range(MOST_PAGES):
        if start == len(data):
            return "" if flags & LAST_PAGE else "is cut short (its last page is missing)"
        if flags & LAST_PAGE:
            return "has something after its last page; expected one stream of sound"
        if start + PAGE.size > len(data):
            return f"is cut short (in page {count})"
        mark, version, flags, _, stream, page, checksum, n_segments = PAGE.unpack_from(data, start)
        if mark != b"OggS" or version:
            return f"is damaged (page {count} does not begin with OggS)"
        body = start + PAGE.size + n_segments
        end = body + sum(data[start + PAGE.size : body])
        if body > len(data) or end > len(data):
            return f"is cut short (in page {count})"
        if _ogg_checksum(data, start, end) != checksum:
            return f"is damaged (the checksum of page {count} is wrong)"
        first = first or (stream, page)
        if stream != first[0]:
            return "holds several streams, expected one of sound"
        if page != first[1] + count or bool(flags & FIRST_PAGE) != (count == 0):
            return f"is damaged (pages before page {count} are missing)"
        start = end
    return f"has more than {MOST_PAGES:,} pages"


def _ogg_checksum(data: bytes, start: int, end: int) -> int:
    """The checksum of a page, in which its own four bytes are zero."""
    # Ogg's CRC has the polynomial of zlib, but takes the highest bit of a byte first, and neither
    # begins nor ends with inverted bits. zlib inverts both: 2^32 - 1 undoes it.
    header = start + CHECKSUM_START
    zeroed = data[start:header] + bytes(4) + data[header + 4 : end]
    inverted = zlib.crc32(zeroed.translate(REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(inverted.to_bytes(4, "little").translate(REVERSED_BITS))


WAV = Container(
    name="a wav",
    suffixes=frozenset({".wav"}),
    formats=frozenset({"WAV", "WAVEX", "RF64"}),
    encodings=frozenset(),
    dtype="float32",
    begins=_begins_wav,
    find_fault=_find_wav_fault,
)
FLAC = Container(
    name="a FLAC file",
    suffixes=frozenset({".flac"}),
    formats=frozenset({"FLAC"}),
    encodings=frozenset({"PCM_S8", "PCM_16", "PCM_24"}),
    dtype="int32",
    begins=_begins_flac,
    find_fault=_find_flac_fault,
)
OGG = Container(
    name="an Ogg file",
    suffixes=frozenset({".ogg", ".oga", ".opus"}),
    formats=frozenset({"OGG"}),
    encodings=frozenset({"VORBIS", "OPUS"}),
    dtype="float32",
    begins=_begins_ogg,
    find_fault=_find_ogg_fault,
)
CONTAINERS = (WAV, FLAC, OGG)
