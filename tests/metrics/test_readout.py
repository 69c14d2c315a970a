"""Accuracy of read-outs against counts in plain Python, and their errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nwavesdk.metrics import accuracy, accuracy_population, population_counts
from nwavesdk.metrics.readout import correct_recordings


@given(
    st.integers(1, 8), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000)
)
def test_accuracy_equals_a_count_in_plain_python(
    b: int, t: int, classes: int, size: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    spk, targets = draw.integers(0, 2, (b, t, classes * size)), draw.integers(0, classes, b)
    right = 0
    for i in range(b):
        counts = [
            sum(spk[i, k, o] for k in range(t) for o in range(c * size, (c + 1) * size))
            for c in range(classes)
        ]
        right += counts.index(max(counts)) == targets[i]
    got = accuracy_population(torch.from_numpy(spk).float(), torch.from_numpy(targets), classes)
    assert got.ndim == 0
    assert got.item() == pytest.approx(right / b)


def test_one_neuron_per_class_is_a_population_of_one() -> None:
    spk, targets = (torch.rand(9, 5, 4) < 0.4).float(), torch.randint(0, 4, (9,))
    assert accuracy(spk, targets) == accuracy_population(spk, targets, 4)


def test_groups_lie_one_after_the_other() -> None:
    spk = torch.zeros(1, 3, 6)
    spk[0, :, 1] = 1
    spk[0, 0, 4:] = 1
    torch.testing.assert_close(population_counts(spk, 3), torch.tensor([[3.0, 0.0, 2.0]]))


def test_gradients_reach_every_spike_once() -> None:
    spk = torch.rand(2, 5, 6, requires_grad=True)
    population_counts(spk, 2).sum().backward()
    torch.testing.assert_close(spk.grad, torch.ones_like(spk))


def test_half_precision_counts_beyond_its_integers() -> None:
    counts = population_counts(torch.ones(1, 3001, 1, dtype=torch.bfloat16), 1)
    assert counts.item() == 3001


def test_padding_is_not_counted() -> None:
    lengths = torch.tensor([3, 1, 5])
    spk = (torch.rand(3, 5, 4) < 0.5).float()
    targets = torch.tensor([0, 1, 1])
    counts = [population_counts(x[None, :n], 2)[0] for x, n in zip(spk, lengths, strict=True)]
    for b, n in enumerate(lengths):
        spk[b, n:] = torch.nan
    assert torch.equal(population_counts(spk, 2, lengths), torch.stack(counts))
    right = torch.stack(counts).argmax(1) == targets
    assert torch.equal(correct_recordings(spk, targets, 2, lengths), right)
    assert accuracy_population(spk, targets, 2, lengths) == right.float().mean()
    assert accuracy(spk, targets, lengths) == accuracy_population(spk, targets, 4, lengths)
    with pytest.raises(ValueError, match="population_counts: lengths must be from 1 to the 5 step"):
        accuracy(spk, targets, lengths - 1)


def test_wrong_shapes_are_rejected() -> None:
    spk = torch.zeros(4, 5, 6)
    with pytest.raises(ValueError, match=r"shape \(4, 5\), expected \[B, T, outputs\]"):
        accuracy(spk[..., 0], torch.zeros(4))
    with pytest.raises(ValueError, match=r"Targets have the shape \(3,\), expected \[4\]"):
        accuracy(spk, torch.zeros(3))
    with pytest.raises(ValueError, match="6 output neurons cannot be split into 4 equal groups"):
        accuracy_population(spk, torch.zeros(4), 4)
    with pytest.raises(ValueError, match="got 0 recordings"):
        accuracy(spk[:0], torch.zeros(0))
