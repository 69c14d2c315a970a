"""`nwave detect`: lines and JSON lines from files and from standard input, and quiet ends."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.command import json_object, nwave
from train.runs import load_detector

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("lightning")


@pytest.fixture(autouse=True)
def _with_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.train.load", load_detector)


@pytest.fixture
def sound(tones: Path, tmp_path: Path) -> Path:
    """Some tones one after the other, of 16 bits."""
    files = [tones / name / f"{n}.wav" for n in range(4) for name in ("low", "high", "middle")]
    samples = np.concatenate([soundfile.read(file, dtype="int16")[0] for file in files])
    soundfile.write(tmp_path / "tones.wav", samples, 8000)
    return tmp_path / "tones.wav"


@pytest.fixture
def standard_input(tmp_path: Path) -> Iterator[Any]:
    """A function that makes a content the standard input of this process."""
    saved = os.dup(0)

    def replace_by(content: bytes) -> None:
        (tmp_path / "input").write_bytes(content)
        file = os.open(tmp_path / "input", os.O_RDONLY)
        os.dup2(file, 0)
        os.close(file)

    yield replace_by
    os.dup2(saved, 0)
    os.close(saved)


def test_each_detection_is_a_line(live_run: Path, sound: Path) -> None:
    expected = load_detector(live_run).detect(sound)
    assert len(expected) > 2
    result = nwave("detect", live_run, sound)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [f"{time:9.2f} s  {name}  {score:.1f}" for name, time, score in expected]
    assert result.stdout.splitlines() == lines
    both = nwave("detect", live_run, sound, sound).stdout.splitlines()
    assert both == [f"{line}  {sound}" for line in lines] * 2


@pytest.mark.parametrize("header", [True, False])
def test_json_lines_of_standard_input_are_those_of_a_file(
    live_run: Path, sound: Path, standard_input: Any, header: bool
) -> None:
    content = sound.read_bytes()
    standard_input(content if header else content[44:])
    result = nwave("detect", live_run, "-", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"file": "-", "time": time, "event": name, "score": score}
        for name, time, score in load_detector(live_run).detect(sound)
    ]


def test_an_interrupt_ends_standard_input_quietly(
    live_run: Path, sound: Path, standard_input: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = soundfile.read(sound, dtype="float32")[0]

    def blocks(*_: object) -> Iterator[tuple[np.ndarray, int]]:
        yield samples, 8000
        os.kill(os.getpid(), signal.SIGINT)
        yield samples, 8000

    monkeypatch.setattr("nwavesdk.data.decoding.pipe_blocks", blocks)
    standard_input(b"")
    result = nwave("detect", live_run, "-")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) > 2


def test_errors_are_one_line(live_run: Path, sound: Path, standard_input: Any) -> None:
    standard_input(b"")
    empty = nwave("detect", live_run, "-")
    assert (empty.exit_code, empty.stderr.count("\n")) == (2, 1)
    assert "nothing, expected a wav or mono samples, of 16 bits: convert it" in empty.stderr
    missing = nwave("detect", live_run, sound.with_name("none.wav"), "--json")
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    assert json_object(missing)["error"].endswith("none.wav does not exist: check the name.")


def test_another_threshold_detects_more_or_less(live_run: Path, sound: Path) -> None:
    scores = [score for *_, score in load_detector(live_run).detect(sound)]
    higher = nwave("detect", live_run, sound, "--threshold", 1e6, "--json")
    assert higher.stdout == ""
    same = load_detector(live_run).decision.threshold
    again = nwave("detect", live_run, sound, "--threshold", same, "--json")
    assert [json.loads(line)["score"] for line in again.stdout.splitlines()] == scores


def test_a_sound_without_a_detection_is_a_note(live_run: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(8000), 8000)
    result = nwave("detect", live_run, silent)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"nwave: note: no detection in {silent}\n"


def test_a_decision_is_in_predictions_and_exports(live_run: Path, sound: Path) -> None:
    from nwavesdk.cli.step import _about

    run = load_detector(live_run)
    expected = json.loads(run.decision.model_dump_json())
    assert json_object(nwave("predict", live_run, sound, "--json"))["decision"] == expected
    assert _about(run)["decision"] == expected
