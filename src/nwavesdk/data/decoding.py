"""The files of a recording: its wav as mono samples, its target as values per time step.

Each fault of a file has its own error.
"""

import math
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.imports import require

__all__ = [
    "RecordingError",
    "Samples",
    "Sound",
    "decode",
    "fit_target",
    "normalize_peak",
    "read_bytes",
    "read_target",
    "resample",
]

Samples = npt.NDArray[np.float32]
Target = npt.NDArray[np.float32]
# Mono samples `[samples]`, full scale 1, and their rate [Hz].
Sound = tuple[Samples, int]

# Range of plausible sample rates [Hz]: it contains radio and bats, but not broken headers.
LOWEST_RATE = 1_000
HIGHEST_RATE = 1_000_000

# The most that a second of sound should take: stereo float32 at 192 kHz.
BYTES_PER_SECOND = 192_000 * 2 * 4

# Data sizes from here on are not sizes: a recorder that writes to a pipe does not know the size,
# and writes a number near 2^31 or 2^32.
UNKNOWN_SIZE = 0x7FFF_F000


class RecordingError(ValueError):
    """A recording cannot be used.

    Args:
        name: The file.
        what: What is wrong with it, such as "is empty".
        remedy: What to do about it.
    """

    def __init__(self, name: object, what: str, remedy: str = "repair or remove it") -> None:
        super().__init__(f"Recording {name} {what}: {remedy}.")
        self.name = name
        self.what = what
        self.remedy = remedy


def read_bytes(path: Path, max_seconds: float) -> bytes:
    """The content of a file that is small enough for `max_seconds` of sound [s].

    Raises:
        RecordingError: If it cannot be read, or is larger than any such sound.
    """
    limit = max_seconds * BYTES_PER_SECOND
    try:
        size = path.stat().st_size
        if size > limit:
            raise RecordingError(
                path,
                f"is huge ({size / 1e6:.1f} MB, expected at most {limit / 1e6:.1f} MB for "
                f"{max_seconds:g} s)",
                "cut it, or raise max_seconds",
            )
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(
            path, f"cannot be read ({error.strerror})", "change its permissions or remove it"
        ) from None


def decode(path: Path, data: bytes, max_seconds: float = math.inf) -> Sound:
    """Mono samples and their rate; several channels are averaged.

    Args:
        path: Name of the file, for errors.
        data: Its content.
        max_seconds: Longest allowed sound [s], checked before the sound is decoded.

    Raises:
        RecordingError: If the bytes are not sound, the sound is too long, its rate is implausible,
            its end is missing, it has no samples, or some samples are not finite.
    """
    soundfile = require("soundfile", "train")
    try:
        header = soundfile.info(BytesIO(data))
        _check_header(path, data, header.frames, header.samplerate, max_seconds)
        samples, rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        # The whole text of the error would name the bytes in memory instead of the file.
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        what = f"cannot be read as sound ({reason})" if data else "is empty (0 bytes)"
        raise RecordingError(path, what) from None
    if not len(samples):
        raise RecordingError(path, "has no samples")
    if not np.isfinite(samples).all():
        raise RecordingError(path, "has samples that are not finite")
    return samples.mean(axis=1), rate


def resample(sound: Sound, rate: int) -> Samples:
    """The samples of a sound at another rate [Hz]; unchanged if it has this rate."""
    samples, recorded_rate = sound
    if recorded_rate == rate:
        return samples
    resampled: Samples = require("soxr", "train").resample(samples, recorded_rate, rate)
    return resampled


def normalize_peak(samples: Samples) -> Samples:
    """The samples with the loudest at full scale, so that distance to the microphone is removed."""
    peak = np.abs(samples).max(initial=0)
    return samples / peak if peak > 0 else samples


def _check_header(
    path: Path, data: bytes, frames: int, sample_rate: int, max_seconds: float
) -> None:
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise RecordingError(
            path,
            f"has a sample rate of {sample_rate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE}",
        )
    seconds = frames / sample_rate
    if seconds > max_seconds:
        raise RecordingError(
            path,
            f"lasts {seconds:.1f} s, expected at most {max_seconds:g} s",
            "cut it, or raise max_seconds",
        )
    missing = _missing_bytes(data)
    if missing:
        raise RecordingError(path, f"is cut short ({missing} bytes of its sound are missing)")


def _missing_bytes(data: bytes) -> int:
    """Bytes of sound that are missing at the end of a RIFF file; libsndfile ignores them."""
    if data[:4] != b"RIFF":
        return 0
    # The header "RIFF<size>WAVE" has 12 bytes. Each chunk has a name, a size and its content, which
    # is padded to an even length.
    start = 12
    while start + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        if name == b"data":
            return 0 if size >= UNKNOWN_SIZE else max(0, start + 8 + size - len(data))
        start += 8 + size + size % 2
    return 0


def read_target(path: Path, data: bytes) -> Target:
    """The target of a recording in regression; no code in the file is executed.

    Args:
        path: Name of the file, for errors.
        data: Its content, as `torch.save` writes it.

    Returns:
        `[steps, C]`; a target of one axis has C = 1.

    Raises:
        RecordingError: If it is not a real tensor of one or two axes, or has values that are not
            finite.
    """
    import torch

    try:
        value = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise different kinds, and more
        what = f"is not a tensor ({type(error).__name__})" if data else "is empty (0 bytes)"
        raise RecordingError(path, what, "write it with torch.save(tensor, path)") from None
    is_tensor = isinstance(value, torch.Tensor)
    if not is_tensor or value.ndim not in (1, 2) or not value.numel() or value.is_complex():
        got = list(value.shape) if is_tensor else type(value).__name__
        raise RecordingError(
            path, f"holds {got}, expected a real tensor (T,) or (T, C)", "write it again"
        )
    target: Target = value.detach().to_dense().reshape(len(value), -1).to(torch.float32).numpy()
    if not np.isfinite(target).all():
        raise RecordingError(path, "has values that are not finite")
    return target


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
