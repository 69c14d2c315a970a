"""Weights that a chip can hold: statistics of charges, limits and blocks of signs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nwavesdk.chip import Entry, load_profile
from nwavesdk.init.weights import init_weights
from nwavesdk.layers import (
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    LIFSynapse,
    SpikingSequential,
)


@pytest.mark.parametrize(("synapse", "limit"), [(HWSynapse, 0.9), (H1v2Synapse, 1.66)])
def test_charges_have_the_spread_and_weights_the_limit(synapse, limit):
    synapse = synapse(400, 300)
    init_weights(synapse, gain=3.0, seed=0)
    weight = synapse.weight.detach().double().numpy()
    charge = 0.5 * weight if limit == 1.66 else 0.9 * np.sinh(2 * weight) / np.sinh(1.8)
    assert np.sqrt((charge**2).mean()) == pytest.approx(3 / 20, rel=0.01)
    assert abs(charge.mean()) < 0.005
    init_weights(synapse, gain=100.0, seed=0)
    assert synapse.weight.abs().max().item() == pytest.approx(limit)


@pytest.mark.parametrize("axis", ["inputs", "outputs"])
def test_blocks_share_their_sign_along_the_chip_s_axis(axis):
    chip = load_profile("h1v2")
    entry = chip.entries["sign_axis"]
    chip = replace(
        chip, entries={**chip.entries, "sign_axis": Entry(axis, entry.unit, "measured", entry.note)}
    )
    synapse = H1v2Synapse(12, 13, profile=chip)
    init_weights(synapse, seed=0)
    signs = synapse.weight.detach().sign()
    signs = signs if axis == "inputs" else signs.T
    for start, end in ((0, 5), (5, 10), (10, None)):
        block = signs[start:end]
        assert torch.equal(block, block[:1].expand_as(block))
        assert 0 < int((block[0] > 0).sum()) < block.shape[1]
    assert not torch.equal(signs[0], signs[5])


def test_all_chip_weights_of_a_net_are_drawn_and_nothing_else():
    net = SpikingSequential(
        H1v2Frontend(16),
        H1v2Layer(16, 1e-2),
        H1v2Synapse(16, 20),
        H1v2Layer(20, 1e-2, layer_topology="RC"),
        LIFSynapse(20, 4),
    )
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    init_weights(net, seed=0)
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"2.weight", "3.recurrent_weights"}
    assert net[3].recurrent_weights.std().item() == pytest.approx(2 / 20**0.5 / 0.5, rel=0.1)
    once = net[2].weight.detach().clone()
    init_weights(net, seed=0)
    assert torch.equal(net[2].weight, once)
    init_weights(net)
    assert not torch.equal(net[2].weight, once)


def test_an_error_names_what_is_wrong():
    with pytest.raises(ValueError, match="LIFSynapse has no weights of a chip.*fluct_init"):
        init_weights(LIFSynapse(3, 4))
    with pytest.raises(ValueError, match="gain must be a finite number above 0"):
        init_weights(HWSynapse(3, 4), gain=0)
    with pytest.raises(ValueError, match="H1v1Layer has no weights of a chip"):
        init_weights(HWLayer(3, 1e-2))
    synapse = HWSynapse(3, 4)
    parametrize.register_parametrization(synapse, "weight", nn.Identity())
    with pytest.raises(RuntimeError, match="parametrized"):
        init_weights(synapse)
