"""Losses on spikes of populations against loops in plain Python."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nwavesdk.loss import (
    CountMSE,
    RateMSE,
    balanced_population_mse,
    count_cross_entropy,
    count_mse,
    rate_cross_entropy,
    rate_logits,
    rate_mse,
)


def test_counts_by_hand():
    spk = torch.zeros(2, 10, 4)
    spk[0, :3, 0] = spk[0, :1, 1] = spk[0, :2, 3] = spk[1, :5, 2] = 1
    # counts 3 1 0 2 | 0 0 5 0, wanted 4 4 1 1 | 1 1 4 4
    expected = (1 + 9 + 1 + 1 + 1 + 1 + 1 + 16) / 8
    got = balanced_population_mse(
        spk, torch.tensor([0, 1]), num_classes=2, high_rate=0.4, low_rate=0.1
    )
    assert got.item() == pytest.approx(expected)


@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 999)
)
def test_counts_against_a_loop(B, T, classes, size, seed):
    draw = np.random.default_rng(seed)
    spk, targets = draw.integers(0, 2, (B, T, classes * size)), draw.integers(0, classes, B)
    errors = [
        (spk[b, :, o].sum() - T * (0.2 if o // size == targets[b] else 0.02)) ** 2
        for b in range(B)
        for o in range(classes * size)
    ]
    got = balanced_population_mse(torch.from_numpy(spk).float(), torch.from_numpy(targets), classes)
    assert got.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_gradient_of_counts_is_that_of_finite_differences():
    spk, targets = (
        torch.rand(3, 4, 6, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 2, 1]),
    )
    assert torch.autograd.gradcheck(lambda s: balanced_population_mse(s, targets, 3), spk)


def test_half_precision_counts_beyond_its_integers():
    spk = torch.ones(1, 3001, 1, dtype=torch.bfloat16)
    got = balanced_population_mse(spk, torch.tensor([0]), 1, high_rate=3000 / 3001, low_rate=0.0)
    assert got.item() == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"spk": torch.zeros(2, 4)}, ValueError, r"shape \[2, 4\], expected \[B, T, outputs\]"),
        ({"num_classes": 3}, ValueError, "4 output neurons cannot be split into 3 equal groups"),
        (
            {"targets": torch.tensor([0])},
            ValueError,
            r"targets have the shape \[1\], expected \[2\]",
        ),
        (
            {"targets": torch.tensor([0, 2])},
            ValueError,
            "targets must be classes from 0 to 1, got 0 to 2",
        ),
        (
            {"targets": torch.tensor([-1, 0])},
            ValueError,
            "targets must be classes from 0 to 1, got -1 to 0",
        ),
        (
            {"targets": torch.zeros(2)},
            TypeError,
            "targets must be whole numbers, got torch.float32",
        ),
        (
            {"high_rate": 100.0},
            ValueError,
            "high_rate must be a rate from 0 to 1 in spikes per step, got 100",
        ),
        ({"low_rate": 0.3}, ValueError, "low_rate must be below high_rate, got 0.3 and 0.2"),
    ],
)
def test_arguments_of_counts_are_checked(change, kind, words):
    given = {"spk": torch.zeros(2, 3, 4), "targets": torch.tensor([0, 1]), "num_classes": 2}
    with pytest.raises(kind, match=words):
        balanced_population_mse(**given | change)


def test_silence_is_undecided():
    loss = rate_cross_entropy(torch.zeros(3, 7, 20), torch.tensor([0, 4, 2]), 5, sharpness=50.0)
    assert loss.item() == pytest.approx(math.log(5))


def test_the_loss_by_hand():
    spk = torch.zeros(1, 4, 4)
    spk[0, :3, 0] = 1  # class 0: 3 spikes of 2 neurons in 4 steps; class 1: none
    loss = rate_cross_entropy(spk, torch.tensor([0]), 2, sharpness=8.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-8.0 * 3 / 8)))


def test_neither_length_nor_population_changes_the_loss():
    spk, labels = (torch.rand(6, 10, 12) < 0.2).float(), torch.randint(0, 3, (6,))
    once = rate_cross_entropy(spk, labels, 3, 50.0)
    torch.testing.assert_close(rate_cross_entropy(spk.repeat(1, 4, 1), labels, 3, 50.0), once)
    torch.testing.assert_close(
        rate_cross_entropy(spk.repeat_interleave(2, dim=2), labels, 3, 50.0), once
    )


def population_table(spk, classes):
    """Counts and rates of each recording's populations, by loops."""
    B, T, outputs = spk.shape
    size = outputs // classes
    counts = [
        [
            sum(spk[b, t, c * size + n] for t in range(T) for n in range(size))
            for c in range(classes)
        ]
        for b in range(B)
    ]
    counts = np.array(counts, dtype=np.float64)
    return counts, counts / (T * size)


def entropy_of(logits, targets):
    rows = logits - logits.max(1, keepdims=True)
    return np.mean(np.log(np.exp(rows).sum(1)) - rows[np.arange(len(rows)), targets])


def test_cross_entropies_and_distances_against_loops():
    draw = np.random.default_rng(5)
    spk, targets = draw.integers(0, 2, (4, 9, 6)), draw.integers(0, 3, 4)
    counts, rates = population_table(spk, 3)
    x, y = torch.from_numpy(spk).double(), torch.from_numpy(targets)
    is_right = targets[:, None] == np.arange(3)
    expected = {
        rate_cross_entropy(x, y, 3, sharpness=7.0): entropy_of(7 * rates, targets),
        count_cross_entropy(x, y, 3): entropy_of(counts, targets),
        rate_mse(x, y, 3, 0.6, 0.1): np.mean((rates - np.where(is_right, 0.6, 0.1)) ** 2),
        count_mse(x, y, 3, high_count=8, low_count=2): np.mean(
            (counts - np.where(is_right, 8, 2)) ** 2
        ),
    }
    for got, wanted in expected.items():
        assert got.item() == pytest.approx(wanted, rel=1e-12)
    assert rate_logits(x, 3, 7.0).numpy() == pytest.approx(7 * rates, rel=1e-12)


def test_each_neuron_is_a_class_by_default():
    spk, targets = (torch.rand(3, 5, 4) < 0.5).float(), torch.tensor([0, 3, 1])
    assert rate_cross_entropy(spk, targets) == rate_cross_entropy(spk, targets, 4)
    assert count_cross_entropy(spk, targets) == count_cross_entropy(spk, targets, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: CountMSE(2, high_count=5, low_count=5),
            r"CountMSE: low_count must be below high_count, got 5 and 5",
        ),
        (
            lambda: RateMSE(2, high_rate=0.1, low_rate=0.2),
            r"RateMSE: low_rate must be below high_rate",
        ),
        (
            lambda: rate_logits(torch.zeros(1, 2, 3), sharpness=0),
            "sharpness must be a finite number above 0, got 0",
        ),
    ],
)
def test_targets_of_counts_are_checked(call, words):
    with pytest.raises(ValueError, match=words):
        call()
