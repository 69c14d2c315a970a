"""Counts and accuracy of spikes, confusion matrices, and the interval of an accuracy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nwavesdk.metrics import (
    accuracy,
    accuracy_population,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    population_counts,
)
from nwavesdk.metrics.classes import accuracy_interval, correct_recordings


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


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda spk: accuracy(spk[..., 0], torch.zeros(4)),
            r"shape \(4, 5\), expected \[B, T, outputs\]",
        ),
        (
            lambda spk: accuracy(spk, torch.zeros(3)),
            r"Targets have the shape \(3,\), expected \[4\]",
        ),
        (
            lambda spk: accuracy_population(spk, torch.zeros(4), 4),
            "6 output neurons cannot be split into 4 equal groups",
        ),
        (lambda spk: accuracy(spk[:0], torch.zeros(0)), "got 0 recordings"),
    ],
)
def test_wrong_shapes_are_rejected(call: Callable[..., object], words: str) -> None:
    spk = torch.zeros(4, 5, 6)
    with pytest.raises(ValueError, match=words):
        call(spk)


torchmetrics = pytest.importorskip("torchmetrics.functional.classification")


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_those_of_torchmetrics(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Class 3 is rare, and may neither occur nor be predicted.
    weights = torch.tensor([0.6, 0.25, 0.14, 0.01])
    predicted, targets = torch.multinomial(weights, 80, True, generator=generator).chunk(2)
    counts = confusion_matrix(predicted, targets, 4)
    expected = torchmetrics.multiclass_confusion_matrix(predicted, targets, 4)
    assert torch.equal(counts, expected)
    occurs = counts.sum(1) > 0
    recall = torchmetrics.multiclass_recall(predicted, targets, 4, average="none")
    torch.testing.assert_close(balanced_accuracy(counts), recall[occurs].mean())
    f1 = torchmetrics.multiclass_f1_score(predicted, targets, 4, average="macro")
    torch.testing.assert_close(macro_f1(counts), f1)


def test_a_confusion_matrix_does_not_count_padding() -> None:
    predicted = torch.tensor([[0, 1, 1], [1, 1, 0]])
    targets = torch.tensor([[0, 1, 0], [1, 0, 0]])
    lengths = torch.tensor([2, 3])
    expected = torch.tensor([[2, 1], [0, 2]])
    assert torch.equal(confusion_matrix(predicted, targets, 2, lengths), expected)
    # A negative class is padding, too; what the net predicts there does not matter.
    targets[0, 2] = -1
    predicted[0, 2] = 99
    assert torch.equal(confusion_matrix(predicted, targets, 2), expected)
    halves = [confusion_matrix(predicted[i], targets[i], 2) for i in range(2)]
    assert torch.equal(halves[0] + halves[1], expected)


@pytest.mark.parametrize(
    ("predicted", "targets", "words"),
    [
        (torch.tensor([0, 2]), torch.tensor([0, 1]), "predicted has classes from 0 to 2"),
        (torch.tensor([0, 1]), torch.tensor([0, 5]), "targets has classes from 0 to 5"),
        (torch.tensor([0, 1]), torch.tensor([0]), "expected the same"),
    ],
)
def test_classes_out_of_range_are_errors(
    predicted: torch.Tensor, targets: torch.Tensor, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        confusion_matrix(predicted, targets, 2)


def test_classes_are_integers() -> None:
    with pytest.raises(TypeError, match=r"predicted holds classes, got torch\.float32"):
        confusion_matrix(torch.rand(3), torch.tensor([0, 1, 0]), 2)


@pytest.mark.parametrize("measure", [balanced_accuracy, macro_f1])
def test_an_empty_matrix_has_no_measure(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="at least one decision"):
        measure(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"is square, got the shape \(2, 3\)"):
        measure(torch.ones(2, 3))


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
