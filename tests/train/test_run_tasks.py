"""Runs of each task and with another neuron: they learn, report, and resume to the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from nwavesdk.data import Series
from nwavesdk.deploy.chip_run import ChipRun
from nwavesdk.layers import LILayer, NeuronLayer
from nwavesdk.presets import lif
from nwavesdk.train import Run, RunConfig, RunFolder, load
from nwavesdk.train.data.load import complete_data
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.model_file import load_model
from nwavesdk.train.fit.network import sample_config
from nwavesdk.train.fit.tasks import Classification
from train.runs import Choices, assert_resumes, metrics, model_bytes, no_pictures, stop_after

T = 40


def write_labels(path: Path) -> None:
    """Noisy recordings of different lengths; class 1 is rare."""
    draw = np.random.default_rng(0)
    shape = (30, T)
    y = (draw.random(shape) < 0.2).astype(np.int64).repeat(4, axis=1)[:, :T]
    x = np.stack([y, 1 - y], axis=2) + 0.3 * draw.normal(size=(*shape, 2))
    np.savez(path, x=x.astype(np.float32), y=y)


def write_values(path: Path) -> None:
    """Two filtered inputs in other units."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(30, T, 2)).cumsum(axis=1) * 0.3
    y = 100 + 10 * x[:, :, ::-1]
    np.savez(path, x=x.astype(np.float32), y=y.astype(np.float32))


def write_pattern(path: Path) -> None:
    """A period of a sine."""
    y = np.sin(np.arange(T) / T * 2 * np.pi)
    np.savez(path, y=y[None, :, None].astype(np.float32))


WRITERS: dict[str, Callable[[Path], None]] = {
    "labels": write_labels,
    "regression": write_values,
    "pattern": write_pattern,
}
# The pictures of each task next to the pictures of all tasks.
PICTURES = {
    "labels": {"step_labels", "confusion_matrix"},
    "regression": {"predictions", "scatter"},
    "pattern": {"predictions", "scatter"},
}
ALL_PICTURES = {"learning_curves", "spike_raster", "membrane_traces"}


def choices_of(task: str, folder: Path, chip: str = "") -> Choices:
    """A run of a second."""
    file = folder / f"{task}.npz"
    WRITERS[task](file)
    choices: Choices = {
        "data": {"source": str(file)},
        "net": {"name": "lif", "hidden": [12], "dropout": 0.0, "tau": 5e-3},
        "learning": {"epochs": 3, "batch_size": 8, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }
    if chip:
        choices["chip"] = {"profile": chip}
        choices["net"] |= {"name": "chip", "population": 4}
    return choices


CASES = ["labels", "regression", "pattern on h1v2"]


@pytest.fixture(autouse=True)
def _no_pictures() -> None:
    """The pictures of each task and neuron are drawn."""


@pytest.mark.parametrize("case", CASES)
def test_a_run_reports_is_evaluated_and_resumes(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, _, chip = case.partition(" on ")
    choices = choices_of(task, tmp_path, chip)
    run = Run.new(tmp_path / "whole", choices)
    assert run.task.name == task
    result = run.train()
    assert result == RunFolder(tmp_path / "whole").read_result()
    score = "accuracy" if task == "labels" else "r2"
    tested = Run.open(tmp_path / "whole").test()
    assert next(iter(tested)) == f"test_{score}"
    assert tested[f"test_{score}"] == result[f"test_{score}"]
    best = metrics(tmp_path / "whole")[result["best_epoch"] - 1]
    assert float(best[f"val_{score}"]) == pytest.approx(result[f"val_{score}"], rel=1e-4)
    pictures = {file.stem for file in RunFolder(tmp_path / "whole").pictures.iterdir()}
    assert pictures == ALL_PICTURES | PICTURES[task]
    page = RunFolder(tmp_path / "whole").report.read_text()
    assert ("Training, validation and test set are this same pattern" in page) == (
        task == "pattern"
    )
    assert ("The class of a step depends on no later steps." in page) == (task == "labels")
    if chip:
        with pytest.raises(ValueError, match="got a run for pattern, expected classification"):
            ChipRun.open(tmp_path / "whole").series(2, 0, 0.9)
    monkeypatch.setattr("nwavesdk.train.fit.course.write_report", lambda _: None)
    assert_resumes(Run.new(tmp_path / "broken", choices), 2, tmp_path / "whole")


@pytest.mark.usefixtures("without_report")
def test_targets_keep_their_units(tmp_path: Path) -> None:
    choices = choices_of("regression", tmp_path)
    choices["learning"] |= {"epochs": 12, "rate": 0.05}
    run = Run.new(tmp_path / "run", choices)
    result = run.train()
    assert result["test_r2"] > 0.5
    assert isinstance(run.trained().net[-1], LILayer)
    net, folder = run.network(), run.folder
    _, targets = load_model(folder.model, net, folder.identity)
    assert targets.mean.tolist() == pytest.approx([100, 100], abs=5)
    variance = float((targets.deviation**2).mean())
    # 1 - R² is the error relative to the variance, which is about the variance of the training set.
    assert result["test_mse"] == pytest.approx((1 - result["test_r2"]) * variance, rel=0.5)


@pytest.mark.usefixtures("without_report")
def test_a_look_ahead_gives_classes_that_only_later_steps_tell(tmp_path: Path) -> None:
    choices = choices_of("labels", tmp_path)
    choices["task"] = {"look_ahead": 12}
    choices["net"]["tau"] = 2e-3
    choices["learning"] |= {"epochs": 12, "rate": 0.05}
    # The input tells the class of twelve steps before, which is an independent one.
    y = np.random.default_rng(0).integers(2, size=(30, 10)).repeat(8, axis=1)
    x = np.zeros((30, 80, 2), np.float32)
    x[:, 12:] = np.eye(2)[y[:, :-12]]
    np.savez(tmp_path / "labels.npz", x=x, y=y)
    run = Run.new(tmp_path / "run", choices)
    result = run.train()
    assert result["test_accuracy"] > 0.8
    tested = [int(key.rpartition("/")[2]) for key in run.data.test.recordings.keys]
    predicted = np.stack([one.predicted for one in load(tmp_path / "run").predict([*x[tested]])])
    assert (predicted == y[tested]).mean() == pytest.approx(result["test_accuracy"])
    evaluation = evaluate_net(run.trained().net, run.task, run.data.test, batch_size=8)
    assert evaluation.lengths.tolist() == [80] * len(tested)
    for index, place in enumerate(tested):
        found, target = evaluation.recording(index)
        np.testing.assert_array_equal(found, predicted[index])
        np.testing.assert_array_equal(target, y[place])


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("is_balanced", [False, True])
def test_unbalanced_classes_are_noted_or_weighted(
    is_balanced: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    choices = choices_of("labels", tmp_path)
    choices["learning"] |= {"epochs": 2}
    if is_balanced:
        choices["task"] = {"class_weights": "balanced"}
    result = Run.new(tmp_path / "run", choices).train()
    notes = [line for line in capsys.readouterr().err.splitlines() if "note: the classes" in line]
    assert len(notes) == (not is_balanced)
    if notes:
        assert "are '0' and" in notes[0]
        assert "--class-weights balanced" in notes[0]
    assert {"test_balanced_accuracy", "test_f1", "val_balanced_accuracy"} <= result.keys()
    assert 0 < result["test_balanced_accuracy"] <= 1


@pytest.mark.usefixtures("without_pictures")
def test_no_test_leaves_the_test_set_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = choices_of("labels", tmp_path)
    choices["data"]["test"] = False
    choices["learning"]["epochs"] = 1
    run = Run.new(tmp_path / "run", choices)
    batch = Series.batch

    def unreadable(self: Series, indices: Any) -> Any:
        assert self is not run.data.test, "the test set is read"
        return batch(self, indices)

    with monkeypatch.context() as patch:
        patch.setattr(Series, "batch", unreadable)
        result = run.train()
    assert not any(name.startswith("test_") for name in result)
    assert result == run.folder.read_result()
    page = run.folder.report.read_text()
    assert "selected on the validation set" in page
    assert "Dotted: the epoch whose weights are kept." in page
    assert "not read (--no-test); `nwave eval run` reads it" in page
    tested = Run.open(tmp_path / "run").test()
    assert 0 < tested["test_accuracy"] <= 1


@pytest.mark.usefixtures("without_report")
def test_a_run_with_workers_resumes_to_the_bits_of_one_without(tmp_path: Path) -> None:
    choices = choices_of("regression", tmp_path)
    Run.new(tmp_path / "whole", choices).train()
    choices["machine"] |= {"workers": 1}
    stop_after(Run.new(tmp_path / "broken", choices), 2)
    Run.open(tmp_path / "broken").train()
    names = ("train_loss", "val_loss")
    rows = [metrics(tmp_path / run) for run in ("whole", "broken")]
    assert [[row[name] for name in names] for row in rows[0]] == [
        [row[name] for name in names] for row in rows[1]
    ]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("first", ["labels", "regression"])
def test_frames_in_the_cache_are_those_of_one_task(first: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.npz"
    write_labels(file)
    shapes = {"labels": (T,), "regression": (T, 1)}
    for task in (first, *shapes):
        _, data = complete_data(
            RunConfig.of({"data": {"source": str(file)}, "task": {"name": task}})
        )
        assert data.train.recordings.targets[0].shape == shapes[task]


@pytest.mark.parametrize("task", ["labels", "regression"])
def test_a_limit_counts_recordings_of_every_task(task: str, tmp_path: Path) -> None:
    choices = choices_of(task, tmp_path)
    choices["data"]["limit"] = 10
    config, _ = complete_data(RunConfig.of(choices))
    assert sum(config.facts.recordings) == 10


def test_a_resumed_run_ends_with_the_same_weights_and_constants(
    choices: Choices, tmp_path: Path
) -> None:
    choices["net"] |= {"neuron": "klif", "constants": "tau=0.01", "learn": "k"}
    whole = Run.new(tmp_path / "whole", choices)
    result = whole.train()
    assert result["test_accuracy"] > 0.6  # three tones in noise: chance is 0.33
    stop_after(Run.new(tmp_path / "broken", choices), 2)
    resumed = Run.open(tmp_path / "broken")
    with no_pictures():
        resumed.train()
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
    assert Run.open(tmp_path / "whole").test()["test_accuracy"] == result["test_accuracy"]
    layer = next(module for module in resumed.trained().net if isinstance(module, NeuronLayer))
    learned = layer.constant("k").item()
    assert learned != pytest.approx(1.0, rel=1e-3)
    assert layer.constant("tau").item() == pytest.approx(0.01)
    page = (tmp_path / "whole" / "report.html").read_text()
    assert f"tau=0.01, k={learned:.4g} (learned), threshold=1" in page


def test_scaled_weights_learn_and_decay_as_others_do() -> None:
    net = {"hidden": [5], "neuron": "adlif", "learn": ["a"], "charge_gain": 10}
    config = sample_config("lif", (3,), 2, **net)
    learning = config.learning
    task = Classification(config)
    model = Learner(lif.build((3,), 2, config), task, learning, seed=0, charge_gain=10)
    others, scaled, constants = model._parameter_groups()
    assert others["params"] == [model.net[-2].weight]
    assert scaled["params"] == [model.net[0].weight]
    assert scaled["lr"] == 10 * learning.rate
    assert scaled["lr"] * scaled["weight_decay"] == learning.rate * learning.weight_decay
    assert constants["params"] == [model.net[1].logit_a]
    assert constants["weight_decay"] == 0
    net = lif.build((3,), 2, sample_config("lif", (3,), 2))
    (group,) = Learner(net, task, learning, seed=0)._parameter_groups()
    assert group["params"] == [*net.parameters()]
    assert (group["lr"], group["weight_decay"]) == (learning.rate, learning.weight_decay)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        *(
            (
                {"neuron": neuron, "tau": 2e-3, "dt": 5e-3},
                r"from 1 to 1,000 steps of 0\.005 s, got 1: tau.* of 0\.002 s; 4: taus of",
            )
            for neuron in ("lif", "klif")
        ),
        (
            {"neuron": "adlif", "constants": {"tau_w": 100}},
            r"steps of 0\.001 s, got .*: tau_w of 100 s: ",
        ),
    ],
)
def test_a_run_with_time_constants_of_another_unit_warns_once(
    choices: Choices, tmp_path: Path, net: Choices, words: str
) -> None:
    choices["net"] |= net
    with pytest.warns(UserWarning, match=words) as caught:
        run = Run.new(tmp_path / "run", choices)
    run.network()
    assert len(caught) == 1
