"""The data of a run: the scale, the three sets, and sets that are larger than the memory."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from examples import small_data
from forked import run_code
from nwavesdk.data import (
    RecordingError,
    SplitChoice,
    choose_split,
    default_augmentation,
    load_wav_folder,
)
from nwavesdk.data.assignment import SPLIT_VERSION
from nwavesdk.data.recordings import standardized
from nwavesdk.train import CompletedConfig, RunConfig
from nwavesdk.train.data.inputs import constant_note, outlier_note
from nwavesdk.train.data.load import RunData, complete_data, load_run_data
from train.runs import Choices, chip_choices

FOR_CHIP = {"chip": {"profile": "h1v2"}}


def data_of(choices: Choices, **data: Any) -> tuple[CompletedConfig, RunData]:
    """The completed config and the data of choices with further fields of data."""
    return complete_data(RunConfig.of({**choices, "data": {**choices["data"], **data}}))


def choices_of(source: Path, **data: Any) -> Choices:
    return {"data": {"source": str(source), **data}}


def write_series(folder: Path, x: np.ndarray) -> Choices:
    """Write recordings of two classes; return choices that split them by recording."""
    np.savez(folder / "set.npz", x=x, y=np.arange(len(x)) % 2)
    return choices_of(folder / "set.npz", split="recording")


def write_sounds(folder: Path, sounds: list[np.ndarray]) -> None:
    """Write these sounds into each of two classes."""
    soundfile = pytest.importorskip("soundfile")
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
        for index, sound in enumerate(sounds):
            soundfile.write(folder / name / f"{index}.wav", sound, 8000, "FLOAT")


def test_the_scale_is_that_of_the_training_set(tones: Path) -> None:
    _, data = data_of(choices_of(tones, bands=12))
    recordings = load_wav_folder(tones, bands=12)
    split = choose_split(
        recordings.keys, recordings.labels, recordings.classes, choice=SplitChoice("recording")
    )
    mean = np.concatenate(recordings.take(split.indices.train).frames).mean(0)
    np.testing.assert_allclose(data.standard.mean, mean, rtol=1e-4)
    assert np.abs(np.concatenate(recordings.frames).mean(0) - mean).max() > 1e-3


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        ("", None),
        ("a", r"^2 of 4 .* do not change over time, such as 'a/.*: keep the mean with --no-center"),
        ("ab", "^4 of 4 training recordings do not change over time"),
    ],
)
def test_recordings_that_become_zeros_are_noted(
    silent: str, words: str | None, tmp_path: Path
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(1600)
    write_sounds(tmp_path, [noise] * 4)
    levels = {"a": 0.0, "b": 0.5}
    for name in silent:
        for file in (tmp_path / name).iterdir():
            pytest.importorskip("soundfile").write(file, np.full(1600, levels[name]), 8000)
    choices = choices_of(tmp_path, bands=4)
    _, data = data_of(choices)
    note = constant_note(data.train)
    assert re.search(words, note) if note and words else note is words
    _, data = data_of(choices, center=False)
    assert constant_note(data.train) is None


@pytest.mark.parametrize(
    ("share", "value", "is_noted"),
    [(0.02, -999, True), (0.02, 1e5, True), (0.02, -9, False), (0.2, -999, False), (0, 0, False)],
)
def test_outliers_that_decide_the_scale_of_a_feature_are_noted(
    tmp_path: Path, share: float, value: float, is_noted: bool
) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 50, 4))
    x[..., 0] = random.random((40, 50)) < 0.02  # events: rare, but the others are zeros
    x[..., 1] = 101325 + 5 * x[..., 1]  # a large offset
    x[..., 2][random.random((40, 50)) < share] = value
    config, data = data_of(write_series(tmp_path, x))
    note = outlier_note(data.train, config)
    assert (note is not None) == is_noted
    if note is not None:
        assert "of feature 3 lie between" in note
        assert f"such as {value:g}," in note


def test_events_of_one_axis_are_found_by_the_first_that_can_be_read(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(4):
            events = np.zeros(50, np.dtype([("t", "<i8"), ("x", "<i8")]))
            events["t"] = np.arange(50) * 10_000
            events["x"] = np.arange(50) % 8
            np.save(tmp_path / name / f"{index}.npy", events)
    path = tmp_path / "a" / "0.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="skipped 1 file"):
        config, data = data_of(choices_of(tmp_path, on_error="skip", split="recording"))
    assert "move" not in config.data.augment
    assert data.train.lengths.max() > 50


def test_a_run_whose_sets_another_version_made_is_not_continued() -> None:
    config, _ = complete_data(RunConfig())
    assert config.facts.split_version == SPLIT_VERSION
    facts = config.facts.model_copy(update={"split_version": 1})
    with pytest.raises(ValueError, match=r"made by version 1 of the split.*: start a new run"):
        load_run_data(config.model_copy(update={"facts": facts}))


@pytest.mark.parametrize("extra", [{}, FOR_CHIP], ids=["frames", "channels"])
def test_loudness_is_removed_unless_the_level_is_as_is(tmp_path: Path, extra: Choices) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(4000)
    write_sounds(tmp_path, [noise * 2.0**-index for index in range(4)])
    choices = {**choices_of(tmp_path, sample_rate=8000), **extra}
    for level, is_kept in (("peak", False), ("as_is", True)):
        _, data = data_of(choices, level=level)
        loudness = {round(float(x.max()), 3) for series in data for x in series.whole().x}
        assert (len(loudness) > 1) == is_kept


def test_the_gain_is_that_of_the_training_set_and_a_limit_counts_all_sets(tones: Path) -> None:
    config, data = data_of(chip_choices(tones), limit=12)
    assert config.chip.gain is not None
    gain = config.chip.gain
    assert gain == float(f"{1 / np.quantile(data.train.whole().x / gain, 0.99):.3g}")
    assert 10 <= sum(map(len, data)) <= 15
    for series in data:
        assert len(set(np.bincount(series.recordings.labels))) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chip": {"profile": "h9"}}, r"found no profile .*h9"),
        (
            {"net": {"hidden": [180]}},
            r"^net: 16 \+ 180 \+ \d+ neurons .* do not fit on h1v2: got \d+, expected at most",
        ),
        ({"net": {"dt": 0.5}}, r"^net\.dt: expected at least .*at most the duration \(0\.3 s\)"),
        ({"net": {"dt": 1e-5}}, r"^net\.dt: expected at least a sample \(0\.000125 s\)"),
    ],
)
def test_choices_that_a_chip_cannot_have_are_rejected(
    tones: Path, change: Choices, words: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        data_of({**chip_choices(tones), **change})


def test_a_chip_takes_a_channel_for_each_of_its_filters(tmp_path: Path) -> None:
    choices = choices_of(small_data.make_npy(tmp_path / "data"))
    with pytest.raises(ValueError, match="h1v2 has 16 filters.*got series with 2 channels"):
        data_of({**choices, **FOR_CHIP})


def test_an_image_lasts_as_many_steps_as_were_chosen(tmp_path: Path) -> None:
    _, data = data_of(choices_of(small_data.make_png(tmp_path / "data"), steps=9))
    assert data.train.lengths.tolist() == [9] * len(data.train)


@pytest.mark.parametrize("extra", [{}, FOR_CHIP], ids=["frames", "channels"])
def test_skipped_files_are_in_a_warning_and_in_the_facts(spoken: Path, extra: Choices) -> None:
    choices = {**choices_of(spoken, sample_rate=8000), **extra}
    clean, before = data_of(choices)
    for index in range(7):
        (spoken / "yes" / f"bad\x1b{index}.wav").touch()
    with pytest.raises(RecordingError, match=r"bad\\x1b0\.wav is empty.*on_error=\"skip\" skips"):
        data_of(choices)
    with pytest.warns(
        UserWarning,
        match=r"skipped 7 files of the data: yes/bad\\x1b0\.wav is empty \(0 bytes\); .*; \.\.\.$",
    ):
        config, after = data_of(choices, on_error="skip")
    assert len(config.facts.skipped) == 7
    assert config.facts.fingerprint == clean.facts.fingerprint
    assert torch.equal(before.train.whole().x, after.train.whole().x)
    assert CompletedConfig.of(json.loads(config.model_dump_json())) == config


@pytest.mark.parametrize("extra", [{}, FOR_CHIP], ids=["frames", "channels"])
def test_a_recording_longer_than_max_seconds_is_an_error(spoken: Path, extra: Choices) -> None:
    with pytest.raises(RecordingError, match=r"lasts 0\.25 s, expected at most 0\.2 s: cut it"):
        data_of({**choices_of(spoken, sample_rate=8000, max_seconds=0.2), **extra})


def test_only_the_training_set_changes_with_the_seed_of_the_run(tones: Path) -> None:
    choices = choices_of(tones, bands=12)
    inputs = []
    for seed in (0, 0, 1):
        config, data = data_of({**choices, "seed": seed})
        assert [series.is_augmented for series in data] == [True, False, False]
        inputs.append(data.train.input_of(data.train.variation_index(0, 0)))
    assert config.data.augment == default_augmentation("sound")
    np.testing.assert_array_equal(inputs[0], inputs[1])
    assert not np.array_equal(inputs[0], inputs[2])
    config, data = data_of(choices, augment="none", center=False)
    assert config.data.augment == {}
    train = data.train
    assert [train.is_augmented, train.input.center, train.input.standardize] == [False] * 3


@pytest.mark.parametrize(
    ("augment", "is_of_chip", "message"),
    [
        ("shfit=0.1", False, r"there is no 'shfit' for sound, did you mean 'shift'\?"),
        ({"drop": 0.1}, False, r"there is no 'drop' for sound: it has shift, speed"),
        ("speed=2", False, r"speed must be a finite number .* below 1.*, got 2"),
        ({"noise": 10}, True, r".*no 'noise' for channels: it has shift, scale"),
    ],
)
def test_wrong_augmentation_is_an_error_before_recordings_are_read(
    tones: Path, monkeypatch: pytest.MonkeyPatch, augment: Any, is_of_chip: bool, message: str
) -> None:
    monkeypatch.setattr("nwavesdk.train.data.load.load_recordings", None)
    choices = chip_choices(tones) if is_of_chip else choices_of(tones)
    with pytest.raises(ValueError, match=rf"^data\.augment: {message}.*$"):
        data_of(choices, augment=augment)


@pytest.mark.events
def test_a_step_with_one_axis_does_not_turn(tmp_path: Path) -> None:
    choices = choices_of(small_data.make_shd(tmp_path / "data"))
    with pytest.raises(ValueError, match=r"data\.augment: rotate=10 turns .*has one axis of \d+ v"):
        data_of(choices, augment={"rotate": 10})
    data_of(choices, augment={"move": 1})


@pytest.mark.parametrize(("augment", "is_augmented"), [({}, False), ({"shift": 0.1}, True)])
def test_channels_of_a_chip_are_augmented_if_it_is_chosen(
    tones: Path, augment: dict[str, float], is_augmented: bool
) -> None:
    _, data = data_of(chip_choices(tones), augment=augment)
    assert data.train.is_augmented == is_augmented


def test_series_have_each_feature_again_on_the_scale_of_the_recording(tmp_path: Path) -> None:
    choices = choices_of(small_data.make_npy(tmp_path / "data"))
    config, data = data_of(choices)
    _, plain = data_of(choices, add_standardized=False)
    n_values = plain.val.recordings.n_features
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
    config, _ = data_of(write_series(tmp_path, np.stack([wave] * 19 + [largest * wave])))
    assert config.data.add_standardized is (largest > 1)
    assert config.facts.n_features == (4 if largest > 1 else 2)


# A run in a process that may allocate a tenth of a GiB more than its libraries, which take half
# a GiB or a whole one. Files that are mapped do not count, but the stack of each thread does.
TRAIN = """
import resource, sys
from pathlib import Path
import scipy.fft
from nwavesdk.train import Run, RunConfig
from nwavesdk.train.data import load
with open("/proc/self/status") as file:
    (n_taken,) = [1024 * int(line.split()[1]) for line in file if line.startswith("VmData")]
resource.setrlimit(resource.RLIMIT_DATA, (n_taken + 3 * 2**25,) * 2)
load.default_cache_folder = lambda: Path(sys.argv[2]).parent / "cache"
data = {"source": sys.argv[1], "hold": 1}
net = {"name": "lif", "hidden": [4], "population": 1}
learning = {"epochs": 1, "batch_size": 4}
choices = {"data": data, "net": net, "learning": learning}
choices["machine"] = {"accelerator": "cpu", "threads": 1}
run = Run.new(Path(sys.argv[2]), RunConfig.of(choices))
values = sum(int(part.lengths.sum()) * 1000 for part in run.data)
print(4 * values, run.train()["epochs"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_data_set_larger_than_memory_is_trained_on(tmp_path: Path) -> None:
    x = np.zeros((75, 500, 1000), np.int8)
    y = np.arange(75) % 2
    x[y == 1, ::10] = 1
    np.savez(tmp_path / "large.npz", x=x, y=y)
    del x
    result = run_code(TRAIN, tmp_path, tmp_path / "large.npz", tmp_path / "run")
    n_bytes, epochs = map(int, result.stdout.split())
    (folder,) = (tmp_path / "cache").iterdir()
    assert (folder / "frames.npy").stat().st_size > n_bytes > 1.1 * 2**27
    assert epochs == 1
