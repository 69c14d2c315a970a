"""The network of a run: recurrence by default for patterns only, time constants of a chip."""

from typing import Any

import pytest
import torch

from nwavesdk.layers import LIFLayer, LILayer, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.presets import PresetName
from nwavesdk.train.config.net_file import NetFileError
from nwavesdk.train.fit.network import (
    nearest_tau_note,
    network_of_run,
    sample_config,
    warn_of_constants,
)


def build(preset: PresetName, task: str, **net: Any) -> SpikingSequential:
    config = sample_config(preset, (16,), 2, task=task, **net)
    built = network_of_run(config)
    assert isinstance(built, SpikingSequential)
    return built


def recurrent_layers(net: torch.nn.Module) -> list[bool]:
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    return [layer.recurrent_weights is not None for layer in layers]


@pytest.mark.parametrize("task", ["classification", "labels", "regression", "pattern"])
def test_patterns_are_recurrent_unless_the_config_decides(task: str) -> None:
    for chosen in (None, True, False):
        expected = task == "pattern" if chosen is None else chosen
        net: dict[str, Any] = {"hidden": (5, 4)}
        net |= {} if chosen is None else {"recurrent": chosen}
        # Neither output layer nor read-out.
        assert recurrent_layers(build("lif", task, **net)) == [expected, expected, False]
        if task == "pattern":  # no chip has an input for it
            continue
        chip = build("chip", task, population=2, **net)
        # Nor the front end.
        assert recurrent_layers(chip) == [False, expected, expected, False]


def test_recurrent_weights_have_the_bits_of_the_chip() -> None:
    net = build("chip", "labels", hidden=(5,), population=2, recurrent=True)
    prepare_net(net)
    layer = next(m for m in net if getattr(m, "recurrent_weights", None) is not None)
    assert isinstance(layer, NeuronLayer)
    weights = layer.effective_recurrent_weights()
    assert weights is not None
    levels = torch.unique(weights.detach().abs())
    assert len(levels) <= 8  # 4 bits: 7 magnitudes and 0
    assert layer.recurrent_weights is not None
    assert len(torch.unique(layer.recurrent_weights.detach().abs())) == 25


def test_a_recurrent_layer_must_fit_a_core() -> None:
    words = r"--net chip: .*must be on one core, got 101 neurons, expected at most"
    with pytest.raises(NetFileError, match=words):
        build("chip", "regression", hidden=(101,), population=2, recurrent=True)


def test_a_read_out_begins_near_zero() -> None:
    net = build("lif", "regression", hidden=(50,))
    assert isinstance(net[-1], LILayer)
    spiking = build("lif", "classification", hidden=(50,), population=1)
    ratio = net[-2].weight.std() / spiking[-2].weight.std()
    assert 0.05 < ratio < 0.2


@pytest.mark.parametrize(("tau", "nearest"), [(0.05, None), (0.03, "0.0317 s"), (2.0, "0.2 s")])
def test_a_time_constant_that_the_chip_lacks_is_noted(tau: float, nearest: str | None) -> None:
    note = nearest_tau_note(sample_config("chip", (16,), 2, tau=tau, dt=5e-3))
    if nearest is None:
        assert note is None
    else:
        assert note is not None
        assert note.startswith(f"h1v2 has no time constant of {tau:g} s: its neurons have the near")
        assert note.endswith(f"{nearest}.")
    assert nearest_tau_note(sample_config("lif", (16,), 2, tau=0.03)) is None


@pytest.mark.filterwarnings("ignore:LIFLayer")
def test_constants_that_do_not_suit_a_step_are_one_warning() -> None:
    net = SpikingSequential(LIFLayer(2, 20.0), LIFLayer(2, 5e-4), LIFLayer(2, 0.02))
    words = r"from 1 to 1,000 steps of 0\.001 s, got 0: taus of 20 s; 1: taus of 0\.0005 s: change"
    with pytest.warns(UserWarning, match=words) as caught:
        warn_of_constants(net)
    assert len(caught) == 1
