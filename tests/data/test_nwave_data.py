"""NWAVE's data generator: values, sets, faults, and a cache that several processes share."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nwavesdk
from data.conftest import Options, tone, write
from forked import start_code
from nwavesdk import NWaveDataGen, NWaveDataloaderConfig
from nwavesdk.chip import load_profile
from nwavesdk.data import FrontEnd, RecordingError
from nwavesdk.data.decoding import MAX_RECORDING_SECONDS
from nwavesdk.train.config.data import SoundData

for needed in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(needed)

PROCESS = """
import sys, warnings
from nwavesdk.data import NWaveDataGen
warnings.simplefilter("error")
choices = dict(sample_rate=8000, recording_duration_s=0.4, sim_time_s=10e-3, progress=False)
NWaveDataGen(data_parent=sys.argv[1], cache=sys.argv[2], **choices).dataloaders()
"""


def build(folder: Path, fast: Options, **choices: Any) -> NWaveDataGen:
    """The data of a folder, which has been read."""
    data = NWaveDataGen(data_parent=folder, **{**fast, **choices})
    assert data.split
    return data


def check_same(first: NWaveDataGen, second: NWaveDataGen) -> None:
    here, there = first.channels, second.channels
    np.testing.assert_array_equal(list(here.frames), list(there.frames))
    np.testing.assert_array_equal(list(here.targets), list(there.targets))
    assert (here.fingerprint, here.keys) == (there.fingerprint, there.keys)


# Choices


@pytest.mark.parametrize(
    ("duration", "step", "steps"),
    [
        (1.0, 1e-3, 1000),
        (0.3, 0.1, 3),
        (0.7, 0.1, 7),
        (0.1 + 0.2, 0.1, 3),
        (1.0, 3e-3, 333),
        (0.9999, 1e-3, 999),
    ],
)
def test_a_series_has_the_whole_steps_of_a_recording(
    duration: float, step: float, steps: int
) -> None:
    config = NWaveDataloaderConfig("x", recording_duration_s=duration, sim_time_s=step)
    assert steps == config.T
    assert config.first_samples(np.array(steps)) <= round(duration * 16000)


def test_steps_need_not_be_whole_samples() -> None:
    config = NWaveDataloaderConfig("x", sample_rate=22050, sim_time_s=1e-3)
    first = config.first_samples(np.arange(1001))
    assert first.tolist() == [round(step * 22.05) for step in range(1001)]
    assert set(np.diff(first)) == {22, 23}


WRONG: list[tuple[Options, str]] = [
    ({"data_parent": ""}, "data_parent: expected the path of a folder (got '')"),
    ({"task": "ranking"}, "task: expected 'classification' or 'regression' (got 'ranking')"),
    ({"sample_rate": 0}, "sample_rate: expected at least 1 (got 0)"),
    ({"sample_rate": 16000.0}, "sample_rate: expected a whole number (got 16000.0)"),
    ({"recording_duration_s": 0}, "recording_duration_s: expected a number greater than 0 (got 0)"),
    ({"recording_duration_s": float("inf")}, "recording_duration_s: expected a finite"),
    ({"sim_time_s": float("nan")}, "sim_time_s: expected a finite number (got nan)"),
    ({"sim_time_s": True}, "sim_time_s: expected a number (got True)"),
    ({"sim_time_s": "1"}, "sim_time_s: expected a number (got '1')"),
    ({"sim_time_s": 1e-5}, "sim_time_s: expected at least a sample (6.25e-05 s) and at most a rec"),
    ({"sim_time_s": 2.0}, "and at most a recording (1 s), got 2 s"),
    ({"batch_size": 0}, "batch_size: expected at least 1 (got 0)"),
    ({"batch_size": True}, "batch_size: expected a whole number (got True)"),
    ({"val": 0.0}, "val: expected a number greater than 0 (got 0.0)"),
    ({"test": 1.0}, "test: expected a number less than 1 (got 1.0)"),
    ({"val": 0.6, "test": 0.6}, "must be positive and sum below 1, got 0.6 and 0.6"),
    (
        {"split": "month"},
        "split: expected 'auto', 'folder', 'speaker' or 'recording' (got 'month')",
    ),
    ({"level": "loud"}, "level: expected 'as_is' or 'peak' (got 'loud')"),
    ({"on_error": "ignore"}, "on_error: expected 'raise' or 'skip' (got 'ignore')"),
    (
        {"cache": True},
        "cache: expected a folder, None (the default folder) or False (no cache) (got True)",
    ),
    ({"cache": ""}, "cache: expected a folder"),
    ({"seed": -1}, "seed: expected at least 0 (got -1)"),
    ({"max_seconds": 0}, "max_seconds: expected a number greater than 0 (got 0)"),
    ({"max_seconds": 1e300}, "max_seconds: expected at most 86400"),
    ({"recording_duration_s": 1e300}, "recording_duration_s: expected at most"),
    ({"sim_time_s": 1e-300}, "sim_time_s: expected at least a sample"),
    ({"sample_rate": 2**70}, "sample_rate: expected at most 1000000"),
    ({"batch_size": 2**70}, "batch_size: expected at most 1000000000"),
    ({"seed": 2**70}, "seed: expected a number less than 9223372036854775808"),
    ({"progress": 1}, "progress: expected a boolean (got 1)"),
    ({"chip": 1}, "chip: expected a name, a path or a Profile (got 1)"),
    (
        {"sample_rate": 6000},
        "use a sample_rate above 7648 Hz, or a chip profile with a lower filter_highest",
    ),
]


@pytest.mark.parametrize(("choices", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_choice_is_reported_with_what_is_expected(choices: Options, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        NWaveDataloaderConfig(**{"data_parent": "x", **choices})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_chip_is_a_name_or_a_profile() -> None:
    with pytest.raises(FileNotFoundError, match="found no profile h9"):
        NWaveDataloaderConfig("x", chip="h9")
    assert NWaveDataloaderConfig("x", chip=load_profile("h1v2")).bank.count == 16


def test_the_cache_is_in_the_home_where_the_environment_puts_it_or_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NWAVESDK_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/of/tests")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert NWaveDataloaderConfig("x").cache_folder == Path("/xdg/nwavesdk/data")
    monkeypatch.setenv("NWAVESDK_CACHE", "~/cache")
    config = NWaveDataloaderConfig("~/x")
    assert (config.folder, config.cache_folder) == (Path.home() / "x", Path.home() / "cache/data")
    assert NWaveDataloaderConfig("x", cache="here").cache_folder == Path("here")
    assert NWaveDataloaderConfig("~nobody-here/x", cache=False).cache_folder is None
    assert NWaveDataloaderConfig("~nobody-here/x").folder == Path("~nobody-here/x")


def test_the_longest_recording_is_that_of_a_run() -> None:
    assert (
        NWaveDataloaderConfig("x").max_seconds == SoundData().max_seconds == MAX_RECORDING_SECONDS
    )


# Channels and batches


def test_three_loaders_of_batches(words: Path, fast: Options) -> None:
    gen = NWaveDataGen(data_parent=words, task="classification", batch_size=3, **fast)
    loaders = gen.dataloaders()
    assert [[len(y) for _, y in loader] for loader in loaders] == [[3, 3, 2], [2], [2]]
    assert loaders[0].dataset.tensors[0].shape == (8, 40, 16)  # a gain is chosen on all of them
    assert (gen.classes, gen.split.by, gen.T) == (("no", "yes"), "speaker", 40)
    assert build(words, fast, split="recording").split.by == "recording"

    channels = gen.channels
    assert channels.labels.tolist() == [0] * 6 + [1] * 6
    front_end = FrontEnd(gen.config)
    expected = front_end(front_end.prepare((tone(340.0), 8000)))
    np.testing.assert_array_equal(channels.frames[4], expected)
    assert channels.keys[4] == "no/00000004_nohash_0.wav"
    for loader, indices in zip(loaders[1:], list(gen.split.indices)[1:], strict=True):
        ((x, y),) = loader
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        np.testing.assert_array_equal(x, [channels.frames[index] for index in indices])
        np.testing.assert_array_equal(y, channels.labels[indices])


def test_the_seed_decides_the_order_which_differs_between_epochs(
    words: Path, fast: Options
) -> None:
    def epochs(seed: int) -> list[list[float]]:
        train = NWaveDataGen(data_parent=words, seed=seed, **fast).dataloaders()[0]
        return [[float(row.sum()) for x, _ in train for row in x] for _ in range(2)]

    first = epochs(1)
    torch.manual_seed(99)
    assert epochs(1) == first
    assert first[0] != first[1]
    assert sorted(first[0]) == sorted(first[1])
    assert epochs(2) != first


def test_regression_has_targets(curves: Path, fast: Options) -> None:
    gen = NWaveDataGen(data_parent=curves, task="regression", **fast)
    x, y = next(iter(gen.dataloaders()[0]))
    assert (x.shape, y.shape, y.dtype) == ((3, 40, 16), (3, 40, 1), torch.float32)
    assert gen.classes == ()
    target = gen.channels.targets[3]
    np.testing.assert_array_equal(target[:30, 0], 300 + np.arange(30))
    assert not target[30:].any()
    check_same(gen, build(curves, fast, task="regression"))


def test_targets_of_another_length_or_width_are_raised_or_skipped(
    curves: Path, fast: Options
) -> None:
    torch.save(torch.ones(25), curves / "target" / "1.pt")
    torch.save(torch.ones(30, 2), curves / "target" / "2.pt")
    words = r"1\.pt has 25 steps, expected 30 \(its recording\).* or 40 \(after padding\)"
    with pytest.raises(RecordingError, match=words):
        build(curves, fast, task="regression")
    skipping = build(curves, fast, task="regression", on_error="skip")
    (_, reason), (_, other) = skipping.channels.skipped
    assert "25 steps" in reason
    assert other == "has 2 columns of a target, expected 1 like wavs/0.wav"


@pytest.mark.parametrize(
    ("arguments", "choices", "message"),
    [
        ([NWaveDataloaderConfig("x")], {"rate": 8000}, "unexpected .* 'rate'"),
        (["x"], {}, "should be called on dataclass instances"),
        ([], {"data_parent": "x", "rate": 8000}, "NWaveDataloaderConfig.* unexpected .* 'rate'"),
        ([], {}, "missing .* 'data_parent'"),
    ],
)
def test_wrong_arguments_are_rejected(arguments: list[Any], choices: Options, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        NWaveDataGen(*arguments, **choices)


def test_a_folder_of_other_data_is_rejected_when_it_is_read(tmp_path: Path, fast: Options) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", np.zeros((5, 2)))
    gen = nwavesdk.NWaveDataGen(data_parent=tmp_path, **fast)
    with pytest.raises(ValueError, match="holds series for classification, expected sound for"):
        gen.dataloaders()


def test_arrays_that_the_memory_cannot_hold_are_rejected(words: Path, fast: Options) -> None:
    message = "16 channels of 691,200,000 samples need 132.7 GB of .*: use shorter recordings"
    with pytest.raises(ValueError, match=message):
        build(words, fast, recording_duration_s=86400.0, sim_time_s=60.0)


def test_a_progress_bar_is_shown_on_request(
    words: Path, fast: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    (words / "yes" / "bad.wav").write_bytes(b"")
    build(words, fast, on_error="skip", progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert re.search(r"recordings checked .*100%", err)
    build(words, fast, on_error="skip", progress=None)
    assert capsys.readouterr().err == ""


# The cache


def test_choices_that_decide_values_have_their_own_frames(
    words: Path, fast: Options, tmp_path: Path
) -> None:
    text = (Path(nwavesdk.__file__).parent / "chip" / "profiles" / "h1v1.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace("value = 3400.0", "value = 3000.0"))
    changes: list[Options] = [
        {},
        {"sample_rate": 16000},
        {"recording_duration_s": 0.3},
        {"sim_time_s": 20e-3},
        {"level": "peak"},
        {"chip": tmp_path / "own.toml"},
    ]
    fingerprints = {build(words, fast, **change).channels.fingerprint for change in changes}
    assert len(fingerprints) == len(list(fast["cache"].iterdir())) == len(changes)


def test_frames_are_computed_once_for_content_and_choices_that_decide_them(
    words: Path, fast: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(words, fast)
    moved = words.rename(words.parent / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(FrontEnd, "prepare", lambda *_: pytest.fail("computed again"))
        choices = {"batch_size": 3, "seed": 4, "on_error": "skip", "chip": "h1v2", "val": 0.3}
        check_same(first, build(moved, fast, split="recording", **choices))
    write(moved / "yes" / "00000000_nohash_0.wav", tone(2000.0))
    assert build(moved, fast).channels.fingerprint != first.channels.fingerprint


@pytest.mark.parametrize("fault", ["was damaged", "cannot be written", "No space left"])
def test_a_cache_that_cannot_be_used_gives_one_warning(
    words: Path, fast: Options, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = build(words, fast, cache=False)
    fast["progress"] = True
    if "damaged" in fault:
        build(words, fast)
        (path,) = fast["cache"].glob("*/frames.npy")
        path.write_bytes(path.read_bytes()[:-7])
    elif "written" in fault:
        fast["cache"].write_text("a file")
    else:
        monkeypatch.setattr(
            "nwavesdk.data.loading.open",
            lambda path, _: open("/dev/full" if fast["cache"] in path.parents else path, "wb"),  # noqa: SIM115
            raising=False,
        )
    with pytest.warns(UserWarning, match=fault) as record:
        data = build(words, fast)
    assert len(record) == 1
    check_same(data, expected)


def test_two_processes_write_the_same_cache(words: Path, fast: Options) -> None:
    processes = [start_code(PROCESS, words, words, fast["cache"]) for _ in range(2)]
    assert [process.finish().code for process in processes] == [0, 0]
    check_same(build(words, fast), build(words, fast, cache=False))
    assert len(list(fast["cache"].iterdir())) == 1
