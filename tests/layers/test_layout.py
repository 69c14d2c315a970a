"""Layers follow the layout of images: the same results channels-first and channels-last."""

import copy
import pickle
import sys

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from nwavesdk.layers import AdLIFLayer, H1v1Layer, LIFLayer, NeuronLayer, prepare_net, zoo
from nwavesdk.layers.layout import Layout, is_channels_last
from nwavesdk.surrogate import custom
from pairwise import pairwise

TAU = 10e-3
FEATURES = [(3, 5, 7), (4, 6), (2, 3, 4, 5), (5, 1, 3), (3, 4, 1), (1, 3, 4), (6, 1, 1)]


def by_channel(features, low, high):
    return torch.linspace(low, high, features[0]).reshape(-1, *[1] * (len(features) - 1))


def by_neuron(features, low, high):
    N = torch.Size(features).numel()
    return torch.linspace(low, high, N).reshape(features)


LAYERS = {
    "number": lambda f, **o: LIFLayer(f, TAU, **o),
    "channel": lambda f, **o: LIFLayer(f, by_channel(f, 5e-3, 30e-3), by_channel(f, 0.6, 1.2), **o),
    "neuron": lambda f, **o: LIFLayer(f, by_neuron(f, 5e-3, 30e-3), by_neuron(f, 0.6, 1.2), **o),
    "learned": lambda f, **o: LIFLayer(
        f,
        by_channel(f, 5e-3, 30e-3),
        by_neuron(f, 0.6, 1.2),
        learn_taus=True,
        learn_thresholds=True,
        **o,
    ),
    "shared": lambda f, **o: LIFLayer(f, TAU, learn_taus=True, learn_thresholds=True, **o),
    "readout": lambda f, **o: LIFLayer(f, TAU, reset_mechanism="none", **o),
    "several states": lambda f, **o: AdLIFLayer(f, tau=by_channel(f, 5e-3, 2e-2), learn="tau", **o),
    "chip": lambda f, **o: H1v1Layer(f, TAU, ileak_mismatch=True, **o),
    "recurrent": lambda f, **o: LIFLayer(f, TAU, layer_topology="RC", **o),
    "without a formula": lambda f, **o: LIFLayer(
        f, TAU, spike_grad=custom(lambda z: 1 / (1 + 9 * z.abs())), **o
    ),
    "half saved": lambda f, **o: LIFLayer(
        f, by_channel(f, 5e-3, 9e-3), saved_dtype="bfloat16", **o
    ),
    "reference": lambda f, **o: LIFLayer(f, by_channel(f, 5e-3, 9e-3), solver="reference", **o),
    "parallel": lambda f, **o: LIFLayer(f, by_channel(f, 5e-3, 9e-3), device="gpu", **o),
}


def draw(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def channels_last(x, dimensions):
    """The same values with the first of the last dimensions last in memory."""
    return x.movedim(-dimensions, -1).contiguous().movedim(-1, -dimensions)


def results(layer, inputs, layouts, grad_layout):
    """All outputs, states and gradients of consecutive calls, each with its layout of the input."""
    features = layer.features
    layer.zero_grad()
    prepare_net(layer, seed=3)
    pairs = zip(inputs, layouts, strict=True)
    leaves = [laid(x, layout, features).requires_grad_() for x, layout in pairs]
    outputs = [y for x in leaves for y in layer(x)]
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


@pytest.fixture
def in_general(monkeypatch):
    # `nwavesdk.layers.neuron` is a function, which hides the module.
    module = sys.modules[NeuronLayer.__module__]
    return lambda: monkeypatch.setattr(module, "run_planned", lambda *_, **__: None)


CASES = pairwise(
    kind=[*LAYERS], features=FEATURES[:5], grad=["first", "last"], planned=[True, False]
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_both_layouts_give_the_same_bits(case, in_general):
    features = case["features"]
    torch.manual_seed(0)
    layer = LAYERS[case["kind"]](features)
    if not case["planned"]:
        in_general()
    x = 0.7 * draw(0, 2, 9, *features)
    inputs = [x[:, :4], x[:, 4:8], x[:, 8]]  # two sequences and a step
    expected = results(layer, inputs, ["first"] * 3, "first")
    for layouts in (["last"] * 3, ["first", "last", "first"], ["last", "first", "last"]):
        got = results(layer, inputs, layouts, case["grad"])
        assert_same(got, expected)
        follows = case["kind"] != "recurrent"
        for i, layout in enumerate(layouts):
            for y in got["outputs"][2 * i : 2 * i + 2]:
                assert is_channels_last(y, len(features)) == (follows and layout == "last")


@pytest.mark.parametrize("features", FEATURES)
def test_one_image_and_slices_of_a_sequence(features):
    layer = LIFLayer(features, by_channel(features, 5e-3, 30e-3))
    x = 0.9 * draw(0, 3, 8, *features)
    for y in (x, channels_last(x, len(features))):
        prepare_net(layer)
        whole, _ = layer(y)
        prepare_net(layer)
        parts = [layer(y[:, 0])[0][:, None], layer(y[:, 1:4])[0], layer(y[:, 4:])[0]]
        assert torch.equal(torch.cat(parts, 1), whole)
        prepare_net(layer)
        assert torch.equal(layer(y[1, 0])[0][0], whole[1, 0])
        prepare_net(layer)
        repeated = y[:, :1].expand(y.shape)
        assert torch.equal(layer(repeated)[0][:, 0], whole[:, 0])


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("steps", [(4, 9), (4,)])
def test_channels_last_is_run_without_a_copy(learned, steps):
    layer = LIFLayer((3, 5, 7), by_channel((3, 5, 7), 5e-3, 9e-3), learn_taus=learned)
    x = channels_last(draw(0, *steps, 3, 5, 7), 3).requires_grad_()
    grad = channels_last(draw(1, *steps, 3, 5, 7), 3)

    def call():
        prepare_net(layer)
        layer(x)[0].backward(grad, inputs=[x])
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
    layer = LIFLayer((3, 4, 5), TAU)
    prepare_net(layer)
    whole, _ = layer(x)
    prepare_net(layer)
    layer(channels_last(x[:, :3], 3))
    assert layer.state["v"].shape == (2, 3, 4, 5)
    other = LIFLayer((3, 4, 5), TAU)
    prepare_net(other)
    other.load_state_tensors(layer.state_tensors())
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other, layer):
        assert torch.equal(one(x[:, 3:])[0], whole[:, 3:])


def test_compiled_code_follows_the_layout():
    layer = LIFLayer((3, 4, 5), by_channel((3, 4, 5), 5e-3, 9e-3), learn_taus=True)
    compiled = torch.compile(layer, backend="aot_eager")
    x = 0.8 * draw(0, 2, 6, 3, 4, 5)
    expected = results(layer, [x], ["first"], "last")
    layer.zero_grad()
    prepare_net(layer)
    leaf = laid(x, "last", layer.features).requires_grad_()
    outputs = compiled(leaf)
    assert is_channels_last(outputs[0], 3)
    grads = [laid(draw(i, *y.shape), "last", layer.features) for i, y in enumerate(outputs)]
    torch.autograd.backward(outputs, grads)
    states = [*layer.state.values()]
    got = {"outputs": outputs, "states": states, "inputs": [leaf.grad]}
    assert_same(got | {"parameters": [layer.log_taus.grad]}, expected)


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
