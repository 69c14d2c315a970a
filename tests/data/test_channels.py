"""A folder to arrays: values, parts, faults, and a cache that two processes, a kill and damage do not hurt."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.conftest import tone, write
from nwavesdk.data import Channels, FrontEnd, NWaveDataloaderConfig, RecordingError, generate

for needed in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(needed)

PROCESS = """
import sys
from nwavesdk.data import NWaveDataloaderConfig, generate
channels = generate(NWaveDataloaderConfig(
    sys.argv[1], sample_rate=8000, recording_duration_s=0.4, sim_time_s=10e-3, cache=sys.argv[2], progress=False
))
print(channels.fingerprint, channels.cached)
"""


def build(folder: Path, fast: dict[str, Any], **choices: Any) -> Channels:
    return generate(NWaveDataloaderConfig(folder, **{**fast, **choices}))


def start(folder: Path, cache: Path, code: str = PROCESS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, folder, cache],
        stdout=subprocess.PIPE,
        text=True,
    )


def same(first: Channels, second: Channels) -> None:
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.y, second.y)
    assert (first.fingerprint, first.keys) == (second.fingerprint, second.keys)


def test_each_recording_is_heard_and_labelled(words: Path, fast: dict[str, Any]) -> None:
    channels = build(words, fast)
    assert channels.x.shape == (12, 40, 16)
    assert channels.x.dtype == np.float32
    assert channels.classes == ("no", "yes")
    assert channels.y.tolist() == [0] * 6 + [1] * 6
    front_end = FrontEnd(NWaveDataloaderConfig(words, **fast))
    np.testing.assert_array_equal(channels.x[4], front_end(front_end.fitted((tone(340.0), 8000))))
    assert channels.keys[4] == "no/00000004_nohash_0.wav"


def test_speakers_are_kept_apart_where_names_tell_them(words: Path, fast: dict[str, Any]) -> None:
    channels = build(words, fast)
    assert channels.split_by == "speaker"
    heard = [{channels.speakers[i] for i in part} for part in channels.split]
    assert [len(who) for who in heard] == [4, 1, 1]
    assert len(set.union(*heard)) == 6
    by_recording = build(words, fast, split="recording")
    assert (by_recording.split_by, by_recording.speakers) == ("recording", ())


def test_without_speakers_auto_goes_by_recording_and_speaker_says_why(
    words: Path, fast: dict[str, Any]
) -> None:
    write(words / "yes" / "nobody.wav")
    assert build(words, fast).split_by == "recording"
    with pytest.raises(
        ValueError, match=r"do not show who speaks: got 'yes/nobody.*split by recording"
    ):
        build(words, fast, split="speaker")


def test_too_few_speakers_likewise(words: Path, fast: dict[str, Any]) -> None:
    for speaker in range(2, 6):
        for name in ("no", "yes"):
            (words / name / f"{speaker:08x}_nohash_0.wav").rename(
                words / name / f"00000000_nohash_{speaker}.wav"
            )
    assert build(words, fast).split_by == "recording"
    with pytest.raises(ValueError, match="2 speakers are too few"):
        build(words, fast, split="speaker")


def test_a_second_time_no_sound_is_decoded(
    words: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(words, fast)
    monkeypatch.setattr("nwavesdk.data.channels.decode", lambda *_: pytest.fail("decoded"))
    second = build(words, fast)
    assert (first.cached, second.cached) == (0, 12)
    same(first, second)


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 16000}, {"recording_duration_s": 0.3}, {"sim_time_s": 20e-3}, {"level": "peak"},
        {"chip": "own.toml"},
    ],
    ids=str,
)  # fmt: skip
def test_what_decides_values_makes_other_entries(
    words: Path, fast: dict[str, Any], change: dict[str, Any], tmp_path: Path
) -> None:
    if "chip" in change:
        import nwavesdk.chip

        text = (Path(nwavesdk.chip.__file__).parent / "profiles" / "h1v1.toml").read_text()
        change = {"chip": tmp_path / "own.toml"}
        change["chip"].write_text(text.replace("value = 3400.0", "value = 3000.0"))
    first = build(words, fast)
    second = build(words, fast, **change)
    assert second.cached == 0
    assert second.fingerprint != first.fingerprint
    same(second, build(words, fast, **change, cache=False))


def test_what_decides_no_values_keeps_the_entries(words: Path, fast: dict[str, Any]) -> None:
    first = build(words, fast)
    second = build(
        words, fast, batch_size=3, seed=4, split="recording", on_error="skip", chip="h1v2", val=0.3
    )
    assert second.cached == 12
    same(first, second)


def test_a_changed_recording_is_heard_anew(words: Path, fast: dict[str, Any]) -> None:
    first = build(words, fast)
    write(words / "yes" / "00000000_nohash_0.wav", tone(2000.0))
    second = build(words, fast)
    assert second.cached == 11
    assert second.fingerprint != first.fingerprint
    same(second, build(words, fast, cache=False))


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies(
    words: Path, fast: dict[str, Any]
) -> None:
    first = build(words, fast)
    same(first, build(words.rename(words.parent / "moved"), fast))


def test_damaged_files_are_made_anew_with_one_warning(words: Path, fast: dict[str, Any]) -> None:
    first = build(words, fast)
    for path in list(fast["cache"].iterdir())[:3]:
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="3 files of the cache .* were damaged") as told:
        second = build(words, fast)
    assert len(told) == 1
    assert second.cached == 9
    same(first, second)
    assert build(words, fast).cached == 12


def test_a_cache_that_cannot_be_written_costs_one_warning(
    words: Path, fast: dict[str, Any]
) -> None:
    fast["cache"].write_text("a file")
    with pytest.warns(UserWarning, match="cannot be written") as told:
        channels = build(words, fast)
    assert len(told) == 1
    same(channels, build(words, fast, cache=False))


def test_two_processes_at_once(words: Path, fast: dict[str, Any]) -> None:
    processes = [start(words, fast["cache"]) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    expected = build(words, fast, cache=False)
    assert {answer[0] for answer in answers} == {expected.fingerprint}
    after = build(words, fast)
    assert after.cached == 12
    same(after, expected)


def test_a_kill_in_the_middle_leaves_nothing_wrong(words: Path, fast: dict[str, Any]) -> None:
    slow = "import time\nfrom nwavesdk.internal import files\nreal = files.os.replace\n"
    slow += "def replace(*a):\n    real(*a); time.sleep(0.3)\nfiles.os.replace = replace\n"
    process = start(words, fast["cache"], slow + PROCESS)
    began = time.monotonic()
    while len(list(fast["cache"].glob("[!.]*"))) < 3:
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(list(fast["cache"].glob("[!.]*")))
    assert 3 <= kept < 12
    after = build(words, fast)
    assert after.cached == kept
    same(after, build(words, fast, cache=False))


BAD = {
    "empty.wav": (b"", r"is empty \(0 bytes\)"),
    "text.wav": (b"this is no sound at all", "cannot be read as sound"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_is_named_or_skipped_and_counted(
    words: Path, fast: dict[str, Any], name: str
) -> None:
    clean = build(words, fast)
    content, said = BAD[name]
    (words / "yes" / name).write_bytes(content)
    with pytest.raises(
        RecordingError, match=rf"yes/{name} {said}.*or leave such files out with on_error=\"skip\""
    ):
        build(words, fast)
    skipping = build(words, fast, on_error="skip")
    same(clean, skipping)
    ((path, reason),) = skipping.skipped
    assert path == f"yes/{name}"
    assert reason.startswith(("is empty", "cannot be read"))


def test_more_that_can_be_wrong_with_a_recording(words: Path, fast: dict[str, Any]) -> None:
    write(words / "no" / "long.wav", tone(440, 3.0))
    write(
        words / "no" / "loud.wav",
        np.full(2000, 3e38, np.float32) * np.sign(tone(500, 0.25) + 1e-3),
        16000,
    )
    write(words / "no" / "nan.wav", np.full(100, np.nan, np.float32))
    write(words / "no" / "none.wav", np.zeros(0, np.float32))
    cut = write(words / "no" / "cut.wav")
    cut.write_bytes(cut.read_bytes()[:-500])
    with open(words / "no" / "huge.wav", "wb") as file:
        file.truncate(10**11)
    reasons = dict(build(words, fast, on_error="skip", max_seconds=2.0).skipped)
    said = {
        "long": "lasts 3.0 s, expected at most 2 s",
        "loud": "holds samples too large to be filtered",
        "nan": "holds samples that are not finite",
        "none": "has no samples",
        "cut": "is cut short (500 bytes of its sound are missing)",
        "huge": "is huge (100000.0 MB, expected at most 3.1 MB for 2 s)",
    }
    assert reasons == {f"no/{name}.wav": reason for name, reason in said.items()}


def test_a_class_of_which_too_little_is_left(words: Path, fast: dict[str, Any]) -> None:
    for path in list((words / "yes").iterdir())[2:]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="Class 'yes' has 2 recordings, expected at least 3"):
        build(words, fast, on_error="skip")


def test_regression(curves: Path, fast: dict[str, Any]) -> None:
    channels = build(curves, fast, task="regression")
    assert channels.x.shape == (5, 40, 16)
    assert channels.y.shape == (5, 40, 1)
    assert channels.y.dtype == np.float32
    assert channels.classes == ()
    np.testing.assert_array_equal(channels.y[3, :30, 0], 300 + np.arange(30))
    assert not channels.y[3, 30:].any()
    assert [len(part) for part in channels.split] == [3, 1, 1]
    same(channels, build(curves, fast, task="regression"))
    torch.save(torch.ones(30), curves / "target" / "0.pt")
    other = build(curves, fast, task="regression")
    assert other.cached == 5
    assert other.fingerprint != channels.fingerprint


def test_targets_that_do_not_fit(curves: Path, fast: dict[str, Any]) -> None:
    torch.save(torch.ones(25), curves / "target" / "1.pt")
    torch.save(torch.ones(30, 2), curves / "target" / "2.pt")
    with pytest.raises(
        RecordingError,
        match=r"1\.pt has 25 steps, expected 30 \(its recording\).* or 40 \(after padding\)",
    ):
        build(curves, fast, task="regression")
    reasons = dict(build(curves, fast, task="regression", on_error="skip").skipped)
    assert list(reasons) == ["wavs/1.wav", "wavs/2.wav"]
    assert reasons["wavs/2.wav"] == "has 2 columns, expected 1 as the ones before"


def test_a_bar_on_request(
    words: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (words / "yes" / "bad.wav").write_bytes(b"")
    build(words, fast, on_error="skip", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "13/13" in shown.err
    assert "0 cached, 1 skipped" in shown.err
    build(words, fast, on_error="skip", progress=None)
    assert capsys.readouterr().err == ""
