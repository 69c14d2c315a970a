"""Confusion matrices, and the measures that follow from them: pure functions."""

import torch
from torch import Tensor

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.metrics.steps import select_steps

__all__ = ["balanced_accuracy", "confusion_matrix", "macro_f1"]


def confusion_matrix(
    predicted: Tensor, targets: Tensor, num_classes: int, lengths: Tensor | None = None
) -> Tensor:
    """Number of decisions by true and predicted class.

    Args:
        predicted: Predicted classes, `[B]`, or `[B, T]` for a class of each step.
        targets: True classes in the same shape; a negative class is not counted.
        num_classes: C.
        lengths: Steps of each recording, `[B]`; later ones are not counted. [all steps]

    Returns:
        Counts, int64 `[C, C]`; rows are true classes. Matrices of batches can be added.

    Raises:
        ValueError: If shapes differ, or a class is not below C.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), num_classes=2)
        tensor([[1, 1],
                [0, 1]])
    """
    num_classes = whole_number("confusion_matrix", "num_classes", num_classes)
    for name, classes in (("predicted", predicted), ("targets", targets)):
        require_tensor(f"confusion_matrix: {name}", classes)
        if classes.is_floating_point() or classes.is_complex():
            raise TypeError(
                f"confusion_matrix: {name} holds classes, got {classes.dtype}: expected integers."
            )
    predicted, targets = select_steps("confusion_matrix", predicted, targets, lengths)
    is_counted = targets >= 0
    predicted, targets = predicted[is_counted].long(), targets[is_counted].long()
    for name, classes in (("predicted", predicted), ("targets", targets)):
        if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
            raise ValueError(
                f"confusion_matrix: {name} has classes from {int(classes.min())} to "
                f"{int(classes.max())}, expected 0 to {num_classes - 1}."
            )
    # The cell of row r and column c has the place r * C + c.
    cells = targets * num_classes + predicted
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Mean over the classes of the fraction of each class that is predicted correctly.

    Of two classes with 90 and 10 recordings, a net that always predicts the first one has an
    accuracy of 0.9 and a balanced accuracy of 0.5.

    Args:
        confusion: Counts, `[C, C]`; see `confusion_matrix`. Classes without decisions are left out.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: If the matrix is not square, or has no decision.

    References:
        Brodersen et al. 2010, "The balanced accuracy and its posterior distribution",
        doi:10.1109/ICPR.2010.764.

    Example:
        >>> balanced_accuracy(torch.tensor([[90, 0], [10, 0]]))
        tensor(0.5000)
    """
    counts = _require_counts("balanced_accuracy", confusion)
    per_class = counts.sum(dim=1)
    occurs = per_class > 0
    return (counts.diagonal()[occurs] / per_class[occurs]).mean().float()


def macro_f1(confusion: Tensor) -> Tensor:
    """Mean over the classes of F1, the harmonic mean of precision and recall.

    `F1[c] = 2 * hits[c] / (decisions of true class c + decisions of predicted class c)`.

    Args:
        confusion: Counts, `[C, C]`; see `confusion_matrix`. Classes that neither occur nor are
            predicted are left out.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: If the matrix is not square, or has no decision.

    Example:
        >>> macro_f1(torch.tensor([[3, 1], [0, 4]]))
        tensor(0.8730)
    """
    counts = _require_counts("macro_f1", confusion)
    total = counts.sum(dim=1) + counts.sum(dim=0)
    occurs = total > 0
    return (2 * counts.diagonal()[occurs] / total[occurs]).mean().float()


def _require_counts(owner: str, confusion: Tensor) -> Tensor:
    """The matrix in float64, on the CPU: some devices lack float64."""
    require_tensor(f"{owner}: confusion", confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not len(confusion):
        raise ValueError(
            f"{owner}: a confusion matrix is square, got the shape {tuple(confusion.shape)}."
        )
    counts = confusion.detach().cpu().double()
    if not counts.isfinite().all() or (counts < 0).any() or not counts.sum():
        raise ValueError(f"{owner}: expected counts with at least one decision.")
    return counts
