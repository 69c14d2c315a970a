"""What a series of chips makes of one net: the accuracy of each, its quantiles, and the yield."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.deploy.series import count_right
from nwavesdk.layers import ChipInstance, SpikingSequential, prepare_net
from nwavesdk.metrics import population_counts
from nwavesdk.train.seed import chip_seed

__all__ = ["ChipSeries", "draw_series"]


@dataclass(frozen=True)
class ChipSeries:
    """Accuracies over drawn chips.

    Attributes:
        accuracy: of each chip, in the order of drawing.
        designed: of the chip as it was designed, without mismatch.
        wanted: accuracy from which on a chip is good enough.
        seed: of the drawing.
        seconds: that it took.
    """

    accuracy: tuple[float, ...]
    designed: float
    wanted: float
    seed: int
    seconds: float

    def quantile(self, share: float) -> float:
        """The accuracy below which that share of chips lies, interpolated between chips."""
        return float(np.quantile(self.accuracy, share))

    @property
    def q05(self) -> float:
        """5 % quantile."""
        return self.quantile(0.05)

    @property
    def q50(self) -> float:
        """Median."""
        return self.quantile(0.5)

    @property
    def q95(self) -> float:
        """95 % quantile."""
        return self.quantile(0.95)

    @property
    def share(self) -> float:
        """Yield: the share of chips with the wanted accuracy or more."""
        return sum(a >= self.wanted for a in self.accuracy) / len(self.accuracy)

    def __str__(self) -> str:
        """All of it in two lines."""
        return (
            f"{len(self.accuracy)} chips in {self.seconds:.1f} s: accuracy {self.q50:.4f} (median), {self.q05:.4f} to "
            f"{self.q95:.4f} (5 to 95 %); as designed {self.designed:.4f}\n"
            f"yield {self.share:.1%}: chips with {self.wanted:g} or more"
        )


def draw_series(
    model: SpikingSequential | nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    n: int = 200,
    seed: int = 0,
    wanted: float = 0.9,
) -> ChipSeries:
    """Test a net on many chips, by the fastest way that its sizes allow (see `nwavesdk.deploy.series`).

    The chips are drawn by odd seeds; training under `nwave train` draws by even ones, so none is among them. The same
    seed gives the same chips, and on the same machine the same list.

    Args:
        model: A net of the chip's modules, built with mismatch.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Populations of the output layer.
        n: How many chips.
        seed: Which chips.
        wanted: Accuracy from which on a chip is good enough.

    Raises:
        TypeError: The model is no chip's net.
        ValueError: There are no recordings, not as many labels, or no chips.
    """
    if not len(labels):
        raise ValueError("draw_series: got 0 recordings, expected at least 1.")
    was_training, began = model.training, time.perf_counter()
    model.eval()
    try:
        right = count_right(model, x, labels, n_classes, _seeds(n, seed))
        with torch.no_grad(), ChipInstance(None).on(model):
            prepare_net(model)
            predicted = population_counts(model(x)[0], n_classes).argmax(1)
    finally:
        model.train(was_training)
    designed = (predicted == labels).double().mean().item()
    accuracy = tuple((right.double() / len(labels)).tolist())
    return ChipSeries(accuracy, designed, wanted, seed, time.perf_counter() - began)


def _seeds(n: int, seed: int) -> Sequence[int]:
    return [chip_seed(seed, "chips", i, drawn=True) for i in range(n)]
