"""A trained run applied to recordings: its predictions equal the run's, in any form."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.data import Events, NetInput, Recordings, Series, Standard
from nwavesdk.data.features import (
    EventFeatures,
    ImageFeatures,
    LogMelFeatures,
    NoiseFeatures,
    SeriesFeatures,
)
from nwavesdk.data.front_end import LogMel
from nwavesdk.layers import prepare_net
from nwavesdk.presets import lif
from nwavesdk.train import Prediction, Run, RunConfig, TrainedRun, load
from nwavesdk.train.apply import batches
from nwavesdk.train.apply.batches import batch_of
from nwavesdk.train.apply.blocks import adapted_net
from nwavesdk.train.apply.recordings import FramedRecording, read_recordings
from nwavesdk.train.config.completed import Facts, Origin
from nwavesdk.train.config.recipes import complete
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.tasks import task_of
from train.runs import Choices, chip_choices, small_choices, write_untrained

soundfile = pytest.importorskip("soundfile")

POPULATION = 3


@pytest.fixture(scope="module")
def padded_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recordings are cut and padded to one length."""
    folder = tmp_path_factory.mktemp("padded") / "run"
    choices = small_choices(tones)
    choices["data"] |= {"hold": 2, "padding": "zeros", "length": 25}
    write_untrained(folder, choices)
    return folder


@pytest.fixture(scope="module")
def chip_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chip") / "run"
    write_untrained(folder, chip_choices(tones, training="plain"))
    return folder


# What is found in the data of each kind.
FOUND = {
    "sound": {"hold": 1, "sample_rate": 8000},
    "series": {"hold": 1, "add_standardized": False},
    "image": {"steps": 1},
    "events": {"hold": 1, "bin": 0.01},
    "pattern": {"hold": 1},
}


def untrained(task: str, kind: str, features: Any, n_features: int, **fields: Any) -> TrainedRun:
    """A run with random weights, for what needs no training."""
    has_values = task in ("regression", "pattern")
    names = ("hold", "encoder", "center", "standardize", "look_ahead")
    inputs = {name: fields.pop(name) for name in names if name in fields}
    facts = Facts(
        classes=() if has_values else ("a", "b"),
        n_targets=2 if has_values else 0,
        feature_shape=(n_features,),
        n_features=n_features,
        fingerprint="",
        recordings=(1, 1, 1),
        typical_steps=1,
        split_by="recording",
        split_reason="",
        split_version=1,
        begun_with=Origin.current(),
        **fields,
    )
    net: Choices = {"name": "lif", "hidden": [12]}
    field = "steps" if kind == "image" else "hold"
    held = {field: inputs["hold"]} if "hold" in inputs else {}
    choices: Choices = {
        "data": {"kind": kind, "source": "nowhere", **FOUND[kind], **held},
        "task": {"name": task},
        "net": net | ({"population": POPULATION} if task == "classification" else {}),
        "learning": {"epochs": 1, "batch_size": 1},
    }
    config = complete(RunConfig.of(choices), facts, threads=1)
    targets = Standard(np.array([1.0, -1.0], np.float32), np.array([2.0, 0.5], np.float32))
    torch.manual_seed(1)
    model = lif.build((n_features,), 2, config)
    with torch.no_grad():
        model[0].weight.mul_(4)
    standard = Standard(np.zeros(n_features, np.float32), np.ones(n_features, np.float32))
    return TrainedRun(
        config=config,
        net=model.eval(),
        task=task_of(config).scaled(targets),
        features=features,
        input=NetInput(standard=standard, **inputs),
        max_seconds=600,
    )


SERIES = untrained("classification", "series", SeriesFeatures(), 3)
DOUBLED = untrained("classification", "series", SeriesFeatures(add_standardized=True), 6)
SOUND = LogMelFeatures(LogMel(8000, 6), "peak")
EVENTS = untrained("classification", "events", EventFeatures((2, 3), 0.01), 6, hold=2)
CAMERA = Events(
    np.sort(np.random.default_rng(0).uniform(0, 1, 300)),
    np.random.default_rng(1).integers(0, 6, 300),
    (2, 3),
    1.0,
)


def test_a_run_is_shown_in_one_short_line(chip_run: Path) -> None:
    text = str(load(chip_run))
    assert text.startswith(f"TrainedRun {chip_run}: classification of sound, 3 classes, ")
    assert text.endswith(" parameters")
    assert len(text) < len(str(chip_run)) + 80


def series(steps: int, features: int = 3) -> np.ndarray:
    return np.random.default_rng(steps).normal(size=(steps, features)).astype(np.float32)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, round(seconds * 8000)).astype(np.float32)


def assert_same(got: Prediction, expected: Prediction) -> None:
    """All bits are the same; spikes, too, if both have them."""
    assert got.steps == expected.steps
    np.testing.assert_array_equal(got.predicted, expected.predicted)
    for name in ("probabilities", "counts", "spikes"):
        values = [getattr(one, name) for one in (got, expected)]
        assert (values[0] is None) == (values[1] is None)
        if values[0] is not None:
            np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("name", ["finished", "padded_run", "chip_run"])
def test_predictions_for_the_test_set_are_those_of_the_run(
    name: str, tones: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    trained = Run.open(folder)
    test = trained.data.test
    run = load(folder)
    predictions = run.predict([tones / key for key in test.recordings.keys])
    expected = evaluate_net(trained.trained().net, run.task, test, batch_size=4).predicted
    assert [int(one.predicted) for one in predictions] == expected.tolist()
    assert [one.steps for one in predictions] == test.lengths.tolist()
    names = {one.class_name for one in predictions}
    assert len(names) > 1
    for one in predictions:
        assert one.ranking[0][0] == one.class_name
        assert one.probabilities.sum() == pytest.approx(1)


def test_recordings_that_are_longer_than_those_of_the_run_are_cut(
    finished: Path, padded_run: Path, chip_run: Path
) -> None:
    for folder in (padded_run, chip_run):
        run = load(folder)
        short, long = run.predict([noise(0.27), noise(0.32)])
        assert (short.is_cut, long.is_cut) == (False, True)
        assert short.steps == long.steps
    assert not load(finished).predict(noise(2.0))[0].is_cut


def test_a_recording_in_memory_is_that_of_its_file(finished: Path, tones: Path) -> None:
    run = load(finished)
    file = tones / "low" / "0.wav"
    samples, rate = soundfile.read(file, dtype="float32")
    expected = run.predict(file, spikes=True)[0]
    for given in (samples, (samples, rate), torch.from_numpy(samples)):
        assert_same(run.predict(given, spikes=True)[0], expected)
    twice = np.stack([samples, samples], axis=1)
    with pytest.raises(ValueError, match="expected mono, floating"):
        run.predict(twice)


def test_other_rates_and_channels_become_those_of_the_run(finished: Path, tmp_path: Path) -> None:
    time = np.arange(11025) / 44100
    tone = 0.3 * np.sin(2 * np.pi * 300 * time).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 44100, "FLOAT")
    run = load(finished)
    assert_same(run.predict(tmp_path / "a.wav")[0], run.predict((tone, 44100))[0])


def test_folders_with_and_without_classes_and_files_with_many_recordings(
    finished: Path, tones: Path, tmp_path: Path
) -> None:
    run = load(finished)
    assert len(run.predict(tones)) == 48
    keys = [one.key for one in run.predict([tones / "low", tones / "high" / "3.wav"])]
    assert keys[0] == f"{tones}/low/0.wav"
    assert keys[-1] == f"{tones}/high/3.wav"
    assert len(keys) == 17
    np.savez(tmp_path / "many.npz", x=np.stack([series(9), series(9) + 1]), y=[0, 1])
    many = SERIES.predict([tmp_path / "many.npz"])
    assert [one.key for one in many] == ["many.npz/0", "many.npz/1"]
    assert_same(many[0], SERIES.predict(series(9))[0])
    np.savez(tmp_path / "new.npz", x=np.stack([series(9), series(9) + 1]))
    for new, known in zip(SERIES.predict(tmp_path / "new.npz"), many, strict=True):
        assert_same(new, known)


def test_new_files_are_read_with_the_columns_and_missing_values_of_the_run(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for n in range(12):
        file = data / "ab"[n % 2] / f"{n}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"12:00:{step:02},{x},{y},{z}" for step, (x, y, z) in enumerate(series(9) + n)]
        file.write_text("\n".join(["time,x,y,z", *rows]))
    choices: Choices = {
        "data": {"source": str(data), "columns": "z,x", "missing": "interpolate"},
        "net": {"name": "lif", "hidden": [4]},
        "machine": {"accelerator": "cpu"},
    }
    write_untrained(tmp_path / "run", choices)
    run = load(tmp_path / "run")
    assert run.config.facts.feature_names == ("z", "x")
    values = series(9)
    rows = [f"13:00,{y},{z},{x}" for x, y, z in values]
    rows[4] = f"?,{values[4, 1]},,{values[4, 0]}"
    (tmp_path / "new.csv").write_text("\n".join(["when,y,z,x", *rows]))
    values[4, 2] = (values[3, 2] + values[5, 2]) / 2
    with pytest.warns(UserWarning, match=r"^1 missing values in 1 of 1 recordings were interp"):
        (new,) = run.predict(tmp_path / "new.csv")
    np.testing.assert_array_equal(
        new.probabilities, run.predict(values[:, [2, 0]])[0].probabilities
    )


def test_the_table_of_sets_of_a_run_is_not_a_recording(tmp_path: Path) -> None:
    data = tmp_path / "data"
    table = data / "sets.csv"
    rows = ["file,part"]
    for n in range(12):
        file = data / "ab"[n % 2] / f"{n}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(file, series(9), delimiter=",")
        rows.append(f"{file.relative_to(data)},{'train' if n < 8 else 'test'}")
    table.write_text("\n".join(rows))
    choices = {"data": {"source": str(data), "split": str(table)}}
    choices |= {"net": {"name": "lif", "hidden": [4]}}
    write_untrained(tmp_path / "run", choices | {"machine": {"accelerator": "cpu"}})
    run = load(tmp_path / "run")
    keys = [one.key for one in run.predict(data)]
    assert len(keys) == 12
    assert not any(key.endswith("sets.csv") for key in keys)
    # Without its table, a run predicts the same.
    others = tmp_path / "others"
    data.rename(others)
    (others / "sets.csv").unlink()
    assert len(run.predict(others)) == 12


FORMS: dict[str, Callable[[], tuple[TrainedRun, Any]]] = {
    "classes": lambda: (SERIES, series(100)),
    "labels": lambda: (untrained("labels", "series", SeriesFeatures(), 3), series(100)),
    "values": lambda: (untrained("regression", "series", SeriesFeatures(), 3), series(100)),
    "held": lambda: (untrained("labels", "series", SeriesFeatures(), 3, hold=3), series(50)),
    "later": lambda: (
        untrained("labels", "series", SeriesFeatures(), 3, hold=3, look_ahead=20),
        series(50),
    ),
    "centered": lambda: (
        untrained("labels", "series", SeriesFeatures(), 3, center=True, standardize=True),
        series(100) + 5,
    ),
    "doubled": lambda: (DOUBLED, series(100)),
    "sound": lambda: (untrained("labels", "sound", SOUND, 6), noise(1.0)),
    "events": lambda: (EVENTS, CAMERA),
    "image": lambda: (
        untrained("classification", "image", ImageFeatures((2, 3)), 6, hold=90, encoder="latency"),
        np.random.default_rng(0).uniform(size=(2, 3)),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_blocks_of_a_long_recording_are_one_call(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recording = FORMS[form]()
    has_spikes = not run.task.is_readout
    whole = run.predict(recording, spikes=has_spikes)[0]
    assert whole.steps > 80
    monkeypatch.setattr(batches, "MAX_STEPS", 7)
    longest = []
    forward = type(run.net).forward

    def count_steps(self: Any, x: torch.Tensor, *rest: Any) -> Any:
        longest.append(x.shape[1])
        return forward(self, x, *rest)

    monkeypatch.setattr(type(run.net), "forward", count_steps)
    assert_same(run.predict(recording, spikes=has_spikes)[0], whole)
    assert max(longest) <= 7


def test_a_given_recording_is_centered_as_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run, recording = FORMS["centered"]()
    monkeypatch.setattr(batches, "MAX_STEPS", 7)
    x = batch_of([FramedRecording("", recording)], run.input).x[0].numpy()
    one = Recordings((recording,), np.zeros(1, np.int64), (), ("",), fingerprint="")
    expected = Series(one, run.input).input_of(0)
    np.testing.assert_array_equal(x, expected)
    assert np.abs(x.mean(0)).max() < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_one_call_of_the_net_gives_the_same(form: str) -> None:
    run, recording = FORMS[form]()
    predicted = run.predict(recording)[0]
    x = batch_of(list(read_recordings(run, recording, [], "raise")), run.input).x.to_dense()
    prepare_net(run.net)
    decoder = run.task.decoder()
    prepare_net(decoder)
    with torch.inference_mode():
        outputs = decoder(*run.net(x))
    expected = run.task.predict(outputs)[0]
    if run.input.look_ahead:
        expected = expected[run.input.look_ahead :]
    np.testing.assert_array_equal(predicted.predicted, expected)


def test_a_batch_of_recordings_of_different_lengths_is_each_of_them() -> None:
    run = untrained("labels", "series", SeriesFeatures(), 3, look_ahead=6)
    given = [series(steps) for steps in (5, 70, 31)]
    for got, recording in zip(run.predict(given), given, strict=True):
        assert_same(got, run.predict(recording)[0])
    spikes = [one.spikes for one in SERIES.predict(given, spikes=True)]
    for got_spikes, recording in zip(spikes, given, strict=True):
        np.testing.assert_array_equal(got_spikes, SERIES.predict(recording, spikes=True)[0].spikes)


def test_spikes_are_counted_by_class() -> None:
    one = SERIES.predict(series(60), spikes=True)[0]
    assert len(one.spikes) == one.counts.sum() > 0
    assert one.spikes[:, 0].max() < 60
    of_class = one.spikes[:, 1] // POPULATION
    np.testing.assert_array_equal(np.bincount(of_class, minlength=2), one.counts)
    run = untrained("labels", "series", SeriesFeatures(), 3)
    with pytest.raises(
        ValueError, match="outputs of this net are membranes or scores, which do not spike"
    ):
        run.predict(series(60), spikes=True)


@pytest.fixture(scope="module")
def conv_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `--net conv`, which has batch norms, with its initial weights."""
    folder = tmp_path_factory.mktemp("conv") / "run"
    choices = small_choices(tones) | {"net": {"name": "conv"}}
    write_untrained(folder, choices)
    return folder


def test_a_run_adapts_to_recordings_and_stays(conv_run: Path, tones: Path) -> None:
    run = load(conv_run)
    files = [tones / "low" / f"{n}.wav" for n in range(5)]
    before = run.predict(files)
    adapted = run.adapt(files)
    for got, expected in zip(run.predict(files), before, strict=True):
        assert_same(got, expected)
    batch = batch_of(list(read_recordings(run, files, [], "raise")), run.input)
    assert len(batch.lengths.unique()) > 1
    again = replace(run, net=adapted_net(run.net, batch)).predict(files)
    for got, expected, old in zip(adapted.predict(files), again, before, strict=True):
        assert_same(got, expected)
        assert got.probabilities is not None
        assert old.probabilities is not None
        assert not np.array_equal(got.probabilities, old.probabilities)


def test_a_run_adapts_to_arrays_of_two_recordings_and_more(conv_run: Path, tones: Path) -> None:
    run = load(conv_run)
    adapted = run.adapt([noise(0.3), noise(0.2)])
    assert adapted.predict(noise(0.3))[0].probabilities is not None
    with pytest.raises(ValueError, match="needs at least 2 recordings to adapt to, got 1: pass"):
        run.adapt(noise(0.3))
    with pytest.raises(ValueError, match="The net cannot adapt, got 0 calls of 0 batch norms"):
        SERIES.adapt([series(9), series(12)])
    with pytest.warns(UserWarning, match=r"skipped 1 files of the data: .*none\.wav"):
        run.adapt([*(tones / "low" / f"{n}.wav" for n in "01"), "none.wav"], on_error="skip")
    # A file that is given twice is one recording.
    twice = [tones / "low" / "0.wav", tones / "low" / "0.wav", tones / "none.wav"]
    with (
        pytest.raises(ValueError, match="got 1: pass a folder or several files"),
        pytest.warns(UserWarning, match="skipped 1 files"),
    ):
        run.adapt(twice, skipped := [], on_error="skip")
    assert [file for file, _ in skipped] == [str(tones / "none.wav")]


def test_patterns_are_generated_without_recordings() -> None:
    patterns = (("y.npz/0", 30), ("y.npz/1", 20))
    run = untrained("pattern", "pattern", NoiseFeatures(0, 4), 4, patterns=patterns)
    first, second = run.predict()
    assert (first.key, first.predicted.shape) == ("y.npz/0", (30, 2))
    assert not np.array_equal(first.predicted[:20], second.predicted)
    assert_same(run.predict()[0], first)
    with pytest.raises(
        ValueError, match="got 1 recordings, expected .* none for a run that generates"
    ):
        run.predict(series(9, 4))
    for recordings in ([], [series(9, 4), series(9, 4)]):
        with pytest.raises(ValueError, match="cannot adapt: it generates a pattern and has no inp"):
            run.adapt(recordings)


def test_spans_and_the_duration_of_steps() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0])
    one = Prediction(
        key="x",
        task="labels",
        steps=6,
        classes=("P", "QRS"),
        predicted=labels,
        probabilities=None,
        step_seconds=0.5,
    )
    assert one.spans() == [("P", 0, 1), ("QRS", 2, 4), ("P", 5, 5)]
    with pytest.raises(ValueError, match="x has a prediction for each of its steps, not one class"):
        _ = one.class_name
    assert EVENTS.step_seconds == 0.005


def test_a_net_for_colors_takes_a_gray_image() -> None:
    run = untrained("classification", "image", ImageFeatures((2, 3, 3)), 18)
    gray = np.random.default_rng(0).random((2, 3)).astype(np.float32)
    assert_same(run.predict(gray)[0], run.predict(np.repeat(gray[..., None], 3, axis=2))[0])
    with pytest.raises(
        ValueError, match=r"recording 0 is an image of the shape \(3, 2, 3\), expected"
    ):
        run.predict(gray.T)


def text_file(folder: Path) -> Path:
    (folder / "a.wav").write_text("a text")
    return folder / "a.wav"


def csv_file(folder: Path) -> Path:
    np.savetxt(folder / "a.csv", series(9, 5), delimiter=",")
    return folder / "a.csv"


IMAGE_RUN = untrained("classification", "image", ImageFeatures((2, 3)), 6)
SOUND_RUN = untrained("classification", "sound", SOUND, 6)

BAD: list[tuple[TrainedRun, Callable[[Path], Any], str]] = [
    (SERIES, lambda folder: folder / "no.csv", r"no\.csv does not exist: check the name"),
    (SERIES, text_file, r"a\.wav holds sound, expected series like the data of the run: remove it"),
    (SERIES, csv_file, r"a\.csv has 5 features in a step, expected 3 like the data of the run: re"),
    (SERIES, lambda _: series(9, 4), "recording 0 has 4 features in a step, expected 3 like the"),
    (SERIES, lambda _: series(9, 1), "recording 0 has 1 features in a step, expected 3 like the"),
    (DOUBLED, lambda _: series(9, 4), "recording 0 has 4 features in a step, expected 3 like the"),
    (SERIES, lambda _: np.full((4, 3), 1e300), r"recording 0 has 1e\+300 at index \[0, 0\], exp"),
    (
        SERIES,
        lambda _: np.full((4, 3), np.nan),
        r"recording 0 has nan at index \[0, 0\], expected finite",
    ),
    (SERIES, lambda _: np.zeros(4), "recording 0 has 1 features in a step, expected 3 like the"),
    (SERIES, lambda _: [], "The run got 0 recordings, expected files or arrays"),
    (SOUND_RUN, text_file, r"a\.wav cannot be read as sound .*: repair or remove it"),
    (
        SOUND_RUN,
        lambda _: np.zeros(0, np.float32),
        "recording 0 holds values of type float32 and shape ",
    ),
    (
        IMAGE_RUN,
        lambda _: np.zeros((3, 2)),
        r"recording 0 is an image of the shape \(3, 2\), expected \(2, 3\)",
    ),
    (
        EVENTS,
        lambda _: Events(np.zeros(1), np.zeros(1, np.int64), (4, 4), 1.0),
        r"recording 0 is from a sensor of shape \(4, 4\), expected \(2, 3\)",
    ),
]


@pytest.mark.parametrize(("run", "make", "message"), BAD)
def test_recordings_that_cannot_be_used_are_one_line(
    run: TrainedRun, make: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        run.predict(make(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("run", "value", "error"),
    [
        (SERIES, 3, ValueError),
        (SERIES, CAMERA, ValueError),
        (SERIES, None, ValueError),
        (EVENTS, series(3), TypeError),
        (SOUND_RUN, None, ValueError),
        (SOUND_RUN, (series(3)[:, 0], 0), ValueError),
    ],
)
def test_values_that_are_no_recording_are_errors(
    run: TrainedRun, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match="expected|sample rate must be a whole number"):
        run.predict([value])  # type: ignore[list-item]


def test_files_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "b.csv", series(9), delimiter=",")
    files = [csv_file(tmp_path), tmp_path / "b.csv", tmp_path / "c.csv"]
    with pytest.warns(
        UserWarning, match=r"skipped 2 files of the data: .*a\.csv has 5 features .*; .*c\.csv"
    ):
        predictions = SERIES.predict(files, on_error="skip")
    assert [one.key for one in predictions] == [str(tmp_path / "b.csv")]


class Table:
    """A table in memory with names of columns, like a DataFrame of pandas."""

    def __init__(self, *columns: object) -> None:
        self.columns = columns

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.ones((5, len(self.columns)), np.float32)


def test_columns_in_another_order_than_in_training_are_an_error(tmp_path: Path) -> None:
    for name in ("no/0", "no/1", "no/2", "yes/3", "yes/4", "yes/5"):
        file = tmp_path / "data" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(file, series(9), delimiter=",", header="x,y,z", comments="")
    write_untrained(tmp_path / "run", {"data": {"source": str(tmp_path / "data")}})
    run = load(tmp_path / "run")
    assert len(run.predict([Table("x", "y", "z"), Table("a", "b", "c"), Table(0, 1, 2)])) == 3
    with pytest.raises(ValueError, match="recording 0 has the name 'z' in column 2, expected 'y'"):
        run.predict([Table("x", "z", "y")])
    new = tmp_path / "new.csv"
    for header in ("x,z,y\n", "x,y,z\n", ""):
        new.write_text(header + "1,2,3\n4,5,6\n")
        if header == "x,z,y\n":
            words = (
                r"new\.csv has the name 'z' in column 2, expected 'y' like the data of the run: "
            )
            with pytest.raises(ValueError, match=words):
                run.predict(new)
        else:
            assert len(run.predict(new)) == 1


def test_runs_that_cannot_be_loaded_are_errors(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run \(no config\.json\): pass the folder of"):
        load(tmp_path)
    config = tmp_path / "config.json"
    text = (finished / "config.json").read_text()
    config.write_text(text)
    with pytest.raises(ValueError, match="does not exist: the run has not finished"):
        load(tmp_path)
    model = (finished / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(model[:-8] + bytes(8))
    with pytest.raises(ValueError, match=r"model\.safetensors .*: remove it; `nwave train --resum"):
        load(tmp_path)


def test_sums_are_those_of_the_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load(finished)
    machine = run.config.machine
    assert machine.threads == Run.open(finished).config.machine.threads
    monkeypatch.setattr(torch, "set_num_threads", threads := MagicMock())
    config = SERIES.config.model_copy(update={"machine": machine})
    replace(SERIES, config=config).predict(series(5))
    assert threads.call_args_list[0].args == (machine.threads,)


@pytest.mark.parametrize("task", ["labels", "regression"])
def test_a_stream_gives_the_output_of_each_step_of_predict(task: str) -> None:
    features = LogMelFeatures(LogMel(8000, 6), "as_is")
    run = untrained(task, "sound", features, 6, hold=2, look_ahead=15)
    data = run.config.data.model_copy(update={"level": "as_is"})
    run = replace(run, config=run.config.model_copy(update={"data": data}))
    sound = noise(1.03)

    stream = run.stream()
    pieces = [stream.push(sound[:3000]), stream.push(sound[3000:]), stream.finish()]
    values, times = map(np.concatenate, zip(*pieces, strict=True))
    prediction = run.predict(sound)[0]
    assert len(values) == len(times) == prediction.steps == 2 * 101
    predicted = values if task == "regression" else values.argmax(axis=1)
    np.testing.assert_array_equal(predicted, prediction.predicted)

    # Blocks of 20 steps are complete every 10 frames; a step is delayed by 15 steps.
    assert times[:5] == pytest.approx(25e-3 + 9 * 10e-3)
    assert times[5:25] == pytest.approx(25e-3 + 19 * 10e-3)
    assert times[-1] == pytest.approx(1.03)
