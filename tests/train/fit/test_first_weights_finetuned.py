"""A run that goes on from another one, with rounded weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.net import find_edges, prepare_net
from nwavesdk.train import Run, load
from nwavesdk.train.fit.first_weights import example_inputs
from nwavesdk.train.fit.network import rounded_network
from train.runs import model_bytes, no_pictures, stop_after


@pytest.fixture(scope="module")
@no_pictures()
def first(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a net with batch norms."""
    folder = tmp_path_factory.mktemp("rounding") / "first"
    Run.new(folder, choices_of(tones)).train()
    return folder


@pytest.fixture(autouse=True)
def _no_pictures(without_pictures: None) -> None:
    """No test looks at pictures."""


def choices_of(tones: Path, **learning: Any) -> dict[str, Any]:
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
    assert result is not None

    rounded = rounded_network(load(first).net, 4, example_inputs(run.data.train), trains=True)
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
    x = example_inputs(run.data.train)
    prepare_net(trained)
    scores = trained(x)[0]
    prepare_net(trained)
    assert torch.equal(trained(x[2:3])[0], scores[2:3])

    stop_after(Run.new(tmp_path / "broken", choices), 1)
    Run.open(tmp_path / "broken").train()
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "rounded")


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
    first: Path, tones: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    choices = choices_of(tones, finetune=str(first), weight_bits=8)
    choices = {name: {**choices[name], **changes.get(name, {})} for name in choices}
    with pytest.raises(ValueError, match=words):
        Run.prepare(tmp_path / "next", choices)


def test_a_rounded_run_is_not_rounded_again(first: Path) -> None:
    run = Run.open(first)
    rounded = rounded_network(run.trained().net, 8, example_inputs(run.data.train))
    with pytest.raises(ValueError, match="--weight-bits: the net is quantized already"):
        rounded_network(rounded, 8, example_inputs(run.data.train))
    with pytest.raises(ValueError, match="rounds frames, got lists of events"):
        rounded_network(run.trained().net, 8, example_inputs(run.data.train).to_sparse())
