"""The pages `adlif` and `recurrent`: all neurons take part from the start."""

import pytest
import torch

from nwavesdk.layers import AdLIFLayer, prepare_net
from nwavesdk.presets import adlif, recurrent
from nwavesdk.train.fit.network import sample_config


@pytest.mark.parametrize("page", [adlif, recurrent])
def test_slow_neurons_of_a_new_net_fire_about_as_often_as_fast_ones(page):
    torch.manual_seed(0)
    net = page.build((6,), 4, sample_config("adlif", (6,), 4, "series", hidden=[200]))
    (layer,) = [module for module in net if isinstance(module, AdLIFLayer)]
    layer.solver = "reference"  # no test waits for its kernel
    prepare_net(net)
    record = net.record(torch.randn(8, 60, 6))
    rates = next(iter(record.spiking.values())).spk.detach().mean((0, 1))
    slow = layer.constant("tau") > 0.05
    assert 0.01 < rates[slow].mean() < 0.2
    assert 0.3 < rates[slow].mean() / rates[~slow].mean() < 3
