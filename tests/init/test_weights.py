"""Weights within a chip's limits, by the number of inputs, and to read-outs."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from nwavesdk.chip import Entry, load_profile
from nwavesdk.init import fan_in_init, readout_init
from nwavesdk.init.weights import init_weights
from nwavesdk.layers import (
    DelayedSynapse,
    H1v1Frontend,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    TemporalConv,
    prepare_net,
)
from nwavesdk.surrogate import fast_sigmoid


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


FAN_IN = {
    "linear": (lambda: nn.Linear(400, 90), 400),
    "synapse": (lambda: LIFSynapse(400, 90, bias=True), 400),
    "delays": (lambda: DelayedSynapse(400, 90, 5), 400),
    "conv1d": (lambda: nn.Conv1d(60, 90, 7, groups=3), 20 * 7),
    "conv2d": (lambda: nn.Conv2d(30, 60, (3, 5)), 30 * 15),
    "conv3d": (lambda: nn.Conv3d(10, 40, 3), 10 * 27),
    "transposed": (lambda: nn.ConvTranspose2d(40, 60, 3, groups=2), 20 * 9),
    # Each place of the output sees two of four taps in each axis.
    "strided": (lambda: nn.ConvTranspose2d(40, 60, 4, stride=2), 40 * 4),
    "temporal": (lambda: TemporalConv(30, 60, taps=3, kernel=5, bias=True), 30 * 15),
}


@pytest.mark.parametrize("name", FAN_IN)
def test_the_deviation_is_the_gain_over_the_root_of_the_fan_in(name):
    build, fan_in = FAN_IN[name]
    module = build()
    fan_in_init(module, gain=3.0, seed=0)
    # At least 10,000 weights: the deviation of their deviation is 0.7 %.
    assert float(module.weight.detach().std()) == pytest.approx(3 / fan_in**0.5, rel=0.03)
    assert float(module.weight.detach().mean()) == pytest.approx(0, abs=0.1 / fan_in**0.5)
    assert module.bias is None or not module.bias.any()


def test_new_synapses_of_the_library_are_like_this():
    for name in ("synapse", "delays", "temporal"):
        build, fan_in = FAN_IN[name]
        deviation = float(build().weight.detach().std())
        assert deviation == pytest.approx(2 / fan_in**0.5, rel=0.03)


def deep_net(pool=nn.Identity):
    """Four convolutions with LIF neurons; the images are pooled once."""
    torch.manual_seed(0)
    size = 8 if pool is nn.Identity else 4
    modules = []
    for channels in (2, 16, 16, 16):
        is_first = channels == 2
        n = 8 if is_first else size
        modules += [
            nn.Conv2d(channels, 16, 3, padding=1),
            LIFLayer((16, n, n), 10e-3, spike_grad=fast_sigmoid(5)),
            (pool() if pool is nn.Identity else pool(2)) if is_first else nn.Identity(),
        ]
    return SpikingSequential(*modules)


def measure(net):
    """The rates of all layers, and the norm of the gradient of each convolution's charge."""
    x = (torch.rand(4, 60, 2, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.05).float()
    x.requires_grad_()  # hooks of the first convolution warn without
    charges = []
    handles = [
        module.register_full_backward_pre_hook(lambda _, grads: charges.append(grads[0].norm()))
        for module in net
        if isinstance(module, nn.Conv2d)
    ]
    prepare_net(net)
    recording = net.record(x)
    weights = torch.randn(recording.spk.shape, generator=torch.Generator().manual_seed(2))
    (recording.spk * weights).sum().backward()
    for handle in handles:
        handle.remove()
    rates = [layer.spk.detach().mean() for layer in recording.layers.values()]
    # Backward runs from the last layer to the first.
    return torch.stack(rates), torch.stack(charges[::-1])


@pytest.mark.parametrize("pool", [nn.Identity, nn.AvgPool2d, nn.MaxPool2d])
def test_a_deep_net_of_convolutions_lives(pool):
    net = deep_net(pool)
    starved, _ = measure(net)
    assert starved[-1] < 1e-3
    fan_in_init(net, seed=0)
    rates, gradients = measure(net)
    assert rates.min() > 0.005
    assert rates.max() < 0.3
    # From layer to layer, gradients change by a factor of less than 1.3; starved ones, of 3.
    assert 0.5 < gradients[0] / gradients[-1] < 2


def test_chips_front_ends_and_recurrent_weights_stay():
    net = SpikingSequential(
        H1v1Frontend(4), LIFLayer(4, 10e-3), HWSynapse(4, 4), LIFLayer(4, 10e-3),
        LIFSynapse(4, 4), LIFLayer(4, 10e-3, layer_topology="RC"),
    )  # fmt: skip
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fan_in_init(net, seed=0)
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert changed == {"4.weight"}


def test_seeds_repeat_and_masks_stay():
    conv = nn.Conv1d(4, 4, 3)
    prune.l1_unstructured(conv, "weight", 0.5)
    mask = conv.weight_mask.clone()
    fan_in_init(conv, seed=3)
    once = conv.weight_orig.detach().clone()
    fan_in_init(conv, seed=3)
    assert torch.equal(conv.weight_orig, once)
    assert torch.equal(conv.weight_mask, mask)
    fan_in_init(conv)
    assert not torch.equal(conv.weight_orig, once)


def test_an_error_of_the_fan_in_names_what_is_wrong():
    with pytest.raises(ValueError, match="gain must be a finite number above 0"):
        fan_in_init(nn.Linear(2, 2), gain=-1)
    with pytest.raises(
        ValueError, match="H1v1Synapse has no dense weights.* for chips use nwavesdk"
    ):
        fan_in_init(HWSynapse(2, 2))
    with pytest.raises(TypeError, match="expected a torch module with weights, got int"):
        fan_in_init(3)
    linear = nn.Linear(2, 2)
    parametrize.register_parametrization(linear, "weight", nn.Identity())
    with pytest.raises(RuntimeError, match="parametrized"):
        fan_in_init(linear)


X = torch.rand(8, 40, 10, generator=torch.Generator().manual_seed(0))


def net_of(synapse=None):
    torch.manual_seed(1)
    hidden = LIFSynapse(10, 30), LIFLayer(30, 10e-3)
    return SpikingSequential(*hidden, synapse or LIFSynapse(30, 12), LILayer(12, tau=100e-3))


def membranes(net, x=X):
    prepare_net(net)
    return net(x)[1]


def size(net):
    return membranes(net).square().mean().sqrt().item()


@pytest.mark.parametrize("synapse", [None, nn.Linear(30, 12), LIFSynapse(30, 12, bias=True)])
def test_membranes_get_the_wanted_size(synapse):
    net = net_of(synapse)
    if synapse is not None:
        synapse.bias.data.fill_(0.3)
    before = copy.deepcopy(net)
    factors = readout_init(net, X, std=0.7)
    assert size(net) == pytest.approx(0.7, rel=1e-4)
    assert factors == {"2.weight": pytest.approx(0.7 / size(before), rel=1e-4)}
    for name, parameter in net.named_parameters():
        changed = not torch.equal(parameter, before.get_parameter(name))
        assert changed == name.startswith("2.")


def test_the_first_loss_is_that_of_a_guess():
    net = net_of()
    labels = torch.arange(8)
    assert nn.functional.cross_entropy(membranes(net).amax(1), labels) > 8
    readout_init(net, X)
    loss = nn.functional.cross_entropy(membranes(net).amax(1), labels).item()
    assert loss == pytest.approx(math.log(12), abs=0.4)


def test_batches_and_lengths_are_those_of_a_loader():
    one = net_of()
    other = net_of()
    readout_init(one, X)
    readout_init(other, [(X[:4], None), (X[4:], None)])
    assert torch.equal(one[2].weight, other[2].weight)


def test_a_net_without_read_out_is_rejected():
    net = SpikingSequential(LIFSynapse(10, 3), LIFLayer(3, 10e-3))
    with pytest.raises(ValueError, match="SpikingSequential has no read-out that takes the charge"):
        readout_init(net, X)


def test_a_silent_read_out_is_named():
    net = net_of()
    net[0].weight.data.fill_(-1.0)
    before = net[2].weight.detach().clone()
    with pytest.raises(RuntimeError, match="the read-out 3 stays at 0, expected inputs"):
        readout_init(net, X)
    assert torch.equal(net[2].weight, before)
