import io
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.conftest import blocks_of
from data.damage import bounded_memory, damaged
from nwavesdk.data.decoding import (
    ResamplingStream,
    decode,
    fit_target,
    normalize_peak,
    read_sound,
    read_target,
    resample,
)
from nwavesdk.data.reading import RecordingError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


def tone(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate).astype(
        np.float32
    )


def encoded(samples: np.ndarray, form: str = "WAV", rate: int = 8000, **how: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **how)
    return file.getvalue()


FORMS: dict[str, dict[str, Any]] = {
    "a.wav": {"form": "WAV"},
    "a.flac": {"form": "FLAC"},
    "a.ogg": {"form": "OGG", "subtype": "VORBIS"},
    "a.opus": {"form": "OGG", "subtype": "OPUS"},
}
FILES = {name: encoded(tone(440, 8000), **how) for name, how in FORMS.items()}
WAV = FILES["a.wav"]


@pytest.mark.parametrize("name", FILES)
def test_sound_is_read_from_a_file_and_from_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    samples, rate = read_sound(path)
    assert (samples.dtype, rate, len(samples)) == (np.float32, 8000, 4000)
    assert np.corrcoef(samples, tone(440, 8000))[0, 1] > 0.95
    np.testing.assert_array_equal(samples, decode(Path(name), FILES[name])[0])


def test_channels_are_averaged() -> None:
    left, right = np.random.default_rng(0).uniform(-1, 1, (2, 50)).astype(np.float32)
    samples, _ = decode(Path("a"), encoded(np.stack([left, right], 1), subtype="FLOAT"))
    np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
def test_flac_gives_the_encoded_integers(subtype: str, bits: int) -> None:
    draw = np.random.default_rng(0)
    left, right = draw.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 500))
    integers = (np.stack([left, right], 1) << (32 - bits)).astype(np.int32)
    samples, _ = decode(Path("a.flac"), encoded(integers, "FLAC", subtype=subtype))
    np.testing.assert_allclose(samples, (left + right) / 2**bits, rtol=0, atol=2**-24)


@pytest.mark.parametrize("recorded_rate", [8000, 11025, 44100, 48000])
def test_a_tone_keeps_frequency_size_and_length_at_another_rate(recorded_rate: int) -> None:
    samples = resample((tone(1000, recorded_rate), recorded_rate), 16000)
    assert len(samples) == pytest.approx(8000, abs=1)
    spectrum = np.abs(np.fft.rfft(samples[1000:7000] * np.hanning(6000)))
    assert spectrum.argmax() * 16000 / 6000 == pytest.approx(1000, abs=16000 / 6000)
    assert np.abs(samples[1000:7000]).max() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("recorded_rate", [8000, 11025, 16000, 44100])
def test_blocks_give_the_samples_of_the_whole_sound_at_another_rate(recorded_rate: int) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, 2 * recorded_rate).astype(np.float32)
    stream = ResamplingStream(recorded_rate, 16000)
    samples = [stream.push(block) for block in blocks_of(sound, 700)]
    samples.append(stream.push(sound[:0], last=True))
    np.testing.assert_array_equal(np.concatenate(samples), resample((sound, recorded_rate), 16000))


def test_a_sound_that_has_the_rate_is_not_changed() -> None:
    sound = tone(1000, 8000)
    assert resample((sound, 8000), 8000) is sound


def test_frequencies_above_half_the_new_rate_are_removed() -> None:
    assert np.abs(resample((tone(6000, 16000), 16000), 8000)[200:-200]).max() < 1e-3


def test_the_loudest_sample_becomes_full_scale_and_silence_is_not_changed() -> None:
    assert np.abs(normalize_peak(0.25 * tone(100, 8000))).max() == pytest.approx(1)
    assert not normalize_peak(np.zeros(5, np.float32)).any()
    assert not len(normalize_peak(np.zeros(0, np.float32)))


def changed(content: bytes, mark: bytes, offset: int, form: str, value: int) -> bytes:
    """A file in which a number after a mark is another one."""
    data = bytearray(content)
    struct.pack_into(form, data, data.index(mark) + offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.flac", b"", "cannot be read as sound"),
        ("a.wav", b"no sound", r"cannot be read as sound \(Error opening: Format not recognised"),
        ("a.wav", FILES["a.flac"], "has the format FLAC, expected WAV: convert or rename it"),
        ("a.flac", FILES["a.ogg"], "has the format OGG, expected FLAC"),
        ("a.ogg", WAV, "has the format WAV, expected OGG"),
        ("a.wav", WAV[:-1], "is cut short"),
        ("a.wav", WAV[:36] + b"LIST\3\0\0\0abc\0" + WAV[36:-1], "is cut short"),
        ("a.wav", b"RIFF\0\0\0\0WAVE" + bytes(10_000), "cannot be read as sound"),
        ("a.wav", changed(WAV, b"data", 4, "<I", 10**9), "is cut short"),
        ("a.wav", changed(WAV, b"fmt ", 12, "<I", 2 * 10**9), "sample rate of 2000000000 Hz, exp"),
        ("a.wav", encoded(np.zeros(9), rate=999), "rate of 999 Hz, expected 1000 to 1000000"),
        ("a.wav", encoded(np.zeros(601_000), rate=1000), "lasts 601 s, expected a"),
        ("a.wav", encoded(np.zeros((9, 1)), rate=8000)[:20], "cannot be read as sound"),
        ("a.wav", encoded(np.zeros(0)), "holds no values"),
        ("a.wav", encoded(np.full(100, np.nan), subtype="FLOAT"), r"has nan at index \[0\]"),
        ("a.wav", encoded(np.full((9, 2), 3e38), subtype="FLOAT"), r"has inf at index \[0\]"),
        # Bits 4 to 39 of bytes 21 to 25 of a FLAC file are the number of samples.
        ("a.flac", changed(FILES["a.flac"], b"fLaC", 22, ">I", 2**32 - 1), "lasts 536871 s"),
        ("a.flac", changed(FILES["a.flac"], b"fLaC", 22, ">I", 4001), "cut short|cannot be read"),
    ],
)
def test_sound_that_cannot_be_used_is_an_error(name: str, data: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"^{name} .*{message}") as error:
        decode(Path(name), data)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_rejected_wherever_it_is_cut(name: str) -> None:
    data = FILES[name]
    for place in sorted({*range(60), *range(0, len(data), 151), len(data) - 1}):
        with pytest.raises(RecordingError, match=rf"{name} (is|cannot|holds) "):
            decode(Path(name), data[:place])


def test_a_second_stream_is_not_left_out() -> None:
    first, second = (encoded(tone(440, 8000), "OGG") for _ in range(2))
    other = second.replace(second[14:18], bytes(byte ^ 1 for byte in second[14:18]))
    with pytest.raises(RecordingError, match="it holds several streams"):
        decode(Path("a.ogg"), first + other)


def test_a_compressed_wav_is_read() -> None:
    samples, rate = decode(Path("a.wav"), encoded(tone(440, 8000), subtype="GSM610"))
    assert rate == 8000
    assert len(samples) >= 4000


def test_many_channels_are_long_sound() -> None:
    data = encoded(np.zeros((8000, 64)))
    assert len(decode(Path("a"), data, 1.4)[0]) == 8000
    with pytest.raises(RecordingError, match="lasts 1 s with 64 channels, expected at most 1.3 s"):
        decode(Path("a"), data, 1.3)


def test_the_unknown_size_of_a_recorder_that_writes_to_a_pipe_is_accepted() -> None:
    data = changed(WAV, b"data", 4, "<I", 0xFFFF_FFFF)
    assert len(decode(Path("piped.wav"), data)[0]) == 4000


@settings(deadline=None, max_examples=60, database=None)
@given(st.data())
@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_an_error_of_one_line_or_another_sound(name: str, data: Any) -> None:
    content = data.draw(damaged(FILES[name]))
    with bounded_memory(2**26):
        try:
            samples, _ = decode(Path(name), content, 10.0)
        except RecordingError as error:
            message = str(error)
        else:
            message = ""
            assert np.isfinite(samples).all()
    assert message.isprintable()


PATH = Path("a.pt")


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    return path


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


class Bomb:
    def __reduce__(self) -> Any:
        return bytearray, (10**12,)


def packed(value: Any) -> bytes:
    """As `saved`, with compressed entries, which take more memory than the file has bytes."""
    file = io.BytesIO()
    with ZipFile(io.BytesIO(saved(value))) as old, ZipFile(file, "w", ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return file.getvalue()


def sparse(size: int) -> torch.Tensor:
    places = torch.zeros(2, 1, dtype=torch.int64)
    return torch.sparse_coo_tensor(places, [1.0], (size, size), check_invariants=True)


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_of_any_real_dtype_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    target = read_target(written(tmp_path, saved(torch.tensor([0, 1, 1]).to(dtype))))
    assert target.dtype == np.float32
    assert target.tolist() == [[0], [1], [1]]


@pytest.mark.parametrize(
    "tensor",
    [sparse(3), torch.nn.Parameter(sparse(3).to_dense()), torch._neg_view(-sparse(3).to_dense())],
)
def test_sparse_tensors_parameters_and_views_are_read(tmp_path: Path, tensor: torch.Tensor) -> None:
    assert read_target(written(tmp_path, saved(tensor))).tolist() == [
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_columns_are_read(tmp_path: Path) -> None:
    data = saved(torch.arange(6.0).reshape(3, 2).requires_grad_())
    assert read_target(written(tmp_path, data)).tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\): write it with torch\.save"),
        (b"not a tensor at all", r"cannot be read as a tensor \("),
        (saved(torch.zeros(9))[:200], r"cannot be read as a tensor \("),
        (saved(Evil()), r"cannot be read as a tensor \("),
        (saved({"y": torch.zeros(3)}), r"holds dict , expected real numbers \(T,\) or \(T, C\)"),
        (saved(torch.zeros(2, 3, 4)), r"holds Tensor \[2, 3, 4\], expected"),
        (saved(torch.tensor(1.0)), r"holds Tensor \[\], expected"),
        (saved(torch.zeros(0)), r"holds Tensor \[0\], expected"),
        (saved(torch.zeros(3, dtype=torch.complex64)), "expected real numbers"),
        (saved(torch.zeros(3, device="meta")), r"cannot be read as a tensor \("),
        (saved(quantized()), r"cannot be read as a tensor \("),
        (
            saved(torch.zeros(4, dtype=torch.uint8).view(torch.bits8)),
            r"cannot be read as a tensor \(",
        ),
        (saved(sparse(2**30)), "at most 33,554,432"),
        (saved(torch.zeros(1, 1).expand(2**20, 2**10)), "at most 33,554,432"),
        (saved(Bomb()), "it is compressed, or holds a bytearray"),
        (packed(torch.zeros(2**22)), "it is compressed, or holds a bytearray"),
        (saved(torch.tensor([1.0, float("nan")])), r"has nan at index \[1, 0\]"),
        (saved(torch.tensor([1e300], dtype=torch.float64)), r"has inf at index \[0, 0\]"),
    ],
)
def test_what_is_not_a_target_is_rejected(
    tmp_path: Path, data: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecordingError, match=rf"a\.pt .*{message}"):
        read_target(written(tmp_path, data))
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


def test_an_error_survives_pickling() -> None:
    error = RecordingError(PATH, "is empty", "remove it")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (RecordingError, "a.pt is empty: remove it.")
