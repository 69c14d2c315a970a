"""Accuracy over many batches, as torchmetrics counts it: exact where batches are unequal, and over processes."""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.internal.checks import whole_number
from nwavesdk.metrics.readout import hits

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    if error.name != "torchmetrics":
        raise
    raise ModuleNotFoundError(
        'torchmetrics is not installed: pip install "nwavesdk[train]" brings it.', name=error.name
    ) from None

__all__ = ["SpikeAccuracy", "SpikeAccuracyPopulation"]


class _Share(Metric):
    """Share of recordings that were right, of all that were seen."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    number: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("right", "number"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def _count(self, found: Tensor) -> None:
        self.right += found.sum()
        self.number += len(found)

    def compute(self) -> Tensor:
        """A scalar in [0, 1].

        Raises:
            RuntimeError: No batch was seen.
        """
        if not self.number:
            raise RuntimeError(
                f"{type(self).__name__} has seen no batch: call update(spk, targets) before compute()."
            )
        return self.right / self.number


class SpikeAccuracy(_Share):
    """`accuracy` over all batches since the last `reset`.

    Args:
        settings: As of `torchmetrics.Metric`.

    Example:
        >>> metric = SpikeAccuracy()
        >>> metric.update(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([0, 1]))
        >>> metric.update(torch.tensor([[[1.0, 0.0]]]), torch.tensor([1]))
        >>> metric.compute()
        tensor(0.6667)
    """

    def update(self, spk: Tensor, targets: Tensor) -> None:
        """Take a batch: output spikes `[B, T, C]` and class indices `[B]`.

        Raises:
            ValueError: As `accuracy`.
        """
        self._count(hits(spk, targets, spk.shape[2] if spk.ndim == 3 else 1))


class SpikeAccuracyPopulation(_Share):
    """`accuracy_population` over all batches since the last `reset`.

    Args:
        num_classes: Number of equal groups of output neurons.
        settings: As of `torchmetrics.Metric`.

    Raises:
        ValueError: `num_classes` is no whole number above 0.

    Example:
        >>> metric = SpikeAccuracyPopulation(num_classes=2)
        >>> metric.update(torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), torch.tensor([0]))
        >>> metric.compute()
        tensor(1.)
    """

    def __init__(self, num_classes: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.num_classes = whole_number("SpikeAccuracyPopulation", "num_classes", num_classes)

    def update(self, spk: Tensor, targets: Tensor) -> None:
        """Take a batch: output spikes `[B, T, O]`, group after group, and class indices `[B]`.

        Raises:
            ValueError: As `accuracy_population`.
        """
        self._count(hits(spk, targets, self.num_classes))
