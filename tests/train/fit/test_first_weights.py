"""The weights with which a run begins: as the page draws them, or driven by recordings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning")

from nwavesdk.net import record
from nwavesdk.net.preparation import prepared
from nwavesdk.train import Run, RunConfig


def new_run(choices: dict[str, Any], tmp_path: Path) -> Run:
    return Run.new(tmp_path / "run", RunConfig.of(choices))


def first_rates(run: Run) -> list[Tensor]:
    """The rate of each neuron before training, by layer."""
    net = run.first_network().eval()
    batch = run.data.train.batch(np.arange(len(run.data.train)))
    with torch.no_grad(), prepared(net):
        recording = record(net, batch.x, lengths=batch.lengths)
    return [layer.neuron_rates() for layer in recording.layers.values()]


def test_plain_layers_begin_with_rare_spikes_of_every_neuron(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    run = new_run(choices, tmp_path)
    assert run.config.net.first_weights == "driven"
    for rates in first_rates(run):
        assert 0.005 < rates.mean() < 0.15
        assert (rates > 0).all()


def test_drawn_weights_are_those_of_the_page(choices: dict[str, Any], tmp_path: Path) -> None:
    choices["net"]["first_weights"] = "drawn"
    run = new_run(choices, tmp_path)
    first, page = run.first_network().state_dict(), run.network().state_dict()
    assert all(torch.equal(first[name], page[name]) for name in page)


def test_the_seed_decides_the_driven_weights(choices: dict[str, Any], tmp_path: Path) -> None:
    run = new_run(choices, tmp_path)
    one, other = (run.first_network().state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    choices["seed"] += 1
    another = new_run(choices, tmp_path / "another").first_network().state_dict()
    assert not any(torch.equal(one[name], another[name]) for name in one if "weight" in name)


def test_recurrent_weights_take_part(choices: dict[str, Any], tmp_path: Path) -> None:
    choices["net"]["recurrent"] = True
    net = new_run(choices, tmp_path).first_network()
    (weight,) = [value for name, value in net.named_parameters() if "recurrent" in name]
    assert weight.count_nonzero() > 0.9 * weight.numel()


@pytest.mark.parametrize("neuron", ["alif", "lif"])
def test_neurons_with_a_measured_gain_have_drawn_weights(
    neuron: str, choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["net"]["neuron"] = neuron
    expected = "driven" if neuron == "lif" else "drawn"
    assert new_run(choices, tmp_path).config.net.first_weights == expected


def test_a_gain_that_is_given_has_its_effect(choices: dict[str, Any], tmp_path: Path) -> None:
    choices["net"]["charge_gain"] = 3
    assert new_run(choices, tmp_path).config.net.first_weights == "drawn"
    choices["net"]["first_weights"] = "driven"
    with pytest.raises(ValueError, match=r"^net\.first_weights: .* charge_gain replaces it"):
        new_run(choices, tmp_path / "both")


def silent(tmp_path: Path) -> dict[str, Any]:
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
    cause: str, choices: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
