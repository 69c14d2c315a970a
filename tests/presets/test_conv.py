"""The page `conv`: its layers follow the kind, the size and the length of the recordings."""

import pytest
import torch
from torch import nn

from nwavesdk.layers import LIFLayer, TemporalConv, prepare_net
from nwavesdk.net import SpikingSequential
from nwavesdk.presets import conv
from nwavesdk.train.fit.network import sample_config


def net_for(
    inputs: tuple[int, ...], kind: str, *, task: str = "classification", typical_steps: int = 100
) -> SpikingSequential:
    config = sample_config("conv", inputs, 2, kind, task=task)
    facts = config.facts.model_copy(update={"typical_steps": typical_steps})
    return conv.build(inputs, 2, config.model_copy(update={"facts": facts}))


@pytest.mark.parametrize(
    ("n_steps", "expected"),
    [
        (1, [(9, 1), (3, 1)]),
        (10, [(9, 1), (3, 5)]),
        (56, [(9, 1), (3, 8)]),
        (57, [(9, 1), (3, 8), (3, 16)]),
        (2000, [(9, 1), (3, 8), (3, 16)]),
    ],
)
def test_layers_for_a_class_see_a_part_of_a_long_series(
    n_steps: int, expected: list[tuple[int, int]]
) -> None:
    net = net_for((3,), "series", typical_steps=n_steps)
    convs = [module for module in net.modules() if isinstance(module, TemporalConv)]
    assert [(synapse.taps, synapse.dilation) for synapse in convs] == expected


def test_steps_may_be_longer_than_all_time_constants() -> None:
    config = sample_config("conv", (3,), 2, "series")
    config = config.model_copy(update={"net": config.net.model_copy(update={"dt": 5.0})})
    net = conv.build((3,), 2, config)
    layers = [module for module in net.modules() if isinstance(module, LIFLayer)]
    assert layers
    assert all(torch.allclose(layer.taus, torch.tensor(5.0)) for layer in layers)


def test_layers_for_a_class_per_step_see_a_whole_recording() -> None:
    net = net_for((3,), "series", task="labels", typical_steps=1296)
    convs = [module for module in net.modules() if isinstance(module, TemporalConv)]
    assert [(synapse.taps, synapse.dilation) for synapse in convs] == [(9, 1), (9, 12), (9, 149)]
    assert sum(synapse.past_steps for synapse in convs) >= 1290


def test_layers_of_a_detector_see_a_second_and_are_small() -> None:
    config = sample_config("conv", (40,), 4, "sound", task="detect")
    net = conv.build((40,), 4, config)
    *hidden, readout = [module for module in net.modules() if isinstance(module, TemporalConv)]
    assert 0.9 <= sum(synapse.past_steps for synapse in hidden) * config.net.dt <= 1.1
    assert readout.past_steps * config.net.dt == pytest.approx(0.4)
    assert sum(parameter.numel() for parameter in net.parameters()) <= 45_000


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ((28, 28), [(28, 28), (14, 14), (7, 7), (3, 3)]),
        ((48, 20, 3), [(48, 20), (24, 10), (12, 5), (6, 1)]),
        ((48, 12), [(48, 12), (24, 6), (12, 3), (6, 1)]),
        # Of more than 48 pixels, the first layer has a stride of 2.
        ((3, 49, 24), [(25, 12), (12, 6), (6, 3), (3, 1)]),
        # Of fewer than 12, it has no pool.
        ((11, 48), [(11, 48), (11, 48), (5, 24), (1, 12)]),
        ((8, 8), [(8, 8), (8, 8), (4, 4), (1, 1)]),
        ((1, 5), [(1, 5)] * 4),
        ((1, 1), [(1, 1)] * 4),
    ],
)
def test_layers_over_an_image_follow_its_size(
    inputs: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    net = net_for(inputs, "image")
    layers = [module for module in net.modules() if isinstance(module, LIFLayer)]
    assert [layer.features[1:] for layer in layers] == expected
    prepare_net(net)
    scores, _ = net(torch.rand(2, 4, *inputs))
    assert scores.shape == (2, 4, 2)


def test_layers_over_events_have_strides_and_no_pool() -> None:
    net = net_for((2, 34, 34), "events")
    layers = [module for module in net.modules() if isinstance(module, LIFLayer)]
    assert [layer.features for layer in layers] == [(32, 15, 15), (64, 7, 7), (64, 5, 5)]
    assert not any(isinstance(module, nn.MaxPool2d) for module in net.modules())


def test_the_read_out_of_series_gets_the_spikes_of_all_layers() -> None:
    net = net_for((3,), "series", typical_steps=100).eval()
    inner = [module for module in net.modules() if isinstance(module, LIFLayer)]
    scores = net[-1]
    spikes: list[torch.Tensor] = []
    for layer in inner:
        layer.register_forward_hook(lambda _, __, outputs: spikes.append(outputs[0]))
    given: list[torch.Tensor] = []
    net[-2].register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    with torch.no_grad():
        net(10 * torch.randn(2, 30, 3))
    assert [spk.shape[-1] for spk in spikes] == [128, 64, 64]
    assert scores.in_features == 256
    assert all(spk.any() for spk in spikes)
    assert torch.equal(given[0].view(2, 30, 256), torch.cat(spikes, -1))
