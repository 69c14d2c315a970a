"""The data of a run: the scale, the three sets, and what a chip requires of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from examples import small_data
from nwavesdk.data import (
    RecordingError,
    SplitChoice,
    choose_split,
    default_augmentation,
    load_wav_folder,
)
from nwavesdk.data.assignment import SPLIT_VERSION
from nwavesdk.data.recordings import standardized
from nwavesdk.train import RunConfig
from nwavesdk.train.config.sections import LONGEST
from nwavesdk.train.data.inputs import constant_note, outlier_note
from nwavesdk.train.data.load import load_run_data
from train.runs import chip_choices


def test_the_scale_is_that_of_the_training_set(tones: Path) -> None:
    _, data = load_run_data(RunConfig.of({"data": {"source": str(tones), "bands": 12}}))
    recordings = load_wav_folder(tones, bands=12)
    split = choose_split(
        recordings.keys, recordings.labels, recordings.classes, choice=SplitChoice("recording")
    )
    mean = np.concatenate(recordings.take(split.indices.train).frames).mean(0)
    np.testing.assert_allclose(data.standard.mean, mean, rtol=1e-4)
    assert np.abs(np.concatenate(recordings.frames).mean(0) - mean).max() > 1e-3


def test_recordings_that_become_zeros_are_noted(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    noise = 0.1 * np.random.default_rng(0).standard_normal(1600)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            soundfile.write(tmp_path / name / f"{index}.wav", noise, 8000)
    choices = {"data": {"source": str(tmp_path), "bands": 4, "center": True}}
    config, data = load_run_data(RunConfig.of(choices))
    assert constant_note(data.train, config) is None
    for name, index in (key[:-4].split("/") for key in data.train.recordings.keys[:2]):
        opposite = np.stack([noise, -noise], 1)  # channels that cancel out in their mean
        soundfile.write(tmp_path / name / f"{index}.wav", opposite, 8000)
    config, data = load_run_data(RunConfig.of(choices))
    note = constant_note(data.train, config)
    assert note is not None
    assert note.startswith("2 of 4 training recordings do not change over time, such as 'a/")
    # Silence may be a class.
    assert note.endswith("and learns that zeros are 'a': remove them only if they are faults.")
    layers = constant_note(data.train, config.model_copy(update={"net_file": None}))
    assert layers is not None
    assert "a net without biases does not spike on zeros: keep the mean with --no-center" in layers
    one, *_, other = data.train.recordings.keys
    for key in (one, other):
        soundfile.write(tmp_path / key, np.zeros(1600), 8000)
    config, data = load_run_data(RunConfig.of(choices))
    note = constant_note(data.train, config)
    assert note is not None
    assert "cannot tell their classes apart ('a', 'b'): keep the mean with --no-center" in note
    choices["data"]["center"] = False
    config, data = load_run_data(RunConfig.of(choices))
    assert constant_note(data.train, config) is None


def test_recordings_that_are_all_the_same_are_noted(tmp_path: Path) -> None:
    x = np.ones((12, 5, 2))
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(12) % 2)
    choices = {"data": {"source": str(tmp_path / "set.npz"), "split": "recording"}}
    config, data = load_run_data(RunConfig.of(choices))
    note = constant_note(data.train, config)
    assert note is not None
    assert note.startswith("all steps of all training recordings are the same")
    x[3:, 2:] = 0
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(12) % 2)
    config, data = load_run_data(RunConfig.of(choices))
    assert constant_note(data.train, config) is None


def test_a_large_offset_is_no_outlier(tmp_path: Path) -> None:
    x = 101325 + 5 * np.random.default_rng(0).standard_normal((400, 1000, 2))
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(400) % 2)
    choices = {"data": {"source": str(tmp_path / "set.npz"), "split": "recording"}}
    config, data = load_run_data(RunConfig.of(choices))
    assert outlier_note(data.train, config) is None


def test_events_of_one_axis_are_found_by_the_first_that_can_be_read(tmp_path: Path) -> None:
    fields = np.dtype([("t", "<i8"), ("x", "<i8")])
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(4):
            events = np.zeros(50, fields)
            events["t"] = np.arange(50) * 10_000
            events["x"] = np.arange(50) % 8
            np.save(tmp_path / name / f"{index}.npy", events)
    path = tmp_path / "a" / "0.npy"
    path.write_bytes(path.read_bytes()[:-9])
    choices = {"data": {"source": str(tmp_path), "on_error": "skip", "split": "recording"}}
    with pytest.warns(UserWarning, match="skipped 1 file"):
        config, data = load_run_data(RunConfig.of(choices))
    assert "move" not in config.data.augment
    assert data.train.lengths.max() > 50


def test_a_run_whose_sets_another_version_made_is_not_continued() -> None:
    config, _ = load_run_data(RunConfig())
    assert config.facts is not None
    assert config.facts.split_version == SPLIT_VERSION
    facts = config.facts.model_copy(update={"split_version": 1})
    with pytest.raises(ValueError, match=r"made by version 1 of the split.*: start a new run"):
        load_run_data(config.model_copy(update={"facts": facts}))


@pytest.mark.parametrize(
    ("share", "value", "is_noted"),
    [(0.02, -999, True), (0.02, 1e5, True), (0.02, -9, False), (0.2, -999, False), (0, 0, False)],
)
def test_outliers_that_decide_the_scale_of_a_feature_are_noted(
    tmp_path: Path, share: float, value: float, is_noted: bool
) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 50, 3))
    x[..., 0] = random.random((40, 50)) < 0.02  # events: rare, but the others are zeros
    x[..., 2][random.random((40, 50)) < share] = value
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(40) % 2)
    choices = {"data": {"source": str(tmp_path / "set.npz"), "split": "recording"}}
    config, data = load_run_data(RunConfig.of(choices))
    note = outlier_note(data.train, config)
    assert (note is not None) == is_noted
    if note is not None:
        assert "of feature 3 lie between" in note
        assert f"such as {value:g}," in note
    assert config.facts is not None
    of_images = config.facts.model_copy(update={"kind": "image"})
    assert outlier_note(data.train, config.model_copy(update={"facts": of_images})) is None
    of_noise = config.facts.model_copy(update={"task": "pattern"})
    assert outlier_note(data.train, config.model_copy(update={"facts": of_noise})) is None


@pytest.mark.parametrize("chip", [False, True])
def test_loudness_is_removed_unless_the_level_is_as_is(tmp_path: Path, chip: bool) -> None:
    soundfile = pytest.importorskip("soundfile")
    noise = 0.1 * np.random.default_rng(0).standard_normal(4000)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            soundfile.write(tmp_path / name / f"{index}.wav", noise * 2.0**-index, 8000, "FLOAT")
    choices = {"data": {"source": str(tmp_path), "bands": 4, "sample_rate": 8000}}
    if chip:
        del choices["data"]["bands"]
        choices["chip"] = {"profile": "h1v2", "duration": 0.5, "gain": 1.0}
    for level, is_kept in (("peak", False), ("as_is", True)):
        choices["data"]["level"] = level
        _, data = load_run_data(RunConfig.of(choices))
        loudness = {round(float(x.max()), 3) for series in data for x in series.whole().x}
        assert (len(loudness) > 1) == is_kept


@pytest.fixture
def for_chip(tones: Path) -> dict[str, Any]:
    return chip_choices(tones)


def test_the_gain_is_that_of_the_training_set_and_a_limit_counts_all_sets(
    for_chip: dict[str, Any],
) -> None:
    for_chip["data"]["limit"] = 12
    config, data = load_run_data(RunConfig.of(for_chip))
    assert config.chip is not None
    assert config.chip.gain is not None
    gain = config.chip.gain
    assert gain == float(f"{1 / np.quantile(data.train.whole().x / gain, 0.99):.3g}")
    assert 10 <= sum(map(len, data)) <= 15
    for series in data:
        assert len(set(np.bincount(series.recordings.labels))) == 1


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"chip": {"profile": "h1v2"}}, "a chip needs sound, but the spoken digits are features"),
        ({"chip": {"profile": "h9"}, "data": {"source": "x"}}, "found no profile h9"),
    ],
)
def test_a_chip_needs_sound_and_a_profile(choices: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_run_data(RunConfig.of(choices))


@pytest.mark.parametrize(
    ("section", "choices", "message"),
    [
        (
            "net",
            {"hidden": [180]},
            r"net: 16 \+ 180 \+ \d+ neurons .* do not fit on h1v2: got \d+, expected at most",
        ),
        (
            "net",
            {"threshold": 2.0},
            "net.threshold: the chip's filters and neurons determine it, got 2.0",
        ),
        ("data", {"bands": 64}, "data.bands: .* got 64: leave the option out"),
        ("data", {"hold": 3}, "data.hold: .* got 3: leave"),
        (
            "data",
            {"sample_rate": None},
            "data.sample_rate: a run for a chip needs the sample rate of the sound",
        ),
    ],
)
def test_choices_that_a_chip_cannot_have_are_rejected(
    for_chip: dict[str, Any], section: str, choices: dict[str, Any], message: str
) -> None:
    for_chip[section] |= choices
    with pytest.raises(ValueError, match=message):
        load_run_data(RunConfig.of(for_chip))


FOR_CHIP = {"chip": {"profile": "h1v2", "duration": 0.2}}


@pytest.mark.parametrize("choice", [{"length": 2}, {"hold": 5}, {"padding": "zeros"}], ids=str)
def test_an_image_lasts_as_many_steps_as_were_chosen(
    choice: dict[str, Any], tmp_path: Path
) -> None:
    values = {"images": (b"\x00\x00\x08\x03", (12, 2, 2)), "labels": (b"\x00\x00\x08\x01", (12,))}
    for part in ("train", "t10k"):
        for name, (magic, shape) in values.items():
            content = np.arange(np.prod(shape)).reshape(shape) % 2
            header = magic + np.array(shape, ">i4").tobytes()
            file = tmp_path / f"{part}-{name}-idx{len(shape)}-ubyte"
            file.write_bytes(header + content.astype(np.uint8).tobytes())
    data = {"source": str(tmp_path), "steps": 9}
    _, series = load_run_data(RunConfig.of({"data": data}))
    assert series.train.lengths.tolist() == [9] * len(series.train)
    (name,) = choice
    with pytest.raises(ValueError, match=rf"data\.{name}: an image is one frame"):
        load_run_data(RunConfig.of({"data": data | choice}))


@pytest.mark.parametrize("extra", [{}, FOR_CHIP], ids=["frames", "channels"])
def test_skipped_files_are_in_a_warning_and_in_the_facts(
    spoken: Path, extra: dict[str, Any]
) -> None:
    data = {"source": str(spoken), "sample_rate": 8000}
    clean, before = load_run_data(RunConfig.of({"data": data, **extra}))
    for index in range(7):
        (spoken / "yes" / f"bad\x1b{index}.wav").touch()
    with pytest.raises(RecordingError, match=r"bad\\x1b0\.wav is empty.*on_error=\"skip\" leaves"):
        load_run_data(RunConfig.of({"data": data, **extra}))
    with pytest.warns(
        UserWarning,
        match=r"skipped 7 files of the data: yes/bad\\x1b0\.wav is empty \(0 bytes\); .*; \.\.\.$",
    ):
        config, after = load_run_data(RunConfig.of({"data": {**data, "on_error": "skip"}, **extra}))
    assert config.facts is not None
    assert clean.facts is not None
    assert len(config.facts.skipped) == 7
    assert config.facts.fingerprint == clean.facts.fingerprint
    assert torch.equal(before.train.whole().x, after.train.whole().x)
    assert RunConfig.of(json.loads(config.json_text())) == config


@pytest.mark.parametrize("extra", [{}, FOR_CHIP], ids=["frames", "channels"])
def test_a_recording_longer_than_max_seconds_is_an_error(
    spoken: Path, extra: dict[str, Any]
) -> None:
    data = {"source": str(spoken), "sample_rate": 8000, "max_seconds": 0.2}
    with pytest.raises(RecordingError, match=r"lasts 0\.25 s, expected at most 0\.2 s: cut it"):
        load_run_data(RunConfig.of({"data": data, **extra}))


def test_a_run_from_before_the_option_max_seconds_has_no_limit(spoken: Path) -> None:
    old, _ = load_run_data(RunConfig.of({"data": {"source": str(spoken), "bands": 4}}))
    content = old.model_dump()
    for name in ("max_seconds", "on_error"):
        del content["data"][name]
    del content["facts"]["skipped"]
    config = RunConfig.of(content)
    assert (config.data.max_seconds, config.data.on_error) == (LONGEST, "raise")
    load_run_data(config)


NO_EFFECT = {
    "bands": 20,
    "sample_rate": 8000,
    "window": 0.05,
    "hop": 0.02,
    "level": "as_is",
    "on_error": "skip",
    "max_seconds": 9.0,
}


@pytest.mark.parametrize("name", NO_EFFECT)
def test_options_of_sound_are_rejected_for_digits(name: str) -> None:
    config = RunConfig.of({"data": {name: NO_EFFECT[name]}})
    with pytest.raises(
        ValueError, match=rf"data\.{name}: the spoken digits are features already, got .*leave the"
    ):
        load_run_data(config)


def test_sequences_that_memory_cannot_hold_are_rejected(spoken: Path) -> None:
    data = {"source": str(spoken), "bands": 4, "length": 10**6, "hold": 10**4}
    choices = {"data": {**data, "padding": "zeros"}, "learning": {"batch_size": 64}}
    with pytest.raises(
        ValueError,
        match=r"data: 24 sequences of 10,000,000,000 steps and 4 features need 3,840.0 GB",
    ):
        load_run_data(RunConfig.of(choices))


@pytest.mark.parametrize(
    "choices",
    [
        {"limit": 2**70},
        {"length": 10**7},
        {"hold": 10**5},
        {"bands": 10**9},
        {"sample_rate": 2 * 10**9},
        {"window": 1e-300},
        {"hop": 1e-9},
        {"max_seconds": 1e300},
        {"source": "\udcff"},
    ],
    ids=str,
)
def test_absurd_choices_are_one_line(choices: dict[str, Any]) -> None:
    (name,) = choices
    with pytest.raises(ValueError, match=rf"data\.{name}: ") as error:
        RunConfig.of({"data": choices})
    assert len(str(error.value)) < 200


def test_a_chip_takes_a_channel_for_each_of_its_filters(tmp_path: Path) -> None:
    path = small_data.make_npy(tmp_path / "data")
    choices = {"data": {"source": str(path)}, "chip": {"profile": "h1v2"}}
    with pytest.raises(ValueError, match="h1v2 has 16 filters.*got series with 2 channels"):
        load_run_data(RunConfig.of(choices))


def test_only_the_training_set_changes_with_the_seed_of_the_run(tones: Path) -> None:
    choices: dict[str, Any] = {"data": {"source": str(tones), "bands": 12}}

    def changed(**fields: Any) -> tuple[RunConfig, np.ndarray]:
        config, data = load_run_data(RunConfig.of(choices | fields))
        assert data.train.is_augmented
        assert not data.val.is_augmented
        assert not data.test.is_augmented
        return config, data.train.input_of(data.train.variation_index(0, 0))

    config, first = changed()
    assert config.data.augment == default_augmentation("sound")
    assert config.data.center
    assert config.data.standardize
    np.testing.assert_array_equal(changed()[1], first)
    assert not np.array_equal(changed(seed=1)[1], first)
    choices["data"] |= {"augment": "none", "center": False}
    config, data = load_run_data(RunConfig.of(choices))
    assert config.data.augment == {}
    assert not data.train.is_augmented
    assert not data.train.input.center
    assert not data.train.input.standardize


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("shfit=0.1", r"data\.augment: there is no 'shfit' for sound, did you mean 'shift'\?"),
        ({"drop": 0.1}, r"data\.augment: there is no 'drop' for sound: it has shift, speed"),
        ("speed=2", r"data\.augment: speed must be a finite number .* below 1.*, got 2"),
    ],
)
def test_a_wrong_change_is_an_error_before_recordings_are_read(
    tones: Path, monkeypatch: pytest.MonkeyPatch, augment: Any, message: str
) -> None:
    monkeypatch.setattr("nwavesdk.train.data.split.load_recordings", None)
    with pytest.raises(ValueError, match=f"^{message}.*$"):
        load_run_data(RunConfig.of({"data": {"source": str(tones), "augment": augment}}))


@pytest.mark.events
def test_a_step_with_one_axis_does_not_turn(tmp_path: Path) -> None:
    path = small_data.make_shd(tmp_path / "data")
    choices = {"data": {"source": str(path), "augment": {"rotate": 10}}}
    with pytest.raises(ValueError, match=r"data\.augment: rotate=10 turns .*has one axis of \d+ v"):
        load_run_data(RunConfig.of(choices))
    choices["data"]["augment"] = {"move": 1}
    load_run_data(RunConfig.of(choices))


def test_a_run_for_a_chip_has_the_changes_of_channels(tones: Path) -> None:
    choices = chip_choices(tones)
    _, data = load_run_data(RunConfig.of(choices))
    assert not data.train.is_augmented
    choices["data"]["augment"] = {"shift": 0.1}
    _, data = load_run_data(RunConfig.of(choices))
    assert data.train.is_augmented
    choices["data"]["augment"] = {"noise": 10}
    with pytest.raises(ValueError, match=r"no 'noise' for channels: it has shift, scale"):
        load_run_data(RunConfig.of(choices))
    choices["data"] |= {"augment": {}, "center": True}
    with pytest.raises(ValueError, match=r"data\.center: the chip's filters"):
        load_run_data(RunConfig.of(choices))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (small_data.make_png, "data.center: an image is one frame"),
        (small_data.make_structured, "data.center: a step without events has the value 0"),
    ],
)
def test_what_has_no_mean_over_time_is_not_centered(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        load_run_data(RunConfig.of({"data": {"source": str(path), "center": True}}))


def test_series_have_each_feature_again_on_the_scale_of_the_recording(tmp_path: Path) -> None:
    choices: dict[str, Any] = {"data": {"source": str(small_data.make_npy(tmp_path / "data"))}}
    config, data = load_run_data(RunConfig.of(choices))
    choices["data"]["add_standardized"] = False
    _, plain = load_run_data(RunConfig.of(choices))
    n_values = plain.val.recordings.n_features
    assert config.facts is not None
    assert config.data.add_standardized is True
    assert config.facts.n_features == 2 * n_values
    for frames, expected in zip(
        data.val.recordings.frames, plain.val.recordings.frames, strict=True
    ):
        np.testing.assert_array_equal(frames[:, :n_values], expected)
        np.testing.assert_array_equal(frames[:, n_values:], standardized(expected))


@pytest.mark.parametrize("largest", [1.0, 2.0])
def test_series_that_are_standardized_come_once(tmp_path: Path, largest: float) -> None:
    wave = standardized(np.random.default_rng(0).standard_normal((50, 2)))
    x = np.stack([wave] * 19 + [largest * wave])
    np.savez(tmp_path / "waves.npz", x=x, y=np.arange(20) % 2)
    config, _ = load_run_data(RunConfig.of({"data": {"source": str(tmp_path / "waves.npz")}}))
    assert config.facts is not None
    assert config.data.add_standardized is (largest > 1)
    assert config.facts.n_features == (4 if largest > 1 else 2)


@pytest.mark.parametrize("make", [small_data.make_png, small_data.make_flac])
def test_only_series_have_features_twice(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    choices = {"data": {"source": str(make(tmp_path / "data")), "add_standardized": True}}
    with pytest.raises(ValueError, match=r"data\.add_standardized: .* not series"):
        load_run_data(RunConfig.of(choices))
