"""The files of a recording: its sound as mono samples, its target as values per time step.

A sound is read whole, or in blocks from a file or from a pipe, in constant memory.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BufferedReader, BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np

from nwavesdk.data.source import (
    MAX_VALUES,
    Item,
    RecordingError,
    Sample,
    Samples,
    Sound,
    checked,
    reading,
)
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.imports import require

__all__ = [
    "MAX_RECORDING_SECONDS",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "STREAM_LIMITS",
    "ResamplingStream",
    "file_blocks",
    "fit_target",
    "normalize_peak",
    "pipe_blocks",
    "read_sound",
    "read_sound_header",
    "read_target",
    "resample",
]

# Range of plausible sample rates [Hz]: it contains radio and bats, but not broken headers.
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 1_000_000

# Default of the longest allowed recording [s].
MAX_RECORDING_SECONDS = 600.0

# The longest sound [s] that is background or has events inside, and its samples: a day at 48 kHz.
STREAM_LIMITS = (86_400.0, 2**32)

# A data size of a wav from here on means an unknown size: a recorder that writes to a pipe writes a
# number near 2^31 or 2^32.
UNKNOWN_SIZE = 0x7FFF_F000

# Size of the header of an Ogg page without the sizes of its segments [bytes].
PAGE_HEADER_BYTES = 27

# The samples of a block of a file, and the most bytes that are taken from a pipe together.
BLOCK_SIZE = 2**16

# The largest chunk of a wav before its sound [bytes]; a larger one is damage.
MAX_CHUNK_BYTES = 2**20

# Sizes of a sample [bits], and the numbers of its format: PCM, and with an extended header.
SAMPLE_BITS = 16
SAMPLE_FORMATS = (1, 0xFFFE)

# How files of other formats begin.
OTHER_FORMATS = (b"OggS", b"fLaC", b"RF64", b"RIFX", b"FORM", b"caff", b".snd")

# Length [s] and number of the blocks of silence that show the delay of a conversion of rates.
PROBE_SECONDS = 5e-3
PROBE_BLOCKS = 400

# Largest number of values of a target: 56 columns at 600,000 steps.
MAX_TARGET_VALUES = 2**25


def read_sound(
    path: Path, max_seconds: float = MAX_RECORDING_SECONDS, max_values: int = MAX_VALUES
) -> Sound:
    """Mono samples of a wav, a FLAC or an Ogg file and their rate; several channels are averaged.

    Args:
        path: The file.
        max_seconds: Longest allowed sound [s], checked before the sound is decoded.
        max_values: Largest number of samples.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file has another format, the sound is too long, its rate is
            implausible, its end is missing, it is damaged, has no samples, or some are not finite.

    Example:
        >>> import soundfile
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "stereo.wav")
        ...     soundfile.write(path, np.full((800, 2), [0.5, 0.25]), 8000)
        ...     samples, rate = read_sound(path)
        >>> samples.shape, float(samples[0]), rate
        ((800,), 0.375, 8000)
    """
    with reading(path, "sound"), _open_sound(path) as sound:
        rate: int = sound.samplerate
        # The samples of two channels of the longest recording fit into memory.
        if sound.frames > min(max_seconds * rate, 2 * max_values / sound.channels):
            raise ValueError(
                f"it lasts {sound.frames / rate:.6g} s, expected at most {max_seconds:g} s: "
                f"cut it, or raise max_seconds; it has {sound.channels} channels"
            )

        needed = 4.0 * (sound.channels + 1) * sound.frames
        require_memory("sound", f"{sound.frames:,} samples", needed, "cut it")
        samples = sound.read(sound.frames, dtype="float32", always_2d=True).mean(axis=1)
        return checked(path, samples, max_values), rate


@contextmanager
def _open_sound(path: Path) -> Iterator[Any]:
    """The open file of a sound, a `soundfile.SoundFile`, to be read until its end.

    Raises:
        ValueError: If its format or its rate is not supported, or at the end of the `with` block,
            if the end of the sound is missing or was not read.
    """
    with open(path, "rb") as file:
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            has_end = _has_end(content)

        with require("soundfile", "train").SoundFile(file) as sound:
            rate = sound.samplerate
            if sound.format not in ("WAV", "WAVEX", "RF64", "FLAC", "OGG"):
                raise ValueError(f"its format is {sound.format}, expected WAV, FLAC or OGG")
            if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
                raise ValueError(
                    f"its sample rate is {rate} Hz, expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
                )

            yield sound
            is_read = not sound.seekable() or sound.tell() == sound.frames
            if not has_end or not is_read:
                raise ValueError("it is cut short: the end of its sound is missing")


def read_sound_header(item: Item) -> Sample:
    """A sound without its samples: its sample rate, by its header; see `read_sound`."""
    with reading(item.path, "sound"), open(item.path, "rb") as file:
        rate = require("soundfile", "train").SoundFile(file).samplerate
        return Sample((np.zeros(0, np.float32), rate))


def _has_end(content: mmap) -> bool:
    """Whether a wav or an Ogg file has all of its sound, which libsndfile does not check."""
    if content[:4] == b"OggS":
        page = content[content.rfind(b"OggS") :]
        # Byte 5 has flags; 4 marks the last page. Bytes 14 to 17 name the stream; libsndfile reads
        # the first stream of the file.
        is_last = page[5] & 4 and page[14:18] == content[14:18]

        # Byte 26 has the number of segments. Their sizes and their content follow.
        sizes = page[PAGE_HEADER_BYTES : PAGE_HEADER_BYTES + page[26]]
        return bool(is_last) and len(page) == PAGE_HEADER_BYTES + page[26] + sum(sizes)

    if content[:4] in (b"RIFF", b"RF64"):
        # The file is a list of chunks after a header of 12 bytes. A chunk has a name, the size of
        # its content, and the content, padded to an even size.
        offset = 12
        for _ in range(1000):  # usual files have a handful of chunks before the sound
            name, length = struct.unpack_from("<4sI", content, offset)
            offset += 8
            if name == b"data":
                return bool(length >= UNKNOWN_SIZE or offset + length <= len(content))
            offset += length + length % 2
    return True


def file_blocks(path: Path) -> Iterator[Sound]:
    """The blocks of a wav, a FLAC or an Ogg file of any length, each with the sample rate.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: See `read_sound`.
    """
    with reading(path, "sound"), _open_sound(path) as sound:
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
        n_channels, rate, n_bytes = _read_wav_header(pipe)
        rest = b""
    elif not start or start in OTHER_FORMATS:
        raise _format_error(f"{start!r} at its beginning" if start else "nothing")

    while data := pipe.read1(int(min(n_bytes, BLOCK_SIZE))):
        n_bytes -= len(data)
        rest += data
        n_whole = len(rest) - len(rest) % (SAMPLE_BITS // 8 * n_channels)
        values = np.frombuffer(rest[:n_whole], "<i2").reshape(-1, n_channels)
        rest = rest[n_whole:]
        yield (values / np.float32(2 ** (SAMPLE_BITS - 1))).mean(axis=1), rate


def _read_wav_header(pipe: BufferedReader) -> tuple[int, int, float]:
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


def resample(sound: Sound, rate: int) -> Samples:
    """The samples of a sound at another rate [Hz]; the same samples if it has this rate."""
    samples, recorded_rate = sound
    return ResamplingStream(recorded_rate, rate).push(samples, last=True)


class ResamplingStream:
    """`resample` for a sound that comes in blocks; all samples together are the same, bit for bit.

    soxr computes them in its own blocks, some 40 to 160 ms after the sound; `delay` is the longest.

    Args:
        recorded_rate: Rate of the blocks [Hz].
        rate: Rate of the samples that are returned [Hz]; equal rates change nothing.
    """

    def __init__(self, recorded_rate: int, rate: int) -> None:
        soxr = require("soxr", "train")
        self._rates = (recorded_rate, rate)
        self._stream = soxr.ResampleStream(recorded_rate, rate, num_channels=1, dtype="float32")

    @cached_property
    def delay(self) -> float:
        """The longest time from a sample until its value at the other rate is returned [s]."""
        recorded_rate, rate = self._rates
        if recorded_rate == rate:
            return 0.0

        # It depends only on the number of samples, so silence in small blocks shows it.
        probe = ResamplingStream(recorded_rate, rate)
        silence = np.zeros(math.ceil(PROBE_SECONDS * recorded_rate), np.float32)
        n_pushed = len(silence) * np.arange(1, PROBE_BLOCKS + 1)
        n_returned = np.cumsum([0, *(len(probe.push(silence)) for _ in n_pushed)])[:-1]
        return float(np.max(n_pushed / recorded_rate - n_returned / rate))

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """The samples that the next block completes.

        Args:
            block: `[samples]`, of any length.
            last: Whether the sound ends with this block; none may follow.
        """
        if self._rates[0] == self._rates[1]:
            return block
        return np.asarray(self._stream.resample_chunk(block, last=last))


def normalize_peak(samples: Samples) -> Samples:
    """Scale the loudest sample to full scale, which removes the distance to the microphone."""
    peak = np.abs(samples).max(initial=0)
    return samples / peak if peak > 0 else samples


def read_target(path: Path) -> Samples:
    """The target of a recording in regression; no code in the file is executed.

    Args:
        path: The file, as `torch.save` writes it.

    Returns:
        `[steps, C]`; a target of one axis has C = 1.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If it is not a real tensor of one or two axes with at most
            `MAX_TARGET_VALUES` values, or has values that are not finite.
    """
    import torch

    with (
        reading(
            path,
            "a tensor",
            "write it with torch.save(tensor, path)",
            max_bytes=16 * MAX_TARGET_VALUES,
        ),
        torch.sparse.check_sparse_tensor_invariants(),  # type: ignore[no-untyped-call]  # a class
    ):
        data = path.read_bytes()
        entries = ZipFile(path).infolist() if is_zipfile(path) else []
        # Compressed entries and bytearrays can take much more memory than the file has bytes, and
        # a tensor needs neither.
        if b"bytearray" in data or sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("it is compressed, or holds a bytearray")

        tensor = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        is_real = isinstance(tensor, torch.Tensor) and not tensor.is_complex()
        if not is_real or tensor.ndim not in (1, 2) or tensor.numel() > MAX_TARGET_VALUES:
            raise ValueError(
                f"it holds {type(tensor).__name__} {list(getattr(tensor, 'shape', ''))}, expected "
                f"real numbers (T,) or (T, C), at most {MAX_TARGET_VALUES:,}"
            )

        dense = tensor.detach().to_dense().resolve_neg().to(torch.float32).numpy()
        return checked(path, dense.reshape(len(dense), -1))


def fit_target(path: Path, target: Samples, recorded_steps: int, steps: int) -> Samples:
    """The target padded with zeros, or cut, like its recording.

    Args:
        path: Name of the file, for errors.
        target: `[length, C]`.
        recorded_steps: Time steps of the recording before it was cut or padded.
        steps: Time steps after that.

    Returns:
        `[steps, C]`.

    Raises:
        RecordingError: If its length is neither `recorded_steps`, plus or minus one step, nor
            `steps`.
    """
    length = len(target)
    if length != steps and abs(length - recorded_steps) > 1:
        raise RecordingError(
            path,
            f"has {length} steps, expected {recorded_steps} (its recording), plus or minus one, or "
            f"{steps} (after padding)",
            "align it with its recording",
        )
    return np.pad(target[:steps], ((0, max(0, steps - length)), (0, 0)))
