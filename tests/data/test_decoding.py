"""Sounds and targets in files: their values, and files that cannot be used."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch

from data.conftest import blocks_of, tone, write
from nwavesdk.data import RecordingError, load_wav_folder
from nwavesdk.data.decoding import (
    ResamplingStream,
    fit_target,
    normalize_peak,
    read_sound,
    read_target,
    resample,
)
from nwavesdk.data.source import Sound

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


PATH = Path("a.pt")


def encoded(samples: np.ndarray, form: str = "WAV", rate: int = 8000, **how: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **how)
    return file.getvalue()


def changed(content: bytes, mark: bytes, offset: int, form: str, value: int) -> bytes:
    """A file in which a number after a mark is another one."""
    data = bytearray(content)
    struct.pack_into(form, data, data.index(mark) + offset, value)
    return bytes(data)


FORMS: dict[str, dict[str, Any]] = {
    "wav": {"form": "WAV"},
    "flac": {"form": "FLAC"},
    "ogg": {"form": "OGG", "subtype": "VORBIS"},
    "opus": {"form": "OGG", "subtype": "OPUS"},
}
FILES = {name: encoded(tone(440, 0.5), **how) for name, how in FORMS.items()}
WAV = FILES["wav"]
# Wavs that some programs write: other formats, and a size that a pipe did not know.
UNUSUAL = {
    "gsm": encoded(tone(440, 0.5), subtype="GSM610"),
    "rf64": encoded(tone(440, 0.5), "RF64"),
    "extensible": encoded(tone(440, 0.5), "WAVEX", subtype="PCM_24"),
    "channels": encoded(np.repeat(tone(440, 0.5)[:, None], 64, axis=1)),
    "piped": changed(WAV, b"data", 4, "<I", 0xFFFF_FFFF),
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Sound]:
    """Reads content that is written to a file."""

    def read(content: bytes, name: str = "a.wav", **options: float) -> Sound:
        path = tmp_path / name
        path.write_bytes(content)
        return read_sound(path, **options)

    return read


@pytest.mark.parametrize("name", [*FILES, *UNUSUAL])
def test_sound_is_read(read: Callable[..., Sound], name: str) -> None:
    samples, rate = read((FILES | UNUSUAL)[name])
    assert (samples.dtype, rate) == (np.float32, 8000)
    assert len(samples) == pytest.approx(4000, abs=500)
    assert np.corrcoef(samples[:4000], tone(440, 0.5))[0, 1] > 0.95


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
def test_flac_gives_the_mean_of_the_encoded_channels(
    read: Callable[..., Sound], subtype: str, bits: int
) -> None:
    draw = np.random.default_rng(0)
    left, right = draw.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 500))
    integers = (np.stack([left, right], 1) << (32 - bits)).astype(np.int32)
    samples, _ = read(encoded(integers, "FLAC", subtype=subtype))
    np.testing.assert_allclose(samples, (left + right) / 2**bits, rtol=0, atol=2**-24)


@pytest.mark.parametrize("recorded_rate", [8000, 11025, 44100, 48000])
def test_a_tone_keeps_frequency_size_and_length_at_another_rate(recorded_rate: int) -> None:
    samples = resample((tone(1000, 0.5, recorded_rate, 1), recorded_rate), 16000)
    assert len(samples) == pytest.approx(8000, abs=1)
    spectrum = np.abs(np.fft.rfft(samples[1000:7000] * np.hanning(6000)))
    assert spectrum.argmax() * 16000 / 6000 == pytest.approx(1000, abs=16000 / 6000)
    assert np.abs(samples[1000:7000]).max() == pytest.approx(1, abs=0.01)
    removed = resample((tone(3000, 0.5, recorded_rate, 1), recorded_rate), 4000)
    assert np.abs(removed[200:-200]).max() < 1e-3


@pytest.mark.parametrize("recorded_rate", [8000, 11025, 16000, 44100])
def test_blocks_give_the_samples_of_the_whole_sound_at_another_rate(recorded_rate: int) -> None:
    soxr = pytest.importorskip("soxr")
    sound = np.random.default_rng(0).uniform(-1, 1, 2 * recorded_rate).astype(np.float32)
    stream = ResamplingStream(recorded_rate, 16000)
    blocks = list(blocks_of(sound, 700))
    samples = [stream.push(block) for block in blocks]
    samples.append(stream.push(sound[:0], last=True))
    whole = resample((sound, recorded_rate), 16000)
    np.testing.assert_array_equal(np.concatenate(samples), whole)
    np.testing.assert_array_equal(whole, soxr.resample(sound, recorded_rate, 16000))

    # All but the last samples are returned within the delay, counted in whole blocks.
    n_returned = np.cumsum([len(values) for values in samples[:-1]])
    arrivals = np.cumsum([len(block) for block in blocks]) / recorded_rate
    lags = arrivals - n_returned / 16000
    assert stream.delay - 10e-3 - 700 / recorded_rate <= lags.max() <= stream.delay


def test_the_loudest_sample_becomes_full_scale_and_silence_is_not_changed() -> None:
    assert np.abs(normalize_peak(0.25 * tone(100))).max() == pytest.approx(1)
    assert not normalize_peak(np.zeros(5, np.float32)).any()
    assert not len(normalize_peak(np.zeros(0, np.float32)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"no sound", r"cannot be read as sound \(Error opening: Format not recognised"),
        (encoded(tone(440), "AIFF"), "its format is AIFF, expected WAV, FLAC or OGG"),
        (WAV[:-1], "it is cut short"),
        (WAV[:36] + b"LIST\3\0\0\0abc\0" + WAV[36:-1], "it is cut short"),
        (b"RIFF\0\0\0\0WAVE" + bytes(10_000), "cannot be read as sound"),
        (changed(WAV, b"data", 4, "<I", 10**9), "it is cut short"),
        (changed(WAV, b"fmt ", 12, "<I", 2 * 10**9), "sample rate is 2000000000 Hz, expected"),
        (encoded(np.zeros(9), rate=999), "rate is 999 Hz, expected 1000 to 1000000"),
        (encoded(np.zeros(601_000), rate=1000), "lasts 601 s, expected at most 600 s: cut it"),
        (encoded(np.zeros(0)), "holds values of .* shape .0"),
        (encoded(np.full(100, np.nan), subtype="FLOAT"), r"has nan at index \[0\]"),
        (encoded(np.full((9, 2), 3e38), subtype="FLOAT"), r"has inf at index \[0\]"),
        # Bits 4 to 39 of bytes 21 to 25 of a FLAC file are the number of samples.
        (changed(FILES["flac"], b"fLaC", 22, ">I", 2**32 - 1), "lasts 536871 s"),
        (changed(FILES["flac"], b"fLaC", 22, ">I", 4001), "cut short|cannot be read"),
        # A second stream, which libsndfile would leave out.
        (FILES["ogg"] + encoded(tone(440), "OGG"), "it is cut short"),
    ],
)
def test_sound_that_cannot_be_used_is_an_error(
    read: Callable[..., Sound], data: bytes, message: str
) -> None:
    with pytest.raises(RecordingError, match=rf"a.wav .*{message}") as error:
        read(data)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_rejected_wherever_it_is_cut(read: Callable[..., Sound], name: str) -> None:
    data = FILES[name]
    for place in sorted({*range(60), *range(0, len(data), 151), len(data) - 1}):
        with pytest.raises(RecordingError, match="a.wav (is|cannot|holds) "):
            read(data[:place])


def test_many_channels_are_rejected_before_they_take_memory(
    read: Callable[..., Sound],
) -> None:
    with pytest.raises(RecordingError, match="lasts 0.5 s, .*; it has 64 channels"):
        read(UNUSUAL["channels"], max_values=4000 * 31)


def written(tmp_path: Path, value: Any) -> Path:
    """A file with a value as `torch.save` writes it, or with bytes."""
    path = tmp_path / PATH
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        torch.save(value, path)
    return path


class Evil:
    def __init__(self, function: Any, argument: Any) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> Any:
        return self.call


def packed(value: Any) -> bytes:
    """Compressed entries, which take more memory than the file has bytes."""
    whole, file = io.BytesIO(), io.BytesIO()
    torch.save(value, whole)
    with ZipFile(whole) as old, ZipFile(file, "w", ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return file.getvalue()


def sparse(size: int) -> torch.Tensor:
    places = torch.zeros(2, 1, dtype=torch.int64)
    return torch.sparse_coo_tensor(places, [1.0], (size, size), check_invariants=True)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        *(
            (torch.tensor([0, 1, 1]).to(dtype), [[0], [1], [1]])
            for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.bool)
        ),
        *(
            (tensor, [[1, 0], [0, 0]])
            for tensor in (sparse(2), torch._neg_view(-sparse(2).to_dense()))
        ),
        (torch.nn.Parameter(torch.arange(6.0).reshape(3, 2)), [[0, 1], [2, 3], [4, 5]]),
    ],
)
def test_real_tensors_are_read(tmp_path: Path, tensor: torch.Tensor, expected: Any) -> None:
    target = read_target(written(tmp_path, tensor))
    assert target.dtype == np.float32
    assert target.tolist() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", r"is empty \(0 bytes\): write it with torch\.save"),
        (b"not a tensor at all", "cannot be read as a tensor"),
        (packed(torch.zeros(9))[:200], "cannot be read as a tensor"),
        (Evil(print, "executed"), "cannot be read as a tensor"),
        ({"y": torch.zeros(3)}, r"it holds dict .*expected real numbers \(T,\) or \(T, C\)"),
        (torch.zeros(2, 3, 4), r"it holds Tensor \[2, 3, 4\], expected"),
        (torch.tensor(1.0), r"it holds Tensor \[\], expected"),
        (torch.zeros(0), "cannot be read as a tensor"),
        (torch.zeros(3, dtype=torch.complex64), "expected real numbers"),
        (torch.zeros(3, device="meta"), "cannot be read as a tensor"),
        (sparse(2**30), "at most 33,554,432"),
        (torch.zeros(1, 1).expand(2**20, 2**10), "at most 33,554,432"),
        (Evil(bytearray, 10**12), "it is compressed, or holds a bytearray"),
        (packed(torch.zeros(2**22)), "it is compressed, or holds a bytearray"),
        (torch.tensor([1.0, float("nan")]), r"has nan at index \[1, 0\]"),
        (torch.tensor([1e300], dtype=torch.float64), r"has inf at index \[0, 0\]"),
    ],
)
def test_what_is_not_a_target_is_rejected(
    tmp_path: Path, value: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecordingError, match=rf"a\.pt .*{message}"):
        read_target(written(tmp_path, value))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("length", "recorded", "steps"),
    [(30, 30, 40), (29, 30, 40), (31, 30, 40), (40, 30, 40), (50, 50, 40)],
)
def test_targets_are_padded_or_cut_like_their_recording(
    length: int, recorded: int, steps: int
) -> None:
    values = 1 + np.arange(length, dtype=np.float32)[:, None]
    fitted = fit_target(PATH, values, recorded, steps)
    assert fitted.shape == (steps, 1)
    both = min(length, steps)
    assert (fitted[:both] == values[:both]).all()
    assert not fitted[both:].any()


@pytest.mark.parametrize("length", [28, 32, 39, 41])
def test_other_lengths_are_rejected_with_both_expected_ones(length: int) -> None:
    expected = r"expected 30 \(its recording\), plus or minus one, or 40 \(after padding\)"
    with pytest.raises(RecordingError, match=rf"a\.pt has {length} steps, {expected}"):
        fit_target(PATH, np.zeros((length, 1), np.float32), 30, 40)


for package in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(package)

SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), r"is empty \(0 bytes\)"),
    "escape": (lambda path: path.write_text("\x1b[31m\n\r"), "cannot be read as sound"),
    "cut": (lambda path: path.write_bytes(write(path).read_bytes()[:-1]), "is cut short"),
    "pipe": (os.mkfifo, "is a pipe, expected a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, expected a file"),
    "dangling": (lambda path: path.symlink_to("gone"), "does not exist"),
    "itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_hostile_file_is_raised_or_skipped(words: Path, name: str) -> None:
    spoil, message = SPOILED[name]
    spoil(words / "yes" / "x\x1b[31m.wav")
    with pytest.raises(RecordingError, match=rf"{message}.*; on_error=\"skip\" skips it") as error:
        load_wav_folder(words, bands=4)
    assert "yes/x\\x1b[31m.wav" in str(error.value)
    assert str(error.value).isprintable()
    skipping = load_wav_folder(words, bands=4, on_error="skip")
    ((file, reason),) = skipping.skipped
    assert file == "yes/x\\x1b[31m.wav"
    assert reason in str(error.value)
    assert len(skipping.keys) == 12


def test_values_that_overflow_in_the_filters_are_named(words: Path) -> None:
    write(words / "yes" / "x.wav", np.sign(tone(500, 0.25) + 1e-3) * np.float32(3e38), 16000)
    with pytest.raises(RecordingError, match=r"x\.wav has -\?inf at index|x\.wav has nan"):
        load_wav_folder(words, bands=4)
