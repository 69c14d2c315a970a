"""`nwave predict`: predictions as a table, files and JSON, without the data of the run."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cli.command import json_object, nwave, rejected, succeeded

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("lightning")


@pytest.fixture
def files(tones: Path) -> list[Path]:
    return [tones / name / "0.wav" for name in ("high", "low", "middle")]


def test_a_table_has_class_probability_and_the_next_best(run: Path, files: list[Path]) -> None:
    result = succeeded("predict", run, *files)
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["file", "class", "probability", "next", "best"]
    assert [row.split()[0] for row in rows] == [str(file) for file in files]
    for row in rows:
        _, name, share, other, other_share = row.split()
        assert {name, other} < {"high", "low", "middle"}
        assert float(share) >= float(other_share)


def test_json_is_one_object_with_the_predictions_of_the_api(run: Path, files: list[Path]) -> None:
    from nwavesdk.train import load

    content = json_object(nwave("predict", run, *files, "--spikes", "--json"))
    assert content["task"] == "classification"
    assert content["skipped"] == []
    expected = load(run).predict(files, spikes=True)
    for got, prediction in zip(content["predictions"], expected, strict=True):
        assert got["file"] == prediction.key
        assert got["class"] == prediction.class_name
        assert list(got["probabilities"]) == ["high", "low", "middle"]
        assert list(got["probabilities"].values()) == prediction.probabilities.tolist()
        assert got["spike_counts"] == prediction.counts.tolist()
        assert got["spikes"] == prediction.spikes.tolist()


@pytest.mark.filterwarnings("default:skipped")
def test_a_net_adapts_before_it_predicts(tones: Path, files: list[Path], tmp_path: Path) -> None:
    from nwavesdk.train import load
    from train.runs import small_choices, write_untrained

    write_untrained(tmp_path / "run", small_choices(tones) | {"net": {"name": "conv"}})
    same_origin = ("--adapt", tones / "low", "--adapt", tones / "high" / "1.wav")
    content = json_object(nwave("predict", tmp_path / "run", *files, *same_origin, "--json"))
    assert content["adapted_to"] == [str(tones / "low"), str(tones / "high" / "1.wav")]
    adapted = load(tmp_path / "run").adapt([tones / "low", tones / "high" / "1.wav"])
    for got, prediction in zip(content["predictions"], adapted.predict(files), strict=True):
        assert list(got["probabilities"].values()) == prediction.probabilities.tolist()
    error = rejected("predict", tmp_path / "run", *files, "--adapt", tones / "low" / "0.wav")
    assert "needs at least 2 recordings to adapt to, got 1: pass a folder" in error
    missing = ("--adapt", tmp_path / "none.wav", "--on-error", "skip", "--json")
    content = json_object(nwave("predict", tmp_path / "run", *files, *same_origin, *missing))
    assert [file for file, _ in content["skipped"]] == [str(tmp_path / "none.wav")]


def test_the_data_of_the_run_are_not_needed(run: Path, files: list[Path], tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(run / name, tmp_path / name)
    config = tmp_path / "config.json"
    source = json.loads(config.read_text())["data"]["source"]
    # The source may move: it is no part of the seal.
    config.write_text(config.read_text().replace(source, "/nowhere"))
    expected = nwave("predict", run, *files).stdout
    assert nwave("predict", tmp_path, *files).stdout == expected


def test_files_hold_all_predictions(run: Path, files: list[Path], tmp_path: Path) -> None:
    from nwavesdk.train import load

    expected = load(run).predict(files, spikes=True)
    for suffix in ("csv", "npz", "json"):
        out = tmp_path / "new" / f"a.{suffix}"
        result = succeeded("predict", run, *files, "--spikes", "--out", out)
        assert result.stdout.splitlines()[-1] == f"written to {out}"

    rows = list(csv.DictReader((tmp_path / "new" / "a.csv").read_text().splitlines()))
    with np.load(tmp_path / "new" / "a.npz") as file:
        arrays = dict(file)
    objects = json.loads((tmp_path / "new" / "a.json").read_text())

    np.testing.assert_array_equal(
        arrays["predicted"], [prediction.predicted for prediction in expected]
    )
    np.testing.assert_array_equal(
        arrays["probabilities"], [prediction.probabilities for prediction in expected]
    )
    for index, prediction in enumerate(expected):
        assert rows[index]["class"] == objects[index]["class"] == prediction.class_name
        shares = [np.float32(rows[index][f"p({name})"]) for name in prediction.classes]
        np.testing.assert_array_equal(shares, prediction.probabilities)
        spikes = arrays["spikes"]
        np.testing.assert_array_equal(spikes[spikes[:, 0] == index, 1:], prediction.spikes)
        assert objects[index]["spikes"] == prediction.spikes.tolist()


def test_many_recordings_do_not_flood_the_terminal(run: Path, tones: Path) -> None:
    lines = nwave("predict", run, tones).stdout.splitlines()
    assert len(lines) == 42
    assert lines[-1] == "and 8 more; --out FILE.csv writes all of them"
    assert len(json_object(nwave("predict", run, tones, "--json"))["predictions"]) == 48


@pytest.mark.filterwarnings("default:skipped")
def test_files_that_cannot_be_used_are_skipped_and_listed(
    run: Path, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_text("a text")
    words = ["predict", run, files[0], tmp_path / "a.wav", tmp_path / "b.wav"]
    error = rejected(*words)
    assert "a.wav cannot be read as sound" in error
    assert error.rstrip().endswith("; --on-error skip skips it.")

    content = json_object(nwave(*words, "--on-error", "skip", "--json"))
    assert len(content["predictions"]) == 1
    assert [file for file, _ in content["skipped"]] == [str(tmp_path / f"{n}.wav") for n in "ab"]
    (note,) = nwave(*words, "--on-error", "skip").stderr.splitlines()
    words = f"nwave: warning: skipped 2 files of the data: {tmp_path}/a.wav cannot be read as sound"
    assert note.startswith(words)

    result = nwave("predict", run, tmp_path / "a.wav", "--on-error", "skip")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("nwave: none of the 1 recordings can be used")


def test_a_long_sound_can_be_allowed(run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    error = rejected("predict", run, tmp_path / "a.wav", "--max-seconds", 0.5)
    assert "lasts 1 s, expected at most 0.5 s" in error
    assert nwave("predict", run, tmp_path / "a.wav", "--max-seconds", 1).exit_code == 0


def test_a_note_names_recordings_that_are_cut(tones: Path, tmp_path: Path) -> None:
    from train.runs import small_choices, write_untrained

    choices = small_choices(tones)
    choices["data"] |= {"padding": "zeros", "length": 10}
    write_untrained(tmp_path / "run", choices)
    soundfile.write(tmp_path / "a.wav", np.ones(800), 8000)
    soundfile.write(tmp_path / "b.wav", np.ones(8000), 8000)
    note = nwave("predict", tmp_path / "run", tmp_path / "a.wav", tmp_path / "b.wav").stderr
    assert (
        f"1 of 2 recordings, such as {tmp_path}/b.wav, are longer than the recordings of the run"
        in note
    )
    assert "only their first 10 steps were used, as in training" in note


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), " got 0 recordings, expected files or arrays, and none for a run that generates"),
        (("NONE.wav",), "NONE.wav does not exist: check the name"),
        (("--out", "a.txt"), "--out: expected a name that ends in .csv, .npz, .json, got 'a.txt'"),
        (("--out", "RUN/result.json"), "--out: "),
    ],
)
def test_errors_are_one_line(run: Path, words: tuple[str, ...], message: str) -> None:
    assert message in rejected("predict", run, *(word.replace("RUN", str(run)) for word in words))


def test_classes_of_steps_and_values_are_summed_up(tmp_path: Path) -> None:
    from nwavesdk.cli.predict import _lines
    from nwavesdk.train import Prediction
    from nwavesdk.train.apply.predictions import prediction_json, write_predictions

    labels = np.array([0, 0, 1, 1, 1, 0])
    shares = np.eye(2, dtype=np.float32)[labels]
    steps = Prediction(
        key="x",
        task="labels",
        steps=6,
        classes=("P", "QRS"),
        predicted=labels,
        probabilities=shares,
        step_seconds=0.5,
    )
    assert _lines([steps], None)[1] == "x     P 0-1, QRS 2-4, P 5-5"
    many = Prediction(
        key="x",
        task="labels",
        steps=999,
        classes=("P", "QRS"),
        predicted=np.arange(999) % 2,
        probabilities=None,
        step_seconds=None,
    )
    assert _lines([many], None)[1].endswith(" …")
    assert len(_lines([many], None)[1]) < 130
    assert prediction_json(steps)["spans"] == [("P", 0, 1), ("QRS", 2, 4), ("P", 5, 5)]
    values = Prediction(
        key="y",
        task="regression",
        steps=3,
        classes=(),
        predicted=np.array([[1.0], [2], [6]], np.float32),
        probabilities=None,
        step_seconds=None,
    )
    assert [line.split() for line in _lines([values], None)] == [
        ["file", "value", "1"],
        ["y", "1", "to", "6"],
    ]
    write_predictions(tmp_path / "x.csv", [steps])
    rows = list(csv.reader((tmp_path / "x.csv").read_text().splitlines()))
    assert rows[0] == ["file", "step", "time [s]", "class", "p(P)", "p(QRS)"]
    assert rows[3] == ["x", "2", "1", "QRS", "0", "1"]
    write_predictions(tmp_path / "y.csv", [values, values])
    rows = list(csv.reader((tmp_path / "y.csv").read_text().splitlines()))
    assert rows[0] == ["file", "step", "value 1"]
    assert rows[-1] == ["y", "2", "6"]
    write_predictions(tmp_path / "y.npz", [values, values])
    with np.load(tmp_path / "y.npz") as arrays:
        assert arrays["predicted"].shape == (6, 1)
    write_predictions(tmp_path / "y.json", [values])
    assert json.loads((tmp_path / "y.json").read_text())[0]["values"] == [[1], [2], [6]]
