"""A detector on drawn chips: misses and false alarms of each on the test streams."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from cli.command import nwave
from nwavesdk.analysis.chip_parts import count_part
from nwavesdk.deploy import ChipRun
from nwavesdk.deploy.detector_series import DetectorSeries, count_errors, detectors_picture
from nwavesdk.metrics import DetectionScore
from nwavesdk.plot.theme import LIGHT
from nwavesdk.train import Decision, Run, RunFolder, load
from train.event_folders import write_events
from train.runs import chip_choices, write_untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained run with a decision by which chips detect something."""
    sounds = write_events(tmp_path_factory.mktemp("events"), seconds=24)
    choices = chip_choices(sounds)
    del choices["data"]["duration"]
    folder = tmp_path_factory.mktemp("runs") / "chip"
    write_untrained(folder, choices | {"task": {"name": "detect", "false_alarms": 200}})
    decision = Decision(
        events=("high", "low"),
        step_seconds=5e-3,
        smoothing=0.1,
        threshold=-0.5,
        release=-1,
        dead_time=1,
    )
    opened = RunFolder(folder)
    opened.write_result({"decision": decision.model_dump(mode="json")}, opened.identity)
    return folder


def test_chips_are_compared_by_misses_and_false_alarms(folder: Path) -> None:
    result = json.loads(nwave("chips", folder, "--n", 4, "--json").stdout)
    alarms = result["false_alarms_per_hour"]
    assert len(set(zip(result["misses"], alarms, strict=True))) > 1
    assert result["yield"] == sum(rate <= 200 for rate in alarms) / 4
    assert result["misses_q05"] <= result["misses_q50"] <= result["misses_q95"]
    assert Path(result["plot"]).read_bytes().startswith(b"\x89PNG")
    written = json.loads((folder / "chips-0.json").read_text())
    assert (written["misses"], written["seed"]) == (result["misses"], 0)

    # The chip as designed has the numbers of the test; few chips are the first of many.
    tested = Run.open(folder).test()
    assert result["designed"]["misses"] == tested["test_misses"]
    assert result["designed"]["false_alarms_per_hour"] == tested["test_false_alarms_per_hour"]
    again = json.loads(nwave("chips", folder, "--n", 2, "--json", "--no-plot").stdout)
    assert again["false_alarms_per_hour"] == alarms[:2]


def test_a_part_has_the_counts_of_the_whole(folder: Path) -> None:
    threads = torch.get_num_threads()
    seeds = (1, 3, 5)
    whole = count_errors(ChipRun.open(folder).run, seeds).tolist()
    assert count_part(folder, None, threads, seeds[1:]) == whole[1:]


def test_a_long_sound_is_predicted_as_in_a_stream(folder: Path) -> None:
    run, sound = load(folder), 0.05 * np.random.default_rng(1).standard_normal(20_001)
    stream = run.stream()
    parts = [stream.push(sound[:7000]), stream.push(sound[7000:]), stream.finish()]
    values = torch.from_numpy(np.concatenate([part.values for part in parts]))
    (prediction,) = run.predict(sound)
    assert prediction.steps == 600  # 2.5 s in recordings of a second
    assert not prediction.is_cut
    assert np.array_equal(prediction.probabilities, run.task.probabilities(values).numpy())


def test_the_accuracy_of_a_detector_is_not_wanted(folder: Path) -> None:
    result = nwave("chips", folder, "--wanted", 0.5)
    assert result.exit_code == 2
    assert "budget of false alarms per hour, got a wanted accuracy of 0.5: remove" in result.stderr


def test_the_text_and_the_picture_say_how_many_chips_are_within_the_budget() -> None:
    series = DetectorSeries(
        misses=(0.0, 0.25, 0.5),
        false_alarms_per_hour=(0.0, 0.5, 2.0),
        designed=DetectionScore(seconds=7200, latencies=(0.1,)),
        budget=0.5,
        seed=0,
        seconds=1.0,
    )
    assert str(series) == (
        "3 chips in 1.0 s: median misses 25.0 %, 2.5 to 47.5 (5 % to 95 %); as designed 0.0 %\n"
        "median false alarms per hour 0.50, 0.05 to 1.85 (5 % to 95 %); as designed 0.00 (one in "
        "the 2 h of the test streams is 0.5)\n"
        "yield 66.7%: chips with at most 0.5 false alarms per hour"
    )
    (axes,) = detectors_picture(series, "h1v2", LIGHT).axes
    assert axes.get_title() == "3 chips of h1v2: 67% are within the budget (blue)"
