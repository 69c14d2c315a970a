from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from examples import small_data
from nwavesdk.analysis.data_report import data_lines, data_report, describe_features
from nwavesdk.data import NetInput, Recordings, Series, Standard
from nwavesdk.train import CompletedConfig, RunConfig
from nwavesdk.train.config.data import PatternData
from nwavesdk.train.config.run_config import UNIONS
from nwavesdk.train.data.load import RunData, complete_data
from nwavesdk.train.fit.network import sample_config
from train.runs import Choices

pytestmark = pytest.mark.usefixtures("own_cache")


def report_of(source: Path, **choices: Choices) -> dict[str, Any]:
    data = {"source": str(source), **choices.pop("data", {})}
    return data_report(*complete_data(RunConfig.of({"data": data, **choices})))


def made(recordings: Recordings, sizes: tuple[int, int, int]) -> tuple[CompletedConfig, RunData]:
    """The sets and the config of recordings that were never in a file; sets follow each other."""
    edges = np.cumsum((0, *sizes))
    standard = Standard(np.zeros(recordings.n_features), np.ones(recordings.n_features))
    scaled = NetInput(standard=standard)
    sets = [
        Series(recordings.take(np.arange(start, end)), scaled) for start, end in pairwise(edges)
    ]

    config = sample_config("conv", (recordings.n_features,), 1, "series")
    facts = {
        "classes": recordings.classes,
        "n_targets": recordings.n_targets,
        "recordings": sizes,
        "split_reason": "split by recording",
    }
    changes = {
        "task": UNIONS["task"][1][recordings.task](),
        "data": PatternData(hold=1) if recordings.task == "pattern" else config.data,
        "facts": config.facts.model_copy(update=facts),
    }
    return config.model_copy(update=changes), RunData(*sets, standard)


def config_of(kind: str, shape: tuple[int, ...], choices: Choices) -> CompletedConfig:
    config = sample_config("conv", shape, 2, kind)
    return config.model_copy(update={"data": config.data.model_copy(update=choices)})


def series_of(lengths: list[int], **fields: Any) -> Recordings:
    return Recordings(
        frames=tuple(np.ones((length, 2), np.float32) for length in lengths),
        keys=tuple(f"{index}.npy" for index in range(len(lengths))),
        fingerprint="0",
        **{"labels": np.zeros(len(lengths), np.int64), "classes": (), **fields},
    )


def test_recordings_of_each_class_and_set_are_counted() -> None:
    labels = np.array([0, 0, 1, 0, 1, 1])
    recordings = series_of([5, 7, 9, 1, 1, 1], labels=labels, classes=("no", "yes"))
    report = data_report(*made(recordings, (3, 2, 1)))
    assert report["per_class"] == {
        "train": {"no": 2, "yes": 1},
        "val": {"no": 1, "yes": 1},
        "test": {"no": 0, "yes": 1},
    }
    assert report["lengths"]["steps"] == {"min": 1, "median": 3, "max": 9}
    assert report["lengths_by_set"]["train"]["steps"] == {"min": 5, "median": 7, "max": 9}
    assert report["lengths"]["seconds"] is None

    assert data_lines(report) == [
        "6 recordings of series, 0 skipped",
        "task: classification (each recording has a class)",
        "lengths: 1 to 9 steps, median 3",
        "input of the net: 2 values, scaled",
        "split by recording",
        "     train  val  test",
        "no       2    1     0",
        "yes      1    1     1",
        "all      3    2     1",
    ]


def test_steps_are_counted_if_they_have_classes() -> None:
    targets = tuple(np.array(row) for row in ([0, 0, 1], [1, -1, 1], [2, 2, 2]))
    recordings = series_of([3, 3, 3], classes=("P", "Q", "R"), targets=targets, task="labels")
    report = data_report(*made(recordings, (1, 1, 1)))
    assert report["counted"] == "steps"
    assert report["per_class"]["train"] == {"P": 2, "Q": 1, "R": 0}
    assert report["per_class"]["val"] == {"P": 0, "Q": 2, "R": 0}

    lines = data_lines(report)
    assert lines[1] == "task: labels (each step has a class)"
    assert [line.split() for line in lines[5:]] == [
        ["steps", "train", "val", "test"],
        ["P", "2", "0", "0"],
        ["Q", "1", "2", "0"],
        ["R", "0", "0", "3"],
        ["all", "3", "2", "3"],
    ]


def test_recordings_of_one_step_have_no_plural() -> None:
    targets = tuple(np.ones((1, 3), np.float32) for _ in range(3))
    recordings = series_of([1, 1, 1], targets=targets, task="regression")
    report = data_report(*made(recordings, (1, 1, 1)), is_task_given=True)
    assert data_lines(report)[2] == "lengths: all have 1 step"


def test_values_have_no_classes() -> None:
    targets = tuple(np.ones((4, 3), np.float32) for _ in range(3))
    recordings = series_of([4, 4, 4], targets=targets, task="regression")
    report = data_report(*made(recordings, (1, 1, 1)), is_task_given=True)
    assert (report["classes"], report["per_class"], report["targets"]) == ([], {}, 3)
    lines = data_lines(report)
    assert lines[1] == "task: regression, 3 values per step (--task)"
    assert lines[2] == "lengths: all have 4 steps"
    assert [line.split() for line in lines[5:]] == [
        ["train", "val", "test"],
        ["all", "1", "1", "1"],
    ]


def test_a_pattern_in_all_sets_is_one_recording() -> None:
    targets = tuple(np.ones((4, 3), np.float32) for _ in range(3))
    patterns = series_of([4] * 3, targets=targets, task="pattern")
    config, data = made(patterns, (1, 1, 1))
    report = data_report(config, RunData(data.train, data.train, data.train, data.standard))
    lines = data_lines(report)
    assert (report["count"], lines[0]) == (1, "1 recording of series, 0 skipped")
    assert lines[1] == "task: pattern, 3 values per step (there are targets, but no inputs)"
    assert lines[3] == "input of the net: 2 channels of frozen noise"


@pytest.mark.parametrize(
    ("kind", "shape", "choices", "text"),
    [
        ("sound", (32,), {"hold": 1}, "32 log-mel bands of 25 ms every 10 ms, scaled"),
        ("series", (1,), {"hold": 5}, "1 value, scaled, each for 5 steps"),
        (
            "series",
            (4,),
            {"add_standardized": True},
            "2 values, scaled by the set and by the recording",
        ),
        ("features", (13,), {"hold": 4}, "13 features, scaled, each for 4 steps"),
        ("events", (2, 34, 34), {"bin": 3e-3}, "events at 2,312 places, bins of 3 ms"),
        ("image", (28, 28), {"steps": 100}, "784 pixels as constant currents, scaled"),
        (
            "image",
            (5, 5, 3),
            {"encoder": "rate"},
            "25 pixels of 3 colors as probabilities of spikes",
        ),
        ("image", (2, 2, 1), {"encoder": "latency"}, "4 pixels as times of spikes"),
    ],
)
def test_features_are_described(
    kind: str, shape: tuple[int, ...], choices: Choices, text: str
) -> None:
    assert describe_features(config_of(kind, shape, choices)) == text


def test_groups_of_each_set_are_counted() -> None:
    recordings = series_of([4] * 5, groups=("a", "a", "b", "c", "b"))
    report = data_report(*made(recordings, (3, 1, 1)))
    assert (report["group_name"], report["groups"]) == ("groups", {"train": 2, "val": 1, "test": 1})
    assert data_lines(report)[-1].split() == ["groups", "2", "1", "1"]


@pytest.mark.parametrize("count", [9, 200])
def test_a_table_of_many_classes_is_cut(count: int) -> None:
    names = tuple(f"class_{index}_{'x' * 300}" for index in range(count))
    labels = np.arange(3 * count) % count
    recordings = series_of([1] * (3 * count), labels=labels, classes=names)
    lines = data_lines(data_report(*made(recordings, (count, count, count))))[5:]
    assert max(map(len, lines)) < 300
    assert lines[0].split() == ["train", "val", "test"]
    assert lines[1].split() == [f"class_0_{'x' * 15}…", "1", "1", "1"]
    assert lines[-1].split() == ["all", *[str(count)] * 3]
    if count == 200:
        assert len(lines) == 1 + 40 + 1 + 1
        assert lines[-2].split() == ["and", "160", "more", *["160"] * 3]


def test_a_folder_of_sound(tones: Path) -> None:
    report = report_of(tones, data={"bands": 12})
    assert (report["kind"], report["task"], report["cached"]) == ("sound", "classification", False)
    assert report["recordings"] == {"train": 36, "val": 6, "test": 6}
    assert report["per_class"]["test"] == {"high": 2, "low": 2, "middle": 2}
    seconds = report["lengths"]["seconds"]
    assert 0.22 < seconds["min"] < seconds["median"] < seconds["max"] < 0.35
    assert report["feature_text"].startswith("12 log-mel bands of 25 ms every 10 ms, scaled")
    assert report["groups"] == {}
    assert report_of(tones, data={"bands": 12})["cached"]


def test_steps_after_a_recording_are_not_a_part_of_it(tmp_path: Path) -> None:
    data = small_data.make_npz_labels(tmp_path / "labels")
    without, later = (report_of(data, task={"look_ahead": steps}) for steps in (0, 7))
    assert later["lengths"] == without["lengths"]
    assert later["lengths_by_set"] == without["lengths_by_set"]
