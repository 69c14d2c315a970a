"""The data of a detector: which folders it takes, its three sets, and its streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from cli.command import succeeded
from nwavesdk.data.composed import ComposedSeries
from nwavesdk.train import CompletedConfig, RunConfig
from nwavesdk.train.data.load import RunData, complete_data, load_run_data
from train.event_folders import RATE, write_events, write_sound, write_timed
from train.runs import Choices


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events"), background=9)


def data_of(folder: Path, **choices: Any) -> tuple[CompletedConfig, RunData]:
    data = {"source": str(folder), "bands": 8} | choices.pop("data", {})
    return complete_data(RunConfig.of({"data": data, **choices}))


def test_a_folder_with_background_is_for_a_detector(folder: Path) -> None:
    choices = {"source": str(folder)}
    assert RunConfig.of({"data": choices}).task.name == "detect"
    assert RunConfig.of({"data": choices, "task": {"name": "auto"}}).task.name == "detect"
    as_class = RunConfig.of({"data": choices, "task": {"name": "classification"}})
    assert as_class.task.name == "classification"
    _, data = complete_data(as_class)
    assert data.train.recordings.classes == ("background", "high", "low")


def test_a_table_with_the_class_background_is_for_a_detector(folder: Path, tmp_path: Path) -> None:
    names = [path.relative_to(folder) for path in sorted(folder.glob("**/*.wav"))]
    lines = [f"{name},{name.parts[0].replace('high', 'beep')}" for name in names]
    (tmp_path / "classes.csv").write_text("\n".join(["file,class", *lines]))
    config, _ = data_of(folder, data={"split": str(tmp_path / "classes.csv")})
    assert config.task.name == "detect"
    assert config.facts.classes == ("background", "beep", "low")

    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *(f"{n},{n}" for n in names)]))
    data = {"source": str(folder), "split": str(tmp_path / "groups.csv")}
    assert RunConfig.of({"data": data}).task.name == "detect"


def test_training_has_chunks_and_other_sets_have_streams(folder: Path) -> None:
    config, data = data_of(folder, data={"hop": 10e-3})
    assert isinstance(data.train, ComposedSeries)
    assert config.facts.recordings == tuple(map(len, data))
    assert config.facts.n_features == 8
    x, y, lengths = data.train.batch([0, 1])
    assert x.shape == (2, 298, 8)
    assert y.shape == (2, 298)
    assert abs(float(data.train.recordings.frames[0].std())) > 0

    for series, sounds in list(zip(data, data.streams, strict=True))[1:]:
        (stream,) = sounds.compose(10.0)
        assert len(stream) == sum(map(len, sounds.line.pieces))
        n_frames = sum(int(length) for length in series.lengths)
        assert n_frames == 1 + (len(stream) - 200) // 80
        x, y, lengths = series.whole()
        labels = torch.cat([row[:length] for row, length in zip(y, lengths, strict=True)])
        ends = 0.025 + 0.01 * np.arange(n_frames)
        for event in stream.events:
            at_end = int(labels[np.searchsorted(ends, event.end)])
            assert config.facts.classes[at_end] == event.name


def test_the_data_of_a_resumed_run_are_equal(folder: Path) -> None:
    config, data = data_of(folder)
    resumed = load_run_data(config)
    for first, second in zip(data, resumed, strict=True):
        indices = [first.variation_index(index, 3) for index in range(len(first))]
        for values, expected in zip(first.batch(indices), second.batch(indices), strict=True):
            assert torch.equal(values, expected)


def test_a_test_set_may_stay_unread(folder: Path) -> None:
    config, data = data_of(folder, data={"test": False})
    assert data.streams.test is None
    assert (len(data.test), config.facts.recordings[2] > 0) == (0, True)
    later = load_run_data(config, reads_test=True)
    assert later.streams.test.n_events > 0
    assert torch.equal(data.val.whole().x, later.val.whole().x)


def test_events_that_do_not_fit_are_noted(tmp_path: Path) -> None:
    folder = write_events(tmp_path, events=20, background=3, seconds=8)
    with pytest.warns(
        UserWarning, match="too short for its 6 events and leaves out 4. Add"
    ) as notes:
        _, data = data_of(folder)
    assert data.notes == tuple(str(note.message) for note in notes)


def test_background_may_have_any_length(tmp_path: Path) -> None:
    folder = write_events(tmp_path, background=4)
    _, data = data_of(folder, data={"max_seconds": 1.0})
    assert data.train.sounds.line.seconds >= 12
    write_sound(folder / "high" / "long.wav", np.ones(2 * RATE))
    with pytest.raises(
        ValueError, match=r"high/long.wav cannot be .*lasts 2 s, expected at most 1"
    ):
        data_of(folder, data={"max_seconds": 1.0})


def test_a_silent_event_is_an_error(tmp_path: Path) -> None:
    folder = write_events(tmp_path, events=4, background=4)
    write_sound(folder / "high" / "silent.wav", np.zeros(RATE))
    with pytest.raises(ValueError, match=r"high/silent.wav is silent, so it holds no event"):
        data_of(folder)


def test_recordings_with_times_are_streams(tmp_path: Path) -> None:
    table = write_timed(tmp_path)
    write_sound(tmp_path / "rooms" / "other.wav", np.zeros(RATE))
    config, data = data_of(tmp_path, task={"times": str(table)})
    assert config.task.name == "detect"
    assert config.facts.classes == ("background", "high", "low")
    assert "1 of 7 recordings left out, not in the table" in config.facts.split_reason
    (stream,) = data.streams.val.compose(10.0)
    assert [event.name for event in stream.events] == ["high", "low"]
    assert {-1, 0, 1, 2} == set(data.val.whole().y.unique().tolist())
    assert {1, 2} < set(data.train.batch(range(8)).y.unique().tolist())


def test_series_with_times_are_streams(tmp_path: Path) -> None:
    lines = ["file,start,end,event"]
    for index in range(4):
        values = np.random.default_rng(index).standard_normal((1000, 2)).astype(np.float32)
        np.save(tmp_path / f"{index}.npy", values)
        lines.append(f"{index}.npy,{2 + index},{3 + index},step")
    table = tmp_path / "times.csv"
    table.write_text("\n".join(lines))
    choices = {
        "data": {"source": str(tmp_path)},
        "task": {"times": str(table)},
        "net": {"dt": 0.01},
    }
    config, data = complete_data(RunConfig.of(choices))
    assert (config.data.kind, config.facts.n_features) == ("series", 2)
    (stream,) = data.streams.val.compose(None)
    assert (stream.seconds, len(stream.events)) == (10.0, 1)
    x, y, _ = data.val.whole()
    assert x.shape == (1, 1000, 2)
    first = round(stream.events[0].end * 100)
    assert y[0, first] == 1


def test_sound_passes_the_filters_of_a_chip(folder: Path) -> None:
    choices = {"source": str(folder), "sample_rate": RATE}
    config, data = complete_data(
        RunConfig.of({"data": choices, "chip": {"profile": "h1v2"}, "net": {"dt": 0.01}})
    )
    assert (config.data.kind, config.task.name) == ("filtered", "detect")
    x, y, _ = data.train.batch([0])
    assert x.shape == (1, 300, 16)
    assert y.shape == (1, 300)


@pytest.mark.parametrize(
    ("data", "task", "words"),
    [
        ({"center": True}, {}, r"data.center: the input of a stream cannot .*, got True: remove"),
        ({"level": "peak"}, {}, r"data.level: the input of a stream cannot .*, got 'peak'"),
        ({"length": 50}, {}, r"data.length: the input of a stream cannot .*, got 50"),
        ({}, {"false_alarms": 0}, r"task.false_alarms: expected .* 0.001"),
        ({}, {"times": "none.csv"}, r"none.csv does not exist"),
    ],
)
def test_choices_without_a_meaning_for_streams_are_errors(
    folder: Path, data: Choices, task: Choices, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        data_of(folder, data=data, task=task)


def test_a_detector_needs_background(tones: Path) -> None:
    words = (
        "The train set has no background, expected both in .* add .* in a folder spelled background"
    )
    with pytest.raises(ValueError, match=words):
        data_of(tones, task={"name": "detect"})
    with pytest.raises(ValueError, match="task.name: detect takes sound .*, got image: remove"):
        RunConfig.of({"task": {"name": "detect"}, "data": {"kind": "image"}})


def test_the_report_of_a_folder_counts_recordings(folder: Path) -> None:
    result = succeeded("data", str(folder), "--no-plot")
    assert "21 recordings of sound" in result.stdout
    assert "task: detect (there is a folder background)" in result.stdout
    assert "all" in result.stdout


@pytest.mark.parametrize(
    ("count", "seconds", "words"),
    [
        (3, 1.0, "val set lasts 1 s, too short for one of its events"),
        (
            1,
            60,
            "has 1 recording, too few for 3 sets .*: add background .* cut .* -segment_time 60",
        ),
    ],
)
def test_background_that_is_too_short_or_in_a_single_file_is_an_error(
    count: int, seconds: float, words: str, tmp_path: Path
) -> None:
    folder = write_events(tmp_path, background=count, seconds=seconds)
    with pytest.raises(ValueError, match=words):
        data_of(folder)
