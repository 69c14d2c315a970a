"""`examples/live.py`: its decisions are those of the run, and its errors are one line."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("lightning")

EXAMPLE = Path(__file__).parent.parent / "examples" / "live.py"


@pytest.fixture
def listen(monkeypatch, capsys):
    """Return a function that runs the example and returns the lines that it prints."""

    def run(*arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *map(str, arguments)])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def whole_decision(folder: Path, sound: np.ndarray, rate: int) -> str:
    """Return the class that the run predicts for a whole recording."""
    from nwavesdk.data import Recordings, Series
    from nwavesdk.data.decoding import resample
    from nwavesdk.train import load
    from nwavesdk.train.evaluation import evaluate_net

    run = load(folder)
    frames = run.front_end(resample((sound, rate), run.sample_rate))
    recordings = Recordings((frames,), np.zeros(1, np.int64), run.classes, ("x",), "")
    series = Series(recordings, run.standard, run.hold, run.steps // run.hold)
    predicted = evaluate_net(run.net, run.task, series, 1).predicted
    return run.classes[int(predicted)]


def test_the_last_decision_is_that_for_the_whole_recording(listen, live_run, tones):
    decisions = []
    for name in ("high", "low", "middle"):
        for index in range(3):
            file = tones / name / f"{index}.wav"
            lines = listen(live_run, file, "--fast", "--block", "0.0071")
            at_end = [line.split()[2] for line in lines if line.endswith("end of the recording")]
            assert at_end == [whole_decision(live_run, *soundfile.read(file, dtype="float32"))]
            decisions += at_end
    assert len(set(decisions)) > 1


def test_other_rates_and_stereo_are_converted(listen, live_run, tmp_path):
    time = np.arange(11025) / 44100
    tone = 0.3 * np.sin(2 * np.pi * 300 * time).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 44100, "FLOAT")
    lines = listen(live_run, tmp_path / "a.wav", "--fast")
    assert lines[-4].split()[2] == whole_decision(live_run, tone, 44100)


def test_a_long_sound_is_several_recordings(listen, live_run, tones, tmp_path):
    from nwavesdk.train import load

    run = load(live_run)
    length = run.steps // run.hold * run.front_end.step
    names = ("low", "high", "middle", "low")
    parts = [soundfile.read(tones / name / "0.wav", dtype="float32")[0] for name in names]
    sound = np.concatenate([np.resize(part, length) for part in parts])[: -length // 2]
    soundfile.write(tmp_path / "a.wav", sound, 8000, "FLOAT")
    lines = listen(live_run, tmp_path / "a.wav", "--fast")
    at_end = [line.split()[2] for line in lines if line.endswith("end of the recording")]
    starts = range(0, len(sound), length)
    assert at_end == [whole_decision(live_run, sound[start:], 8000) for start in starts]
    assert len(set(at_end)) > 1


def test_a_file_is_played_in_real_time(listen, live_run, tones, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    file = tones / "low" / "0.wav"
    listen(live_run, file)
    assert clock[0] == pytest.approx(soundfile.info(file).duration)


def test_each_recording_begins_at_rest(listen, live_run, tmp_path):
    from nwavesdk.train import load

    run = load(live_run)
    length = run.steps // run.hold * run.front_end.step
    # Frames at the border of two recordings hold only silence.
    silent = np.zeros(run.front_end.width, np.float32)
    noise = np.random.default_rng(0).uniform(-1, 1, length - 2 * len(silent))
    sound = np.concatenate([silent, noise.astype(np.float32), silent])
    soundfile.write(tmp_path / "a.wav", np.tile(sound, 3), 8000, "FLOAT")
    lines = listen(live_run, tmp_path / "a.wav", "--fast")
    at_end = [line.split()[2:] for line in lines if line.endswith("end of the recording")]
    assert at_end[0] == at_end[1]
    assert len(at_end) == 3


@pytest.mark.parametrize(("window", "count"), [("0.15", 7), ("1", 1), ("inf", 1)])
def test_the_length_of_a_recording_can_be_chosen(listen, live_run, tmp_path, window, count):
    sound = np.random.default_rng(0).uniform(-1, 1, 8000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8000, "FLOAT")
    lines = listen(live_run, tmp_path / "a.wav", "--fast", "--window", window)
    assert sum(line.endswith("end of the recording") for line in lines) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NONE", "WAV"], r"holds no run \(no config\.json\): give the folder"),
        (["RUN", "NONE/a.wav"], r"a\.wav"),
        (["RUN", "TEXT"], r"a\.txt is not sound .*, expected a wav: convert or remove it"),
        (["RUN", "WAV", "--window", "nan"], r"--window: expected a time above 0 \[s\], got nan"),
        (["RUN", "WAV", "--block", "nan"], r"--block: expected a time above 0 \[s\], got nan"),
    ],
)
def test_errors_are_one_line(listen, live_run, tones, tmp_path, arguments, message):
    (tmp_path / "a.txt").write_text("a text")
    names = {
        "NONE": tmp_path,
        "TEXT": tmp_path / "a.txt",
        "RUN": live_run,
        "WAV": tones / "low" / "0.wav",
        "NONE/a.wav": tmp_path / "a.wav",
    }
    with pytest.raises(SystemExit, match=f"^live.py: .*{message}") as end:
        listen(*(names.get(word, word) for word in arguments))
    assert "\n" not in end.value.code
