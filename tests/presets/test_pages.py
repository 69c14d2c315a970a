"""Laws of all pages: which options they read, what they build, and that a copy builds the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nwavesdk import presets
from nwavesdk.layers import NeuronLayer, prepare_net
from nwavesdk.presets import NAMES, USES, PresetName
from nwavesdk.train import RunConfig
from nwavesdk.train.config.net_choice import NetFileConfig, page_of
from nwavesdk.train.config.sections import NetConfig
from nwavesdk.train.fit.net_file import load_function

# Another value of each option of the net.
OTHERS: dict[str, Any] = {
    "hidden": [7, 5],
    "population": 3,
    "neuron": "lif_zero",
    "neuron_options": {"tau": 0.05},
    "charge_gain": 2.0,
    "recurrent": True,
    "tau": 0.02,
    "dt": 2e-3,
    "threshold": 0.5,
    "reset": "zero",
    "dropout": 0.5,
    "surrogate": "atan(alpha=3)",
}
# What a run does with a net that a page has built.
OF_THE_RUN = {"first_weights"}
BASE: dict[str, Any] = {"hidden": [6, 5], "population": 2, "dropout": 0.1}
PAGES = [name for name in NAMES if name != "chip"]


def config_of(preset: PresetName, **net: Any) -> RunConfig:
    choices: dict[str, Any] = {"net": {**BASE, **net, "preset": preset}}
    if preset == "chip":
        choices["chip"] = {"profile": "h1v2", "training": "plain"}
    return RunConfig.of(choices)


def built(preset: PresetName, inputs: tuple[int, ...], config: RunConfig) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = getattr(presets, preset).build(inputs, 3, config)
    return without_kernels(net)


def without_kernels(net: nn.Module) -> nn.Module:
    """The net on the reference solver: no test waits for a kernel of one more neuron."""
    for module in net.modules():
        if isinstance(module, NeuronLayer):
            module.solver = "reference"
    return net


def behavior(net: nn.Module, inputs: tuple[int, ...]) -> list[Tensor]:
    """What a net gives in training for one input, and the gradients of its parameters."""
    torch.manual_seed(1)
    x = 4 * torch.rand(3, 15, *inputs)
    prepare_net(net)
    outputs = net(x)[1]
    (outputs.square().sum() + outputs.sum()).backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return [outputs.detach(), *gradients]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_another_value_of_each_option_is_tried() -> None:
    assert OTHERS.keys() == NetConfig.model_fields.keys() - {"preset", *OF_THE_RUN}
    assert USES.keys() == set(NAMES) == presets.DESCRIPTIONS.keys()


@pytest.mark.parametrize("preset", NAMES)
def test_the_options_that_change_a_net_are_those_it_uses(preset: PresetName) -> None:
    inputs = (20,)
    before = behavior(built(preset, inputs, config_of(preset)), inputs)
    assert same(before, behavior(built(preset, inputs, config_of(preset)), inputs))
    # A chip has its own neurons, which its config rejects.
    fixed = {"neuron", "neuron_options", "charge_gain"} if preset == "chip" else set()
    changing = set()
    for name in OTHERS.keys() - fixed:
        config = config_of(preset, **{name: OTHERS[name]})
        if not same(before, behavior(built(preset, inputs, config), inputs)):
            changing.add(name)
    assert changing == USES[preset] - OF_THE_RUN


@pytest.mark.parametrize("preset", NAMES)
def test_a_copy_of_a_page_builds_the_same_net(preset: PresetName, tmp_path: Path) -> None:
    copy = tmp_path / "net.py"
    copy.write_text(presets.text(preset))
    assert copy.read_bytes() == presets.page_path(preset).read_bytes()
    assert NetFileConfig.of(str(copy)).sha256 == page_of(preset).sha256
    copy.write_text(f"{presets.text(preset)}\n")  # another module
    build = load_function(NetFileConfig.of(str(copy)))
    torch.manual_seed(0)
    net = without_kernels(build((20,), 3, config_of(preset)))
    expected = built(preset, (20,), config_of(preset))
    assert same(behavior(net, (20,)), behavior(expected, (20,)))


@pytest.mark.parametrize("inputs", [(40,), (3,), (6, 5), (28, 28), (6, 5, 3), (2, 34, 34)], ids=str)
@pytest.mark.parametrize("preset", PAGES)
def test_a_page_builds_a_net_for_inputs_of_any_shape(
    preset: PresetName, inputs: tuple[int, ...]
) -> None:
    net = built(preset, inputs, config_of(preset)).eval()
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
def test_a_page_stands_alone(name: PresetName) -> None:
    """Its hash is that of the whole net, and its copy can be changed everywhere."""
    assert "from nwavesdk.presets" not in presets.text(name)
