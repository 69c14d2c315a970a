"""The picture of a neuron: its panels, and what they show."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import torch
from matplotlib.figure import Figure

from nwavesdk.analysis.neuron_picture import (
    _draw_membrane,
    _draw_neuron,
    _draw_states,
    plot_neuron,
)
from nwavesdk.analysis.neurons import NeuronResponses, Response, _response, neuron_responses
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.plot.theme import LIGHT


@pytest.fixture(scope="module")
def of_alif() -> NeuronResponses:
    return neuron_responses(find_neuron("alif"))


def response_of(name: str, drive: float) -> Response:
    """The response to a constant drive over 60 steps, with default constants."""
    neuron = find_neuron(name)
    constants = {constant.name: constant.default for constant in neuron.constants.values()}
    return _response(neuron, constants, torch.full((60, 1), drive))


def test_panels_show_states_spikes_rates_and_derivatives(of_alif):
    axes = _draw_neuron(find_neuron("alif"), of_alif, LIGHT).axes
    panels = {one.get_ylabel(): one for one in axes}
    names = ["v [membrane]", "a [spikes per step]"]
    assert [*panels] == [*names, "spikes per second", "σ'(z)", "∂spikes/∂x"]
    assert panels["a [spikes per step]"].get_title() == "a: Spikes, averaged over tau_a"
    burst = of_alif.burst
    spikes, inputs = panels["v [membrane]"].collections
    assert len(spikes.get_segments()) == burst.spikes.sum()
    assert len(inputs.get_segments()) == 5
    for name, values in {
        "a [spikes per step]": burst.states["a"],
        "σ'(z)": burst.slope,
        "∂spikes/∂x": burst.gradient,
        "spikes per second": of_alif.rates,
    }.items():
        np.testing.assert_array_equal(panels[name].lines[0].get_ydata(), values)


def test_a_spike_is_where_the_membrane_crosses_the_threshold_of_its_step(of_alif):
    burst = of_alif.burst
    is_spike = burst.spikes > 0
    np.testing.assert_array_equal(burst.u > burst.threshold, is_spike)
    figure = _draw_neuron(find_neuron("alif"), of_alif, LIGHT, "burst")
    threshold, dots, line = figure.axes[0].lines
    # A spike raises the threshold of the steps after it.
    before = np.concatenate([[0.0], burst.states["a"][:-1]])
    np.testing.assert_allclose(threshold.get_ydata(), 1.0 + 1.6 * before, rtol=1e-6)
    np.testing.assert_array_equal(dots.get_ydata(), burst.u[is_spike])
    # The line has every state, and every peak before its reset.
    drawn = line.get_ydata()
    assert len(drawn) == len(is_spike) + is_spike.sum()
    assert {*drawn} == {*burst.states["v"], *burst.u[is_spike]}


def test_a_threshold_is_found_where_the_membrane_has_another_name():
    response = response_of("resonateandfire", 0.2)
    assert (response.threshold == 1.0).all()
    np.testing.assert_array_equal(response.u > 1.0, response.spikes)
    assert response.spikes.any()


def test_a_high_peak_is_cut_in_the_picture():
    response = response_of("izhikevich", 20.0)
    axes = Figure().subplots()
    _draw_membrane(axes, response, find_neuron("izhikevich"), 1e-3, LIGHT)
    low, peak = response.states["v"].min(), response.u.max()
    top = 30 + 0.5 * (30 - low)
    assert peak > top
    assert max(axes.lines[2].get_ydata()) == pytest.approx(top)


def test_a_state_without_a_unit_says_so():
    neuron = find_neuron("izhikevich")
    figure = Figure()
    _draw_states([figure.subplots()], response_of("izhikevich", 20.0), neuron, 1e-3, LIGHT)
    assert figure.axes[0].get_ylabel() == "w (no unit)"


def test_a_read_out_has_neither_rates_nor_derivatives(tmp_path):
    neuron = find_neuron("li")
    responses = neuron_responses(neuron)
    figure = _draw_neuron(neuron, responses, LIGHT)
    assert [axes.get_ylabel() for axes in figure.axes] == ["v [membrane]"] * 2
    plot_neuron(tmp_path / "new" / "li.png", neuron, responses)
    assert (tmp_path / "new" / "li.png").read_bytes().startswith(b"\x89PNG")
