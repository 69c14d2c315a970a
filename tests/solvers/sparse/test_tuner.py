"""The tuner: bisection against a simulated clock, and a small real table."""

import math

import pytest
import torch

from nwavesdk.solvers.sparse import tuner


@pytest.mark.parametrize("truth", [0.0005, 0.002, 0.03, 0.2, 0.9])
@pytest.mark.parametrize("extra", [0.0, 0.0004])
def test_the_crossover_is_found(monkeypatch, truth, extra):
    monkeypatch.setattr(tuner, "_is_faster", lambda one, other, extra: one() + extra < other())
    found = tuner._bisect_crossover(lambda density: ((lambda: density), (lambda: truth)), extra)
    truth -= extra
    if truth < tuner.LOWEST:
        assert found == 0
    else:
        assert found <= truth * 1.05
        assert found >= min(truth, tuner.HIGHEST) * 0.9


def test_is_faster_means_by_a_margin(monkeypatch):
    now = 0.0

    def lasts(seconds):
        def call():
            nonlocal now
            now += seconds

        return call

    monkeypatch.setattr(tuner.time, "perf_counter", lambda: now)
    assert tuner._is_faster(lasts(0.79), lasts(1.0))
    assert not tuner._is_faster(lasts(0.81), lasts(1.0))
    assert tuner._is_faster(lasts(0.69), lasts(1.0), 0.1)
    assert not tuner._is_faster(lasts(0.71), lasts(1.0), 0.1)


def test_short_products_run_more_often(monkeypatch):
    now = 0.0
    calls = []

    def call():
        nonlocal now
        now += 1e-4
        calls.append(now)

    monkeypatch.setattr(tuner.time, "perf_counter", lambda: now)
    tuner._shortest(call)
    assert len(calls) == pytest.approx(tuner._SECONDS / 1e-4, abs=2)


def test_a_small_real_table(monkeypatch):
    monkeypatch.setattr(tuner, "ROWS", (1, 100))
    monkeypatch.setattr(tuner, "INPUTS", (16, 64))
    monkeypatch.setattr(tuner, "OUTPUTS", (4, 32))
    monkeypatch.setattr(tuner, "_SECONDS", 0.0)
    steps = []
    table = tuner.tune(steps.append)
    assert (table.rows, table.inputs, table.outputs) == ((1, 100), (16, 64), (4, 32))
    assert steps == sorted(steps)
    assert steps[-1] == 1
    assert table.source == "measured"


def test_the_place_of_a_density_in_the_table(monkeypatch):
    """The grids hold what was measured for their rows, inputs and outputs."""
    monkeypatch.setattr(
        tuner, "_measure_crossovers", lambda r, i, o, *_: (r / 6400, i / 8192, o / 2048)
    )
    monkeypatch.setattr(tuner, "_measure_graph", lambda: 0.0)
    table = tuner.tune()
    for rows in tuner.ROWS:
        for n_in in tuner.INPUTS:
            for n_out in tuner.OUTPUTS:
                expected = (rows / 6400, n_in / 8192, n_out / 2048)
                assert table.densities(rows, n_in, n_out) == expected


def test_a_product_with_a_graph_takes_longer():
    assert tuner._measure_graph() > 0


@pytest.mark.parametrize("rows", [10, 100])
def test_both_products_compute_the_same(monkeypatch, rows):
    seen = []
    monkeypatch.setattr(
        tuner,
        "_bisect_crossover",
        lambda case, *_: seen.append([call() for call in case(0.1)]) or math.nan,
    )
    tuner._measure_crossovers(rows, 64, 32, 0.0, torch.Generator().manual_seed(0))
    assert len(seen) == 3
    for mine, dense in seen:
        assert torch.allclose(mine, dense, atol=1e-4)
