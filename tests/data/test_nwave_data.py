"""NWAVE's data generator: values, sets, faults, and a cache that several processes share."""

import re
import signal
import subprocess
import sys
import time
from errno import ENOSPC
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nwavesdk
from data.conftest import tone, write
from nwavesdk import NWaveDataGen, NWaveDataloaderConfig
from nwavesdk.data import Channels, FrontEnd, RecordingError, generate

for needed in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(needed)

PROCESS = """
import sys
from nwavesdk.data import NWaveDataloaderConfig, generate
choices = dict(sample_rate=8000, recording_duration_s=0.4, sim_time_s=10e-3, progress=False)
channels = generate(NWaveDataloaderConfig(sys.argv[1], cache=sys.argv[2], **choices))
print(channels.fingerprint, channels.cached)
"""

SLOW_PROCESS = f"""
import time
from nwavesdk.data import FrontEnd
prepare = FrontEnd.prepare
def wait_and_prepare(*arguments):
    time.sleep(0.3)
    return prepare(*arguments)
FrontEnd.prepare = wait_and_prepare
{PROCESS}"""


def build(folder: Path, fast: dict[str, Any], **choices: Any) -> Channels:
    return generate(NWaveDataloaderConfig(folder, **{**fast, **choices}))


def start(folder: Path, cache: Path, code: str = PROCESS) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, folder, cache]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check_same(first: Channels, second: Channels) -> None:
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.y, second.y)
    assert (first.fingerprint, first.keys) == (second.fingerprint, second.keys)


# Channels and batches


def test_three_loaders_of_batches(words: Path, fast: dict[str, Any]) -> None:
    gen = NWaveDataGen(data_parent=words, task="classification", batch_size=3, **fast)
    loaders = gen.dataloaders()
    assert [[len(y) for _, y in loader] for loader in loaders] == [[3, 3, 2], [2], [2]]
    assert gen.recordings == {"train": 8, "val": 2, "test": 2}
    assert gen.speakers == {"train": 4, "val": 1, "test": 1}
    assert (gen.classes, gen.split_by, gen.skipped, gen.T) == (("no", "yes"), "speaker", [], 40)

    channels = gen.channels
    assert channels.y.tolist() == [0] * 6 + [1] * 6
    front_end = FrontEnd(gen.config)
    np.testing.assert_array_equal(channels.x[4], front_end(front_end.prepare((tone(340.0), 8000))))
    assert channels.keys[4] == "no/00000004_nohash_0.wav"
    for loader, indices in zip(loaders[1:], list(channels.split)[1:], strict=True):
        ((x, y),) = loader
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert torch.equal(x, torch.from_numpy(channels.x[indices]))
        assert torch.equal(y, torch.from_numpy(channels.y[indices]))


def test_a_split_by_recording_has_no_speakers(words: Path, fast: dict[str, Any]) -> None:
    gen = NWaveDataGen(data_parent=words, split="recording", **fast)
    assert (gen.split_by, gen.speakers) == ("recording", {})
    write(words / "yes" / "nobody.wav")
    assert build(words, fast).split_by == "recording"
    with pytest.raises(ValueError, match=r"1 recordings have no speaker, such as 'yes/nobody"):
        build(words, fast, split="speaker")


def test_the_seed_decides_the_order_which_differs_between_epochs(
    words: Path, fast: dict[str, Any]
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


def test_regression_has_targets(curves: Path, fast: dict[str, Any]) -> None:
    gen = NWaveDataGen(data_parent=curves, task="regression", **fast)
    x, y = next(iter(gen.dataloaders()[0]))
    assert (x.shape, y.shape, y.dtype) == ((3, 40, 16), (3, 40, 1), torch.float32)
    channels = gen.channels
    assert gen.classes == ()
    np.testing.assert_array_equal(channels.y[3, :30, 0], 300 + np.arange(30))
    assert not channels.y[3, 30:].any()
    check_same(channels, build(curves, fast, task="regression"))
    torch.save(torch.ones(30), curves / "target" / "0.pt")
    changed = build(curves, fast, task="regression")
    assert changed.fingerprint != channels.fingerprint


def test_targets_of_another_length_or_width_are_raised_or_skipped(
    curves: Path, fast: dict[str, Any]
) -> None:
    torch.save(torch.ones(25), curves / "target" / "1.pt")
    torch.save(torch.ones(30, 2), curves / "target" / "2.pt")
    words = r"1\.pt has 25 steps, expected 30 \(its recording\).* or 40 \(after padding\)"
    with pytest.raises(RecordingError, match=words):
        build(curves, fast, task="regression")
    reasons = dict(build(curves, fast, task="regression", on_error="skip").skipped)
    assert list(reasons) == ["wavs/1.wav", "wavs/2.wav"]
    assert reasons["wavs/2.wav"] == "has 2 columns of a target, expected 1 like wavs/0.wav"


@pytest.mark.parametrize(
    ("arguments", "choices", "message"),
    [
        ([NWaveDataloaderConfig("x")], {"seed": 1}, r"got both: put \['seed'\] into the config"),
        (["x"], {}, r"got 'x': give a folder as data_parent="),
        ([], {"data_parent": "x", "rate": 8000}, "NWaveDataloaderConfig.* unexpected .* 'rate'"),
        ([], {}, "missing .* 'data_parent'"),
    ],
)
def test_wrong_arguments_are_rejected(
    arguments: list[Any], choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        NWaveDataGen(*arguments, **choices)


def test_a_folder_of_other_data_is_rejected_when_it_is_read(
    tmp_path: Path, fast: dict[str, Any]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", np.zeros((5, 2)))
    gen = nwavesdk.NWaveDataGen(data_parent=tmp_path, **fast)
    with pytest.raises(ValueError, match="holds series for classification, expected sound for"):
        gen.dataloaders()


def test_faults_are_skipped_with_their_reason(words: Path, fast: dict[str, Any]) -> None:
    loud = np.full(2000, 3e38, np.float32) * np.sign(tone(500, 0.25) + 1e-3)
    write(words / "no" / "loud.wav", loud, 16000)
    write(words / "no" / "long.wav", tone(440, 3.0))
    assert build(words, fast, on_error="skip").skipped == (
        ("no/loud.wav", "has samples that are too large to be filtered"),
    )
    skipped = build(words, fast, on_error="skip", max_seconds=2.0).skipped
    assert [name for name, _ in skipped] == ["no/long.wav", "no/loud.wav"]
    # The cache of a data set with faults is of no use to a reader that accepts none.
    with pytest.raises(RecordingError, match=r"lasts 3 s, expected at most 2 s: cut it, or raise"):
        build(words, fast, max_seconds=2.0)
    for path in list((words / "yes").iterdir())[2:]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="Class 'yes' has 2 recordings, too few for 3 sets"):
        build(words, fast, on_error="skip")


def test_arrays_that_the_memory_cannot_hold_are_rejected(
    words: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwavesdk.data.nwave_data.load_recordings", lambda *_: pytest.fail("read"))
    message = "16 channels of 691,200,000 samples need 132.7 GB of .*: use fewer or shorter rec"
    with pytest.raises(ValueError, match=message):
        build(words, fast, recording_duration_s=86400.0, sim_time_s=60.0)


def test_a_progress_bar_is_shown_on_request(
    words: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (words / "yes" / "bad.wav").write_bytes(b"")
    build(words, fast, on_error="skip", progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert re.search(r"recordings checked .*13/13", err)
    build(words, fast, on_error="skip", progress=None)
    assert capsys.readouterr().err == ""


# The cache


def test_choices_that_decide_values_have_their_own_frames(
    words: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    text = (Path(nwavesdk.__file__).parent / "chip" / "profiles" / "h1v1.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace("value = 3400.0", "value = 3000.0"))
    changes: list[dict[str, Any]] = [
        {},
        {"sample_rate": 16000},
        {"recording_duration_s": 0.3},
        {"sim_time_s": 20e-3},
        {"level": "peak"},
        {"chip": tmp_path / "own.toml"},
    ]
    built = [build(words, fast, **change) for change in changes]
    assert {channels.cached for channels in built} == {0}
    assert len({channels.fingerprint for channels in built}) == len(changes)


def test_frames_are_computed_once_for_content_and_choices_that_decide_them(
    words: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(words, fast)
    with monkeypatch.context() as patch:
        patch.setattr(FrontEnd, "prepare", lambda *_: pytest.fail("computed again"))
        choices = {"batch_size": 3, "seed": 4, "on_error": "skip", "chip": "h1v2", "val": 0.3}
        second = build(words.rename(words.parent / "moved"), fast, split="recording", **choices)
    assert (first.cached, second.cached) == (0, 12)
    check_same(first, second)
    write(words.parent / "moved" / "yes" / "00000000_nohash_0.wav", tone(2000.0))
    assert build(words.parent / "moved", fast).fingerprint != first.fingerprint


class FullDisk(BytesIO):
    def write(self, _: object) -> int:
        raise OSError(ENOSPC, "No space left on device")


@pytest.mark.parametrize("fault", ["was damaged", "cannot be written", "No space left"])
def test_a_cache_that_cannot_be_used_gives_one_warning(
    words: Path, fast: dict[str, Any], fault: str, monkeypatch: pytest.MonkeyPatch
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
        monkeypatch.setattr("nwavesdk.data.store.open", lambda *_: FullDisk(), raising=False)
    with pytest.warns(UserWarning, match=fault) as record:
        channels = build(words, fast)
    assert (len(record), channels.cached) == (1, 0)
    check_same(channels, expected)


def test_two_processes_write_the_same_cache(words: Path, fast: dict[str, Any]) -> None:
    processes = [start(words, fast["cache"]) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    expected = build(words, fast, cache=False)
    assert {answer[0] for answer in answers} == {expected.fingerprint}
    after = build(words, fast)
    assert after.cached == 12
    check_same(after, expected)


def test_a_killed_process_leaves_no_store_that_is_not_whole(
    words: Path, fast: dict[str, Any]
) -> None:
    process = start(words, fast["cache"], SLOW_PROCESS)
    began = time.monotonic()
    while not list(fast["cache"].glob(".*.draft")):
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(fast["cache"].glob("[!.]*"))
    after = build(words, fast)
    assert after.cached == 0
    check_same(after, build(words, fast, cache=False))
