"""Accuracy over many batches, with torchmetrics: exact for unequal batches and across processes."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.imports import require
from nwavesdk.metrics.classes import correct_recordings

if TYPE_CHECKING:
    from torchmetrics import MeanMetric
else:
    MeanMetric = require("torchmetrics", "train").MeanMetric

__all__ = ["SpikeAccuracy", "SpikeAccuracyPopulation"]


class _CorrectShare(MeanMetric):
    """Share of correct recordings among all recordings so far."""

    is_differentiable = False  # type: ignore[assignment]  # the base knows neither
    higher_is_better = True  # type: ignore[assignment]  # as above
    full_state_update = False

    def compute(self) -> Tensor:
        """A scalar in [0, 1].

        Raises:
            RuntimeError: If `update` was not called.
        """
        if not self.weight:
            raise RuntimeError(
                f"{type(self).__name__} has no batch: call update(spk, targets) before compute()."
            )
        share: Tensor = super().compute()
        return share


class SpikeAccuracy(_CorrectShare):
    """`accuracy` over all batches since the last `reset`.

    Args:
        settings: Arguments of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SpikeAccuracy()
        >>> metric.update(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([0, 1]))
        >>> metric.update(torch.tensor([[[1.0, 0.0]]]), torch.tensor([1]))
        >>> metric.compute()
        tensor(0.6667)
    """

    def update(  # type: ignore[override]  # each metric has its own arguments
        self, spk: Tensor, targets: Tensor, lengths: Tensor | None = None
    ) -> None:
        """Add a batch: output spikes `[B, T, C]`, class indices `[B]` and lengths `[B]`.

        Raises:
            TypeError: As `accuracy`.
            ValueError: As `accuracy`.
        """
        # Spikes that do not have three dimensions are rejected for any number of classes.
        num_classes = spk.shape[2] if spk.ndim == 3 else 1
        super().update(correct_recordings(spk, targets, num_classes, lengths).float())


class SpikeAccuracyPopulation(_CorrectShare):
    """`accuracy_population` over all batches since the last `reset`.

    Args:
        num_classes: Number of equal groups of output neurons.
        settings: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_classes` is not a whole number above 0.

    Example:
        >>> import torch
        >>> metric = SpikeAccuracyPopulation(num_classes=2)
        >>> metric.update(torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), torch.tensor([0]))
        >>> metric.compute()
        tensor(1.)
    """

    def __init__(self, num_classes: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.num_classes = whole_number("SpikeAccuracyPopulation", "num_classes", num_classes)

    def update(  # type: ignore[override]  # each metric has its own arguments
        self, spk: Tensor, targets: Tensor, lengths: Tensor | None = None
    ) -> None:
        """Add a batch: spikes `[B, T, O]`, group after group, classes `[B]` and lengths `[B]`.

        Raises:
            TypeError: As `accuracy_population`.
            ValueError: As `accuracy_population`.
        """
        super().update(correct_recordings(spk, targets, self.num_classes, lengths).float())
