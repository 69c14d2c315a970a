"""A data folder as arrays: values, split, faults, and a cache that several processes share."""

import math
import signal as signals
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.conftest import blocks_of, tone, write
from nwavesdk.data import Channels, FrontEnd, NWaveDataloaderConfig, RecordingError, generate

for package in ("soundfile", "soxr"):
    pytest.importorskip(package)
signal = pytest.importorskip("scipy.signal")

PROCESS = """
import sys
from nwavesdk.data import NWaveDataloaderConfig, generate
choices = dict(sample_rate=8000, recording_duration_s=0.4, sim_time_s=10e-3, progress=False)
channels = generate(NWaveDataloaderConfig(sys.argv[1], cache=sys.argv[2], **choices))
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


def test_each_recording_has_channels_and_a_label(words: Path, fast: dict[str, Any]) -> None:
    channels = build(words, fast)
    assert channels.x.shape == (12, 40, 16)
    assert channels.x.dtype == np.float32
    assert channels.classes == ("no", "yes")
    assert channels.y.tolist() == [0] * 6 + [1] * 6
    front_end = FrontEnd(NWaveDataloaderConfig(words, **fast))
    np.testing.assert_array_equal(channels.x[4], front_end(front_end.prepare((tone(340.0), 8000))))
    assert channels.keys[4] == "no/00000004_nohash_0.wav"


def test_the_split_is_by_speaker_if_file_names_show_speakers(
    words: Path, fast: dict[str, Any]
) -> None:
    channels = build(words, fast)
    assert channels.split_by == "speaker"
    names = [{channels.speakers[i] for i in indices} for indices in channels.split]
    assert [len(speakers) for speakers in names] == [4, 1, 1]
    assert len(set.union(*names)) == 6
    by_recording = build(words, fast, split="recording")
    assert (by_recording.split_by, by_recording.speakers) == ("recording", ())


def test_without_speakers_auto_splits_by_recording_and_speaker_is_an_error(
    words: Path, fast: dict[str, Any]
) -> None:
    write(words / "yes" / "nobody.wav")
    assert build(words, fast).split_by == "recording"
    with pytest.raises(
        ValueError, match=r"do not show who speaks: got 'yes/nobody.*split by recording"
    ):
        build(words, fast, split="speaker")


def test_with_too_few_speakers_auto_splits_by_recording_and_speaker_is_an_error(
    words: Path, fast: dict[str, Any]
) -> None:
    for speaker in range(2, 6):
        for name in ("no", "yes"):
            (words / name / f"{speaker:08x}_nohash_0.wav").rename(
                words / name / f"00000000_nohash_{speaker}.wav"
            )
    assert build(words, fast).split_by == "recording"
    with pytest.raises(ValueError, match="2 speakers are too few"):
        build(words, fast, split="speaker")


def test_cached_recordings_are_not_decoded(
    words: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(words, fast)
    monkeypatch.setattr("nwavesdk.data.formats.decode", lambda *_: pytest.fail("decoded"))
    second = build(words, fast)
    assert (first.cached, second.cached) == (0, 12)
    same(first, second)


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 16000},
        {"recording_duration_s": 0.3},
        {"sim_time_s": 20e-3},
        {"level": "peak"},
        {"chip": "own.toml"},
    ],
    ids=str,
)
def test_choices_that_decide_values_have_files_of_their_own(
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


def test_choices_that_decide_no_values_share_a_file(words: Path, fast: dict[str, Any]) -> None:
    first = build(words, fast)
    second = build(
        words, fast, batch_size=3, seed=4, split="recording", on_error="skip", chip="h1v2", val=0.3
    )
    assert second.cached == 12
    same(first, second)


def test_a_changed_recording_is_read_again(words: Path, fast: dict[str, Any]) -> None:
    first = build(words, fast)
    write(words / "yes" / "00000000_nohash_0.wav", tone(2000.0))
    second = build(words, fast)
    assert second.cached == 0
    assert second.fingerprint != first.fingerprint
    same(second, build(words, fast, cache=False))


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies(
    words: Path, fast: dict[str, Any]
) -> None:
    first = build(words, fast)
    same(first, build(words.rename(words.parent / "moved"), fast))


def test_a_damaged_file_is_computed_again_with_one_warning(
    words: Path, fast: dict[str, Any]
) -> None:
    first = build(words, fast)
    (folder,) = fast["cache"].iterdir()
    path = folder / "frames.npy"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="of the cache .* was damaged") as record:
        second = build(words, fast)
    assert len(record) == 1
    assert second.cached == 0
    same(first, second)
    assert build(words, fast).cached == 12


def test_a_cache_that_cannot_be_written_gives_one_warning(
    words: Path, fast: dict[str, Any]
) -> None:
    fast["cache"].write_text("a file")
    with pytest.warns(UserWarning, match="cannot be written") as record:
        channels = build(words, fast)
    assert len(record) == 1
    same(channels, build(words, fast, cache=False))


def test_two_processes_write_the_same_cache(words: Path, fast: dict[str, Any]) -> None:
    processes = [start(words, fast["cache"]) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    expected = build(words, fast, cache=False)
    assert {answer[0] for answer in answers} == {expected.fingerprint}
    after = build(words, fast)
    assert after.cached == 12
    same(after, expected)


def test_a_killed_process_leaves_no_file_that_is_not_whole(
    words: Path, fast: dict[str, Any]
) -> None:
    slow = "import time\nfrom nwavesdk.data import features, FrontEnd\nreal = FrontEnd.prepare\n"
    slow += "def prepare(*a):\n    time.sleep(0.3); return real(*a)\nFrontEnd.prepare = prepare\n"
    process = start(words, fast["cache"], slow + PROCESS)
    began = time.monotonic()
    while not list(fast["cache"].glob(".*.draft")):
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    process.send_signal(signals.SIGKILL)
    process.communicate()
    assert not list(fast["cache"].glob("[!.]*"))
    after = build(words, fast)
    assert after.cached == 0
    same(after, build(words, fast, cache=False))


def test_the_reasons_for_skipped_recordings(words: Path, fast: dict[str, Any]) -> None:
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
    expected = {
        "long": "lasts 3 s, expected at most 2 s",
        "loud": "has samples that are too large to be filtered",
        "nan": "has samples that are not finite",
        "none": "has no samples",
        "cut": "is cut short (500 bytes of its sound are missing)",
        "huge": "is too large (100,000,000,000 bytes, expected at most 3,072,000)",
    }
    assert reasons == {f"no/{name}.wav": reason for name, reason in expected.items()}


def test_a_class_with_too_few_usable_recordings_is_rejected(
    words: Path, fast: dict[str, Any]
) -> None:
    for path in list((words / "yes").iterdir())[2:]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="Class 'yes' has 2 recordings, expected at least 3"):
        build(words, fast, on_error="skip")


def test_regression_has_targets(curves: Path, fast: dict[str, Any]) -> None:
    channels = build(curves, fast, task="regression")
    assert channels.x.shape == (5, 40, 16)
    assert channels.y.shape == (5, 40, 1)
    assert channels.y.dtype == np.float32
    assert channels.classes == ()
    np.testing.assert_array_equal(channels.y[3, :30, 0], 300 + np.arange(30))
    assert not channels.y[3, 30:].any()
    assert list(channels.split.map(len)) == [3, 1, 1]
    same(channels, build(curves, fast, task="regression"))
    torch.save(torch.ones(30), curves / "target" / "0.pt")
    other = build(curves, fast, task="regression")
    assert other.cached == 0
    assert other.fingerprint != channels.fingerprint


def test_targets_of_another_length_or_width_are_raised_or_skipped(
    curves: Path, fast: dict[str, Any]
) -> None:
    torch.save(torch.ones(25), curves / "target" / "1.pt")
    torch.save(torch.ones(30, 2), curves / "target" / "2.pt")
    with pytest.raises(
        RecordingError,
        match=r"1\.pt has 25 steps, expected 30 \(its recording\).* or 40 \(after padding\)",
    ):
        build(curves, fast, task="regression")
    reasons = dict(build(curves, fast, task="regression", on_error="skip").skipped)
    assert list(reasons) == ["wavs/1.wav", "wavs/2.wav"]
    assert reasons["wavs/2.wav"] == "has 2 columns, expected 1 like wavs/0.wav"


def test_a_progress_bar_is_shown_on_request(
    words: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (words / "yes" / "bad.wav").write_bytes(b"")
    build(words, fast, on_error="skip", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "13/13" in shown.err
    assert "recordings checked" in shown.err
    build(words, fast, on_error="skip", progress=None)
    assert capsys.readouterr().err == ""


def test_a_step_is_the_mean_of_a_rectified_channel_like_in_a_loop() -> None:
    config = NWaveDataloaderConfig(
        "x", sample_rate=11025, recording_duration_s=0.1, sim_time_s=3e-3
    )
    front_end = FrontEnd(config)
    sound = np.random.default_rng(0).uniform(-1, 1, 1103).astype(np.float32)
    x = front_end(front_end.prepare((sound, 11025)))
    assert x.shape == (33, 16)
    assert x.dtype == np.float32
    for channel in (0, 7, 15):
        band = config.bank.edges[channel]
        filtered = signal.sosfilt(
            signal.butter(2, band, "bandpass", fs=11025, output="sos"), sound.astype(float)
        )
        for step in range(33):
            start, end = round(step * 33.075), round((step + 1) * 33.075)
            mean = math.fsum(abs(value) for value in filtered[start:end]) / (end - start)
            assert x[step, channel] == pytest.approx(mean, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("longest", [1, 40, 3000])
@pytest.mark.parametrize(("rate", "step"), [(8000, 10e-3), (11025, 3e-3), (8000, 1.6 / 8000)])
def test_blocks_give_the_steps_of_the_whole_sound(rate: int, step: float, longest: int) -> None:
    seconds = 0.05 if longest == 1 else 0.8
    config = NWaveDataloaderConfig(
        "x", sample_rate=rate, recording_duration_s=seconds, sim_time_s=step
    )
    front_end = FrontEnd(config)
    length = config.edges[-1]
    sound = np.random.default_rng(0).uniform(-1, 1, 2 * length).astype(np.float32)
    stream = front_end.stream()
    steps = np.concatenate([stream.push(block) for block in blocks_of(sound, longest)])
    whole = front_end(front_end.prepare((sound, rate)))
    # The whole is cut to the duration; the stream goes on.
    assert len(steps) >= 2 * config.T - 1
    np.testing.assert_array_equal(steps[: config.T], whole)


def test_a_peak_of_the_whole_sound_is_not_known_in_blocks() -> None:
    with pytest.raises(ValueError, match=r"only at its end, got 'peak', expected 'as_is' for sou"):
        FrontEnd(NWaveDataloaderConfig("x", level="peak")).stream()


def test_a_tone_in_the_center_of_a_band_gives_two_over_pi_of_its_amplitude() -> None:
    config = NWaveDataloaderConfig("x", sample_rate=16000, sim_time_s=50e-3)
    front_end = FrontEnd(config)
    for channel in (2, 8, 13):
        x = front_end(tone(config.bank.centers[channel], 1.0, 16000))
        assert x[10:].mean(0).argmax() == channel
        assert x[10:, channel].mean() == pytest.approx(0.5 * 2 / np.pi, rel=0.02)


@pytest.mark.parametrize("rate", [8000, 32000])
def test_a_short_sound_is_padded_with_silence_and_a_long_one_is_cut(rate: int) -> None:
    front_end = FrontEnd(
        NWaveDataloaderConfig("x", sample_rate=8000, recording_duration_s=0.2, sim_time_s=10e-3)
    )
    short = front_end.prepare((tone(440, 0.1, rate), rate))
    assert short.shape == (1600,)
    np.testing.assert_allclose(short[50:750], tone(440, 0.1, 8000)[50:750], atol=0.01)
    assert not short[801:].any()
    long = front_end.prepare((tone(440, 0.5, rate), rate))
    assert long.shape == (1600,)
    np.testing.assert_allclose(long[50:1550], tone(440, 0.2, 8000)[50:1550], atol=0.01)


def test_the_level_is_unchanged_or_the_peak_is_at_full_scale() -> None:
    for level, peak in (("as_is", 0.125), ("peak", 1.0)):
        config = NWaveDataloaderConfig("x", sample_rate=8000, level=level)  # type: ignore[arg-type]
        samples = FrontEnd(config).prepare((tone(440, amplitude=0.125), 8000))
        assert np.abs(samples).max() == pytest.approx(peak, abs=1e-3)


def test_a_cached_recording_is_checked_like_another(words: Path, fast: dict[str, Any]) -> None:
    write(words / "no" / "long.wav", tone(440, 3.0))
    build(words, fast)
    with pytest.raises(RecordingError, match=r"lasts 3 s, expected at most 2 s: cut it, or raise"):
        build(words, fast, max_seconds=2.0)


def test_what_memory_cannot_hold_is_rejected_before_a_file_is_read(
    words: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwavesdk.data.formats.read_recording", lambda *_: pytest.fail("read"))
    choices: list[tuple[dict[str, Any], str]] = [
        ({"sim_time_s": 60.0}, "16 channels of 691,200,000 samples need 132.7 GB of memory"),
    ]
    for choice, message in choices:
        with pytest.raises(ValueError, match=f"{message}.*: use fewer or shorter recordings"):
            build(words, fast, recording_duration_s=86400.0, **choice)
