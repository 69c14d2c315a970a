"""Weights by the number of inputs: their deviation, and deep nets of convolutions that live."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from nwavesdk.init import fan_in_init
from nwavesdk.layers import (
    DelayedSynapse,
    H1v1Frontend,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TemporalConv,
    prepare_net,
)
from nwavesdk.surrogate import fast_sigmoid

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


def test_an_error_names_what_is_wrong():
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
