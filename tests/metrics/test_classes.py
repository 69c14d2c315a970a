"""Confusion matrices and what follows from them, compared with torchmetrics."""

import pytest
import torch

from nwavesdk.metrics import balanced_accuracy, confusion_matrix, macro_f1

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


def test_padding_is_not_counted() -> None:
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
