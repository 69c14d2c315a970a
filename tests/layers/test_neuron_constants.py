"""Constants in float64 are exact, and in float32 what they always were."""

import copy
import math
import pickle

import pytest
import torch

from nwavesdk.chip import load_profile
from nwavesdk.layers import H1v1Layer, H1v2Layer, LIFLayer, SpikingSequential, prepare_net
from nwavesdk.layers.constants import without_step_warnings

DT = 1e-3
TAU = 20e-3
KINDS = [LIFLayer, H1v1Layer, H1v2Layer]
WIDE = torch.float64


@pytest.fixture
def double_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_exact(layer, taus, thresholds, ulps=2):
    decay, threshold = layer.constants(torch.float64)
    for values, expected in (
        (decay, [math.exp(-layer.dt / tau) for tau in taus]),
        (threshold, thresholds),
    ):
        assert len(values) == len(expected)
        for value, target in zip(values.tolist(), expected, strict=True):
            assert abs(value - target) <= ulps * math.ulp(target)


def threshold_of(kind):
    if kind is LIFLayer:
        return 1.0
    return load_profile({H1v1Layer: "h1v1", H1v2Layer: "h1v2"}[kind]).number("threshold")


GIVEN = {
    "number": lambda taus: taus[0],
    "list": lambda taus: taus,
    "tensor": lambda taus: torch.tensor(taus, dtype=torch.float64),
}
CONVERTED = {
    "unchanged": lambda layer: layer,
    "double": lambda layer: layer.double(),
    "to": lambda layer: layer.to(torch.float64),
    "net": lambda layer: SpikingSequential(layer).double()[0],
    "half and double": lambda layer: layer.half().double(),
    "deepcopy": lambda layer: copy.deepcopy(layer).double(),
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer.double())),
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("way", CONVERTED)
@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_exact_in_float64(kind, way, given):
    taus = [0.02, 0.02, 0.02] if given == "number" else [1.0e-3, 12.6e-3, 0.2]
    layer = CONVERTED[way](kind(3, GIVEN[given](taus), dt=DT))
    assert_exact(layer, taus, [threshold_of(kind)] * 3)
    if layer.log_taus.dtype == torch.float64:
        assert layer.taus.reshape(-1).tolist() == taus[: layer.taus.numel()]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.usefixtures("double_default")
def test_constants_are_exact_under_a_default_of_float64(learned):
    options = {"learn_taus": learned, "learn_thresholds": learned}
    taus = [3e-3, 0.02, 0.7]
    assert_exact(LIFLayer(3, taus, 0.1, dt=DT, **options), taus, [0.1] * 3)


def test_learned_constants_get_the_digits_of_their_dtype():
    layer = LIFLayer(2, [3e-3, 0.02], 0.1, dt=DT, learn_taus=True, learn_thresholds=True)
    with torch.no_grad():
        layer.log_taus[0] = math.log(5e-3)
    trained = math.exp(layer.log_taus[0].item())
    layer.double()
    assert_exact(layer, [trained, 0.02], [0.1, 0.1])
    layer.constants(torch.float64)[0].sum().backward()
    assert (layer.log_taus.grad > 0).all()


def test_a_call_in_float64_has_exact_constants():
    layer = LIFLayer(1, TAU, 0.1, reset_mechanism="none", dt=DT)
    prepare_net(layer)
    _, mem = layer(torch.tensor([[[0.1]], [[0.0]]], dtype=torch.float64).reshape(1, 2, 1))
    assert mem[0, 1].item() == 0.1 * math.exp(-DT / TAU)


def test_mismatch_acts_on_exact_constants():
    layer = H1v1Layer(3, TAU, ileak_mismatch=True)
    prepare_net(layer, seed=1)
    leak = layer._mismatch.leak.double()
    assert_exact(layer, (TAU / leak).tolist(), [threshold_of(H1v1Layer)] * 3)


def load_state(layer, tau, threshold):
    state = LIFLayer(2, [tau, tau], threshold).state_dict()
    layer.load_state_dict(state)


def assign_state(layer, tau, threshold):
    layer.load_state_dict(LIFLayer(2, [tau, tau], threshold).state_dict(), assign=True)


def write_in_place(layer, tau, threshold):
    layer.log_taus.fill_(math.log(tau))
    layer.thresholds.fill_(threshold)


def write_data(layer, tau, threshold):
    layer.log_taus.data.fill_(math.log(tau))
    layer.thresholds.data.fill_(threshold)


@pytest.mark.parametrize("load", [load_state, assign_state, write_in_place, write_data])
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_a_loaded_value_wins(load, prepared, wide):
    layer = LIFLayer(2, [TAU, TAU], 0.1)
    if wide:
        layer.double()
    if prepared:
        prepare_net(layer)
    load(layer, 7e-3, 0.3)
    decay, threshold = layer.constants(torch.float64)
    assert torch.equal(threshold, layer.thresholds.double().expand(2))
    assert threshold.tolist() == pytest.approx([0.3, 0.3])
    expected = torch.exp(-layer.dt / layer.log_taus.double().exp())
    assert torch.equal(decay, expected)
    load(layer, TAU, 0.1)
    if load in (load_state, assign_state):
        assert_exact(layer, [TAU, TAU], [0.1, 0.1])


def test_a_value_that_differs_in_one_element_wins_there_alone():
    layer = LIFLayer(2, [TAU, TAU], [0.1, 0.1])
    layer.log_taus[1] = math.log(5e-3)
    assert_exact(layer, [TAU, math.exp(layer.log_taus[1].item())], [0.1, 0.1])


def test_states_are_those_of_float32():
    state = LIFLayer(2, TAU, 0.1).double().state_dict()
    assert {name: value.item() for name, value in state.items()} == {
        "log_taus": torch.tensor(TAU).log().item(),
        "thresholds": torch.tensor(0.1).item(),
    }


def test_decays_in_float32_are_computed_as_ever():
    taus = torch.logspace(-4, 1, 500, dtype=torch.float64)
    stored = taus.float().log()
    decay = torch.exp(-0.7e-3 / stored.double().exp()).float()
    for kind in (LIFLayer, H1v1Layer):
        with without_step_warnings():
            layer = kind(500, taus, dt=0.7e-3)
        assert torch.equal(layer.log_taus, stored)
        for same in (layer, copy.deepcopy(layer).double()):
            assert torch.equal(same.constants()[0], decay)


def test_a_meta_layer_that_is_loaded_keeps_what_was_given():
    state = LIFLayer(2, [TAU, TAU], 0.1).state_dict()
    layer = LIFLayer(2, [TAU, TAU], 0.1).to("meta")
    layer.load_state_dict(state, assign=True)
    assert_exact(layer, [TAU, TAU], [0.1, 0.1])
