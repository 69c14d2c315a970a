"""Laws of all pages: which options they read, what they build, and that a copy builds the same."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nwavesdk import presets
from nwavesdk.layers import NeuronLayer, prepare_net
from nwavesdk.presets import NAMES, PresetName
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.net_file import NetPage, load_function
from nwavesdk.train.fit.network import sample_config
from train.runs import Choices

# Another value of each option of the net.
OTHERS: Choices = {
    "hidden": [7, 5],
    "population": 3,
    "neuron": "lif_zero",
    "constants": {"tau": 0.05},
    "learn": ["tau"],
    "charge_gain": 2.0,
    "recurrent": True,
    "tau": 0.02,
    "dt": 2e-3,
    "threshold": 0.5,
    "reset": "zero",
    "dropout": 0.5,
    "surrogate": "atan(alpha=3)",
}
# What a run does with a net that a page has built, or with its outputs.
OF_THE_RUN = {"name", "first_weights", "sharpness"}
BASE: Choices = {"hidden": [6, 5], "population": 2, "dropout": 0.1}
PAGES = [name for name in NAMES if name != "chip"]


def config_of(preset: PresetName, inputs: tuple[int, ...] = (20,), **net: Any) -> CompletedConfig:
    options = {name: value for name, value in BASE.items() if name in fields_of(preset)}
    config = sample_config(preset, inputs, 3, **{**options, **net})
    if config.chip is None:
        return config
    plain = config.chip.model_copy(update={"training": "plain"})
    return config.model_copy(update={"chip": plain})


def fields_of(preset: PresetName) -> set[str]:
    return set(type(sample_config(preset, (20,), 3).net).model_fields)


def built(preset: PresetName, inputs: tuple[int, ...], config: CompletedConfig) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = import_module(f"nwavesdk.presets.{preset}").build(inputs, 3, config)
    return without_kernels(net)


def without_kernels(net: nn.Module) -> nn.Module:
    """The net on the reference solver: no test waits for a kernel of one more neuron."""
    for module in net.modules():
        if isinstance(module, NeuronLayer):
            module.solver = "reference"
    return net


def behavior(net: nn.Module, inputs: tuple[int, ...]) -> list[Tensor]:
    """The outputs of a net in training for one input, and the gradients of its parameters."""
    torch.manual_seed(1)
    x = 4 * torch.rand(3, 15, *inputs)
    prepare_net(net)
    outputs = net(x)[1]
    (outputs.square().sum() + outputs.sum()).backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return [outputs.detach(), *gradients]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


@pytest.mark.parametrize("preset", NAMES)
def test_each_option_of_a_net_changes_it(preset: PresetName) -> None:
    inputs = (20,)
    before = behavior(built(preset, inputs, config_of(preset)), inputs)
    assert same(before, behavior(built(preset, inputs, config_of(preset)), inputs))
    for name in fields_of(preset) - OF_THE_RUN:
        config = config_of(preset, **{name: OTHERS[name]})
        assert not same(before, behavior(built(preset, inputs, config), inputs)), name


@pytest.mark.parametrize("preset", NAMES)
def test_a_copy_of_a_page_builds_the_same_net(preset: PresetName, tmp_path: Path) -> None:
    copy = tmp_path / "net.py"
    copy.write_text(presets.page_path(preset).read_text())
    assert copy.read_bytes() == presets.page_path(preset).read_bytes()
    assert NetPage.parse(str(copy)).sha256 == NetPage.parse(preset).sha256
    copy.write_text(f"{presets.page_path(preset).read_text()}\n")  # another module
    build = load_function(NetPage.parse(str(copy)))
    torch.manual_seed(0)
    net = without_kernels(build((20,), 3, config_of(preset)))
    expected = built(preset, (20,), config_of(preset))
    assert same(behavior(net, (20,)), behavior(expected, (20,)))


@pytest.mark.parametrize("inputs", [(40,), (3,), (6, 5), (28, 28), (6, 5, 3), (2, 34, 34)], ids=str)
@pytest.mark.parametrize("preset", PAGES)
def test_a_page_builds_a_net_for_inputs_of_any_shape(
    preset: PresetName, inputs: tuple[int, ...]
) -> None:
    net = built(preset, inputs, config_of(preset, inputs)).eval()
    outputs = net(torch.rand(2, 4, *inputs))[1]
    n_outputs = 3 * (BASE["population"] if preset == "lif" else 1)
    assert outputs.shape == (2, 4, n_outputs)


@pytest.mark.parametrize("preset", PAGES)
def test_a_net_sees_no_future(preset: PresetName) -> None:
    net = built(preset, (20,), config_of(preset)).eval()
    x = 4 * torch.rand(2, 12, 20)
    whole = net(x)[1]
    x[:, 7:] = 0
    assert torch.allclose(net(x)[1][:, :7], whole[:, :7], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_pages_share_public_blocks_only(name: PresetName) -> None:
    """So a copy can be changed everywhere, and does not depend on other copies."""
    lines = [
        line
        for line in presets.page_path(name).read_text().splitlines()
        if "nwavesdk.presets" in line
    ]
    shared = {"from nwavesdk.presets.blocks import", "from nwavesdk.presets import adlif"}
    assert all(any(line.startswith(start) for start in shared) for line in lines)
    assert presets.DESCRIPTIONS.keys() == set(NAMES)
