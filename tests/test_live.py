"""`examples/live.py`: its events follow from the run's outputs, and its errors are one line."""

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


def expected_events(
    folder: Path, sound: np.ndarray, rate: int, *, average: float, threshold: float, dead: float
) -> list[tuple[float, str]]:
    """Time and class of the events of a whole sound, from means of the net's outputs."""
    import torch

    from nwavesdk.train import load

    run = load(folder)
    stream = run.stream(rate)
    values, times = map(np.concatenate, zip(stream.push(sound), stream.finish(), strict=True))
    length = round(average / run.step_seconds)
    events: list[tuple[float, str]] = []
    for end in range(length, len(values) + 1):
        scores = torch.from_numpy(values[end - length : end]).mean(dim=0)
        probability, best = run.task.probabilities(scores).max(dim=0)
        seconds = times[end - 1]
        is_free = not events or seconds - events[-1][0] >= dead
        if probability >= threshold and is_free:
            events.append((seconds, run.classes[best]))
    return events


def events_of(lines: list[str]) -> list[tuple[float, str]]:
    """Time and class of the printed events."""
    words = [line.split() for line in lines if line.endswith("%")]
    return [(float(seconds), name) for seconds, _, name, _ in words]


@pytest.fixture(scope="session")
def page_run(tones, tmp_path_factory):
    """Return the folder of a run of the default net."""
    from train.runs import write_untrained

    folder = tmp_path_factory.mktemp("live_page") / "run"
    data = {"source": str(tones), "bands": 12, "level": "running"}
    write_untrained(folder, {"data": data})
    return folder


@pytest.mark.parametrize("name", ["live_run", "page_run"])
def test_events_are_those_of_the_mean_outputs(listen, request, tones, tmp_path, name):
    folder = request.getfixturevalue(name)
    names = ("low", "high", "middle", "low")
    sound = np.concatenate(
        [soundfile.read(tones / each / "0.wav", dtype="float32")[0] for each in names]
    )
    soundfile.write(tmp_path / "a.wav", sound, 8000, "FLOAT")
    options = {"average": 0.1, "threshold": 0.34, "dead": 0.154}
    expected = expected_events(folder, sound, 8000, **options)
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    lines = listen(folder, tmp_path / "a.wav", "--fast", "--block", 1e-3, *words)
    events = events_of(lines)
    assert [each for _, each in events] == [each for _, each in expected]
    assert [time for time, _ in events] == pytest.approx([t for t, _ in expected], abs=6e-3)
    assert len(events) > 3
    per_hour = 3600 * len(events) / (len(sound) / 8000)
    assert f"{len(events)} events in {len(sound) / 8000:.2f} s, {per_hour:,.0f} per hour" in lines


def test_events_of_a_detector_are_its_detections(listen, live_run, tones, monkeypatch):
    from train.runs import load_detector

    monkeypatch.setattr("nwavesdk.train.load", load_detector)
    file = tones / "middle" / "0.wav"
    lines = listen(live_run, file, "--fast")
    expected = load_detector(live_run).detect(file)
    assert expected
    assert lines[: len(expected)] == [
        f"{time:7.2f} s  {name:12} {score:4.1f}" for name, time, score in expected
    ]
    assert lines[len(expected)].startswith(f"{len(expected)} events in")


def test_classes_of_the_background_are_no_events(listen, live_run, tones):
    file = tones / "low" / "0.wav"
    words = ("--fast", "--average", 0.1, "--threshold", 0, "--dead", 0)
    assert len(events_of(listen(live_run, file, *words))) > 10
    classes = ("--background", "low", "middle")
    assert {name for _, name in events_of(listen(live_run, file, *words, *classes))} == {"high"}


def test_other_rates_and_stereo_are_converted(listen, live_run, tmp_path):
    time = np.arange(22050) / 44100
    tone = 0.3 * np.sin(2 * np.pi * 300 * time).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 44100, "FLOAT")
    words = ("--fast", "--average", 0.1, "--threshold", 0.34)
    (event,) = events_of(listen(live_run, tmp_path / "a.wav", *words))
    options = {"average": 0.1, "threshold": 0.34, "dead": 1.0}
    assert event[1] == expected_events(live_run, tone, 44100, **options)[0][1]


def test_a_file_is_played_in_real_time(listen, live_run, tones, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    file = tones / "low" / "0.wav"
    listen(live_run, file)
    assert clock[0] == pytest.approx(soundfile.info(file).duration)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NONE", "WAV"], r"holds no run \(no config\.json\): pass the folder"),
        (["RUN", "NONE/a.wav"], r"a\.wav"),
        (["RUN", "TEXT"], r"a\.txt cannot be read as sound .*: repair or remove it"),
        (["RUN", "WAV", "--average", "nan"], r"--average: expected a time above 0 \[s\], got nan"),
        (
            ["RUN", "WAV", "--background", "x"],
            r"--background: got x, expected one of high, low, mi",
        ),
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
