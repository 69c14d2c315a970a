"""The picture of a neuron: its panels, and what they show."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from nwavesdk.analysis.neuron_picture import _draw_neuron, plot_neuron
from nwavesdk.analysis.neurons import neuron_responses
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.plot.theme import LIGHT


def test_panels_show_states_spikes_rates_and_derivatives():
    neuron = find_neuron("alif")
    responses = neuron_responses(neuron)
    panels = {axes.get_ylabel(): axes for axes in _draw_neuron(neuron, responses, LIGHT).axes}
    assert [*panels] == ["v, spikes", "a", "σ'(z)", "∂spikes/∂x", "spikes per second"]
    burst = responses.burst
    spikes, inputs = panels["v, spikes"].collections
    assert len(spikes.get_segments()) == burst.spikes.sum()
    assert len(inputs.get_segments()) == 5
    for name, values in {
        "v, spikes": burst.states["v"],
        "a": burst.states["a"],
        "σ'(z)": burst.slope,
        "∂spikes/∂x": burst.gradient,
        "spikes per second": responses.rates,
    }.items():
        np.testing.assert_array_equal(panels[name].lines[0].get_ydata(), values)


def test_a_read_out_has_neither_rates_nor_derivatives(tmp_path):
    neuron = find_neuron("li")
    responses = neuron_responses(neuron)
    figure = _draw_neuron(neuron, responses, LIGHT)
    assert [axes.get_ylabel() for axes in figure.axes] == ["v", "v"]
    plot_neuron(tmp_path / "new" / "li.png", neuron, responses)
    assert (tmp_path / "new" / "li.png").read_bytes().startswith(b"\x89PNG")
