"""The network of a run: recurrence by default for patterns only, time constants of a chip."""

import pytest
import torch

from nwavesdk.chip import load_profile
from nwavesdk.layers import LILayer, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.facts import Facts
from nwavesdk.train.config.sections import ChipConfig, NetConfig
from nwavesdk.train.fit.network import build_run_network, has_recurrence, nearest_tau_note


def facts(task: str) -> Facts:
    return Facts.of(
        {
            "task": task,
            "classes": ("a", "b") if task in ("classification", "labels") else (),
            "n_targets": 0 if task in ("classification", "labels") else 2,
            "n_features": 16,
            "fingerprint": "",
            "recordings": (1, 1, 1),
            "profile": load_profile("h1v2").to_json(),
        }
    )


def build(net: NetConfig, task: str, *, on_chip: bool = False) -> SpikingSequential:
    chip = ChipConfig(profile="h1v2", bits=5) if on_chip else None
    return build_run_network(RunConfig(net=net, chip=chip), facts(task), mismatch=False)


def recurrent_layers(net: torch.nn.Module) -> list[bool]:
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    return [layer.recurrent_weights is not None for layer in layers]


@pytest.mark.parametrize("task", ["classification", "labels", "regression", "pattern"])
def test_patterns_are_recurrent_unless_the_config_decides(task: str) -> None:
    for chosen in (None, True, False):
        config = NetConfig(hidden=(5, 4), population=2, recurrent=chosen)
        expected = task == "pattern" if chosen is None else chosen
        assert has_recurrence(config, facts(task)) == expected
        net = build(config, task)
        # Neither output layer nor read-out.
        assert recurrent_layers(net) == [expected, expected, False]
        chip = build(config, task, on_chip=True)
        # Nor the front end.
        assert recurrent_layers(chip) == [False, expected, expected, False]


def test_recurrent_weights_have_the_bits_of_the_chip() -> None:
    config = NetConfig(hidden=(5,), population=2)
    net = build(config, "pattern", on_chip=True)
    prepare_net(net)
    layer = next(m for m in net if getattr(m, "recurrent_weights", None) is not None)
    assert isinstance(layer, NeuronLayer)
    weights = layer.effective_recurrent_weights()
    assert weights is not None
    levels = torch.unique(weights.detach().abs())
    assert len(levels) <= 16  # 5 bits: 15 magnitudes and 0
    assert layer.recurrent_weights is not None
    assert len(torch.unique(layer.recurrent_weights.detach().abs())) == 25


def test_a_recurrent_layer_must_fit_a_core() -> None:
    config = NetConfig(hidden=(101,), population=2, recurrent=True)
    with pytest.raises(ValueError, match=r"must be on one core, got 101 neurons, expected at most"):
        build(config, "regression", on_chip=True)


def test_a_read_out_begins_near_zero() -> None:
    net = build(NetConfig(hidden=(50,)), "regression")
    assert isinstance(net[-1], LILayer)
    spiking = build(NetConfig(hidden=(50,), population=1), "classification")
    ratio = net[-2].weight.std() / spiking[-2].weight.std()
    assert 0.05 < ratio < 0.2


@pytest.mark.parametrize(("tau", "nearest"), [(0.05, None), (0.03, "0.0317 s"), (2.0, "0.2 s")])
def test_a_time_constant_that_the_chip_lacks_is_noted(tau: float, nearest: str | None) -> None:
    chip = ChipConfig(profile="h1v2")
    config = RunConfig(net=NetConfig(tau=tau), chip=chip, facts=facts("classification"))
    note = nearest_tau_note(config)
    if nearest is None:
        assert note is None
    else:
        assert note is not None
        assert note.startswith(f"h1v2 has no time constant of {tau:g} s: its neurons have the near")
        assert note.endswith(f"{nearest}.")
    assert nearest_tau_note(config.model_copy(update={"chip": None, "facts": None})) is None
