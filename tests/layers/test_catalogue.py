"""The catalogue of neurons: its names, what it reads from docstrings, and the layers it builds."""

import pytest
import torch

from nwavesdk.layers import LIFLayer, prepare_net, zoo
from nwavesdk.layers.catalogue import available_neurons, find_neuron

NEURONS = available_neurons()


def test_every_neuron_of_the_zoo_is_there():
    layers = [neuron.layer.__name__ for neuron in NEURONS.values()]
    assert set(layers) == {*zoo.__all__, "LIFLayer", "H1v1Layer", "H1v2Layer"}
    assert layers.count("LIFLayer") == 3


@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_is_described_completely(name):
    neuron = NEURONS[name]
    assert neuron.summary.endswith(".")
    assert neuron.equation[-1].startswith("return ")
    assert neuron.sources
    assert neuron.solvers[:2] == ["reference", "serial"]
    assert [state.name for state in neuron.states] == [*neuron.page.neuron.states]
    for value in (neuron.input, *neuron.states, *neuron.constants.values()):
        assert value.text, value
    constants = neuron.constants.values()
    assert all(c.kind.low is None or c.default is None or c.default > c.kind.low for c in constants)


def test_units_kinds_and_defaults_are_those_of_the_page():
    adlif = find_neuron("adlif")
    assert adlif.call == "AdLIFLayer"
    assert adlif.input.unit == "membrane"
    tau_w, a = adlif.constants["tau_w"], adlif.constants["a"]
    assert (tau_w.kind_text, tau_w.default, tau_w.unit) == ("time constant", 0.06, "s")
    assert (a.kind_text, a.default) == ("between -1 and 1", 0.02)
    assert tau_w.text == "Time constant of the adaptation."
    assert "doi:10.3389/fnins.2022.865897" in adlif.sources
    assert adlif.solvers == ["reference", "serial"]
    assert find_neuron("lif").solvers == ["reference", "serial", "compasso"]
    assert [state.start for state in find_neuron("izhikevich").states] == [-65.0, -13.0]
    threshold = find_neuron("h1v1").constants["threshold"]
    assert (threshold.argument, threshold.default) == (None, None)


@pytest.mark.parametrize("name", ["SE-adLIF", "se_adlif", "SEAdLIFLayer", "seadlif"])
def test_spelling_does_not_matter(name):
    assert find_neuron(name) is NEURONS["seadlif"]


@pytest.mark.parametrize("name", ["adlf", "", None, 3, "x" * 1000])
def test_an_unknown_name_is_one_line(name):
    with pytest.raises(ValueError, match=r"^unknown neuron .*expected one of lif, ") as caught:
        find_neuron(name)
    assert ("did you mean 'adlif'?" in str(caught.value)) == (name == "adlf")
    assert len(str(caught.value)) < 500


def test_layers_have_the_constants_the_reset_and_what_is_learned():
    layer = find_neuron("lif_zero").build(2, {"tau": 0.01, "threshold": 0.5}, ["tau"], dt=2e-3)
    assert isinstance(layer, LIFLayer)
    assert layer.reset_mechanism == "zero"
    assert layer.constant("threshold") == 0.5
    assert layer.dt == 2e-3
    assert [name for name, _ in layer.named_parameters()] == ["log_taus"]
    layer = find_neuron("adlif").build(2, {"a": 0.1}, ["b", "tau"], solver="reference")
    assert layer.constant("a").item() == pytest.approx(0.1)
    assert {name for name, _ in layer.named_parameters()} == {"logit_b", "log_tau"}
    prepare_net(layer)
    assert layer(torch.zeros(1, 3, 2))[0].shape == (1, 3, 2)
    with pytest.raises(KeyError):
        find_neuron("h1v1").build(2, {"tau_a": 1.0})
