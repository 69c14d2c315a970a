"""Modules without time in a net: images, channels-last from the first convolution on."""

import pytest
import torch
from torch import nn

from layers.nets import run
from nwavesdk.layers import LIFLayer, SpikingSequential, TimeBatchNorm, prepare_net
from nwavesdk.layers.layout import is_channels_last
from nwavesdk.net.folding import as_module_runs_fastest, run_on_images


def conv_net(**options):
    torch.manual_seed(0)
    return SpikingSequential(
        nn.Conv2d(2, 6, 3),
        LIFLayer((6, 9, 9), 10e-3, learn_taus=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3),
        nn.BatchNorm2d(5),
        LIFLayer((5, 2, 2), torch.linspace(5e-3, 9e-3, 5).view(5, 1, 1), learn_taus=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(5, 3),
        LIFLayer(3, 10e-3),
        **options,
    )


def frames(*leading, seed=1):
    x = torch.rand(*leading, 2, 11, 11, generator=torch.Generator().manual_seed(seed))
    return 3 * (x < 0.4).float()


def results(net, x):
    net.zero_grad()
    spk, mem = run(net, x)
    (spk.sum() + mem.pow(2).sum()).backward()
    return [spk, mem, *(p.grad for p in net.parameters())]


def test_images_are_channels_last_from_the_first_convolution_on():
    net, seen = conv_net(), {}

    def note(module, _, outputs):
        seen[module] = outputs[0] if isinstance(outputs, tuple) else outputs

    for module in net:
        module.register_forward_hook(note)
    run(net, frames(4, 9))
    followed = [is_channels_last(seen[module], 3) for module in net]
    assert followed == [True] * 6 + [False] * 4  # the second pool leaves one place


@pytest.mark.parametrize("layout", ["first", "last"])
def test_the_net_equals_that_of_channels_first_modules(layout, monkeypatch):
    """With convolutions and pools of torch in channels-first, results differ by rounding only."""
    net, x = conv_net(), frames(3, 7)
    net.eval()
    if layout == "last":
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    got = results(net, x)
    monkeypatch.setattr(
        "nwavesdk.net.folding.as_module_runs_fastest", lambda _, rows: rows.contiguous()
    )
    monkeypatch.setattr("nwavesdk.net.folding.run_on_images", nn.Module.__call__)
    expected = results(net, x.contiguous())
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_no_image_is_copied_between_the_modules():
    """After the conversion of the input, only the weights of convolutions are reordered."""
    net, x = conv_net().eval(), frames(8, 6)
    results(net, x)
    with torch.profiler.profile(record_shapes=True) as seen:
        results(net, x)
    copied = [e.input_shapes[0] for e in seen.events() if e.name == "aten::copy_"]
    images = [shape for shape in copied if shape and shape[0] == 48 and len(shape) == 4]
    # The input, and what Flatten has to reorder: an image of one place has no order.
    assert images == [[48, 2, 11, 11]]


def test_a_convolution_with_many_weights_runs_channels_first():
    rows = torch.zeros(2, 8, 5, 5)
    small, large = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 64, 3)
    last = as_module_runs_fastest(small, rows)
    assert is_channels_last(last, 3)
    assert as_module_runs_fastest(large, last).is_contiguous()
    large.to(memory_format=torch.channels_last)
    assert as_module_runs_fastest(large, last) is last
    assert is_channels_last(as_module_runs_fastest(nn.Sequential(large), rows), 3)


def test_one_channel_is_made_channels_last_without_a_copy():
    rows = torch.rand(40, 1, 5, 5)
    last = as_module_runs_fastest(nn.Conv2d(1, 4, 3), rows)
    assert last.data_ptr() == rows.data_ptr()
    assert torch.equal(last, rows)
    assert is_channels_last(nn.Conv2d(1, 4, 3)(last), 3)


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d((2, 2), stride=[3, 3], padding=(0, 0), dilation=(1, 1)),
    nn.AvgPool2d(3),
    nn.AvgPool2d(2, count_include_pad=False),
    # Those of torch.
    nn.MaxPool2d(3, 2),
    nn.MaxPool2d((2, 3)),
    nn.MaxPool2d(2, padding=1),
    nn.MaxPool2d(2, dilation=2),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.AvgPool2d(2, divisor_override=3),
    nn.AvgPool2d(16),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pools_are_those_of_torch(pool):
    x = torch.rand(2, 3, 17, 17).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = x.detach().contiguous().requires_grad_()
    got, expected = run_on_images(pool, x), pool(y)
    ours = type(got.grad_fn).__name__ == "_PoolBackward"
    assert ours == (POOLS.index(pool) < 4)
    assert torch.equal(got, expected)
    grad = torch.rand_like(expected)
    got.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, TimeBatchNorm])
def test_recordings_of_different_lengths_stay_channels_last(norm):
    net, normalized = conv_net(), []
    net[4] = norm(5)
    net[4].register_forward_hook(lambda *call: normalized.append(call[2]))
    net[5].register_forward_pre_hook(lambda _, charges: normalized.append(charges[0]))
    prepare_net(net)
    net(frames(4, 9), torch.tensor([9, 3, 0, 7]))
    of_norm, of_layer = normalized
    assert is_channels_last(of_norm, 3)
    assert is_channels_last(of_layer, 3)
    assert of_layer[1, :3].any()
    assert not of_layer[1, 3:].any()
