"""Constants of any page: their keys, their digits, their shapes and their bounds."""

import copy
import math
import pickle
import warnings

import pytest
import torch

from layers.nets import run
from layers.pages import AdaptiveLayer, ChargedLayer
from nwavesdk.chip import load_profile
from nwavesdk.layers import H1v1Layer, H1v2Layer, LIFLayer, prepare_net, zoo
from nwavesdk.layers.constants import without_step_warnings

WIDE = torch.float64
SHAPE = (3, 2, 2)
# Time constants of the chip H1v2, which snaps others to them.
GIVEN = {
    "number": 12.6e-3,
    "channel": [[[1e-3]], [[12.6e-3]], [[0.2]]],
    "neuron": torch.tensor([1e-3, 12.6e-3, 20e-3, 0.2] * 3, dtype=WIDE).reshape(SHAPE),
}
CONVERTED = {
    "unchanged": lambda layer: layer,
    "double": lambda layer: layer.double(),
    "half and double": lambda layer: layer.half().double(),
    "deepcopy": lambda layer: copy.deepcopy(layer).double(),
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer.double())),
}


@pytest.fixture
def double_default():
    torch.set_default_dtype(WIDE)
    yield
    torch.set_default_dtype(torch.float32)


def assert_exact(layer, name, given, ulps=2):
    value = layer.effective_constants(WIDE)[name].detach()
    expected = torch.as_tensor(given, dtype=WIDE).expand(value.shape)
    assert value.dtype == WIDE
    for got, wanted in zip(value.flatten().tolist(), expected.flatten().tolist(), strict=True):
        assert abs(got - wanted) <= ulps * math.ulp(wanted)


# Layers with a class of their own, and their thresholds.
CLASSES = {
    "LIF": (LIFLayer, 1.0),
    "H1v1": (H1v1Layer, load_profile("h1v1").number("threshold")),
    "H1v2": (H1v2Layer, load_profile("h1v2").number("threshold")),
}


def make(name, given, learn=()):
    if name == "rate":  # the bounded one, from 0 to 200
        return ChargedLayer(SHAPE, rate=given, tau=0.01, learn=learn)
    return AdaptiveLayer(SHAPE, **{name: given}, learn=learn)


@pytest.mark.parametrize("name", ["tau_a", "threshold", "kappa", "rate", *CLASSES])
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("convert", CONVERTED.values(), ids=CONVERTED)
def test_they_are_exact_in_float64(name, given, convert):
    if name in CLASSES:
        kind, threshold = CLASSES[name]
        layer = convert(kind(SHAPE, given))
        assert_exact(layer, "threshold", threshold)
        name = "tau"
    else:
        layer = convert(make(name, given))
    assert_exact(layer, name, given)
    if layer.constant(name).dtype == WIDE:
        assert torch.equal(layer.constant(name), layer.effective_constants(WIDE)[name])


def test_a_call_in_float64_has_exact_constants():
    layer = LIFLayer(1, 20e-3, 0.1, reset_mechanism="none")
    _, mem = run(layer, torch.tensor([0.1, 0.0], dtype=WIDE).reshape(1, 2, 1))
    assert mem[0, 1].item() == 0.1 * math.exp(-1 / 20)


def test_mismatch_acts_on_exact_constants():
    layer = H1v1Layer(3, 20e-3, ileak_mismatch=True)
    prepare_net(layer, seed=1)
    assert_exact(layer, "tau", 20e-3 / layer._mismatch.leak.double())


def test_decays_in_float32_are_computed_from_what_is_stored():
    taus = torch.logspace(-4, 1, 500, dtype=WIDE)
    stored = taus.float().log()
    decay = torch.exp(-0.7e-3 / stored.double().exp()).float()
    for kind in (LIFLayer, H1v1Layer):
        with without_step_warnings():
            layer = kind(500, taus, dt=0.7e-3)
        for same in (layer, copy.deepcopy(layer).double()):
            assert torch.equal(same.log_taus.float(), stored)
            assert torch.equal(same.constants()[0], decay)


def test_a_meta_layer_that_is_loaded_keeps_what_was_given():
    state = LIFLayer(2, 20e-3, 0.1).state_dict()
    layer = LIFLayer(2, 20e-3, 0.1).to("meta")
    layer.load_state_dict(state, assign=True)
    assert_exact(layer, "tau", 20e-3)
    assert_exact(layer, "threshold", 0.1)


@pytest.mark.parametrize("name", ["tau_a", "threshold", "kappa"])
@pytest.mark.usefixtures("double_default")
def test_learned_ones_are_exact_under_a_default_of_float64(name):
    # The exponential of a logarithm loses some digits of float64, and keeps more than float32 has.
    assert_exact(make(name, GIVEN["neuron"], learn=name), name, GIVEN["neuron"], ulps=8)


def test_learned_ones_get_the_digits_of_their_dtype():
    assert_exact(make("tau_a", 0.0123, learn="tau_a").double(), "tau_a", 0.0123, ulps=8)


@pytest.mark.parametrize("learn", [(), "rate", ("rate", "tau")])
def test_storage_depends_on_the_kind_and_not_on_learning(learn):
    layer = ChargedLayer(2, tau=0.02, learn=learn)
    assert {*layer.state_dict()} == {"logit_rate", "log_tau"}
    assert layer.logit_rate.item() == pytest.approx(math.log(50 / 150))
    assert layer.log_tau.item() == pytest.approx(math.log(0.02))
    assert layer.logit_rate.requires_grad == ("rate" in learn)
    assert layer.log_tau.requires_grad == ("tau" in learn)
    assert layer.rate.item() == pytest.approx(50.0)
    assert layer.tau.item() == pytest.approx(0.02)


def test_real_ones_are_stored_unchanged():
    assert AdaptiveLayer(2, kappa=-0.25).state_dict()["kappa"].item() == -0.25


@pytest.mark.parametrize("start", [1e-3, 199.9])
def test_a_bounded_one_stays_in_its_bounds_and_keeps_its_gradient(start):
    layer = ChargedLayer(2, tau=0.02, rate=start, learn="rate")
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    for sign in (1, -1) * 3:
        optimizer.zero_grad()
        (sign * layer.rate).backward()
        assert layer.logit_rate.grad != 0
        optimizer.step()
        assert 0 < layer.rate.item() < 200


def load_state(layer, tau_a):
    layer.load_state_dict(AdaptiveLayer(2, tau_a=tau_a, kappa=0.3).state_dict())


def assign_state(layer, tau_a):
    layer.load_state_dict(AdaptiveLayer(2, tau_a=tau_a, kappa=0.3).state_dict(), assign=True)


@pytest.mark.parametrize("load", [load_state, assign_state])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_loaded_value_wins_and_the_given_one_is_exact_again(load, prepared):
    layer = AdaptiveLayer(2, tau_a=[0.1, 0.1])
    if prepared:
        prepare_net(layer)
    load(layer, [0.007, 0.007])
    assert_exact(layer, "tau_a", layer.log_tau_a.double().exp())
    load(layer, [0.1, 0.1])
    assert_exact(layer, "tau_a", 0.1)


@pytest.mark.parametrize("is_data", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_a_written_value_wins_where_it_differs(wide, is_data):
    layer = AdaptiveLayer(2, tau_a=[0.1, 0.1], kappa=[0.3, 0.3])
    layer = layer.double() if wide else layer
    stored = layer.log_tau_a.data if is_data else layer.log_tau_a
    stored[1] = math.log(0.5)
    layer.kappa[1] = -1.7
    values = layer.effective_constants(WIDE)
    assert values["tau_a"][0].item() == 0.1
    assert values["tau_a"][1].item() == math.exp(layer.log_tau_a[1].item())
    assert values["kappa"].tolist() == [0.3, layer.kappa[1].item()]


def test_solvers_get_one_value_per_neuron_in_the_order_of_the_page():
    options = {"tau": [[[5e-3]], [[10e-3]], [[20e-3]]], "kappa": 0.1, "dt": 2e-3}
    layer = AdaptiveLayer(SHAPE, **options)
    assert layer.neuron.constants[:2] == ("decay_tau", "threshold")
    constants = dict(zip(layer.neuron.constants, layer.constants(WIDE), strict=True))
    expected = [math.exp(-2e-3 / tau) for tau in (5e-3, 10e-3, 20e-3) for _ in range(4)]
    assert constants["decay_tau"].tolist() == pytest.approx(expected, rel=1e-15)
    assert constants["kappa"].tolist() == [0.1] * 12
    narrow = layer.constants()
    assert [constant.dtype for constant in narrow] == [torch.float32] * len(constants)
    # In float32, they are computed in float64 from what is stored.
    stored = layer.log_tau.double().exp()
    assert torch.equal(narrow[0].reshape(SHAPE)[:, 0, 0], (-2e-3 / stored).exp().float().flatten())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("log_tau_a", math.nan, "AdaptiveLayer: values of tau_a are not finite: training diverged"),
        ("log_tau_a", math.inf, "values of tau_a are not finite"),
        ("kappa", -math.inf, "values of kappa are not finite"),
    ],
)
def test_values_that_are_not_finite_after_training(key, value, words):
    layer = AdaptiveLayer(2, learn=("tau_a", "kappa"))
    getattr(layer, key).data.fill_(value)
    with pytest.raises(RuntimeError, match=words):
        prepare_net(layer)


def test_parameters_keep_their_order_for_stored_optimizers():
    layer = LIFLayer(2, 0.02, layer_topology="RC", learn_taus=True, learn_thresholds=True)
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["log_taus", "recurrent_weights", "thresholds"]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: LIFLayer(2, 0.5e-3), "LIFLayer: taus of 0.0005 s is shorter than the step of "),
        (lambda: LIFLayer(2, [5e-3, 0.9e-3]), "taus of 0.0009 s is shorter than the step of 0.001"),
        (lambda: LIFLayer(2, 20e-3, dt=50e-3), "taus of 0.02 s is shorter than the step of 0.05 s"),
        (lambda: zoo.LILayer(2, tau=0.5e-3), "LILayer: tau of 0.0005 s is shorter"),
        (lambda: zoo.AdLIFLayer(2, tau_w=0.5e-3), "AdLIFLayer: tau_w of 0.0005 s is shorter"),
    ],
)
def test_a_time_constant_below_a_step_is_one_warning(build, text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = build()
        layer.eval()
        run(layer, torch.zeros(1, 3, 2))
        copy.deepcopy(layer)
    (warning,) = caught
    assert warning.category is UserWarning
    assert text in str(warning.message)
    assert str(warning.message).endswith("raise it, or lower dt.")
    assert warning.filename == __file__


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: LIFLayer(2, 20), "LIFLayer: taus of 20 s is longer than 1,000 steps of 0.001 s"),
        (lambda: LIFLayer(2, [20e-3, 5]), "so 5 ms are 0.005; "),
        (lambda: zoo.AdLIFLayer(2, tau_w=100), "AdLIFLayer: tau_w of 100 s is longer"),
    ],
)
def test_a_time_constant_in_milliseconds_is_one_warning(build, text):
    with pytest.warns(UserWarning, match="time constants are in seconds") as caught:
        build()
    (warning,) = caught
    assert text in str(warning.message)
    assert warning.filename == __file__


def test_long_time_constants_that_are_meant_are_no_warning():
    LIFLayer(2, 1e9)  # no leak
    LIFLayer(2, 1.0)
    LIFLayer(2, 20, dt=0.1)
    LIFLayer(2, 0.1, dt=1e-5)  # short steps
    with without_step_warnings():
        assert LIFLayer(2, 20).long_constants() == {"taus": pytest.approx(20)}


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda **names: LIFLayer(2, **names), {"taus": 0.02, "thresholds": 2.0}),
        (lambda **names: zoo.AdLIFLayer(2, **names), {"tau": 0.02, "threshold": 2.0}),
    ],
)
def test_constants_have_the_singular_and_the_plural(build, expected):
    for names in ({"tau": 0.02, "threshold": 2.0}, {"taus": 0.02, "thresholds": 2.0}):
        layer = build(**names)
        assert {name: getattr(layer, name).item() for name in expected} == pytest.approx(expected)
    with pytest.raises(TypeError, match=r"unexpected keyword argument|got an argument"):
        build(tau=0.02, taus=0.02)


def test_chip_layers_have_both_spellings():
    assert H1v2Layer(2, tau=0.02).taus.item() == pytest.approx(0.02)


def test_a_time_constant_of_a_step_is_no_warning():
    LIFLayer(2, 1e-3)
    LIFLayer(2, 0.1, dt=0.1)
    with without_step_warnings():
        assert LIFLayer(2, 0.5e-3).short_constants() == {"taus": pytest.approx(0.5e-3)}
