"""Runs that detect events: they train on chunks, fit a decision, test it, report and resume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from cli.command import nwave
from nwavesdk.metrics import DetectionScore
from nwavesdk.train import Run, RunConfig, RunFolder, load
from nwavesdk.train.data.load import load_run_data
from train.event_folders import write_events, write_timed
from train.runs import Choices, assert_resumes

PICTURES = {"learning_curves", "spike_raster", "membrane_traces", "detection_curves", "stream"}


def choices_of(folder: Path, **choices: Any) -> Choices:
    """A run of some seconds."""
    return {
        "data": {"source": str(folder), "bands": 12} | choices.pop("data", {}),
        "learning": {"epochs": 6, "batch_size": 8},
        "machine": {"accelerator": "cpu"},
        **choices,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events"), events=12, background=9, seconds=24)


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run, with its pictures."""
    from nwavesdk.plot.theme import render_png

    path = tmp_path_factory.mktemp("runs") / "tones"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwavesdk.train.report.page.render_png", render_png)
        Run.new(path, RunConfig.of(choices_of(folder))).train()
    return RunFolder(path)


def test_the_result_has_the_numbers_of_a_detector(trained: RunFolder) -> None:
    result = trained.read_result()
    for part in ("test", "val"):
        low, high = result[f"{part}_misses_interval"]
        assert 0 <= low <= result[f"{part}_misses"] <= high <= 1
        low, high = result[f"{part}_false_alarms_interval"]
        assert 0 <= low <= result[f"{part}_false_alarms_per_hour"] <= high
        assert result[f"{part}_events"] > 0
        assert result[f"{part}_hours"] * 3600 == pytest.approx(60, abs=40)
    assert result["test_misses"] <= 0.5
    assert -0.5 < result["test_median_latency"] <= result["test_p90_latency"] <= 1.0
    assert list(result["test_by_snr"]) == ["clean", "20 dB", "10 dB", "5 dB", "0 dB"]
    assert result["test_by_snr"]["10 dB"]["misses"] == result["test_misses"]
    assert result["test_by_snr"]["clean"]["misses"] <= 0.5
    assert result["parameters"] > 0
    assert len(result["rates"]) == 5
    assert result["test_balanced_accuracy"] > 0.5
    assert "linear_accuracy" not in result


def test_the_numbers_are_those_of_use(trained: RunFolder) -> None:
    """`TrainedRun.detect` finds in the samples of the test stream what the test counted."""
    run, result = load(trained.path), trained.read_result()
    data = load_run_data(run.config)
    (stream,) = data.streams.test.compose(10.0)
    detections = run.detect((stream.read(0, len(stream)), int(stream.sample_rate)))
    score = DetectionScore.of(stream.events, detections, seconds=stream.seconds)
    assert score.misses == pytest.approx(result["test_misses"], abs=1e-6)
    assert score.latency(50) == pytest.approx(result["test_median_latency"], abs=1e-4)
    assert score.false_alarms_per_hour == pytest.approx(
        result["test_false_alarms_per_hour"], abs=1e-4
    )


def test_the_report_says_misses_false_alarms_and_latency_first(trained: RunFolder) -> None:
    page = trained.report.read_text()
    result = trained.read_result()
    headline = page[: page.index('<p class="headline">') + 400]
    for text in (
        f"misses {100 * result['test_misses']:.1f} %",
        f"{result['test_false_alarms_per_hour']:.2f} false alarms per hour [",
        f"median latency {1000 * result['test_median_latency']:.0f} ms",
    ):
        assert text in headline
    for heading in ("By signal-to-noise ratio", "By event", "Loudest false alarms"):
        assert heading in page
    assert "noise/" in page
    assert {file.stem for file in trained.pictures.iterdir()} >= PICTURES


def test_eval_and_the_command_print_the_same_numbers(trained: RunFolder) -> None:
    result = trained.read_result()
    tested = json.loads(nwave("eval", str(trained.path), "--json").stdout)
    assert tested["recorded_test_misses"] == tested["test_misses"] == result["test_misses"]
    assert tested["test_median_latency"] == result["test_median_latency"]
    printed = nwave("eval", str(trained.path)).stdout
    assert f"test misses {100 * result['test_misses']:.1f} % [" in printed
    assert "false alarms per hour [" in printed


def test_a_resumed_run_has_the_same_hard_places(
    folder: Path, trained: RunFolder, tmp_path: Path
) -> None:
    broken = Run.new(tmp_path / "broken", RunConfig.of(choices_of(folder)))
    assert_resumes(broken, 4, trained.path)


def test_without_the_test_set_the_report_shows_validation(folder: Path, tmp_path: Path) -> None:
    choices = choices_of(folder, data={"test": False})
    choices["learning"]["epochs"] = 2
    result = Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    assert not [name for name in result if name.startswith("test_")]
    assert "validation stream" in (tmp_path / "run" / "report.html").read_text()
    assert "test_misses" in Run.open(tmp_path / "run").test()


def test_events_at_known_times_are_detected_where_they_are(tmp_path: Path) -> None:
    table = write_timed(tmp_path / "data")
    task = {"name": "detect", "times": str(table)}
    choices = choices_of(tmp_path / "data", task=task)
    result = Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    assert "test_by_snr" not in result
    assert np.isfinite(result["test_false_alarms_per_hour"])
