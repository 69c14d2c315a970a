"""Sound in blocks: files equal `read_sound`, and pipes equal the samples that were written."""

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data.decoding import file_blocks, pipe_blocks, read_sound
from nwavesdk.data.source import RecordingError, Sound

soundfile = pytest.importorskip("soundfile")

RATE = 8000
MONO = np.random.default_rng(0).integers(-(2**15), 2**15, 3000).astype("<i2")
STEREO = MONO.reshape(-1, 2)
LIST = b"LIST\3\0\0\0abc\0"


class Trickle(io.RawIOBase):
    """A pipe that delivers a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = io.BytesIO(content)
        self.draw = np.random.default_rng(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.content.readinto(memoryview(buffer)[: self.draw.integers(1, 200)])


def wav(samples: np.ndarray, **options: str) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, **{"format": "WAV", "subtype": "PCM_16"} | options)
    return content.getvalue()


def with_size(n_bytes: int) -> bytes:
    """A wav with another size of its sound."""
    content = wav(MONO)
    start = content.index(b"data") + 4
    return content[:start] + struct.pack("<I", n_bytes) + content[start + 4 :]


def joined(blocks: Iterable[Sound]) -> tuple[np.ndarray, set[int]]:
    samples, rates = zip(*blocks, strict=True)
    return np.concatenate(samples), set(rates)


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (MONO, {}),
        (STEREO, {"format": "WAVEX"}),
        (STEREO, {"format": "FLAC"}),
        (MONO, {"format": "OGG", "subtype": "VORBIS"}),
    ],
)
def test_blocks_of_a_file_are_its_samples(
    samples: np.ndarray, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwavesdk.data.decoding.BLOCK_SIZE", 700)
    path = tmp_path / "sound"
    path.write_bytes(wav(samples, **options))
    expected, rate = read_sound(path)
    got, rates = joined(file_blocks(path))
    assert np.array_equal(got, expected)
    assert rates == {rate}


def test_a_file_that_is_cut_short_is_an_error_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(wav(MONO)[:-100])
    blocks = file_blocks(path)
    assert len(next(blocks)[0]) == len(MONO) - 50
    with pytest.raises(RecordingError, match="cut short"):
        next(blocks)


@pytest.mark.parametrize(
    ("samples", "text"), [([], "has no samples"), ([0.0, np.nan], "samples that are not finite")]
)
def test_a_file_without_sound_is_one_line(samples: list[float], text: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(np.array(samples), subtype="FLOAT"))
    with pytest.raises(RecordingError, match=rf"^[^\n]*a\.wav cannot be read as sound .*{text}"):
        list(file_blocks(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (MONO.tobytes(), MONO),
        (MONO.tobytes() + b"\0", MONO),  # half a sample
        (wav(MONO), MONO),
        (wav(STEREO), STEREO.mean(axis=1)),
        (wav(STEREO, format="WAVEX"), STEREO.mean(axis=1)),
        (wav(MONO) + LIST, MONO),
        (wav(MONO)[:36] + LIST + wav(MONO)[36:], MONO),
        (with_size(0), MONO),
        (with_size(2**31 - 2**12), MONO),
        (with_size(2**32 - 1), MONO),
    ],
)
def test_blocks_of_a_pipe_are_the_samples_that_were_written(
    content: bytes, expected: np.ndarray
) -> None:
    got, rates = joined(pipe_blocks(io.BufferedReader(Trickle(content)), RATE))
    assert got.dtype == np.float32
    assert np.array_equal(got, expected / np.float32(2**15))
    assert rates == {RATE}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "has nothing"),
        (b"OggS and more", "has b'OggS' at its beginning"),
        (wav(MONO)[:30], "has a damaged header"),
        (wav(MONO).replace(b"data", b"junk"), "has a damaged header"),
        (wav(MONO, subtype="PCM_U8"), "has format 1 with 8 bits, 1 channels"),
        (wav(MONO / 2**15, subtype="FLOAT"), "has format 3 with 32 bits"),
        (wav(MONO)[:22] + b"\0\0" + wav(MONO)[24:], "with 16 bits, 0 channels"),
    ],
)
def test_a_pipe_of_another_format_is_one_line(content: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^[^\n]*{text}[^\n]*ffmpeg[^\n]*$"):
        list(pipe_blocks(io.BufferedReader(Trickle(content)), RATE))
