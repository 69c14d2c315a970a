"""The picture of a neuron: its panels and their curves."""

from functools import partial

import pytest

pytest.importorskip("matplotlib")

import torch

from nwavesdk.analysis.neuron_picture import draw_neuron, threshold_of
from nwavesdk.analysis.neurons import NeuronResponses, neuron_responses
from nwavesdk.layers.catalogue import available_neurons, find_neuron
from nwavesdk.plot.theme import LIGHT, render_png


@pytest.fixture(scope="module")
def alif() -> NeuronResponses:
    return neuron_responses(find_neuron("alif"))


def ydata(line):
    return torch.as_tensor(line.get_ydata(), dtype=torch.float32)


def test_panels_show_states_spikes_rates_and_derivatives(alif):
    axes = draw_neuron(find_neuron("alif"), alif, LIGHT).axes
    panels = {panel.get_ylabel(): panel for panel in axes}
    names = ["v [membrane]", "a [spikes per step]"]
    assert {*panels} == {*names, "spikes per second", "σ'(z)", "∂spikes/∂x"}
    assert panels["a [spikes per step]"].get_title() == "a: Spikes, averaged over tau_a"

    burst = alif.burst
    membrane = panels["v [membrane]"]
    assert len(membrane.collections[0].get_offsets()) == burst.spk.sum()
    assert membrane.get_title().endswith(f"5 inputs of {burst.cur.max():.3g}, 3 spikes")
    legend = [text.get_text() for text in membrane.get_legend().get_texts()]
    assert legend == ["threshold", "before reset", "after reset", "spike", "input"]

    for name, values in {
        "a [spikes per step]": burst.states["a"][0, :, 0],
        "σ'(z)": burst.surrogate.derivative(burst.z[0, :, 0]),
        "spikes per second": alif.rates,
    }.items():
        torch.testing.assert_close(ydata(panels[name].lines[0]), values.float())


def test_the_gradient_of_a_burst_is_that_of_the_surrogate():
    responses = neuron_responses(find_neuron("if"))
    axes = draw_neuron(find_neuron("if"), responses, LIGHT).axes
    slope, gradient = (ydata(panel.lines[0]) for panel in axes[-2:])
    # Without a leak, and with the reset detached, a charge acts on all later steps alike.
    torch.testing.assert_close(gradient, slope.flip(0).cumsum(0).flip(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*available_neurons()])
def test_a_spike_is_where_the_membrane_crosses_the_threshold_of_its_step(name):
    neuron = find_neuron(name)
    if neuron.page.neuron.is_readout:
        return
    constants = {
        name: constant.default or 20e-3
        for name, constant in neuron.constants.items()
        if constant.argument is not None
    }
    layer = neuron.build(1, constants, dt=1e-3, solver="reference")
    x = 40 * torch.rand(1, 60, 1, generator=torch.Generator().manual_seed(0))
    record = layer.record(x, charge=True)
    u, threshold = threshold_of(neuron, record)
    assert record.spk.any()
    assert torch.equal(u > threshold, record.spk[0, :, 0] > 0)


def test_the_threshold_of_alif_moves_with_its_spikes(alif):
    _, threshold = threshold_of(find_neuron("alif"), alif.burst)
    average = alif.burst.states["a"][0, :, 0]
    before = torch.cat([torch.zeros(1), average[:-1]])
    torch.testing.assert_close(threshold, 1.0 + 1.6 * before)


def test_a_high_peak_is_cut_and_a_state_without_a_unit_says_so():
    neuron = find_neuron("izhikevich")
    responses = neuron_responses(neuron)
    panels = draw_neuron(neuron, responses, LIGHT).axes
    (membrane,) = (axes for axes in panels if "Constant drive" in axes.get_title())
    low = responses.step.states["v"].min()
    assert responses.step.u.max() > 30 + 0.5 * (30 - low)
    assert ydata(membrane.lines[1]).max() == pytest.approx(30 + 0.5 * (30 - low.item()))
    assert "w (no unit)" in [axes.get_ylabel() for axes in panels]


def test_a_read_out_has_neither_rates_nor_derivatives():
    neuron = find_neuron("li")
    responses = neuron_responses(neuron)
    figure = draw_neuron(neuron, responses, LIGHT)
    assert [axes.get_ylabel() for axes in figure.axes] == ["v [membrane]"] * 2
    assert render_png(partial(draw_neuron, neuron, responses), LIGHT).startswith(b"\x89PNG")
