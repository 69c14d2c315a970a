"""Functions on whole nets; `project` is tested with the limits of chips, `to_gpu` with comPaSSo."""

import pytest
from torch import nn

from nwavesdk.chip import load_profile
from nwavesdk.layers import (
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    family_of,
    to_cpu,
    to_gpu,
)


def test_each_chip_has_its_family_of_modules():
    assert family_of(load_profile("h1v1")) == (H1v1Frontend, H1v1Synapse, H1v1Layer)
    assert family_of(load_profile("h1v2")) == (H1v2Frontend, H1v2Synapse, H1v2Layer)


def test_to_gpu_and_to_cpu_change_nets_in_place_or_not_at_all():
    net = nn.ModuleList([LIFLayer(2, 10e-3), nn.ModuleList([LIFLayer(2, 10e-3)])])
    assert to_gpu(net) is net
    assert [net[0].device, net[1][0].device] == ["gpu", "gpu"]
    assert to_cpu(net) is net
    assert [net[0].device, net[1][0].device] == ["cpu", "cpu"]
    net.append(LIFLayer(2, 10e-3, layer_topology="RC"))
    with pytest.raises(ValueError, match="comPaSSo runs feed-forward layers only"):
        to_gpu(net)
    assert net[0].device == "cpu"
