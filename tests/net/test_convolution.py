"""Convolutions, pooling and changes of shape of torch in a `SpikingSequential`.

Nothing here uses the library for what is expected: every step runs module by module, and the
neurons are three lines of torch.
"""

import math
import re

import pytest
import torch
from torch import nn

from layers.nets import run
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, TemporalConv, prepare_net
from nwavesdk.net import streaming
from tolerances import GRADIENT, STATE, assert_all_close, assert_close

TAU = 10e-3
B = 3
T = 9


def neurons(*features):
    return LIFLayer(features, TAU)


def classify_signals():
    return [nn.Conv1d(2, 4, 3, stride=2), neurons(4, 6), nn.MaxPool1d(2), nn.Flatten(),
            nn.Linear(12, 5), neurons(5)]  # fmt: skip


def classify_images():
    return [nn.Conv2d(2, 4, 3, padding=1), neurons(4, 8, 8), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, groups=2), nn.AdaptiveAvgPool2d(2), neurons(6, 2, 2), nn.Flatten(),
            LIFSynapse(24, 5), neurons(5)]  # fmt: skip


def classify_volumes():
    return [nn.Conv3d(1, 4, 2), neurons(4, 3, 4, 4), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(4, 3, (3, 1, 1)), nn.AvgPool3d((1, 2, 2)), neurons(3, 1, 1, 1)]  # fmt: skip


def generate_signals():
    return [nn.Linear(4, 6), neurons(6), nn.Unflatten(1, (2, 3)), nn.Upsample(scale_factor=2),
            nn.ConvTranspose1d(2, 3, 3, stride=2), neurons(3, 13), nn.AvgPool1d(3),
            neurons(3, 4)]  # fmt: skip


def generate_images():
    return [LIFSynapse(4, 12), neurons(12), nn.Unflatten(1, (3, 2, 2)),
            nn.ConvTranspose2d(3, 4, 2, stride=2), neurons(4, 4, 4),
            nn.Upsample(scale_factor=2, mode="nearest"), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(2),
            neurons(4, 2, 2)]  # fmt: skip


def generate_volumes():
    return [nn.ConvTranspose3d(2, 3, 2), neurons(3, 3, 3, 3), nn.ZeroPad3d(1), nn.MaxPool3d(3),
            neurons(3, 1, 1, 1)]  # fmt: skip


# A net, and the shape of one step.
NETS = {
    "signals": (classify_signals, (2, 13)),
    "images": (classify_images, (2, 8, 8)),
    "volumes": (classify_volumes, (1, 4, 5, 5)),
    "to signals": (generate_signals, (4,)),
    "to images": (generate_images, (4,)),
    "to volumes": (generate_volumes, (2, 2, 2, 2)),
}


def build(name, **options):
    make, features = NETS[name]
    net = SpikingSequential(*make(), **options)
    torch.manual_seed(1)
    for parameter in net.parameters():
        # Sums of such weights are exact, so that every order of adding gives the same spikes.
        parameter.data = torch.randint(-12, 15, parameter.shape) / 16
    x = torch.randint(-2, 5, (B, T, *features)) / 4
    return net, x.requires_grad_()


class Spike(torch.autograd.Function):
    """1 above 0; the derivative is of fast_sigmoid(25)."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad / (25 * z.abs() + 1) ** 2


def run_step_by_step(net, x):
    """Spikes and membranes of the last layer, and the spikes of every layer by name."""
    membranes = {}
    spikes = {name: [] for name, module in net.named_children() if isinstance(module, LIFLayer)}
    last = []
    for step in x.unbind(1):
        y = step
        for name, module in net.named_children():
            if name in spikes:
                u = math.exp(-1e-3 / TAU) * membranes.get(name, 0.0) + y
                y = Spike.apply(u - 1)
                membranes[name] = u - y.detach()
                spikes[name].append(y)
            else:
                y = module(y)
        last.append(membranes[name])
    return torch.stack(last, 1), {name: torch.stack(steps, 1) for name, steps in spikes.items()}


def gradients(mem, net, x):
    weights = torch.sin(torch.arange(mem.numel(), dtype=mem.dtype)).reshape(mem.shape)
    return torch.autograd.grad((mem * weights).sum(), [x, *net.parameters()])


@pytest.mark.parametrize("is_channels_last", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_a_sequence_and_its_record_are_a_loop_over_the_steps(name, is_channels_last):
    net, x = build(name)
    if is_channels_last:
        x = x.detach().movedim(2, -1).contiguous().movedim(-1, 2).requires_grad_()
    expected, spikes = run_step_by_step(net, x)
    _, mem = run(net, x)
    assert_close(mem, expected, STATE, "membrane")
    grads = gradients(mem, net, x), gradients(expected, net, x)
    assert_all_close(*grads, GRADIENT, "gradient")
    prepare_net(net)
    recording = net.record(x)
    assert list(recording.layers) == list(spikes)
    for layer, steps in spikes.items():
        assert 0.05 < steps.mean() < 0.95
        assert torch.equal(recording.layers[layer].spk, steps)
        assert recording.layers[layer].u.shape == steps.shape


@pytest.mark.parametrize("name", ["signals", "images"])
def test_padding_changes_no_valid_step(name):
    net, x = build(name)
    _, spikes = run_step_by_step(net, x)
    lengths = torch.tensor([T, 2, 5])
    is_valid = torch.arange(T) < lengths[:, None]
    padded = x.detach().clone()
    padded[~is_valid] = 1e3
    prepare_net(net)
    recording = net.record(padded, lengths=lengths)
    for layer, steps in spikes.items():
        record = recording.layers[layer]
        assert torch.equal(record.spk[is_valid], steps[is_valid])
        rate = record.rate().detach().float()
        assert_close(rate, steps[is_valid].detach().mean(), STATE, "rate")


def test_compiled_code_gives_the_same():
    net, x = build("images")
    spk, mem = run(net, x)
    expected = gradients(mem, net, x)
    prepare_net(net)
    compiled_spk, mem = torch.compile(net, backend="aot_eager")(x)
    assert torch.equal(compiled_spk, spk)
    assert_all_close(gradients(mem, net, x), expected, GRADIENT, "gradient")


@pytest.mark.parametrize("name", NETS)
def test_single_steps_are_the_sequence(name):
    net, x = build(name)
    expected, spikes = run_step_by_step(net, x)
    with streaming(net):
        steps = [net.step(step) for step in x.unbind(1)]
    spk, mem = (torch.stack(outputs, 1) for outputs in zip(*steps, strict=True))
    assert torch.equal(spk, list(spikes.values())[-1])
    grads = gradients(mem, net, x), gradients(expected, net, x)
    assert_all_close(*grads, GRADIENT, "gradient")


def begin_with_images():
    return SpikingSequential(nn.Conv2d(2, 4, 3), neurons(4, 6, 6))


def begin_over_time():
    return SpikingSequential(TemporalConv(2, 4, 3, kernel=(3, 3)), neurons(4, 6, 6))


def begin_with_a_block():
    return SpikingSequential(SpikingSequential(nn.ConvTranspose2d(2, 4, 3)), neurons(4, 10, 10))


BOTH_WAYS = (
    r"SpikingSequential begins with \w+: net\(x\) takes a sequence \[B, T, C, H, W\], and "
    r"net.step\(x\) one step \[B, C, H, W\], got an input of shape {shape} in {call}\(x\): use "
    r"the other call, or add the missing dimension, as in x.unsqueeze\(1\) for T = 1 or "
    r"x.unsqueeze\(2\) for one channel."
)


@pytest.mark.parametrize("make", [begin_with_images, begin_over_time, begin_with_a_block])
class TestANetThatBeginsWithAConvolution:
    @pytest.mark.parametrize("shape", [(3, 2, 8, 8), (2, 8, 8), (1, 3, 7, 2, 8, 8)])
    def test_takes_sequences_in_a_call(self, make, shape):
        words = BOTH_WAYS.format(shape=re.escape(str(list(shape))), call="net")
        with pytest.raises(ValueError, match=words):
            make()(torch.zeros(shape))

    @pytest.mark.parametrize("shape", [(3, 7, 2, 8, 8), (8, 8)])
    def test_takes_one_step_in_step(self, make, shape):
        net = make()
        prepare_net(net)
        words = BOTH_WAYS.format(shape=re.escape(str(list(shape))), call="net.step")
        with pytest.raises(ValueError, match=words):
            net.step(torch.zeros(shape))

    def test_with_time_first_names_the_other_order(self, make):
        net = SpikingSequential(make(), time_first=True)
        words = r"\[T, B, C, H, W\], .* as in x.unsqueeze\(0\) for T = 1"
        with pytest.raises(ValueError, match=words):
            net(torch.zeros(3, 2, 8, 8))

    def test_takes_one_step_of_channels_as_one_step(self, make):
        net = make()
        prepare_net(net)
        one, _ = net.step(torch.ones(3, 2, 8, 8))
        sequence, _ = run(net, torch.ones(3, 1, 2, 8, 8))
        assert torch.equal(one, sequence[:, 0])


def test_a_step_of_signals_is_not_a_sequence():
    net = SpikingSequential(nn.Conv1d(2, 4, 3), neurons(4, 6))
    words = r"begins with Conv1d: net\(x\) takes a sequence \[B, T, C, L\], and net.step\(x\) one"
    with pytest.raises(ValueError, match=words):
        net(torch.zeros(3, 2, 8))
    prepare_net(net)
    one, _ = net.step(torch.zeros(3, 2, 8))
    assert one.shape == (3, 4, 6)


def test_flat_steps_keep_their_meaning():
    net = SpikingSequential(TemporalConv(2, 4, 3), neurons(4))
    assert run(net, torch.zeros(3, 2))[0].shape == (3, 4)
    prepare_net(net)
    assert net.step(torch.zeros(3, 2))[0].shape == (3, 4)
    with pytest.raises(ValueError, match=r"net.step\(x\): TemporalConv takes one step with 1 dim"):
        net.step(torch.zeros(3, 5, 2))


def test_sizes_that_do_not_match_name_the_convolution():
    net = SpikingSequential(nn.Conv2d(2, 4, 3), neurons(4, 7, 7))
    words = r"LIFLayer\(4, 7, 7\) takes \[4, 7, 7\], but Conv2d before it returns \[4, 6, 6\]"
    with pytest.raises(ValueError, match=words):
        net(torch.zeros(3, 5, 2, 8, 8))
    net = SpikingSequential(TemporalConv(2, 4, 3, kernel=3), nn.Flatten(), LIFSynapse(25, 2))
    with pytest.raises(ValueError, match=r"LIFSynapse\(25, 2\) takes \[25\], but Flatten before"):
        net(torch.zeros(3, 5, 2, 8))
