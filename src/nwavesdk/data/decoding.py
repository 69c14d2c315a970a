"""The files of a recording: its sound as mono samples, its target as values per time step."""

import os
import struct
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import RecordingError, checked, reading
from nwavesdk.internal.files import read_bytes
from nwavesdk.internal.imports import require

__all__ = [
    "HIGHEST_RATE",
    "LOWEST_RATE",
    "MOST_SECONDS",
    "ResamplingStream",
    "Samples",
    "Sound",
    "decode",
    "fit_target",
    "normalize_peak",
    "read_sound",
    "read_target",
    "resample",
]

Samples = npt.NDArray[np.float32]
Target = npt.NDArray[np.float32]
# Mono samples `[samples]`, full scale 1, and their rate [Hz].
Sound = tuple[Samples, int]

# libsndfile's names of the formats that a file may have, by the end of its name; all others are
# wavs.
FORMATS = {".flac": ("FLAC",), ".ogg": ("OGG",), ".oga": ("OGG",), ".opus": ("OGG",)}
WAV_FORMATS = ("WAV", "WAVEX", "RF64")

# Range of plausible sample rates [Hz]: it contains radio and bats, but not broken headers.
LOWEST_RATE = 1_000
HIGHEST_RATE = 1_000_000

# Default of the longest allowed recording [s].
MOST_SECONDS = 600.0

# The most values of a second of sound, over all channels: stereo at 192 kHz.
MAX_VALUES_PER_SECOND = 2 * 192_000

# The most chunks of a wav before its sound; usual files have a handful.
MAX_CHUNKS = 1000
# Data sizes from here on are not sizes: a recorder that writes to a pipe does not know the size,
# and writes a number near 2^31 or 2^32.
UNKNOWN_SIZE = 0x7FFF_F000

# The largest page of an Ogg file [bytes], and the size of its header without the sizes of segments.
MAX_PAGE_BYTES = 65_307
PAGE_HEADER_BYTES = 27
IS_LAST_PAGE = 4

# The most values of a target: 56 columns at 600,000 steps. As float64, they take 256 MiB.
MAX_TARGET_VALUES = 2**25
MAX_TARGET_BYTES = 2**29


def read_sound(path: Path, max_seconds: float = MOST_SECONDS) -> Sound:
    """Mono samples of a wav, a FLAC or an Ogg file and their rate; several channels are averaged.

    Args:
        path: The file, whose name stands for its format; a wav if it stands for none.
        max_seconds: Longest allowed sound [s], checked before the sound is decoded.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file has another format, the sound is too long, its rate is
            implausible, its end is missing, it is damaged, has no samples, or some are not finite.
    """
    with reading(path, "sound"), open(path, "rb") as file:
        return _decode(path, file, max_seconds)


def decode(path: Path, data: bytes, max_seconds: float = MOST_SECONDS) -> Sound:
    """`read_sound` for the content of a file.

    Args:
        path: Name of the file, which stands for its format; a wav if it stands for none.
        data: Its content.
        max_seconds: Longest allowed sound [s], checked before the sound is decoded.

    Raises:
        RecordingError: As `read_sound`.

    Example:
        >>> import soundfile
        >>> file = BytesIO()
        >>> soundfile.write(file, np.full((800, 2), [0.5, 0.25]), 8000, format="WAV")
        >>> samples, rate = decode(Path("stereo.wav"), file.getvalue())
        >>> samples.shape, float(samples[0]), rate
        ((800,), 0.375, 8000)
    """
    with reading(path, "sound", in_memory=True):
        return _decode(path, BytesIO(data), max_seconds)


def _decode(path: Path, file: BinaryIO, max_seconds: float) -> Sound:
    if _lacks_end(file):
        raise RecordingError(path, "is cut short (the end of its sound is missing)")
    file.seek(0)

    with require("soundfile", "train").SoundFile(file) as sound:
        formats = FORMATS.get(path.suffix.lower(), WAV_FORMATS)
        if sound.format not in formats:
            what = f"has the format {sound.format}, expected {formats[0]}"
            raise RecordingError(path, what, "convert or rename it")

        rate: int = sound.samplerate
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            what = f"has a sample rate of {rate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE}"
            raise RecordingError(path, what)

        is_long = sound.frames > max_seconds * rate
        if is_long or sound.frames * sound.channels > max_seconds * MAX_VALUES_PER_SECOND:
            channels = f" with {sound.channels} channels" if sound.channels > 2 else ""
            what = (
                f"lasts {sound.frames / rate:.6g} s{channels}, expected at most {max_seconds:g} s"
            )
            raise RecordingError(path, what, "cut it, or raise max_seconds")

        samples = sound.read(sound.frames, dtype="float32", always_2d=True)
        if len(samples) < sound.frames:
            raise RecordingError(path, "is cut short (the end of its sound is missing)")

    with np.errstate(over="ignore", invalid="ignore"):
        mono = samples.mean(axis=1)
    return checked(path, mono), rate


def _lacks_end(file: BinaryIO) -> bool:
    """Whether a wav or an Ogg file ends before its sound does, which libsndfile ignores."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    begin = file.read(PAGE_HEADER_BYTES)

    if begin.startswith((b"RIFF", b"RF64")):
        file.seek(12)
        for _ in range(MAX_CHUNKS):
            # A chunk has a name, the size of its content, and the content, padded to an even size.
            name, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
            if name == b"data":
                return bool(length < UNKNOWN_SIZE and file.tell() + length > size)
            file.seek(length + length % 2, os.SEEK_CUR)

    if begin.startswith(b"OggS"):
        file.seek(max(0, size - MAX_PAGE_BYTES))
        tail = file.read()
        page = tail[tail.rfind(b"OggS") :].ljust(PAGE_HEADER_BYTES, b"\0")
        # Bytes 14 to 17 name the stream. libsndfile reads the first one.
        if page[14:18] != begin[14:18]:
            raise ValueError("it holds several streams, or is damaged at its end")
        # Byte 5 has flags, byte 26 the number of segments. Their sizes and their content follow.
        sizes = page[PAGE_HEADER_BYTES : PAGE_HEADER_BYTES + page[26]]
        is_whole = len(page) == PAGE_HEADER_BYTES + page[26] + sum(sizes)
        return not (page[5] & IS_LAST_PAGE and is_whole)
    return False


def resample(sound: Sound, rate: int) -> Samples:
    """The samples of a sound at another rate [Hz]; unchanged if it has this rate."""
    samples, recorded_rate = sound
    if recorded_rate == rate:
        return samples
    resampled: Samples = require("soxr", "train").resample(samples, recorded_rate, rate)
    return resampled


class ResamplingStream:
    """`resample` for a sound that comes in blocks; all samples together are the same, bit for bit.

    soxr computes them some 40 to 120 ms after the sound, in its own blocks.

    Args:
        recorded_rate: Rate of the blocks [Hz].
        rate: Rate of the samples that are returned [Hz]; equal rates change nothing.
    """

    def __init__(self, recorded_rate: int, rate: int) -> None:
        self._soxr: Any = None
        if recorded_rate != rate:
            stream = require("soxr", "train").ResampleStream
            self._soxr = stream(recorded_rate, rate, num_channels=1, dtype="float32")

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """The samples that the next block completes.

        Args:
            block: `[samples]`, of any length.
            last: Whether the sound ends with this block; none may follow.
        """
        if self._soxr is None:
            return block
        resampled: Samples = self._soxr.resample_chunk(block, last=last)
        return resampled


def normalize_peak(samples: Samples) -> Samples:
    """The samples with the loudest at full scale, so that distance to the microphone is removed."""
    peak = np.abs(samples).max(initial=0)
    return samples / peak if peak > 0 else samples


def read_target(path: Path) -> Target:
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

    data = read_bytes(path, MAX_TARGET_BYTES, "cut it")
    remedy = "write it with torch.save(tensor, path)"
    with reading(path, "a tensor", remedy):
        # Both can take much more memory than the file has bytes, and no tensor needs them.
        is_hostile = b"bytearray" in data
        if data.startswith(b"PK"):
            with ZipFile(BytesIO(data)) as archive:
                is_hostile |= sum(entry.file_size for entry in archive.infolist()) > len(data)
        if is_hostile:
            raise ValueError("it is compressed, or holds a bytearray")
        checks_sparse = torch.sparse.check_sparse_tensor_invariants()  # type: ignore[no-untyped-call]  # a class of torch
        with checks_sparse:
            tensor = torch.load(BytesIO(data), map_location="cpu", weights_only=True)

        is_tensor = type(tensor) in (torch.Tensor, torch.nn.Parameter) and not tensor.is_complex()
        if (
            not is_tensor
            or tensor.ndim not in (1, 2)
            or not 0 < tensor.numel() <= MAX_TARGET_VALUES
        ):
            shape = list(tensor.shape) if is_tensor else ""
            what = f"holds {type(tensor).__name__} {shape}"
            what += f", expected real numbers (T,) or (T, C), at most {MAX_TARGET_VALUES:,}"
            raise RecordingError(path, what, remedy)
        dense = tensor.detach().to_dense().resolve_neg().to(torch.float32).numpy()
    return checked(path, dense.reshape(len(dense), -1))


def fit_target(path: Path, target: Target, recorded_steps: int, steps: int) -> Target:
    """The target padded with zeros, or cut, like its recording.

    Args:
        path: Name of the file, for errors.
        target: `[length, C]`.
        recorded_steps: Time steps of the recording before it was cut or padded.
        steps: Time steps after that.

    Returns:
        `[steps, C]`.

    Raises:
        RecordingError: If its length is neither that of the recording, plus or minus one step, nor
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
