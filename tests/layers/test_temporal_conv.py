"""`TemporalConv`: its equation, layout in memory, and errors; `test_past` has its state."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from layers.nets import run
from nwavesdk.layers import TemporalConv, prepare_net
from nwavesdk.layers.prepare import Prepared
from pairwise import case_id, pairwise
from tolerances import GRADIENT, STATE, assert_all_close, assert_close

FEATURES = {(): (), (3,): (7,), (3, 2): (6, 5)}

CASES = pairwise(
    kernel=list(FEATURES),
    taps=[1, 3],
    dilation=[1, 2],
    groups=[1, 2],
    bias=[False, True],
    stride=[1, 2],
    padding=[0, 1],
    is_channels_last=[False, True],
    dtype=[torch.float32, torch.float64],
)


def build(kernel, dtype=torch.float64, **options):
    torch.manual_seed(0)
    options = {"taps": 3, "dilation": 2, "bias": True} | options
    conv = TemporalConv(4, 6, kernel=kernel, **options).to(dtype)
    if conv.bias is not None:
        nn.init.normal_(conv.bias)
    return conv


def draw_input(kernel, dtype=torch.float64, B=2, T=11, is_channels_last=False):
    x = torch.randn(B, T, 4, *FEATURES[kernel], dtype=dtype)
    if is_channels_last:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    return x.requires_grad_()


def convolve_step_by_step(conv, x):
    """The equation of the class: for each step, the sum over taps of a product over features."""
    product = [functional.linear, functional.conv1d, functional.conv2d][len(conv.kernel)]
    options = {"stride": conv.stride, "padding": conv.padding} if conv.kernel else {}
    outputs = []
    for t in range(x.shape[1]):
        total = torch.zeros((), dtype=x.dtype)
        for k in range(conv.taps):
            earlier = t - (conv.taps - 1 - k) * conv.dilation
            step = x[:, earlier] if earlier >= 0 else torch.zeros_like(x[:, 0])
            channels = step.chunk(conv.groups, 1)
            weights = conv.weight[:, :, k].chunk(conv.groups, 0)
            groups = [product(c, w, **options) for c, w in zip(channels, weights, strict=True)]
            total = total + torch.cat(groups, 1)
        if conv.bias is not None:
            total = total + conv.bias.reshape(-1, *[1] * len(conv.kernel))
        outputs.append(total)
    return torch.stack(outputs, 1)


def gradients(y, conv, x):
    """Gradients of a weighted sum, for the input and all parameters."""
    weights = torch.sin(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
    leaves = [x, *conv.parameters()]
    return torch.autograd.grad((y * weights).sum(), leaves, retain_graph=True)


def assert_same(got, expected, conv, x):
    assert_close(got, expected, STATE, "charge")
    pairs = gradients(got, conv, x), gradients(expected, conv, x)
    assert_all_close(*pairs, GRADIENT, "gradient")


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_sequence_and_its_parts_are_the_equation(case):
    is_channels_last = case.pop("is_channels_last")
    conv = build(**case)
    x = draw_input(case["kernel"], case["dtype"], is_channels_last=is_channels_last)
    expected = convolve_step_by_step(conv, x)
    whole = run(conv, x)
    assert_same(whole, expected, conv, x)
    # An empty part, one shorter than the past, one longer, then single steps.
    prepare_net(conv)
    parts = [conv(part) for part in x.split([0, 1, 2, 5, 3], 1)[:4]]
    steps = [conv(step) for step in x[:, 8:].unbind(1)]
    streamed = torch.cat([*parts, torch.stack(steps, 1)], 1)
    assert_same(streamed, expected, conv, x)
    if case["dtype"] == torch.float32:  # in float64, torch has no channels-last conv3d in groups
        assert whole.movedim(2, -1).is_contiguous()


def test_autocast_computes_in_half_precision():
    conv = build((3,), torch.float32)
    x = draw_input((3,), torch.float32)
    expected = run(conv, x)
    with torch.autocast("cpu", torch.bfloat16):
        y = run(conv, x)
    assert y.dtype == torch.bfloat16
    assert_close(y, expected.bfloat16(), STATE, "charge")


def test_new_weights_suit_the_number_of_inputs():
    conv = TemporalConv(32, 64, taps=5, kernel=3, groups=2)
    assert conv.weight.shape == (64, 16, 5, 3)
    assert conv.fan_in == 16 * 5 * 3
    # 15,360 weights: their deviation is known to 0.6 %.
    assert float(conv.weight.detach().std()) == pytest.approx(2 / 240**0.5, rel=0.03)


def test_a_pruned_weight_acts():
    conv = build(())
    x = draw_input(())
    prune.l1_unstructured(conv, "weight", 0.5)
    assert float((conv.effective_weight() == 0).float().mean()) == 0.5
    y = run(conv, x)
    y.sum().backward()
    assert_close(y, convolve_step_by_step(conv, x), STATE, "charge")
    assert conv.weight_orig.grad is not None


def test_one_tap_has_no_past():
    conv = build((), taps=1)
    run(conv, draw_input(()))
    conv(draw_input((), B=5))
    assert conv.state_tensors() == []


class TestInANet:
    def test_weights_of_torch_fit(self):
        signals = nn.Conv1d(3, 4, 5, dilation=2)
        conv = TemporalConv(3, 4, taps=5, dilation=2, bias=True)
        conv.load_state_dict(signals.state_dict())
        x = torch.randn(2, 20, 3)
        expected = signals(functional.pad(x.transpose(1, 2), (8, 0))).transpose(1, 2)
        assert_close(conv(x), expected, STATE, "charge")

    def test_it_is_shown(self):
        text = str(TemporalConv(2, 4, 3, dilation=2, kernel=5, stride=2, groups=2, bias=True))
        assert text == (
            "TemporalConv(2, 4, taps=3, dilation=2, kernel=(5,), stride=(2,), groups=2, bias=True)"
        )
        assert str(TemporalConv(2, 4, 3)) == "TemporalConv(2, 4, taps=3)"
        assert isinstance(TemporalConv(2, 4, 3), Prepared)


@pytest.mark.parametrize(
    ("kernel", "shape", "message"),
    [
        (
            (), (2, 5, 3),
            r"takes \[B, T, 4, \*features\] \(a sequence\) or one step of it, with 0 features as "
            r"its kernel, got an input of shape \[2, 5, 3\]: add the dimension",
        ),
        ((), (2, 5, 4, 7), r"join features by nn.Flatten\(\)"),
        ((3,), (2, 5, 7, 4), r"takes \[B, T, 4, \*features\] .* with 1 features"),
        ((3, 2), (2, 5, 7), r"with 2 features as its kernel, got an input of shape \[2, 5"),
    ],
)  # fmt: skip
def test_an_input_of_another_shape_is_named(kernel, shape, message):
    with pytest.raises(ValueError, match=message):
        run(build(kernel), torch.randn(shape, dtype=torch.float64))


def test_a_sequence_without_channels_is_told_how_to_get_one():
    with pytest.raises(ValueError, match=r"the dimension of one channel, as in x.unsqueeze\(2\)"):
        run(TemporalConv(1, 2, 3, kernel=5), torch.rand(4, 98, 40))


def test_a_state_of_another_width_is_named():
    conv = build((3,))
    run(conv, draw_input((3,)))
    words = r"has a state of shape \[2, 4, 7, 4\], the input needs \[2, 4, 9"
    with pytest.raises(RuntimeError, match=words):
        conv(torch.randn(2, 3, 4, 9, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": 0}, "taps must be a whole number of at least 1, got 0"),
        ({"dilation": 1.5}, "dilation must be a whole number of at least 1, got 1.5"),
        ({"kernel": (2, 2, 2)}, r"kernel must have at most 2 sizes besides time, got \(2, 2, 2\)"),
        ({"kernel": 3, "stride": (1, 2)}, r"stride must be one number or one per size of kernel"),
        ({"kernel": 3, "padding": -1}, "padding must be a whole number of at least 0, got -1"),
        ({"bias": "x"}, "bias must be True or False, got 'x'"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=f"TemporalConv: {message}"):
        TemporalConv(4, 6, **{"taps": 3, **options})
