"""The series of `benchmarks.mackey_glass` against closed forms, and its forecasters."""

import itertools
import math

import numpy as np
import pytest
import torch

from benchmarks.mackey_glass import forecasters, series
from benchmarks.mackey_glass.forecasters import EchoState, LongShortTerm, Reservoir, Spiking
from nwavesdk.layers import prepare_net


def test_the_series_follows_the_closed_form_of_the_first_delay():
    # Until tau, the delayed value is constant: x decays exponentially to where drive = gamma · x.
    past, tau = 0.7, 17.0
    times = np.linspace(0, tau, 50)
    rest = 2 * past / (1 + past**10)
    expected = rest + (past - rest) * np.exp(-0.1 * times)
    assert np.abs(series.integrate(tau, past, times) - expected).max() < 1e-12


def test_the_error_of_the_series_falls_with_the_fourth_power_of_the_step():
    times = np.linspace(0, 100, 201)
    exact = series.integrate(17.0, 0.7, times, steps=800)
    errors = [
        np.abs(series.integrate(17.0, 0.7, times, steps=n) - exact).max() for n in (25, 50, 100)
    ]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert min(orders) > 3.5


def test_a_later_start_continues_the_same_series():
    whole = series.series(20, 30)
    assert torch.equal(series.series(20, 10, start=20), whole[20:])
    # A step is a 75th of a Lyapunov time, from time tau on.
    settings = series.SETTINGS[20]
    at = np.array([20 + 3 * settings.lyapunov_time / 75])
    assert whole[3].item() == pytest.approx(series.integrate(20, settings.past, at)[0])


@pytest.fixture
def points():
    return torch.sin(torch.arange(91, dtype=torch.float64) / 8) + 1.5


def spiking(monkeypatch):
    monkeypatch.setattr(Spiking, "UPDATES", 2)
    monkeypatch.setattr(Spiking, "PIECE", 22)
    model = Spiking(0, neurons=12)
    for layer in (model.net[1], model.net[3]):
        layer.solver = "reference"  # no test waits for a kernel
    with torch.no_grad():
        model.net[0].weight.mul_(8)  # so that neurons fire
        model.net[2].weight.mul_(8)
    return model


def long_short_term(monkeypatch):
    monkeypatch.setattr(LongShortTerm, "EPOCHS", 2)
    return LongShortTerm(0)


def echo_state(monkeypatch):
    del monkeypatch
    return EchoState(0, Reservoir(20, 0.5, 0.8, 0.3, 0.9, 0.8, 1e-6))


@pytest.mark.parametrize("make", [spiking, long_short_term, echo_state])
def test_a_forecaster_reads_one_point_and_continues_alone(make, monkeypatch, points):
    batch = points[70:80, None, None]
    changed = batch.clone()
    changed[1:] = 0
    forecasts = []
    for given in (batch, changed):
        model = make(monkeypatch)
        model.fit(points[:71])
        with torch.no_grad():
            forecasts.append(model(given))
    assert forecasts[0].shape == (10, 1)
    assert forecasts[0].dtype == torch.float64
    assert torch.equal(*forecasts)
    assert forecasts[0].std() > 0


@torch.no_grad()
def test_the_net_goes_on_from_the_end_of_what_it_learned(monkeypatch, points):
    points = points + torch.rand_like(points)  # neighboring windows give other spikes
    with torch.enable_grad():
        model = spiking(monkeypatch)
        model.fit(points[:71])
    first, second = model(points[70:72, None, None])
    mean, deviation, step = model.scale
    known = torch.cat([points[:71], first]).float()
    prepare_net(model.net)
    changes = model.net(forecasters.windows((known - mean) / deviation)[None])[1][0, -2:, 0]
    assert torch.allclose(known[-2:] + step * changes, torch.cat([first, second]).float())


@torch.no_grad()
def test_the_lstm_has_the_state_of_its_cell_after_all_windows(monkeypatch, points):
    with torch.enable_grad():
        model = long_short_term(monkeypatch)
        model.fit(points[:61])
    h = c = torch.zeros(1, model.CELLS, dtype=torch.float64)
    for window in forecasters.windows(points[:60]):
        h, c = model.cell(model.norm(window[None]), (h, c))
    assert torch.allclose(h, model.h, atol=1e-12)
    assert torch.allclose(c, model.c, atol=1e-12)


def test_an_echo_state_network_continues_a_sine(monkeypatch, points):
    model = echo_state(monkeypatch)
    model.fit(points[:71])
    forecast = model(points[70:80, None, None])[:, 0]
    assert (forecast[:5] - points[71:76]).abs().max() < 0.05
