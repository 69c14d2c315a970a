"""The quality of decisions about classes: accuracy with its interval, and confusion matrices.

Functions of spikes take `lengths`, the number of steps of each recording, and count no spikes in
padding.
"""

import math

import torch
from torch import Tensor

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers.lengths import (
    check_lengths,
    check_optional_lengths,
    sum_over_steps,
    valid_steps,
)

__all__ = [
    "accuracy",
    "accuracy_interval",
    "accuracy_population",
    "balanced_accuracy",
    "confusion_matrix",
    "correct_recordings",
    "macro_f1",
    "population_counts",
    "select_steps",
]


def select_steps(
    owner: str, prediction: Tensor, target: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Predictions and targets of all valid steps, along one dimension.

    Args:
        owner: The function, for errors.
        prediction: `[B]` or `[B, T, *values]`.
        target: In the same shape.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        Both as `[steps, *values]`.

    Raises:
        ValueError: If shapes differ, or lengths are not from 1 to T.
    """
    if prediction.shape != target.shape or not prediction.ndim:
        raise ValueError(
            f"{owner}: predictions have the shape {tuple(prediction.shape)}, targets "
            f"{tuple(target.shape)}: expected the same, with recordings first."
        )

    if prediction.ndim == 1:
        return prediction, target
    if lengths is None:
        return prediction.flatten(0, 1), target.flatten(0, 1)
    is_valid = valid_steps(check_lengths(owner, lengths, prediction), prediction.shape[1])
    return prediction[is_valid], target[is_valid.to(target.device)]


def accuracy(
    spk: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Share of recordings whose most active output neuron is the right class.

    Args:
        spk: Output spikes, one neuron per class, `[B, T, C]`.
        targets: Class indices, `[B]`.
        lengths: Steps of each recording, int64 `[B]`; None for all.

    Returns:
        A scalar in [0, 1]. Between equally active neurons the lowest index counts.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> accuracy(spk, torch.tensor([0, 1]))
        tensor(0.5000)
    """
    _require_sequences(spk)
    return accuracy_population(spk, targets, spk.shape[2], lengths)


def accuracy_population(
    spk: torch.Tensor, targets: torch.Tensor, num_classes: int, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Share of recordings whose most active group of output neurons is the right class.

    Args:
        spk: Output spikes, `[B, T, O]`; the O neurons form `num_classes` equal groups in order.
        targets: Class indices, `[B]`.
        num_classes: Number of groups.
        lengths: Steps of each recording, int64 `[B]`; None for all.

    Returns:
        A scalar in [0, 1]. Between equally active groups the lowest index counts.

    Example:
        >>> spk = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
        >>> accuracy_population(spk, torch.tensor([0]), num_classes=2)
        tensor(1.)
    """
    return correct_recordings(spk, targets, num_classes, lengths).float().mean()


def correct_recordings(
    spk: torch.Tensor, targets: torch.Tensor, num_classes: int, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Which recordings are assigned to the right class, bool `[B]`.

    `accuracy_population` is their share, and describes arguments and errors.
    """
    counts = population_counts(spk, num_classes, lengths)
    require_tensor("accuracy: targets", targets)
    if targets.shape != spk.shape[:1]:
        raise ValueError(
            f"Targets have the shape {tuple(targets.shape)}, expected [{spk.shape[0]}]: one class "
            "per recording."
        )
    if not len(targets):
        raise ValueError("An empty batch has no accuracy: got 0 recordings, expected at least 1.")
    return counts.argmax(dim=1) == targets


def population_counts(
    spk: torch.Tensor, num_classes: int, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Spikes of each class's group over each recording, with gradient.

    Args:
        spk: Output spikes, `[B, T, O]`.
        num_classes: Number of equal groups.
        lengths: Steps of each recording, int64 `[B]`; None for all.

    Returns:
        Counts, `[B, num_classes]`; float32 for spikes in half precision.

    Example:
        >>> spk = torch.tensor([[[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]])
        >>> population_counts(spk, num_classes=2)
        tensor([[3., 1.]])
    """
    _require_sequences(spk)
    outputs = spk.shape[2]
    num_classes = whole_number("population_counts", "num_classes", num_classes)
    if outputs % num_classes:
        raise ValueError(
            f"{outputs} output neurons cannot be split into {num_classes} equal groups, one for "
            "each class: pass a num_classes that divides their number."
        )

    lengths = check_optional_lengths("population_counts", lengths, spk)
    groups = (len(spk), num_classes, outputs // num_classes)
    return sum_over_steps(spk, lengths).reshape(groups).sum(dim=2)


def _require_sequences(spk: torch.Tensor) -> None:
    require_tensor("accuracy: spk", spk)
    if spk.ndim != 3:
        raise ValueError(f"Spikes have the shape {tuple(spk.shape)}, expected [B, T, outputs].")


def confusion_matrix(
    predicted: Tensor, targets: Tensor, num_classes: int, lengths: Tensor | None = None
) -> Tensor:
    """Number of decisions by true and predicted class.

    Args:
        predicted: Predicted classes, `[B]`, or `[B, T]` for a class of each step.
        targets: True classes in the same shape; a negative class is not counted.
        num_classes: C.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        Counts, int64 `[C, C]`; rows are true classes. Matrices of batches can be added.

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

    # The cell of row r and column c has the index r * C + c.
    cells = targets * num_classes + predicted
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Mean over the classes of the fraction of each class that is predicted correctly.

    A net that always predicts the first of two classes has a balanced accuracy of 0.5.

    Args:
        confusion: Counts, `[C, C]`; see `confusion_matrix`. Classes without decisions are skipped.

    Returns:
        A scalar in [0, 1].

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
            predicted are skipped.

    Returns:
        A scalar in [0, 1].

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


# 95 % of a normal distribution are within this number of standard deviations.
_NORMAL_QUANTILE = 1.959964


def accuracy_interval(right: Tensor, counts: Tensor) -> tuple[float, float]:
    """The 95 % interval of an accuracy over recordings that were drawn independently.

    With one decision per recording, it is Wilson's interval; with several, it follows from the
    variance of a ratio of sums over recordings.

    Args:
        right: Right decisions of each recording, [R].
        counts: Decisions of each recording, [R].

    Returns:
        Low and high, from 0 to 1; 0 and 1 without a decision.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal
        of the American Statistical Association 22, doi:10.1080/01621459.1927.10502953.
        Cochran 1977, Sampling Techniques, equation 2.46 (the variance of a ratio).

    Example:
        >>> import torch
        >>> low, high = accuracy_interval(torch.tensor([1] * 9 + [0]), torch.ones(10))
        >>> f"{low:.3f} to {high:.3f}"
        '0.596 to 0.982'
    """
    right, counts = right.double(), counts.double()
    n_decisions = counts.sum().item()
    n_recordings = len(counts)
    if not n_decisions:
        return 0.0, 1.0

    share = right.sum().item() / n_decisions
    if bool((counts == 1).all()):  # Wilson
        spread = _NORMAL_QUANTILE**2 / n_recordings
        middle = (share + spread / 2) / (1 + spread)
        variance = share * (1 - share) / n_recordings + spread / (4 * n_recordings)
        half_width = _NORMAL_QUANTILE * math.sqrt(variance) / (1 + spread)
    elif n_recordings < 2:
        return 0.0, 1.0
    else:  # Cochran
        middle = share
        residuals = (right - share * counts).square().sum().item()
        scale = n_recordings / (n_recordings - 1)
        half_width = _NORMAL_QUANTILE * math.sqrt(scale * residuals) / n_decisions

    return max(0.0, middle - half_width), min(1.0, middle + half_width)
