"""A detector on many drawn chips: misses and false alarms of each, and the yield.

Every chip runs the whole test stream at 10 dB with the recorded decision. The streams are long, so
chips run one by one, in long blocks.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from nwavesdk.deploy.chip_series import RightCounter
from nwavesdk.metrics import DetectionScore
from nwavesdk.plot.theme import Theme, label_text
from nwavesdk.train import Run
from nwavesdk.train.apply.detections import LONG_BLOCK_STEPS, score_fields, scored_chips
from nwavesdk.train.data.detection import SNR
from nwavesdk.train.fit.seeds import chip_seed

__all__ = ["DetectorSeries", "count_errors", "detectors_picture", "draw_detectors"]


@dataclass(frozen=True, kw_only=True)
class DetectorSeries:
    """Misses and false alarms of drawn chips.

    Attributes:
        misses: Share of missed events of each chip, in the order of drawing.
        false_alarms_per_hour: False alarms per hour of each chip.
        designed: The score of the chip as designed, without mismatch.
        budget: False alarms per hour up to which a chip is good.
        seed: Seed of the drawing.
        seconds: Duration of the computation [s].

    Example:
        >>> series = DetectorSeries(
        ...     misses=(0.1, 0.2),
        ...     false_alarms_per_hour=(0.0, 1.0),
        ...     designed=DetectionScore(seconds=3600),
        ...     budget=0.5,
        ...     seed=0,
        ...     seconds=8.0,
        ... )
        >>> series.share
        0.5
    """

    misses: tuple[float, ...]
    false_alarms_per_hour: tuple[float, ...]
    designed: DetectionScore
    budget: float
    seed: int
    seconds: float

    @property
    def share(self) -> float:
        """The yield: the share of chips within the budget of false alarms."""
        return float(np.mean(np.array(self.false_alarms_per_hour) <= self.budget))

    @property
    def fields(self) -> dict[str, Any]:
        """The numbers of the series for JSON."""
        quantiles = {
            f"{name}_q{percent:02}": float(np.percentile(getattr(self, name), percent))
            for name in ("misses", "false_alarms_per_hour")
            for percent in (5, 50, 95)
        }
        return {**vars(self), "designed": score_fields(self.designed), **quantiles}

    def __str__(self) -> str:
        """Misses, false alarms and yield, in three lines."""
        low, median, high = np.percentile(self.misses, [5, 50, 95])
        few, alarms, many = np.percentile(self.false_alarms_per_hour, [5, 50, 95])
        designed = self.designed
        return (
            f"{len(self.misses)} chips in {self.seconds:.1f} s: median misses "
            f"{100 * median:.1f} %, {100 * low:.1f} to {100 * high:.1f} (5 % to 95 %); as designed "
            f"{100 * designed.misses:.1f} %\n"
            f"median false alarms per hour {alarms:.2f}, {few:.2f} to {many:.2f} (5 % to 95 %); as "
            f"designed {designed.false_alarms_per_hour:.2f} (one in the {designed.hours:.2g} h of "
            f"the test streams is {1 / designed.hours:.3g})\n"
            f"yield {self.share:.1%}: chips with at most {self.budget:g} false alarms per hour"
        )


def draw_detectors(
    run: Run, n: int, seed: int, count: RightCounter | None = None
) -> DetectorSeries:
    """Test a detector on `n` chips, drawn as by `draw_series`.

    Args:
        run: The run.
        n: Number of chips.
        seed: Selects the chips.
        count: A function that counts as `count_errors` does, in other processes. If None, this
            process counts.
    """
    start = time.perf_counter()
    seeds = [chip_seed(seed, "chips", index, drawn=True) for index in range(n)]
    errors = count(seeds) if count else count_errors(run, seeds)
    (designed,) = _score_chips(run, [None])

    n_missed, n_alarms = errors.double().T
    return DetectorSeries(
        misses=tuple((n_missed / designed.n_events).tolist()),
        false_alarms_per_hour=tuple((n_alarms / designed.hours).tolist()),
        designed=designed,
        budget=run.config.task.false_alarms,  # type: ignore[union-attr]  # of a detector
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def count_errors(run: Run, seeds: Sequence[int]) -> Tensor:
    """Missed events and false alarms of each chip on the test streams, int64 `[chips, 2]`."""
    scores = _score_chips(run, seeds)
    return torch.tensor([(len(score.missed), len(score.false_alarms)) for score in scores])


def _score_chips(run: Run, seeds: Sequence[int | None]) -> list[DetectionScore]:
    """The score of each chip on all test streams; None is the chip as designed."""
    trained = run.trained(mismatch=True)
    sounds, framing = run.streams()
    assert trained.decision is not None
    scores = []
    for stream in sounds.compose(SNR):
        chips = scored_chips(trained, stream, framing, LONG_BLOCK_STEPS, seeds)
        scores.append([trained.decision.score([scored]) for scored in chips])
    return [reduce(add, streams) for streams in zip(*scores, strict=True)]


def detectors_picture(series: DetectorSeries, chip: str, theme: Theme) -> Figure:
    """Draw misses over false alarms per hour, with the budget and the chip as designed.

    Args:
        series: Misses and false alarms of drawn chips.
        chip: Name of the chip.
        theme: Colors.
    """
    figure = Figure(figsize=(7, 3.8))
    axes = figure.subplots()

    # Both are multiples of one event, so chips may share a point, which is then larger.
    errors = np.stack([series.false_alarms_per_hour, series.misses], axis=1)
    (alarms, misses), chips = (values.T for values in np.unique(errors, axis=0, return_counts=True))
    colors = [theme.hues[0] if value <= series.budget else theme.faint for value in alarms]
    axes.scatter(alarms, 100 * misses, 400 * chips / chips.sum(), c=colors)
    designed = (series.designed.false_alarms_per_hour, 100 * series.designed.misses)
    axes.plot(*designed, "x", color=theme.hues[2], label="as designed")
    axes.axvline(series.budget, color=theme.hues[1], label=f"budget {series.budget:g}")

    axes.set(xlabel="false alarms per hour", ylabel="misses [%]")
    title = f"{chips.sum()} chips of {label_text(chip)}: {series.share:.0%} are within the budget"
    axes.set_title(f"{title} (blue)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
