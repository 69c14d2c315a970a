"""One wav: from its bytes to mono samples at a wanted rate, with everything that can be wrong with it said by name."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.extras import require

__all__ = [
    "RecordingError",
    "Samples",
    "Sound",
    "at_rate",
    "check_size",
    "decode",
    "levelled",
    "read_bytes",
]

Samples = npt.NDArray[np.float32]
Sound = tuple[Samples, int]
"""Mono samples `[samples]`, full scale 1, and their rate [Hz]."""

RATES = (1_000, 1_000_000)
"""Between what sample rates a header is believed [Hz]; radio and bats are in, a broken header is out."""
BYTES_A_SECOND = 192_000 * 2 * 4
"""The most that a second of sound should take: stereo float32 at 192 kHz."""


class RecordingError(ValueError):
    """A recording that cannot be used.

    Args:
        name: The file.
        what: What is wrong with it, such as "is empty".
        remedy: What to do about it.
    """

    def __init__(self, name: object, what: str, remedy: str = "repair or remove it") -> None:
        super().__init__(f"Recording {name} {what}: {remedy}.")
        self.name, self.what, self.remedy = name, what, remedy


def read_bytes(path: Path, max_seconds: float) -> bytes:
    """The content of a file that is small enough for `max_seconds` of sound [s].

    Raises:
        RecordingError: It cannot be read, or is larger than any such sound.
    """
    most = int(max_seconds * BYTES_A_SECOND)
    try:
        size = path.stat().st_size
        if size > most:
            what = f"is huge ({size / 1e6:.1f} MB, expected at most {most / 1e6:.1f} MB for {max_seconds:g} s)"
            raise RecordingError(path, what, "cut it, or raise max_seconds")
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(
            path, f"cannot be read ({error.strerror})", "mend its permissions or remove it"
        ) from None


def check_size(path: Path, data: bytes, max_seconds: float) -> None:
    """Look at a wav's header before its sound is decoded.

    Raises:
        RecordingError: By its header it is longer than `max_seconds` [s], has a rate that no recorder has, or its end
            is missing.
    """
    soundfile = require("soundfile", "train")
    try:
        header = soundfile.info(BytesIO(data))
    except soundfile.SoundFileError:
        return  # `decode` says what is wrong
    if not RATES[0] <= header.samplerate <= RATES[1]:
        raise RecordingError(
            path, f"has a sample rate of {header.samplerate} Hz, expected {RATES[0]} to {RATES[1]}"
        )
    seconds = header.frames / header.samplerate
    if seconds > max_seconds:
        what = f"lasts {seconds:.1f} s, expected at most {max_seconds:g} s"
        raise RecordingError(path, what, "cut it, or raise max_seconds")
    lacking = _lacking(data)
    if lacking:
        raise RecordingError(path, f"is cut short ({lacking} bytes of its sound are missing)")


def decode(path: Path, data: bytes) -> Sound:
    """Mono samples and their rate; several channels are averaged.

    Raises:
        RecordingError: The bytes are no sound, there are no samples, or some are not finite.
    """
    soundfile = require("soundfile", "train")
    try:
        samples, rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        what = "is empty (0 bytes)" if not data else f"cannot be read as sound ({error})"
        raise RecordingError(path, what) from None
    if not len(samples):
        raise RecordingError(path, "has no samples")
    if not np.isfinite(samples).all():
        raise RecordingError(path, "holds samples that are not finite")
    return samples.mean(axis=1), rate


def at_rate(sound: Sound, rate: int) -> Samples:
    """The sound at another rate [Hz]; at its own it is untouched."""
    samples, given = sound
    if given == rate:
        return samples
    resampled: Samples = require("soxr", "train").resample(samples, given, rate)
    return resampled


def levelled(samples: Samples) -> Samples:
    """The sound with its loudest sample at full scale, so that distance to the microphone does not count."""
    peak = np.abs(samples).max(initial=0)
    return samples / peak if peak > 0 else samples


def _lacking(data: bytes) -> int:
    """Bytes by which a RIFF file ends before its sound does; libsndfile reads such a file without a word."""
    if data[:4] != b"RIFF":
        return 0
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        if name == b"data":
            # A recorder that writes to a pipe does not know the size, and leaves one near 2^31 or 2^32.
            return 0 if size >= 0x7FFF_F000 else max(0, place + 8 + size - len(data))
        place += 8 + size + size % 2
    return 0
