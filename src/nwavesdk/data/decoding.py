"""The files of a recording: its sound as mono samples, its target as values per time step.

Each fault of a file has its own error.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from nwavesdk.data.containers import (
    CONTAINERS,
    FLAC,
    Container,
    container_of,
    content_name,
    differs_from_md5,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import read_bytes
from nwavesdk.internal.imports import require

__all__ = [
    "SUFFIXES",
    "ResamplingStream",
    "Samples",
    "Sound",
    "check_seconds",
    "check_sound",
    "decode",
    "fit_target",
    "normalize_peak",
    "read_recording",
    "read_target",
    "resample",
]

Samples = npt.NDArray[np.float32]
Target = npt.NDArray[np.float32]
# Mono samples `[samples]`, full scale 1, and their rate [Hz].
Sound = tuple[Samples, int]

# Ends of the names of files that are decoded.
SUFFIXES = frozenset().union(*(container.suffixes for container in CONTAINERS))

# Range of plausible sample rates [Hz]: it contains radio and bats, but not broken headers.
LOWEST_RATE = 1_000
HIGHEST_RATE = 1_000_000

# Arrays of microphones have up to this many channels.
MOST_CHANNELS = 64

# The most that a second of sound should take, in a file and as float32: stereo at 192 kHz.
BYTES_PER_SECOND = 192_000 * 2 * 4

# Default of the longest allowed recording [s].
MOST_SECONDS = 600.0

# The most values of a target: 56 columns at 600,000 steps.
MOST_VALUES = 2**25


def read_recording(path: Path, max_seconds: float) -> bytes:
    """The content of a file that is small enough for `max_seconds` of sound [s].

    Raises:
        FileError: If it is not a regular file, cannot be read, or is larger than any such sound.
    """
    most = int(max_seconds * BYTES_PER_SECOND)
    return read_bytes(path, most, "cut it, or raise max_seconds")


def check_seconds(path: Path, seconds: float, max_seconds: float) -> None:
    """Reject sound that is too long.

    Raises:
        RecordingError: If it is.
    """
    if seconds > max_seconds:
        what = f"lasts {seconds:.6g} s, expected at most {max_seconds:g} s"
        raise RecordingError(path, what, "cut it, or raise max_seconds")


def check_sound(path: Path, data: bytes) -> None:
    """Reject content that is not a whole file of sound, by what its container claims.

    Args:
        path: Name of the file, whose end stands for its container; a wav if it stands for none.
        data: Its content.

    Raises:
        RecordingError: If the bytes are of another format, or the end of the sound is missing.
    """
    if not data:
        raise RecordingError(path, "is empty (0 bytes)")
    container = container_of(path)
    if not container.begins(data):
        is_readable = any(each.begins(data) for each in CONTAINERS)
        what = f"is {content_name(data)}, expected {container.name}"
        remedy = "convert or rename it" if is_readable else "convert or remove it"
        raise RecordingError(path, what, remedy)
    fault = container.find_fault(data)
    if fault:
        raise RecordingError(path, fault)


def decode(path: Path, data: bytes, max_seconds: float = MOST_SECONDS) -> Sound:
    """Mono samples of a wav, a FLAC or an Ogg file and their rate; several channels are averaged.

    Args:
        path: Name of the file, whose end stands for its container; a wav if it stands for none.
        data: Its content.
        max_seconds: Longest allowed sound [s], checked before the sound is decoded.

    Raises:
        RecordingError: If the bytes are of another format, the sound is too long, its rate or
            number of channels is implausible, its end is missing, it is damaged, it has no samples,
            or some samples are not finite.

    Example:
        >>> import soundfile
        >>> file = BytesIO()
        >>> soundfile.write(file, np.full((800, 2), [0.5, 0.25]), 8000, format="WAV")
        >>> samples, rate = decode(Path("stereo.wav"), file.getvalue())
        >>> samples.shape, float(samples[0]), rate
        ((800,), 0.375, 8000)
    """
    soundfile = require("soundfile", "train")
    check_sound(path, data)
    container = container_of(path)
    with _naming(path, "cannot be read as sound"):
        header = soundfile.info(BytesIO(data))
    _check_header(path, container, header, max_seconds)
    with _naming(path, "is cut short or damaged"):
        samples, rate = soundfile.read(BytesIO(data), dtype=container.dtype, always_2d=True)
    if not len(samples):
        raise RecordingError(path, "has no samples")
    if len(samples) < header.frames:
        missing = header.frames - len(samples)
        raise RecordingError(path, f"is cut short ({missing:,} samples are missing)")
    if container is FLAC:
        if differs_from_md5(data, samples, header.subtype):
            raise RecordingError(path, "is damaged (the MD5 of its samples is wrong)")
        samples = samples.astype(np.float32)
        samples *= 2.0**-31
    with np.errstate(over="ignore", invalid="ignore"):
        mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise RecordingError(path, "has samples that are not finite")
    return mono, rate


@contextmanager
def _naming(path: Path, what: str) -> Iterator[None]:
    """Raise an error of libsndfile as one that names the file."""
    try:
        yield
    except require("soundfile", "train").SoundFileError as error:
        # The whole text of the error would name the bytes in memory instead of the file.
        reason = str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
        raise RecordingError(path, f"{what} ({reason})") from None


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


def _check_header(path: Path, container: Container, header: Any, max_seconds: float) -> None:
    if header.format not in container.formats:
        what = f"has the format {header.format}, expected {min(container.formats)}"
        raise RecordingError(path, what, "convert it")
    if container.encodings and header.subtype not in container.encodings:
        expected = " or ".join(sorted(container.encodings))
        what = f"has the encoding {header.subtype}, expected {expected}"
        raise RecordingError(path, what, "convert it")
    if not LOWEST_RATE <= header.samplerate <= HIGHEST_RATE:
        raise RecordingError(
            path,
            f"has a sample rate of {header.samplerate} Hz, expected {LOWEST_RATE} to "
            f"{HIGHEST_RATE}",
        )
    if header.channels > MOST_CHANNELS:
        raise RecordingError(
            path,
            f"has {header.channels} channels, expected at most {MOST_CHANNELS}",
            "keep fewer channels",
        )
    check_seconds(path, header.frames / header.samplerate, max_seconds)
    n_bytes = 4 * header.frames * header.channels
    if n_bytes > max_seconds * BYTES_PER_SECOND:
        raise RecordingError(
            path,
            f"has {n_bytes / 4:,.0f} samples, expected at most "
            f"{max_seconds * BYTES_PER_SECOND / 4:,.0f}",
            "cut it, keep fewer channels, or raise max_seconds",
        )


def read_target(path: Path, data: bytes) -> Target:
    """The target of a recording in regression; no code in the file is executed.

    Args:
        path: Name of the file, for errors.
        data: Its content, as `torch.save` writes it.

    Returns:
        `[steps, C]`; a target of one axis has C = 1.

    Raises:
        RecordingError: If it is not a real tensor of one or two axes with at most
            `MOST_VALUES` values, or has values that are not finite.
    """
    import torch

    try:
        _check_target_bytes(data)
        checked = torch.sparse.check_sparse_tensor_invariants()  # type: ignore[no-untyped-call]  # a class of torch
        with checked, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are rejected below
            value = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise different kinds, and more
        what = f"is not a tensor ({type(error).__name__})" if data else "is empty (0 bytes)"
        raise RecordingError(path, what, "write it with torch.save(tensor, path)") from None
    got = _fault_of_target(value)
    if got:
        what = f"holds {got}, expected a real tensor (T,) or (T, C)"
        raise RecordingError(path, what, "write it again")
    try:
        dense = value.detach().to_dense().resolve_neg()
        target: Target = dense.reshape(len(dense), -1).to(torch.float32).numpy()
    except RuntimeError:  # such as raw bits, which are no numbers
        what = f"holds a tensor of {value.dtype} that is not real numbers"
        raise RecordingError(path, what, "write it as float32") from None
    if not np.isfinite(target).all():
        raise RecordingError(path, "has values that are not finite")
    return target


def _check_target_bytes(data: bytes) -> None:
    """Reject content that would take more memory than its size, before torch reads it."""
    with suppress(BadZipFile), ZipFile(BytesIO(data)) as archive:
        entries = archive.infolist()
        is_packed = any(entry.compress_type != ZIP_STORED for entry in entries)
        if is_packed or sum(entry.file_size for entry in entries) > len(data):
            raise ValueError
    if b"bytearray" in data:  # of any size, although no tensor needs one
        raise ValueError


def _fault_of_target(value: Any) -> str:
    """What a file holds, if it is not a target; looks at no value of a tensor."""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return f"a value of type {type(value).__name__}"
    kinds = {
        "a meta tensor without values": value.is_meta,
        "a quantized tensor": value.is_quantized,
        "a nested tensor": value.is_nested,
        "a complex tensor": value.is_complex(),
        "a tensor of another layout": value.layout not in (torch.strided, torch.sparse_coo),
    }
    fault = next((kind for kind, holds in kinds.items() if holds), "")
    if not fault and (value.ndim not in (1, 2) or not value.numel()):
        fault = f"a tensor of shape {list(value.shape)}"
    if not fault and value.numel() > MOST_VALUES:
        fault = f"{value.numel():,} values (at most {MOST_VALUES:,} are read)"
    return fault


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
