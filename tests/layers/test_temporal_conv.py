"""`TemporalConv`: its equation, parts of sequences, state, layout in memory, and errors."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from nwavesdk.layers import LIFLayer, SpikingSequential, TemporalConv, prepare_net
from nwavesdk.layers.prepare import Prepared
from nwavesdk.net import streaming
from pairwise import pairwise
from tolerances import GRADIENT, STATE, assert_close

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
    pairs = zip(gradients(got, conv, x), gradients(expected, conv, x), strict=True)
    for mine, theirs in pairs:
        assert_close(mine, theirs, GRADIENT, "gradient")


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_a_sequence_and_its_parts_are_the_equation(case):
    is_channels_last = case.pop("is_channels_last")
    conv = build(**case)
    x = draw_input(case["kernel"], case["dtype"], is_channels_last=is_channels_last)
    expected = convolve_step_by_step(conv, x)
    prepare_net(conv)
    whole = conv(x)
    assert_same(whole, expected, conv, x)
    # An empty part, one shorter than the past, one longer, then single steps.
    prepare_net(conv)
    parts = [conv(part) for part in x.split([0, 1, 2, 5, 3], 1)[:4]]
    steps = [conv(step) for step in x[:, 8:].unbind(1)]
    streamed = torch.cat([*parts, torch.stack(steps, 1)], 1)
    assert_same(streamed, expected, conv, x)
    if case["dtype"] == torch.float32:  # in float64, torch has no channels-last conv3d in groups
        assert whole.movedim(2, -1).is_contiguous()


@pytest.mark.parametrize("kernel", FEATURES)
def test_charge_begins_after_silence_and_leaves_the_state(kernel):
    conv = build(kernel, bias=False)
    x = draw_input(kernel)
    prepare_net(conv)
    first = conv(x)
    charge = conv.charge(x, 2 * conv.effective_weight())
    assert_close(charge, 2 * first, STATE, "charge")
    assert_close(conv.charge(x[:, 0], conv.weight), first[:, 0], STATE, "charge of a step")
    second = conv(x)
    prepare_net(conv)
    assert_close(second, conv(torch.cat([x, x], 1))[:, 11:], STATE, "charge")


@pytest.mark.parametrize("kernel", FEATURES)
def test_one_step_without_a_batch_is_a_batch_of_one(kernel):
    conv = build(kernel)
    x = draw_input(kernel, B=1)
    prepare_net(conv)
    whole = conv(x)
    prepare_net(conv)
    steps = torch.stack([conv(step) for step in x[0]], 1)
    assert_close(steps, whole, STATE, "charge")


class TestState:
    def test_it_is_forgotten_kept_and_not_in_the_state_dict(self):
        conv = build(())
        x = draw_input(())
        prepare_net(conv)
        first = conv(x)
        assert not torch.equal(conv(x), first)
        prepare_net(conv)
        assert torch.equal(conv(x), first)
        prepare_net(conv, keep_state=True)
        assert not torch.equal(conv(x), first)
        assert list(conv.state_dict()) == ["weight", "bias"]

    def test_calls_with_a_sequence_prepare_themselves(self):
        conv = build((3,))
        x = draw_input((3,))
        assert torch.equal(conv(x), conv(x))
        with streaming(conv):
            first = conv(x)
            assert not torch.equal(conv(x), first)
        assert conv.state_tensors() == []

    @pytest.mark.parametrize("kernel", FEATURES)
    def test_it_goes_on_after_tensors_copies_and_pickles(self, kernel):
        conv = build(kernel)
        x = draw_input(kernel)
        prepare_net(conv)
        conv(x)
        tensors = conv.state_tensors()
        twins = [copy.deepcopy(conv), pickle.loads(pickle.dumps(conv)), build(kernel)]
        twins[2].load_state_dict(conv.state_dict())
        prepare_net(twins[2])
        twins[2].load_state_tensors(tensors)
        expected = conv(x)
        for twin in twins:
            assert torch.equal(twin(x), expected)

    def test_copies_and_detached_states_have_no_graph(self):
        conv = build(())
        x = draw_input(())
        prepare_net(conv)
        conv(x)
        assert conv.state_tensors()[0].requires_grad
        twin = copy.deepcopy(conv)
        assert not twin.state_tensors()[0].requires_grad
        conv.detach_state()
        assert not conv.state_tensors()[0].requires_grad
        restore = conv.state_restorer()
        expected = conv(x)
        restore()
        assert torch.equal(conv(x), expected)

    @pytest.mark.parametrize("T", [1, 11])
    def test_the_caller_may_write_to_its_input_afterwards(self, T):
        conv = build((3,))
        x = draw_input((3,), T=T).detach()
        prepare_net(conv)
        conv(x)
        expected = copy.deepcopy(conv)(x)
        again = x.clone()
        x.fill_(math.nan)
        assert torch.equal(conv(again), expected)

    def test_it_continues_after_inference_and_in_another_dtype(self):
        conv = build(())
        x = draw_input(())
        prepare_net(conv)
        with torch.inference_mode():
            conv(x.detach())
        conv(x).sum().backward()
        assert x.grad.abs().sum() > 0
        conv.float()
        assert conv(x.float()).dtype == torch.float32

    def test_without_a_past_there_is_none(self):
        conv = build((), taps=1)
        prepare_net(conv)
        conv(draw_input(()))
        conv(draw_input((), B=5))
        assert conv.state_tensors() == []


def test_autocast_computes_in_half_precision():
    conv = build((3,), torch.float32)
    x = draw_input((3,), torch.float32)
    prepare_net(conv)
    expected = conv(x)
    prepare_net(conv)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
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
    prepare_net(conv)
    y = conv(x)
    y.sum().backward()
    assert_close(y, convolve_step_by_step(conv, x), STATE, "charge")
    assert conv.weight_orig.grad is not None


def words(checkpoint=None):
    """A net over (time, frequency) and then over time only, as for spoken words."""
    torch.manual_seed(0)
    return SpikingSequential(
        TemporalConv(1, 4, taps=3, kernel=5, stride=2), LIFLayer((4, 8), 10e-3),
        nn.Flatten(), TemporalConv(32, 6, taps=3, dilation=4), LIFLayer(6, 10e-3),
        checkpoint=checkpoint,
    )  # fmt: skip


class TestInANet:
    @pytest.mark.parametrize("checkpoint", [3, 7])
    def test_chunks_give_the_same_spikes_and_gradients(self, checkpoint):
        x = torch.randn(2, 20, 1, 19, requires_grad=True)
        results = []
        for net in words(), words(checkpoint):
            prepare_net(net)
            _, mem = net(x)
            results.append([mem, *torch.autograd.grad(mem.square().sum(), [x, *net.parameters()])])
        assert float(results[0][1].abs().sum()) > 0
        for mine, theirs in zip(*results, strict=True):
            assert_close(mine, theirs, GRADIENT, "membranes and gradients")

    def test_compiled_code_gives_the_same(self):
        net = words()
        x = torch.randn(2, 9, 1, 19)
        prepare_net(net)
        expected, _ = net(x)
        compiled = torch.compile(net, backend="aot_eager")
        prepare_net(net)
        spk, _ = compiled(x)
        assert torch.equal(spk, expected)
        assert expected.sum() > 0

    def test_padding_changes_no_valid_step(self):
        net = words()
        x = torch.randn(2, 20, 1, 19)
        expected, _ = net(x)
        padded = x.clone()
        padded[1, 8:] = 1e3
        spk, _ = net(padded, torch.tensor([20, 8]))
        assert torch.equal(spk[0], expected[0])
        assert torch.equal(spk[1, :8], expected[1, :8])

    def test_weights_of_torch_fit(self):
        signals = nn.Conv1d(3, 4, 5, dilation=2)
        conv = TemporalConv(3, 4, taps=5, dilation=2, bias=True)
        conv.load_state_dict(signals.state_dict())
        x = torch.randn(2, 20, 3)
        expected = signals(functional.pad(x.transpose(1, 2), (8, 0))).transpose(1, 2)
        assert_close(conv(x), expected, STATE, "charge")

    def test_a_failed_pass_leaves_its_state(self):
        net = SpikingSequential(TemporalConv(3, 4, 2), TemporalConv(5, 2, 2))
        prepare_net(net)
        with pytest.raises(ValueError, match="the sizes of consecutive layers must match"):
            net(torch.randn(2, 5, 3))
        assert net[0].state_tensors() == []

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
            r"takes \[4\], \[B, 4\] \(one step\) or \[B, T, 4\] \(a sequence\), got an input of "
            r"shape \[2, 5, 3\]: the sizes of consecutive layers must match",
        ),
        ((), (2, 5, 4, 7), r"join the features of a step, as nn.Flatten\(\) does, or pass a ker"),
        ((3,), (2, 5, 7, 4), r"takes \[4, F\], \[B, 4, F\] \(one step\) or \[B, T, 4, F\]"),
        ((3, 2), (2, 5, 7), r"or \[B, T, 4, H, W\] \(a sequence\), got an input of shape \[2, 5"),
        ((3,), (2, 5, 4, 2), r"features of shape \[2\] are smaller than the kernel \[3\], with"),
    ],
)  # fmt: skip
def test_an_input_of_another_shape_is_named(kernel, shape, message):
    conv = build(kernel)
    prepare_net(conv)
    with pytest.raises(ValueError, match=message):
        conv(torch.randn(shape, dtype=torch.float64))


def test_a_sequence_without_channels_is_told_how_to_get_one():
    conv = TemporalConv(1, 2, 3, kernel=5)
    prepare_net(conv)
    with pytest.raises(ValueError, match=r"a dimension for the channel, as in x.unsqueeze\(2\)"):
        conv(torch.rand(4, 98, 40))


def test_calls_that_do_not_fit_the_state_are_named():
    conv = build((3,))
    with pytest.raises(RuntimeError, match="not prepared: call prepare_net"):
        conv(draw_input((3,))[:, 0])
    prepare_net(conv)
    conv(draw_input((3,)))
    with pytest.raises(
        RuntimeError,
        match=r"TemporalConv\(4, 6\) has state for a batch of 2, the input has 5: call",
    ):
        conv(draw_input((3,), B=5))
    with pytest.raises(
        RuntimeError, match=r"has a state of shape \[2, 4, 7, 4\], expected \[2, 4, 9"
    ):
        conv(torch.randn(2, 3, 4, 9, dtype=torch.float64))
    with pytest.raises(
        TypeError, match=r"weights of torch.float64 and got an input of torch.float32"
    ):
        conv(draw_input((3,), torch.float32))
    with pytest.raises(TypeError, match=r"takes a floating input, got torch.int64"):
        conv(torch.ones(2, 3, 4, 7, dtype=torch.int64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": 0}, "taps must be a whole number of at least 1, got 0"),
        ({"dilation": 1.5}, "dilation must be a whole number of at least 1, got 1.5"),
        ({"kernel": 0}, "kernel must be a whole number of at least 1, got 0"),
        ({"kernel": (2, 2, 2)}, r"kernel must have at most 2 sizes besides time, got \(2, 2, 2\)"),
        ({"kernel": 3, "stride": (1, 2)}, r"stride must be one number or one per size of kernel"),
        ({"stride": 0}, "stride must be a whole number of at least 1, got 0"),
        ({"kernel": 3, "padding": -1}, "padding must be a whole number of at least 0, got -1"),
        ({"groups": 3}, "groups must divide in_channels 4 and out_channels 6, got 3"),
        ({"bias": "x"}, "bias must be True or False, got 'x'"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=f"TemporalConv: {message}"):
        TemporalConv(4, 6, **{"taps": 3, **options})
