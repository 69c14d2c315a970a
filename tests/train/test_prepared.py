"""The weights with which a run begins: drawn by the page, driven by recordings, or rounded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning")

from nwavesdk.net import find_edges, prepare_net, record
from nwavesdk.net.preparation import prepared
from nwavesdk.train import Run, RunConfig, load
from nwavesdk.train.fit.network import rounded_network
from train.runs import Choices, assert_resumes, no_pictures


def new_run(choices: Choices, tmp_path: Path) -> Run:
    return Run.new(tmp_path / "run", RunConfig.of(choices))


def first_rates(run: Run) -> list[Tensor]:
    """The rate of each neuron before training, by layer."""
    net = run.first_network().eval()
    batch = run.data.train.batch(np.arange(len(run.data.train)))
    with torch.no_grad(), prepared(net):
        recording = record(net, batch.x, lengths=batch.lengths)
    return [layer.neuron_rates() for layer in recording.layers.values()]


def test_plain_layers_begin_with_rare_spikes_of_every_neuron(
    choices: Choices, tmp_path: Path
) -> None:
    run = new_run(choices, tmp_path)
    assert run.config.net.first_weights == "driven"
    for rates in first_rates(run):
        assert 0.005 < rates.mean() < 0.15
        assert (rates > 0).all()


def test_drawn_weights_are_those_of_the_page(choices: Choices, tmp_path: Path) -> None:
    choices["net"]["first_weights"] = "drawn"
    run = new_run(choices, tmp_path)
    first, page = run.first_network().state_dict(), run.network().state_dict()
    assert all(torch.equal(first[name], page[name]) for name in page)


def test_the_seed_decides_the_driven_weights(choices: Choices, tmp_path: Path) -> None:
    run = new_run(choices, tmp_path)
    one, other = (run.first_network().state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    choices["seed"] += 1
    another = new_run(choices, tmp_path / "another").first_network().state_dict()
    assert not any(torch.equal(one[name], another[name]) for name in one if "weight" in name)


def test_recurrent_weights_take_part(choices: Choices, tmp_path: Path) -> None:
    choices["net"]["recurrent"] = True
    net = new_run(choices, tmp_path).first_network()
    (weight,) = [value for name, value in net.named_parameters() if "recurrent" in name]
    assert weight.count_nonzero() > 0.9 * weight.numel()


@pytest.mark.parametrize("neuron", ["alif", "lif"])
def test_neurons_with_a_measured_gain_have_drawn_weights(
    neuron: str, choices: Choices, tmp_path: Path
) -> None:
    choices["net"]["neuron"] = neuron
    expected = "driven" if neuron == "lif" else "drawn"
    assert new_run(choices, tmp_path).config.net.first_weights == expected


def test_a_gain_that_is_given_has_its_effect(choices: Choices, tmp_path: Path) -> None:
    choices["net"]["charge_gain"] = 3
    assert new_run(choices, tmp_path).config.net.first_weights == "drawn"
    choices["net"]["first_weights"] = "driven"
    with pytest.raises(ValueError, match=r"^net\.first_weights: .* charge_gain replaces it"):
        new_run(choices, tmp_path / "both")


def silent(tmp_path: Path) -> Choices:
    """Choices of a run on recordings without any input."""
    file = tmp_path / "silent.npz"
    np.savez(file, x=np.zeros((12, 9, 2), np.float32), y=np.arange(12) % 2)
    return {
        "data": {"source": str(file)},
        "net": {"name": "lif", "hidden": [4]},
        "learning": {"epochs": 1},
    }


@pytest.mark.parametrize("cause", ["silence", "integrators"])
def test_what_cannot_drive_weights_leaves_them_drawn_with_a_note(
    cause: str, choices: Choices, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if cause == "silence":
        choices = silent(tmp_path)
    else:
        choices["net"] |= {"tau": 1.0, "dt": 1e-5}
    run = new_run(choices, tmp_path)
    assert run.config.net.first_weights == "drawn"
    assert capsys.readouterr().err.rstrip().endswith("): they are drawn.")
    assert run.train() is not None


def test_driven_weights_that_were_asked_for_are_an_error_before_the_folder(tmp_path: Path) -> None:
    choices = silent(tmp_path)
    choices["net"]["first_weights"] = "driven"
    words = r"^net\.first_weights: the recordings .* is silent\): use --first-weights drawn\.$"
    with pytest.raises(ValueError, match=words):
        new_run(choices, tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
@no_pictures()
def first(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a net with batch norms."""
    folder = tmp_path_factory.mktemp("rounding") / "first"
    Run.new(folder, choices_of(tones)).train()
    return folder


def choices_of(tones: Path, **learning: Any) -> Choices:
    return {
        "data": {"source": str(tones), "bands": 12, "augment": {"shift": 0.1}},
        "net": {"name": "conv"},
        "learning": {"epochs": 2, "batch_size": 8, **learning},
        "machine": {"accelerator": "cpu"},
    }


def test_weights_stay_on_the_grids_of_the_first_run(
    first: Path, tones: Path, tmp_path: Path
) -> None:
    choices = choices_of(tones, finetune=str(first), weight_bits=4)
    run = Run.new(tmp_path / "rounded", choices)
    result = run.train()

    rounded = rounded_network(load(first).net, 4, run.data.train.example_inputs(), trains=True)
    trained = load(tmp_path / "rounded").net
    changed = []
    for grid, edge in zip(find_edges(rounded).edges, find_edges(trained).edges, strict=True):
        module: Any = grid.module
        whole = edge.weight / module.parametrizations[grid.key][0].steps
        assert torch.equal(whole, whole.round().clamp(-7, 7))
        changed.append(not torch.equal(edge.weight, grid.weight))
    assert any(changed)
    assert Run.open(tmp_path / "rounded").test()["test_accuracy"] == result["test_accuracy"]

    # Exact sums: single recordings have the scores of the whole batch.
    x = run.data.train.example_inputs()
    prepare_net(trained)
    scores = trained(x)[0]
    prepare_net(trained)
    assert torch.equal(trained(x[2:3])[0], scores[2:3])

    assert_resumes(Run.new(tmp_path / "broken", choices), 1, tmp_path / "rounded")


def test_a_run_goes_on_with_float_weights(first: Path, tones: Path, tmp_path: Path) -> None:
    run = Run.prepare(tmp_path / "next", choices_of(tones, finetune=str(first)))
    before = load(first).net.state_dict()
    begun = run.first_network().state_dict()
    assert begun.keys() == before.keys()
    assert all(torch.equal(value, begun[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"limit": 24}}, r"learning.finetune: \S*first was trained with data.limit None"),
        ({"net": {"name": "adlif"}}, "does not hold the weights of this run's network"),
        ({"learning": {"finetune": None}}, "learning.weight_bits: needs a trained run, got 8"),
        ({"learning": {"weight_bits": 9}}, "learning.weight_bits: "),
    ],
)
def test_another_net_or_set_is_rejected(
    first: Path, tones: Path, tmp_path: Path, changes: Choices, words: str
) -> None:
    choices = choices_of(tones, finetune=str(first), weight_bits=8)
    choices = {name: {**choices[name], **changes.get(name, {})} for name in choices}
    with pytest.raises(ValueError, match=words):
        Run.prepare(tmp_path / "next", choices)


def test_a_rounded_run_is_not_rounded_again(first: Path) -> None:
    run = Run.open(first)
    rounded = rounded_network(run.trained().net, 8, run.data.train.example_inputs())
    with pytest.raises(ValueError, match="--weight-bits: the net is quantized already"):
        rounded_network(rounded, 8, run.data.train.example_inputs())
    with pytest.raises(ValueError, match="rounds frames, got lists of events"):
        rounded_network(run.trained().net, 8, run.data.train.example_inputs().to_sparse())
