"""The pictures of studies: the score of each cell by arm, and the pictures of Optuna."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nwavesdk.analysis.statistics import Summary
from nwavesdk.plot.theme import Theme, label_text

__all__ = ["draw_optuna", "draw_values"]


def draw_values(
    arms: Mapping[str, Sequence[float]], means: Mapping[str, Summary], label: str, theme: Theme
) -> Figure:
    """Draw the scores of all cells, in a row for each arm, with the mean and its 95 % interval.

    Args:
        arms: The scores of the cells, by arm.
        means: Mean and interval, by arm.
        label: Name of the score.
        theme: Colors.
    """
    figure = Figure(figsize=(9, 1.4 + 0.5 * len(arms)))
    axes = figure.subplots()
    for row, (arm, values) in enumerate(arms.items()):
        mean = means[arm]
        reach = np.nan_to_num([[mean.mean - mean.low], [mean.high - mean.mean]])
        axes.errorbar(mean.mean, row, xerr=reach, fmt="|", color=theme.hues[0], capsize=4, ms=16)
        axes.plot(values, [row] * len(values), "o", color=theme.hues[1], markersize=5, alpha=0.7)

    axes.set_yticks(range(len(arms)), [label_text(arm, 40) for arm in arms])
    axes.set(xlabel=label, ylim=(len(arms) - 0.5, -0.5))
    axes.grid(axis="x")
    return figure


def draw_optuna(plot: Callable[..., Any], study: Any, label: str, theme: Theme) -> Figure:
    """Draw a plot of Optuna in the colors of a theme.

    Args:
        plot: A function of `optuna.visualization.matplotlib`.
        study: The study.
        label: Name of the score.
        theme: Colors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these functions of Optuna are experimental
        figure: Figure = plot(study, target_name=label).figure
    pyplot.close(figure)  # otherwise pyplot keeps the figure in memory

    # Replace Optuna's style. Lines are darker for higher scores, as in Optuna.
    scores = LinearSegmentedColormap.from_list("scores", [theme.faint, theme.hues[0]])
    figure.set_facecolor(theme.paper)
    for axes in figure.axes:
        axes.set_facecolor(theme.paper)
        axes.grid(color=theme.faint)
        axes.tick_params(labelcolor=theme.ink)
        for lines in axes.collections:
            lines.set_cmap(scores)
    return figure
