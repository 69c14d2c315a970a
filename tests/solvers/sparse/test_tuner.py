"""The tuner: bisection against a simulated clock, and a small real table."""

import math

import pytest
import torch

from nwavesdk.solvers.sparse import tuner


@pytest.mark.parametrize("truth", [0.0005, 0.002, 0.03, 0.2, 0.9])
def test_the_crossover_is_found(monkeypatch, truth):
    monkeypatch.setattr(tuner, "_is_faster", lambda one, other: one() < other())
    found = tuner._bisect_crossover(lambda density: ((lambda: density), (lambda: truth)))
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


def test_a_small_real_table(monkeypatch):
    monkeypatch.setattr(tuner, "INPUTS", (16, 64))
    monkeypatch.setattr(tuner, "OUTPUTS", (4, 32))
    monkeypatch.setattr(tuner, "_VALUES", 1 << 14)
    steps = []
    table = tuner.tune(steps.append)
    assert (table.inputs, table.outputs) == ((16, 64), (4, 32))
    assert steps == sorted(steps)
    assert steps[-1] == 1
    assert table.min_work >= 256 * 256


def test_both_products_compute_the_same(monkeypatch):
    seen = []
    monkeypatch.setattr(
        tuner,
        "_bisect_crossover",
        lambda case: seen.append([call() for call in case(0.1)]) or math.nan,
    )
    tuner._measure_crossovers(64, 32, torch.Generator().manual_seed(0))
    assert len(seen) == 2
    for mine, dense in seen:
        assert torch.allclose(mine, dense, atol=1e-4)
