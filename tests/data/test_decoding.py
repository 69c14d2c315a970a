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

from data.conftest import blocks_of
from nwavesdk.data.decoding import (
    ResamplingStream,
    decode,
    fit_target,
    normalize_peak,
    read_recording,
    read_target,
    resample,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import FileError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


def tone(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate).astype(
        np.float32
    )


def wav(path: Path, sound: np.ndarray, rate: int = 8000, **how: str) -> bytes:
    soundfile.write(path, sound, rate, **how)
    return path.read_bytes()


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.random.default_rng(0).uniform(-1, 1, (2, 50)).astype(np.float32)
    data = wav(tmp_path / "a.wav", np.stack([left, right], 1), subtype="FLOAT")
    samples, rate = decode(tmp_path / "a.wav", data)
    assert (samples.dtype, rate) == (np.float32, 8000)
    np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("given", [8000, 11025, 44100, 48000])
def test_a_tone_keeps_frequency_size_and_length_at_another_rate(given: int) -> None:
    samples = resample((tone(1000, given), given), 16000)
    assert len(samples) == pytest.approx(8000, abs=1)
    spectrum = np.abs(np.fft.rfft(samples[1000:7000] * np.hanning(6000)))
    assert spectrum.argmax() * 16000 / 6000 == pytest.approx(1000, abs=16000 / 6000)
    assert np.abs(samples[1000:7000]).max() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("given", [8000, 11025, 16000, 44100])
def test_blocks_give_the_samples_of_the_whole_sound_at_another_rate(given: int) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, 2 * given).astype(np.float32)
    stream = ResamplingStream(given, 16000)
    samples = [stream.push(block) for block in blocks_of(sound, 700)]
    samples.append(stream.push(sound[:0], last=True))
    np.testing.assert_array_equal(np.concatenate(samples), resample((sound, given), 16000))


def test_a_sound_that_has_the_rate_is_not_changed() -> None:
    sound = tone(1000, 8000)
    assert resample((sound, 8000), 8000) is sound


def test_frequencies_above_half_the_new_rate_are_removed() -> None:
    assert np.abs(resample((tone(6000, 16000), 16000), 8000)[200:-200]).max() < 1e-3


def test_the_loudest_sample_becomes_full_scale_and_silence_is_not_changed() -> None:
    assert np.abs(normalize_peak(0.25 * tone(100, 8000))).max() == pytest.approx(1)
    assert not normalize_peak(np.zeros(5, np.float32)).any()
    assert not len(normalize_peak(np.zeros(0, np.float32)))


def test_a_huge_file_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with open(path, "wb") as file:
        file.truncate(10**12)  # sparse; memory would not suffice
    with pytest.raises(
        FileError,
        match=r"huge\.wav is too large \(1,0.* bytes, expected at most 92,160,000\).*raise",
    ):
        read_recording(path, 60.0)


def test_a_long_recording_is_rejected_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.wav"
    data = wav(path, np.zeros(8000 * 3))
    decode(path, data, 3.0)
    monkeypatch.setattr(soundfile, "read", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(
        RecordingError,
        match=r"long\.wav lasts 3 s, expected at most 2\.9 s: cut it, or raise max_seconds",
    ):
        decode(path, data, 2.9)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.wav does not exist"):
        read_recording(tmp_path / "none.wav", 60.0)


@pytest.mark.parametrize("rate", [1, 999, 4_000_000])
def test_an_implausible_rate_in_the_header_is_rejected(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "odd.wav"
    with pytest.raises(
        RecordingError, match=rf"sample rate of {rate} Hz, expected 1000 to 1000000"
    ):
        decode(path, wav(path, np.zeros(10), rate), 60.0)


def test_a_truncated_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    data = wav(path, tone(440, 8000))
    decode(path, data, 60.0)
    with pytest.raises(
        RecordingError, match=r"cut\.wav is cut short \(1,000 bytes of its sound are missing\)"
    ):
        decode(path, data[:-1000], 60.0)


def test_the_unknown_size_of_a_recorder_that_writes_to_a_pipe_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    data = bytearray(wav(path, tone(440, 8000)))
    struct.pack_into("<I", data, data.index(b"data") + 4, 0xFFFF_FFFF)
    assert len(decode(path, bytes(data))[0]) == 4000


PATH = Path("a.pt")


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


def compressed() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.zeros(3, 3).to_sparse_csr()


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_of_any_real_dtype_are_read(dtype: torch.dtype) -> None:
    target = read_target(PATH, saved(torch.tensor([0, 1, 1]).to(dtype)))
    assert target.dtype == np.float32
    assert target.tolist() == [[0], [1], [1]]


@pytest.mark.parametrize(
    "tensor",
    [sparse(3), torch.nn.Parameter(sparse(3).to_dense()), torch._neg_view(-sparse(3).to_dense())],
)
def test_sparse_tensors_parameters_and_views_are_read(tensor: torch.Tensor) -> None:
    assert read_target(PATH, saved(tensor)).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_columns_are_read() -> None:
    assert read_target(PATH, saved(torch.arange(6.0).reshape(3, 2).requires_grad_())).tolist() == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.pt is empty \(0 bytes\): write it with torch\.save"),
        (b"not a tensor at all", "is not a tensor"),
        (saved(torch.zeros(9))[:200], "is not a tensor"),
        (saved(Evil()), r"is not a tensor \(UnpicklingError\)"),
        (
            saved({"y": torch.zeros(3)}),
            r"holds a value of type dict, expected a real tensor \(T,\) or \(T, C\)",
        ),
        (saved(torch.zeros(2, 3, 4)), r"holds a tensor of shape \[2, 3, 4\], expected"),
        (saved(torch.tensor(1.0)), r"holds a tensor of shape \[\], expected"),
        (saved(torch.zeros(0)), r"holds a tensor of shape \[0\], expected"),
        (saved(torch.zeros(3, dtype=torch.complex64)), "expected a real tensor"),
        (saved(torch.zeros(3, device="meta")), "holds a meta tensor without values"),
        (saved(quantized()), "holds a quantized tensor"),
        # From torch 2.15 on, torch itself rejects it.
        (saved(nested()), "holds a nested tensor|is not a tensor"),
        (
            saved(torch.zeros(4, dtype=torch.uint8).view(torch.bits8)),
            r"holds a tensor of torch\.bits8 that is not real numbers: write it as float32",
        ),
        (saved(compressed()), "holds a tensor of another layout"),
        (saved(sparse(2**30)), r"holds 1,152,921,504,606,846,976 values \(at most 33,554,432 are"),
        (saved(torch.zeros(1, 1).expand(2**20, 2**10)), "holds 1,073,741,824 values"),
        (saved(Bomb()), "is not a tensor"),
        (packed(torch.zeros(2**22)), "is not a tensor"),
        (saved(torch.tensor([1.0, float("nan")])), "not finite"),
        (saved(torch.tensor([1e300], dtype=torch.float64)), "not finite"),
    ],
)
def test_what_is_not_a_target_is_rejected(
    data: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecordingError, match=message):
        read_target(PATH, data)
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
