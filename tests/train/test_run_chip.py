"""A run for a chip: its net keeps to the chip, training draws chips, and it resumes to the bit."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from safetensors.torch import load_file

from nwavesdk.deploy import find_violations
from nwavesdk.layers import H1v1Layer, H1v2Layer
from nwavesdk.net.preparation import prepared
from nwavesdk.optim import SignAnnealing
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.fit import learner
from train.runs import Choices, assert_resumes, chip_choices, model_bytes

TRAINED = [
    ("h1v1", "mismatch"),
    ("h1v2", "plain"),
    ("h1v2", "hardware"),
    ("h1v2", "mismatch"),
]


# The folder and the result of a run, by its chip and its kind of training.
Trained = Callable[[str, str], tuple[Path, Choices]]


@pytest.fixture
def choices(tones: Path) -> Choices:
    return chip_choices(tones)


@pytest.fixture(scope="module")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Folder and result of a run for a chip with a kind of training; each is trained once."""
    runs: dict[tuple[str, str], tuple[Path, Choices]] = {}

    def train(profile: str, training: str) -> tuple[Path, Choices]:
        if (profile, training) not in runs:
            folder = tmp_path_factory.mktemp("chip") / "run"
            result = Run.new(folder, chip_choices(tones, profile, training)).train()
            assert result is not None
            runs[profile, training] = folder, result
        return runs[profile, training]

    return train


@pytest.mark.parametrize(("profile", "training"), TRAINED)
def test_a_trained_net_keeps_to_its_chip(trained: Trained, profile: str, training: str) -> None:
    folder, result = trained(profile, training)
    run = Run.open(folder)
    net = run.trained().net
    assert find_violations(net) == []
    layer = H1v1Layer if profile == "h1v1" else H1v2Layer
    assert {type(m) for m in net if hasattr(m, "neuron")} == {layer}
    assert all(m.quantization_bits == 5 for m in net if hasattr(m, "nb_inputs"))
    assert run.test()["test_accuracy"] == result["test_accuracy"]
    weights = load_file(RunFolder(folder).model)
    assert set(weights) >= {"net.0.weight", "net.2.weight", "standard.mean"}
    page = RunFolder(folder).report.read_text()
    assert "of its 25 numbers are assumed" in page
    assert run.config.chip.gain is not None
    assert run.config.facts.split_by == "recording"  # these file names do not name speakers
    assert run.data.train.whole().x.shape[1:] == (60, 16)
    assert (run.data.train.whole().x > 1).float().mean() == pytest.approx(0.01, abs=0.003)


def test_drawn_chips_change_the_weights(
    trained: Trained,
) -> None:
    hardware, _ = trained("h1v2", "hardware")
    mismatch, _ = trained("h1v2", "mismatch")
    assert model_bytes(hardware) != model_bytes(mismatch)


def test_a_resumed_run_ends_with_the_same_weights(
    trained: Trained,
    choices: Choices,
    tmp_path: Path,
) -> None:
    """The schedule of the signs and the drawn chips continue where they were."""
    whole, _ = trained("h1v2", "mismatch")
    assert_resumes(Run.new(tmp_path / "broken", choices), 2, whole)


def test_each_batch_has_its_chip_and_each_epoch_the_same_chips_to_select_on(
    choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: dict[bool, list[Any]] = {True: [], False: []}
    epochs = []
    step = SignAnnealing.step

    def record_seed(net: Any, seed: int | None = None) -> Any:
        if seed is not None:  # the test set is evaluated on the chip as designed
            seeds[net.training].append(seed)
        return prepared(net, seed)

    def record_step(self: Any, net: Any, epoch: int) -> Any:
        epochs.append(epoch)
        return step(self, net, epoch)

    monkeypatch.setattr(learner, "prepared", record_seed)
    monkeypatch.setattr("nwavesdk.train.fit.loaders.VAL_BATCH", 2)
    monkeypatch.setattr(SignAnnealing, "step", record_step)
    Run.new(tmp_path / "run", choices).train()
    assert epochs == [1, 2, 3]
    training, validation = seeds[True], seeds[False]
    assert len(set(training)) == len(training) >= 3
    n_chips = len(validation) // 3
    assert validation == validation[:n_chips] * 3
    assert len(set(validation)) == n_chips > 1
    assert not any(seed % 2 for seed in training + validation)


@pytest.mark.parametrize("training", ["plain", "hardware", "mismatch"])
def test_the_net_has_the_bits_and_the_mismatch_of_its_training(
    choices: Choices, tmp_path: Path, training: str
) -> None:
    choices["chip"] = {"profile": "h1v1", "training": training}
    run = Run.prepare(tmp_path / training, choices)
    for net, bits, stddev in (
        (run.network(), None if training == "plain" else 5, None),
        (run.network(deployed=True), 5, None),
        (run.network(mismatch=True), 5, 0.02),
    ):
        synapses = [module for module in net if hasattr(module, "nb_inputs")]
        assert {(m.quantization_bits, m.stddev) for m in synapses} == {(bits, stddev)}


def test_a_run_keeps_the_profile_with_which_it_began(choices: Choices, tmp_path: Path) -> None:
    text = (files("nwavesdk.chip") / "profiles" / "h1v2.toml").read_text()
    profile = tmp_path / "profile.toml"
    profile.write_text(text.replace("value = 1.66", "value = 1.0"))
    choices["chip"]["profile"] = str(profile)
    choices["learning"]["epochs"] = 1
    Run.new(tmp_path / "run", choices).train()
    profile.write_text(text.replace("value = 1.66", "value = 0.1"))
    net = Run.open(tmp_path / "run").trained().net
    assert net[0].profile.number("weight_limit") == 1.0
    assert find_violations(net) == []
