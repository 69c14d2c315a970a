"""Recurrent hidden layers of a run: by default for patterns only, and on one core of a chip."""

import pytest
import torch

from nwavesdk.chip import load_profile
from nwavesdk.layers import LILayer, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.train.config import RunConfig
from nwavesdk.train.facts import Facts
from nwavesdk.train.network import build_run_network, has_recurrence
from nwavesdk.train.sections import ChipConfig, NetConfig


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
