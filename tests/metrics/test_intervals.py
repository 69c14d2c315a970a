"""The interval of an accuracy, against printed values and simulated recordings."""

import pytest
import torch

from nwavesdk.metrics.intervals import accuracy_interval


def test_the_interval_of_recordings_is_wilsons():
    # statsmodels.stats.proportion.proportion_confint(81, 263, method="wilson")
    low, high = accuracy_interval(torch.tensor([1] * 81 + [0] * 182), torch.ones(263))
    assert (low, high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_an_interval_without_errors_does_not_end_at_one_point():
    low, high = accuracy_interval(torch.ones(40), torch.ones(40))
    assert high == 1
    assert low == pytest.approx(40 / (40 + 1.96**2), abs=1e-4)


def test_steps_of_one_recording_are_not_independent():
    # Each recording is right in all of its steps or in none.
    right = torch.tensor([100.0, 0.0] * 20)
    low, high = accuracy_interval(right, torch.full((40,), 100.0))
    of_recordings = accuracy_interval(right / 100, torch.ones(40))
    assert high - low == pytest.approx(of_recordings[1] - of_recordings[0], rel=0.1)


def test_one_recording_with_steps_has_no_interval():
    assert accuracy_interval(torch.tensor([30.0]), torch.tensor([40.0])) == (0, 1)
