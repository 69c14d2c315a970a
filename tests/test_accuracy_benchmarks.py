"""The CNN and the SVM to compare with, the table of accuracies, and the study of defaults."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer

from benchmarks import accuracy, adaptation, baselines, cnn, recipe
from benchmarks.development import SETS, DevelopmentSet, chosen_sets, find_data
from examples.small_data import FORMATS
from nwavesdk.cli.options import RUN_FIELDS, add_run_choices
from nwavesdk.train import RunConfig
from nwavesdk.train.config import merge_choices

svm = pytest.importorskip("benchmarks.svm", reason="needs scikit-learn", exc_type=ImportError)

ONE = DevelopmentSet("one", "series", "one", {"folds": 2}, goal=90.0, fold=1)


def test_the_small_cnn_has_46_thousand_parameters() -> None:
    net = cnn.net_for("sound", (40,), 12, is_per_step=False)
    assert sum(parameter.numel() for parameter in net.parameters()) == 45_996


@pytest.mark.parametrize(
    ("kind", "shape", "is_per_step"),
    [
        ("sound", (9,), False),
        ("series", (3,), False),
        ("series", (3,), True),
        ("image", (8, 6, 3), False),
        ("image", (8, 6), False),
        ("events", (2, 5, 7), False),
    ],
)
def test_what_comes_after_the_end_reaches_no_score(kind, shape, is_per_step) -> None:
    torch.manual_seed(0)
    net = cnn.net_for(kind, shape, 4, is_per_step=is_per_step).eval()
    x = torch.randn(2, 11, int(np.prod(shape)))
    lengths = torch.tensor([11, 6])
    x[1, 6:] = 0
    with torch.no_grad():
        scores = net(x, lengths)
        longer = net(torch.cat([x, torch.zeros(2, 10, x.shape[2])], dim=1), lengths)
        alone = net(x[1:, :6], lengths[1:])
    if is_per_step:
        assert scores.shape == (2, 11, 4)
        longer = longer[:, :11]
        scores = torch.cat([scores[:1].flatten(0, 1), scores[1, :6]])
        longer = torch.cat([longer[:1].flatten(0, 1), longer[1, :6]])
        alone = alone.flatten(0, 1)
    torch.testing.assert_close(longer, scores)
    torch.testing.assert_close(alone, scores[-len(alone) :])


def test_the_score_of_a_step_depends_on_no_later_step() -> None:
    torch.manual_seed(0)
    net = cnn.net_for("series", (3,), 4, is_per_step=True).eval()
    x, lengths = torch.randn(1, 60, 3), torch.tensor([60])
    changed = x.clone()
    changed[0, 40] += 1
    with torch.no_grad():
        difference = (net(changed, lengths) - net(x, lengths)).abs().amax((0, 2))
    assert difference[:40].max() == 0
    assert difference[40] > 0


def test_a_picture_net_sees_the_colors_of_images_that_have_them_last() -> None:
    torch.manual_seed(0)
    net = cnn.PictureNet((8, 6, 3), 2, colors_last=True)
    x = torch.randn(1, 1, 8 * 6 * 3)
    picture, _ = net.picture(x, torch.tensor([1]))
    assert picture.shape == (1, 3, 8, 6)
    assert torch.equal(picture[0, 2, 4], x.view(8, 6, 3)[4, :, 2])


def test_every_baseline_learns_the_classes_of_small_series(tmp_path) -> None:
    choices = {"data": {"source": str(FORMATS["npy"](tmp_path / "npy"))}}
    for method in ("svm", "cnn"):
        result = baselines.measure(choices, method, seed=0, epochs=4)
        assert result["accuracy"] >= 0.9, result
        assert result["parameters"] > 0
        assert result["macs"] > 0
        assert "folds" not in result


def test_only_one_of_the_nets_sees_changed_recordings(tmp_path, monkeypatch) -> None:
    path = FORMATS["npy"](tmp_path / "npy")
    choices = {"data": {"source": str(path), "augment": {"scale": 0.5}}}
    inputs = []

    def learn(net, train, *_) -> cnn.Learned:
        inputs.append([train.input_of(train.variation_index(0, epoch)) for epoch in (0, 1)])
        return cnn.Learned(net, validation=0.5, epoch=1, epochs=1)

    monkeypatch.setattr(baselines, "learn", learn)
    assert baselines.measure(choices, "cnn", epochs=1) is not None
    assert baselines.measure(choices, "cnn-augmented", epochs=1) is not None
    (same, again), (changed, changed_again) = inputs
    assert np.array_equal(same, again)
    assert not np.array_equal(changed, changed_again)
    choices["data"]["augment"] = {}
    assert baselines.measure(choices, "cnn-augmented", epochs=1) is None


def test_baselines_of_folds_are_means_over_all_folds(tmp_path) -> None:
    path = FORMATS["npy"](tmp_path / "npy")
    choices = {"data": {"source": str(path), "folds": 3}}
    result = baselines.measure(choices, "svm")
    assert len(result["folds"]) == 3
    assert result["accuracy"] == pytest.approx(np.mean(result["folds"]), abs=1e-6)


def test_an_svm_decides_single_steps(tmp_path) -> None:
    path = FORMATS["labels"](tmp_path / "labels")
    result = baselines.measure({"data": {"source": str(path)}}, "svm")
    assert result["accuracy"] > 0.5


def test_values_per_step_are_no_task_of_the_baselines(tmp_path) -> None:
    words = ["--data", str(FORMATS["values"](tmp_path / "values")), "--methods", "svm"]
    with pytest.raises(SystemExit, match="the task is regression, but the baselines have classes"):
        baselines.app(words)


def test_resampled_frames_are_means_of_equal_parts() -> None:
    frames = np.array([[1.0], [3.0], [5.0], [7.0], [9.0], [11.0]], np.float32)
    np.testing.assert_allclose(svm.resampled(frames, 3).ravel(), [2, 6, 10])
    # Parts of a length and a half: (1 + 3 / 2) / 1.5, (3 / 2 + 5) / 1.5, ...
    expected = [2.5 / 1.5, 6.5 / 1.5, 11.5 / 1.5, 15.5 / 1.5]
    np.testing.assert_allclose(svm.resampled(frames, 4).ravel(), expected, rtol=1e-6)


def test_evenly_chosen_indices_cover_all() -> None:
    assert svm.evenly(5, None).tolist() == [0, 1, 2, 3, 4]
    assert svm.evenly(101, 3).tolist() == [0, 50, 100]


def run_result(score: float, **more) -> dict:
    return {
        "test_accuracy": score,
        "val_accuracy": 0.9,
        "rates": [0.02, 0.08],
        "parameters": 1234,
        "dense_macs": 2e6,
        "effective_macs": 1e5,
        "effective_acs": 2e5,
        "seconds": 5.0,
        "epochs": 20,
        "run": "/some/path",
        **more,
    }


def test_numbers_of_a_run_have_the_hidden_layers_alone() -> None:
    numbers = accuracy.run_numbers(run_result(0.8), outputs_spike=True)
    assert numbers["accuracy"] == 0.8
    assert numbers["rates"] == [0.02]


def test_a_killed_table_continues_with_the_seeds_that_are_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    monkeypatch.setattr(accuracy, "SETS", (ONE,))
    seeds = []

    def train(*arguments) -> dict:
        seed = arguments[2]
        seeds.append(seed)
        if len(seeds) == 2:
            raise KeyboardInterrupt
        return run_result(0.8 + 0.1 * seed)

    monkeypatch.setattr(accuracy, "train", train)
    with pytest.raises(KeyboardInterrupt):
        accuracy.measure_row(ONE, "here", 2, 1)
    accuracy.measure_row(ONE, "here", 2, 1)
    assert seeds == [0, 1, 1]

    def measure(_, method: str, seed: int, _epochs: None) -> dict:
        score = 0.5 + 0.1 * seed
        numbers = {"accuracy": score, "parameters": 1, "macs": 2, "seconds": 3.0}
        return {"method": method, "seed": seed, **numbers}

    monkeypatch.setattr(baselines, "measure", measure)
    accuracy.measure_baselines(ONE, "here", 2, ["svm", "cnn"])
    _, line = accuracy.table()
    assert line == (
        "| one | 2 | 85.00 ± 7.07 | ≥ 90 | missed | 55.0 ± 7.1 | - | 50.0 | 2.0, 8.0 (above 5) "
        "| 1,234 | 0.30 (2.00) | 5 ± 0 |"
    )
    stored = json.loads((tmp_path / "one.json").read_text())
    assert stored["command"] == "nwave train --data one --folds 2"


def test_baselines_learn_for_the_epochs_of_the_row(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    epochs = []
    monkeypatch.setattr(baselines, "measure", lambda *given: epochs.append(given[3]))
    for one in (ONE, replace(ONE, learning_options={"epochs": 7})):
        accuracy.measure_baselines(one, "here", 1, ["cnn"])
    assert epochs == [None, 7]


def test_seeds_of_another_command_do_not_count(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    seeds = []
    monkeypatch.setattr(accuracy, "train", lambda *given: seeds.append(given[2]) or run_result(0.5))
    accuracy.store("one", command="nwave train --data one --epochs 1", seeds=[{"seed": 0}])
    accuracy.measure_row(ONE, "here", 1, 1)
    assert seeds == [0]


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_options_of_a_set_give_the_config_of_its_choices(one) -> None:
    app = typer.Typer()
    configs = []

    @app.command()
    @add_run_choices(*RUN_FIELDS, "data.folds", "data.leave_one_out")
    def train(choices: dict[str, Any]) -> None:
        configs.append(RunConfig.of(choices))

    kind, task = ("series", "labels") if one.kind == "labels" else (one.kind, "classification")
    words = ["--data", "here", "--kind", kind, "--task", task, *one.options()]
    app(words, standalone_mode=False)
    tags = {"data": {"kind": kind}, "task": {"name": task}}
    assert configs == [RunConfig.of(merge_choices(one.choices("here"), tags))]


def test_the_page_has_the_options_of_every_set() -> None:
    page = Path(__file__).parents[1] / "docs" / "recipes.md"
    table = page.read_text().partition("<!-- development -->")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\S+) \| `--data (\S+)( [^`]*)?` \|", table, re.M)
    assert {name: (data, more.split()) for name, data, more in rows} == {
        one.name: (one.path if one.path == "digits" else f"data/{one.path}", one.options())
        for one in SETS
    }


def test_sets_are_chosen_by_name_or_kind_and_found(tmp_path) -> None:
    assert [one.name for one in chosen_sets(["ecg", "events"])] == ["ecg", "nmnist"]
    assert not any(one.is_optional for one in chosen_sets(None))
    with pytest.raises(ValueError, match=r"--only: got 'eeg', expected one of .*ecg"):
        chosen_sets(["eeg"])
    (tmp_path / "uea" / "one").mkdir(parents=True)
    assert find_data(ONE, tmp_path) == tmp_path / "uea" / "one"
    assert find_data(ONE, tmp_path / "uea") == tmp_path / "uea" / "one"
    assert find_data(ONE, tmp_path / "other") is None


def test_values_to_compare_are_parsed() -> None:
    assert recipe.parse_assignment("learning.rate=2e-3,4e-3") == ("learning.rate", [2e-3, 4e-3])
    assert recipe.parse_assignment("net.hidden=[128],[64,64]")[1] == [[128], [64, 64]]
    assert recipe.parse_assignment('data.augment={},{"gain":3,"mask":2}')[1] == [
        {},
        {"gain": 3, "mask": 2},
    ]
    assert recipe.parse_assignment("net.surrogate=atan(alpha=3,width=1),box")[1] == [
        "atan(alpha=3,width=1)",
        "box",
    ]
    with pytest.raises(ValueError, match="expected SECTION.FIELD=VALUE"):
        recipe.parse_assignment("rate=3")


def test_a_study_of_defaults_reads_no_test_set_and_tabulates_validation(
    tmp_path, monkeypatch
) -> None:
    settings = [{"learning.rate": 1e-3}, {"learning.rate": 2e-3}]
    cells = recipe.cells_of({ONE: "digits"}, settings, {"learning.epochs": 3}, 2, tmp_path)
    assert len({cell.path for cell in cells}) == 4
    for cell in cells:
        data = cell.choices["data"]
        assert data == {"source": "digits", "folds": 2, "fold": 1, "test": False}
        assert RunConfig.of(cell.choices).learning.epochs == 3
    monkeypatch.setattr(
        recipe.Cell,
        "numbers",
        lambda cell: {"validation": 0.5 + cell.choices["learning"]["rate"], "rate": 0.04},
    )
    assert list(recipe.table(cells))[2:] == [
        "| learning.rate=0.001 | 50.10 (rate 4.0) | 50.10 |",
        "| learning.rate=0.002 | 50.20 (rate 4.0) | 50.20 |",
    ]


class _Adapting:
    """A run that predicts its class, right for recordings "yes", and both once it has adapted."""

    def __init__(self, adapted_to: int = 0) -> None:
        self.adapted_to = adapted_to

    def adapt(self, files: list[Path]) -> "_Adapting":
        assert not {file.name for file in files} & {"3.wav", "4.wav"}
        return _Adapting(len(files))

    def predict(self, files: list[Path]) -> list[SimpleNamespace]:
        assert [file.name for file in files] == ["3.wav", "4.wav"]
        names = [file.parent.name if self.adapted_to >= 3 else "yes" for file in files]
        return [SimpleNamespace(class_name=name) for name in names]


def test_a_net_is_measured_on_other_recordings_than_it_adapts_to() -> None:
    files = [Path(("yes", "no")[n % 2], f"{n}.wav") for n in range(5)]
    found = adaptation.accuracies_of(_Adapting(), files, (0, 2, 3))  # type: ignore[arg-type]  # a stand-in
    assert found == [0.5, 0.5, 1.0]
