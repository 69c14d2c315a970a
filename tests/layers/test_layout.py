"""Layers follow the layout of images: the same results channels-first and channels-last."""

import copy
import pickle

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from layers.nets import TAUS, VARIANTS, by_channel, run
from nwavesdk.layers import LIFLayer, prepare_net, zoo
from nwavesdk.layers.layout import Layout, is_channels_last
from pairwise import case_id, pairwise

FEATURES = [(3, 5, 7), (4, 6), (2, 3, 4, 5), (5, 1, 3), (3, 4, 1), (1, 3, 4), (6, 1, 1)]


def draw(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def channels_last(x, dimensions):
    """The same values with the first of the last dimensions last in memory."""
    return x.movedim(-dimensions, -1).contiguous().movedim(-1, -dimensions)


def results(layer, inputs, layouts, grad_layout, call=None):
    """All outputs, states and gradients of consecutive calls, each with its layout of the input."""
    call = layer if call is None else call
    features = layer.features
    layer.zero_grad()
    prepare_net(layer, seed=3)
    pairs = zip(inputs, layouts, strict=True)
    leaves = [laid(x, layout, features).requires_grad_() for x, layout in pairs]
    outputs = [y for x in leaves for y in call(x)]
    grads = [laid(draw(i, *y.shape), grad_layout, features) for i, y in enumerate(outputs)]
    torch.autograd.backward(outputs, grads)
    return {
        "outputs": outputs,
        "states": [*layer.state.values()],
        "inputs": [x.grad for x in leaves],
        "parameters": [p.grad for p in layer.parameters()],
    }


def laid(x, layout, features):
    x = x.detach().clone(memory_format=torch.contiguous_format)
    return channels_last(x, len(features)) if layout == "last" else x


def assert_same(got, expected):
    for kind, values in got.items():
        for a, b in zip(values, expected[kind], strict=True):
            assert a.shape == b.shape
            if kind == "parameters":  # sums over neurons, in another order
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
            else:
                assert torch.equal(a, b), kind


CASES = pairwise(kind=[*VARIANTS], features=FEATURES, grad=["first", "last"], planned=[True, False])


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_both_layouts_give_the_same_bits(case, in_general):
    features = case["features"]
    torch.manual_seed(0)
    layer = VARIANTS[case["kind"]](features)

    def call(x):
        return layer(x) if case["planned"] else in_general(lambda: layer(x))

    x = 0.7 * draw(0, 2, 9, *features)
    inputs = [x[:, :4], x[:, 4:8], x[:, 8]]  # two sequences and a step
    expected = results(layer, inputs, ["first"] * 3, "first")
    for layouts in (["last"] * 3, ["first", "last", "first"], ["last", "first", "last"]):
        got = results(layer, inputs, layouts, case["grad"], call)
        assert_same(got, expected)
        follows = case["kind"] != "recurrent"
        for i, layout in enumerate(layouts):
            # One channel or one place is in both orders, which counts as channels first.
            is_last = is_channels_last(laid(inputs[i], layout, features), len(features))
            for y in got["outputs"][2 * i : 2 * i + 2]:
                assert is_channels_last(y, len(features)) == (follows and is_last)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("steps", [(4, 9), (4,)])
def test_channels_last_is_run_without_a_copy(learned, steps):
    layer = LIFLayer((3, 5, 7), by_channel((3, 5, 7), 5e-3, 9e-3), learn_taus=learned)
    x = channels_last(draw(0, *steps, 3, 5, 7), 3).requires_grad_()
    grad = channels_last(draw(1, *steps, 3, 5, 7), 3)

    def call():
        run(layer, x)[0].backward(grad, inputs=[x])
        x.grad = None

    call()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    names = {event.name for event in seen.events()}
    assert "_SweepBackward" in names
    assert not names & {"aten::copy_", "aten::clone", "aten::contiguous"}


def test_a_record_is_the_same_in_both_layouts():
    layer = LIFLayer((3, 4, 5), by_channel((3, 4, 5), 5e-3, 9e-3))
    x = 0.8 * draw(0, 2, 6, 3, 4, 5)
    grad = draw(1, 2, 6, 3, 4, 5)
    records = []
    for y in (x, channels_last(x, 3)):
        prepare_net(layer)
        records.append(layer.record(y, charge=True))
    first, last = records
    assert is_channels_last(last.spk, 3)
    for name in ("spk", "mem", "cur", "z", "u"):
        assert torch.equal(getattr(first, name), getattr(last, name)), name
    assert torch.equal(first.states["v"], last.states["v"])
    assert torch.equal(first.neuron_rates(), last.neuron_rates())
    assert first.neuron_rates().shape == (60,)
    for g in (grad, channels_last(grad, 3)):
        assert torch.equal(last.charge_gradient(g)[0], first.charge_gradient(grad)[0])


def test_copies_and_stored_states_keep_their_meaning():
    x = 0.8 * draw(0, 2, 6, 3, 4, 5)
    layer = LIFLayer((3, 4, 5), TAUS)
    whole, _ = run(layer, x)
    run(layer, channels_last(x[:, :3], 3))
    assert layer.state["v"].shape == (2, 3, 4, 5)
    other = LIFLayer((3, 4, 5), TAUS)
    prepare_net(other)
    other.load_state_tensors(layer.state_tensors())
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other, layer):
        assert torch.equal(one(x[:, 3:])[0], whole[:, 3:])


def test_compiled_code_follows_the_layout():
    layer = LIFLayer((3, 4, 5), by_channel((3, 4, 5), 5e-3, 9e-3), learn_taus=True)
    compiled = torch.compile(layer, backend="aot_eager")
    x = 0.8 * draw(0, 2, 6, 3, 4, 5)
    expected = results(layer, [x], ["first"], "last")
    got = results(layer, [x], ["last"], "last", compiled)
    assert is_channels_last(got["outputs"][0], 3)
    assert_same(got, expected)


@pytest.mark.parametrize("name", zoo.__all__)
def test_a_constant_by_channel_has_one_parameter_for_each_channel(name):
    make = getattr(zoo, name)
    features = (3, 4, 5)
    for constant in make(features).stored_constants:
        value = make(features).constant(constant.name).detach().expand(3, 1, 1)
        layer = make(features, **{constant.argument: value}, learn=constant.name)
        assert [p.shape for p in layer.parameters()] == [(3, 1, 1)], constant.name
        assert all(c.shape == (60,) for c in layer.constants())


def test_layouts_that_are_told_apart():
    assert not is_channels_last(torch.zeros(2, 3), 2)
    assert not is_channels_last(torch.zeros(3), 2)
    image = torch.zeros(2, 3, 4, 5)
    assert is_channels_last(channels_last(image, 3), 3)
    assert not is_channels_last(image.transpose(2, 3), 3)
    assert not is_channels_last(channels_last(image, 3)[..., ::2], 3)
    assert not is_channels_last(channels_last(torch.zeros(2, 1, 4, 5), 3), 3)
    assert not is_channels_last(channels_last(torch.zeros(2, 3, 1, 1), 3), 3)
    layout = Layout((3, 4, 5), is_channels_last=True)
    x = draw(0, 2, 3, 4, 5)
    assert torch.equal(layout.unflatten(layout.flatten(x)), x)
    assert torch.equal(layout.arrange(x.flatten(1)), layout.flatten(x))
