"""Sound in blocks of samples, from a file or from a pipe, in constant memory."""

import math
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np

from nwavesdk.data.decoding import UNKNOWN_SIZE, Sound, open_sound
from nwavesdk.data.reading import reading

__all__ = ["file_blocks", "pipe_blocks"]

# The samples of a block of a file, and the most bytes that are taken from a pipe together.
BLOCK_SIZE = 2**16

# The largest chunk of a wav before its sound [bytes]; a larger one is damage.
MAX_CHUNK_BYTES = 2**20

# Sizes of a sample [bits], and the numbers of its format: PCM, and with an extended header.
SAMPLE_BITS = 16
SAMPLE_FORMATS = (1, 0xFFFE)

# How files of other formats begin.
OTHER_FORMATS = (b"OggS", b"fLaC", b"RF64", b"RIFX", b"FORM", b"caff", b".snd")


def file_blocks(path: Path) -> Iterator[Sound]:
    """The blocks of a wav, a FLAC or an Ogg file of any length, each with the sample rate.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: See `nwavesdk.data.decoding.read_sound`.
    """
    with reading(path, "sound"), open_sound(path) as sound:
        if not sound.frames:
            raise ValueError("it has no samples")
        while len(block := sound.read(BLOCK_SIZE, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                raise ValueError("it has samples that are not finite")
            yield block.mean(axis=1), sound.samplerate


def pipe_blocks(pipe: BufferedReader, rate: int) -> Iterator[Sound]:
    """The blocks of a sound as they arrive from a pipe, each with the sample rate.

    The samples have 16 bits, the low byte first: a wav, whose length may be unknown and whose
    channels are averaged, or mono samples without a header.

    Args:
        pipe: The pipe.
        rate: The sample rate of a sound without a header [Hz].

    Raises:
        ValueError: If there is no sound, or a sound of another format.
    """
    start = pipe.read(4)
    n_channels, n_bytes, rest = 1, math.inf, start
    if start == b"RIFF":
        n_channels, rate, n_bytes = _read_header(pipe)
        rest = b""
    elif not start or start in OTHER_FORMATS:
        raise _format_error(f"{start!r} at its begin")

    while data := pipe.read1(int(min(n_bytes, BLOCK_SIZE))):
        n_bytes -= len(data)
        rest += data
        n_whole = len(rest) - len(rest) % (SAMPLE_BITS // 8 * n_channels)
        values = np.frombuffer(rest[:n_whole], "<i2").reshape(-1, n_channels)
        rest = rest[n_whole:]
        yield (values / np.float32(2 ** (SAMPLE_BITS - 1))).mean(axis=1), rate


def _read_header(pipe: BufferedReader) -> tuple[int, int, float]:
    """Read a wav after its first four bytes until its sound: channels, rate, bytes of the sound."""
    # After the size and the form of the file, there are chunks: a name, the size of the content,
    # and the content, padded to an even size. The sound is the content of `data`.
    pipe.read(8)
    chunks: dict[bytes, bytes] = {}
    try:
        name, n_bytes = struct.unpack("<4sI", pipe.read(8))
        while name != b"data":
            chunks[name] = pipe.read(min(n_bytes + n_bytes % 2, MAX_CHUNK_BYTES))
            name, n_bytes = struct.unpack("<4sI", pipe.read(8))
        layout = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    except (struct.error, KeyError):
        raise _format_error("a damaged header") from None

    sample_format, n_channels, rate, _, _, n_bits = layout
    if sample_format not in SAMPLE_FORMATS or n_bits != SAMPLE_BITS or not n_channels:
        raise _format_error(f"format {sample_format} with {n_bits} bits, {n_channels} channels")
    return n_channels, rate, n_bytes if 0 < n_bytes < UNKNOWN_SIZE else math.inf


def _format_error(fault: str) -> ValueError:
    return ValueError(
        f"The sound from standard input has {fault}, expected a wav or mono samples, of 16 bits: "
        "convert it, as by `ffmpeg -i FILE -f wav -c:a pcm_s16le -`."
    )
