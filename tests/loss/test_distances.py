"""The van Rossum distance against the double sum over pairs of spikes, which needs no filter."""

import numpy as np
import pytest
import torch

from nwavesdk.loss import van_rossum_distance

TAU, DT = 7e-3, 1e-3


def distance_by_pairs(difference):
    """D² = 1/2 Σ over pairs of d[i] d[j] exp(-|i - j| dt / tau) of one neuron, [T]."""
    steps = np.arange(len(difference))
    kernel = np.exp(-np.abs(steps[:, None] - steps) * DT / TAU)
    return difference @ kernel @ difference / 2


def test_distances_against_pairs():
    draw = np.random.default_rng(1)
    spk, wanted = (draw.integers(0, 2, (3, 40, 2, 2)).astype(float) for _ in range(2))
    lengths = np.array([40, 11, 1])
    d = spk - wanted
    pairs = [
        distance_by_pairs(d[b, :n, i, j])
        for b, n in enumerate(lengths)
        for i in range(2)
        for j in range(2)
    ]
    spk[np.arange(40) >= lengths[:, None]] = np.nan
    got = van_rossum_distance(
        torch.from_numpy(spk), torch.from_numpy(wanted), TAU, DT, torch.from_numpy(lengths)
    )
    assert got.item() == pytest.approx(np.mean(pairs), rel=1e-10)


def test_a_spike_more_costs_a_half_and_a_late_one_what_the_paper_says():
    silent, early, late = (torch.zeros(1, 30, 1) for _ in range(3))
    early[0, 10] = late[0, 14] = 1
    last = torch.zeros(1, 30, 1)
    last[0, -1] = 1
    for train in (early, late, last):
        assert van_rossum_distance(train, silent, TAU, DT).item() == pytest.approx(0.5)
    expected = 1 - np.exp(-4 * DT / TAU)
    assert van_rossum_distance(early, late, TAU, DT).item() == pytest.approx(expected)
    assert van_rossum_distance(early, early, TAU, DT) == 0


def test_one_value_per_step_is_a_sequence():
    spk = torch.zeros(2, 9)
    spk[0, 3] = 1
    assert van_rossum_distance(spk, torch.zeros(2, 9), TAU, DT).item() == pytest.approx(0.25)


def test_arguments_are_checked():
    spk = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=r"\[2, 3, 4\] and targets \[2, 3, 3\], expected"):
        van_rossum_distance(spk, spk[..., :3])
    with pytest.raises(ValueError, match=r"tau must be a finite number above 0 \[s\], got 0"):
        van_rossum_distance(spk, spk, tau=0)
    with pytest.raises(TypeError, match="targets takes a floating input, got torch.int64"):
        van_rossum_distance(spk, spk.long())
