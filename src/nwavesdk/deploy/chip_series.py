"""A net on many drawn chips: the accuracy of each, its quantiles, and the yield."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.deploy.stages import chip_stages
from nwavesdk.internal.checks import finite_number, shown, whole_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers import ChipInstance, SpikingSequential
from nwavesdk.layers.lengths import check_lengths, complete_lengths
from nwavesdk.metrics import population_counts
from nwavesdk.net.calls import in_eval
from nwavesdk.net.preparation import prepared
from nwavesdk.train.fit.seeds import chip_seed

__all__ = ["ChipSeries", "RightCounter", "count_right", "draw_series"]

# Largest number of values of the widest layer that are computed at a time: a quarter of a gigabyte.
MAX_VALUES = 1 << 26

# More chips would change no quantile by a visible amount, and would take minutes or hours.
MAX_CHIPS = 100_000


# Number of recordings that the chips of some seeds classify correctly, int64 [chips].
RightCounter = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True, kw_only=True)
class ChipSeries:
    """Accuracies of drawn chips.

    Attributes:
        accuracy: Accuracy of each chip, in the order of drawing.
        designed: Accuracy of the chip as designed, without mismatch.
        wanted: Accuracy from which on a chip counts as good.
        seed: Seed of the drawing.
        seconds: Duration of the computation [s].
        recordings: Number of recordings that each chip classified; None if it is not known.

    Example:
        >>> accuracy = (0.91, 0.88, 0.93, 0.95)
        >>> series = ChipSeries(accuracy=accuracy, designed=0.94, wanted=0.9, seed=0, seconds=0.1)
        >>> series.quantile(0.5), series.share
        (0.92, 0.75)
    """

    accuracy: tuple[float, ...]
    designed: float
    wanted: float
    seed: int
    seconds: float
    recordings: int | None = None

    def quantile(self, share: float) -> float:
        """The accuracy below which this share of the chips lies, interpolated between chips."""
        return float(np.quantile(self.accuracy, share))

    @property
    def share(self) -> float:
        """The yield: the share of chips with the wanted accuracy or more."""
        return sum(accuracy >= self.wanted for accuracy in self.accuracy) / len(self.accuracy)

    @property
    def fields(self) -> dict[str, Any]:
        """The numbers of the series for JSON."""
        quantiles = {f"q{percent:02}": self.quantile(percent / 100) for percent in (5, 50, 95)}
        return {**vars(self), **quantiles}

    def __str__(self) -> str:
        """Quantiles, the effect of mismatch, and yield, in three lines."""
        median, worst = (100 * (self.quantile(share) - self.designed) for share in (0.5, 0.05))
        change = (
            f"mismatch changes the median by {median:+.1f} points, the 5 % quantile by {worst:+.1f}"
        )
        if self.recordings is not None:
            point = 100 / self.recordings
            change += f" (one of {self.recordings:,} recordings is {point:.2g} points)"

        return (
            f"{len(self.accuracy)} chips in {self.seconds:.1f} s: median accuracy "
            f"{self.quantile(0.5):.4f}, {self.quantile(0.05):.4f} to {self.quantile(0.95):.4f} "
            f"(5 % to 95 %); as designed {self.designed:.4f}\n"
            f"{change.replace('-', '−')}\n"
            f"yield {self.share:.1%}: chips with an accuracy of {self.wanted:g} or more"
        )


def draw_series(
    model: SpikingSequential | nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    n: int = 200,
    seed: int = 0,
    wanted: float = 0.9,
    lengths: Tensor | None = None,
    count: RightCounter | None = None,
) -> ChipSeries:
    """Test a net on many chips, in the fastest way that its sizes allow.

    None of the chips was seen in training by `nwave train`. The same seed gives the same chips.

    Args:
        model: A net of chip modules, built with mismatch.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Number of populations of the output layer.
        n: Number of chips, from 1 to 100,000.
        seed: Selects the chips, from 0 to 2^32 - 1.
        wanted: Accuracy from which on a chip counts as good, from 0 to 1.
        lengths: Steps of each recording, int64 [B]; None for all.
        count: A function that counts as `count_right` does; None for this process.

    Raises:
        TypeError: If the model is not a net of chip modules, or `lengths` is not an int64 tensor.
        ValueError: If an argument is out of its range.
        RuntimeError: If the net or x has a number that is not finite.

    Example:
        >>> from nwavesdk.layers import H1v1Layer, H1v1Synapse
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(H1v1Synapse(2, 4, stddev=0.1), H1v1Layer(4, 20e-3))
        >>> x, labels = torch.rand(8, 20, 2), torch.arange(8) % 2
        >>> series = draw_series(net, x, labels, n_classes=2, n=5)
        >>> len(series.accuracy), series.quantile(0.0) <= series.quantile(1.0)
        (5, True)
    """
    n_classes = whole_number("draw_series", "n_classes", n_classes)
    if isinstance(labels, Tensor) and not labels.numel():
        raise ValueError("draw_series: got 0 recordings, expected at least 1.")
    n = whole_number("draw_series", "n", n, most=MAX_CHIPS)
    seed = whole_number("draw_series", "seed", seed, least=0, most=2**32 - 1)
    wanted = finite_number("draw_series", "wanted", wanted, least=0, most=1)

    start = time.perf_counter()
    seeds = [chip_seed(seed, "chips", i, drawn=True) for i in range(n)]
    count = count or partial(count_right, model, x, labels, n_classes, lengths=lengths)
    with in_eval(model):
        (designed,) = count_right(model, x, labels, n_classes, [None], lengths).tolist()
        right = count(seeds)

    accuracy = tuple((right.double() / len(labels)).tolist())
    seconds = time.perf_counter() - start
    return ChipSeries(
        accuracy=accuracy,
        designed=designed / len(labels),
        wanted=wanted,
        seed=seed,
        seconds=seconds,
        recordings=len(labels),
    )


@torch.no_grad()
def count_right(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    seeds: Sequence[int | None],
    lengths: Tensor | None = None,
) -> Tensor:
    """Number of recordings that each chip classifies correctly.

    Args:
        model: A net of chip modules, built with mismatch, in eval mode.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Number of populations of the output layer.
        seeds: The seed of each chip, which is the chip that `prepare_net(model, seed)` draws; None
            is the chip as designed.
        lengths: Steps of each recording, int64 [B]; None for all.

    Returns:
        Counts, int64 [chips].

    Raises:
        TypeError: If the model is not a net of chip modules, or `lengths` is not an int64 tensor.
        ValueError: If `seeds` is empty, x or labels do not have these shapes, or a length is not
            from 1 to T.
        RuntimeError: If the net or x has a number that is not finite.
    """
    stages = chip_stages(model, "count_right")
    _check_recordings(x, labels, n_classes, seeds)
    steps = check_lengths("count_right", complete_lengths(x, lengths), x)

    n_values = x.shape[1] * max(stage.n_neurons for stage in stages)
    n_together = max(1, MAX_VALUES // n_values)
    counts = []
    for seed in seeds:
        n_right = 0
        for part in zip(*(torch.split(v, n_together) for v in (x, steps, labels)), strict=True):
            with ChipInstance(seed).on(model), prepared(model):
                counted = population_counts(model(part[0])[0], n_classes, part[1])
            n_right += int((counted.argmax(1) == part[2]).sum())
        counts.append(n_right)
    return torch.tensor(counts)


def _check_recordings(
    x: Tensor, labels: Tensor, n_classes: int, seeds: Sequence[int | None]
) -> None:
    require_tensor("count_right: x", x)
    require_tensor("count_right: labels", labels)
    if not len(seeds) or not x.numel() or len(labels) != len(x):
        raise ValueError(
            f"count_right: got {len(seeds)} chips, x of shape {list(x.shape)} and {len(labels)} "
            "labels, expected at least 1 chip and 1 step, and a label for each recording."
        )

    is_whole = not labels.is_floating_point() and not labels.is_complex()
    if not is_whole or labels.ndim != 1 or not bool(((labels >= 0) & (labels < n_classes)).all()):
        raise ValueError(
            f"count_right: labels are {shown(labels)}, expected whole numbers [B] from 0 to "
            f"{n_classes - 1}."
        )
