"""How well output spikes indicate the classes: pure functions of a batch of spikes.

All of them take `lengths`, the number of steps of each recording, and count no spike in padding.
"""

import torch

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers.lengths import check_lengths, sum_over_steps

__all__ = ["accuracy", "accuracy_population", "correct_recordings", "population_counts"]


def accuracy(
    spk: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Share of recordings whose most active output neuron is the right class.

    Args:
        spk: Output spikes, one neuron per class, `[B, T, C]`.
        targets: Class indices, `[B]`.
        lengths: Number of steps of each recording, int64 `[B]`; None for all steps.

    Returns:
        A scalar in [0, 1]. Between equally active neurons the lowest index counts.

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        ValueError: If a shape is not as above, the batch is empty, or a length is not from 1 to T.

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
        spk: Output spikes, `[B, T, O]`. The O neurons are `num_classes` equal groups, one after the
            other.
        targets: Class indices, `[B]`.
        num_classes: Number of groups.
        lengths: Number of steps of each recording, int64 `[B]`; None for all steps.

    Returns:
        A scalar in [0, 1]. Between equally active groups the lowest index counts.

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        ValueError: If a shape is not as above, the batch is empty, O is not a multiple of
            `num_classes`, or a length is not from 1 to T.

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
        lengths: Number of steps of each recording, int64 `[B]`; None for all steps.

    Returns:
        Counts, `[B, num_classes]`; float32 for spikes in half precision, which cannot count far.

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        ValueError: If `spk` does not have three dimensions, O is not a multiple of `num_classes`,
            or a length is not from 1 to T.

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
            "each class: give a num_classes that divides their number."
        )
    if lengths is not None:
        lengths = check_lengths("population_counts", lengths, spk)
    groups = (len(spk), num_classes, outputs // num_classes)
    return sum_over_steps(spk, lengths).reshape(groups).sum(dim=2)


def _require_sequences(spk: torch.Tensor) -> None:
    require_tensor("accuracy: spk", spk)
    if spk.ndim != 3:
        raise ValueError(f"Spikes have the shape {tuple(spk.shape)}, expected [B, T, outputs].")
