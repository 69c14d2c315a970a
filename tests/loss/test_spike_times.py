"""The van Rossum distance and the first spike, against loops and closed forms."""

import numpy as np
import pytest
import torch

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.loss import (
    FirstSpikeCrossEntropy,
    first_spike_cross_entropy,
    first_spike_steps,
    van_rossum_distance,
)

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


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda spk: van_rossum_distance(spk, spk[..., :3]),
            ValueError,
            r"\[2, 3, 4\] and targets \[2, 3, 3\], expected",
        ),
        (
            lambda spk: van_rossum_distance(spk, spk, tau=0),
            ValueError,
            r"tau must be a finite number above 0 \[s\], got 0",
        ),
        (
            lambda spk: van_rossum_distance(spk, spk.long()),
            TypeError,
            "targets takes a floating input, got torch.int64",
        ),
    ],
)
def test_arguments_are_checked(call, error, words):
    spk = torch.zeros(2, 3, 4)
    with pytest.raises(error, match=words):
        call(spk)


def first_by_search(spk, n):
    """The first step of `spk` [T, neurons] with a spike, or n."""
    steps = np.flatnonzero(spk[:n].any(1))
    return steps[0] if len(steps) else n


def test_steps_against_a_search():
    draw = np.random.default_rng(3)
    spk, lengths = draw.random((5, 8, 6)) < 0.15, np.array([8, 3, 5, 1, 8])
    got = first_spike_steps(torch.from_numpy(spk).float(), 3, torch.from_numpy(lengths))
    for b, n in enumerate(lengths):
        expected = [first_by_search(spk[b, :, 2 * c : 2 * c + 2], n) for c in range(3)]
        assert got[b].tolist() == expected


def test_the_gradient_is_the_time_that_a_spike_would_win():
    spk = torch.zeros(1, 6, 1, dtype=torch.float64)
    spk[0, [2, 5]] = 1
    steps = first_spike_steps(spk.requires_grad_())
    steps.backward()
    # Before the first spike: its steps; at it: the steps to the second; later: nothing.
    assert spk.grad.flatten().tolist() == [-2, -1, -3, 0, 0, 0]


def test_the_loss_by_hand():
    spk = torch.zeros(2, 10, 2)
    spk[0, 4, 0] = spk[0, 6, 1] = spk[1, 9, 1] = 1  # steps 4 and 6; 10 and 9
    expected = (np.log1p(np.exp(-2 / 3)) + np.log1p(np.exp(1 / 3))) / 2
    got = first_spike_cross_entropy(spk, torch.tensor([0, 0]), scale=3.0)
    assert got.item() == pytest.approx(expected)


def test_a_net_learns_which_output_spikes_first():
    torch.manual_seed(0)
    x, y = (torch.rand(16, 20, 8) < 0.1).float(), torch.arange(16) % 2
    x[y == 1, :, :4] += (torch.rand(8, 20, 4) < 0.5).float()
    net = SpikingSequential(LIFSynapse(8, 2), LIFLayer(2, 20e-3))
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    loss_of = FirstSpikeCrossEntropy(scale=2.0)
    losses = []
    for _ in range(30):
        prepare_net(net)
        loss = loss_of(net(x)[0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
