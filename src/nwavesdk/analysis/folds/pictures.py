"""The picture of a cross-validation: the measure of each fold, their mean and its interval."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from nwavesdk.analysis.statistics import Summary
from nwavesdk.plot.theme import Theme, label_text

__all__ = ["fold_values"]

# More folds have no names at the axis, which would cover each other.
MOST_NAMES = 30


def fold_values(
    values: Sequence[float], names: Sequence[str], label: str, summary: Summary, theme: Theme
) -> Figure:
    """Draw a measure of every fold, with the mean and its 95 % interval.

    Args:
        values: The measure of each fold.
        names: Name of each fold.
        label: The measure with its set, such as "test accuracy".
        summary: Mean and interval.
        theme: Colors.
    """
    figure = Figure(figsize=(9, 3.4))
    axes = figure.subplots()
    places = np.arange(1, len(values) + 1)
    if not math.isnan(summary.low):
        axes.axhspan(
            summary.low,
            summary.high,
            color=theme.hues[0],
            alpha=0.15,
            linewidth=0,
            label="its 95 % interval",
        )
    axes.axhline(summary.mean, color=theme.hues[0], linewidth=1.4, label="mean")
    axes.plot(places, values, "o", color=theme.hues[1], markersize=6, label="fold")
    axes.set(title=f"{label[0].upper()}{label[1:]} of each fold", ylabel=label)
    axes.set_xlim(0.4, len(values) + 0.6)
    if len(values) <= MOST_NAMES:
        texts = [label_text(name) for name in names]
        is_long = sum(map(len, texts)) > 100
        rotation, align = (60, "right") if is_long else (0, "center")
        axes.set_xticks(places, texts, rotation=rotation, ha=align)
    else:
        axes.set_xlabel("fold")
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
