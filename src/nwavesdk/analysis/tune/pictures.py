"""The pictures of a search: its trials as parallel coordinates, and which fields decide."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.analysis.tune.proposals import Tried
from nwavesdk.analysis.tune.space import Dimension, Space
from nwavesdk.plot.theme import Theme, label_text

__all__ = ["importance_bars", "parallel_coordinates"]

# Choices whose names are written at an axis; of more, every second one, and so on.
MOST_LABELS = 8


def parallel_coordinates(
    space: Space, tried: Sequence[Tried], best: int | None, label: str, theme: Theme
) -> Figure:
    """Draw each trial as a line through its values, to its score at the right.

    Args:
        space: The fields, an axis each.
        tried: All trials that have a score, or a course; others are left out.
        best: Place of the best trial among them.
        label: What the score is.
        theme: Colors.
    """
    n_axes = len(space) + 1
    figure = Figure(figsize=(max(7.0, 2.2 * n_axes), 4.2))
    axes = figure.subplots()
    scores = [_last_score(one) for one in tried]
    known = [score for score in scores if score is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = high - low or 1.0
    # The best line is drawn last, above all others.
    order = sorted(range(len(tried)), key=lambda place: place == best)
    for place in order:
        score = scores[place]
        if score is None:
            continue
        one = tried[place]
        heights = [dimension.position(one.values[name]) for name, dimension in space.items()]
        share = (score - low) / span
        is_best, is_stopped = place == best, one.state == "stopped"
        axes.plot(
            range(n_axes),
            [*heights, share],
            color=theme.hues[1] if is_best else theme.ramp(0.25 + 0.75 * share),
            linewidth=2.4 if is_best else 1.1,
            linestyle="--" if is_stopped else "-",
            marker="o",
            markersize=3,
        )
    for place, (name, dimension) in enumerate(space.items()):
        _write_axis(axes, place, name, _marks(dimension), theme)
    marks = [(share, f"{low + share * span:.3g}") for share in np.linspace(0, 1, 5)]
    _write_axis(axes, n_axes - 1, label, marks, theme)
    axes.set(xlim=(-0.3, n_axes - 0.4), ylim=(-0.06, 1.06), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    lines = [("best trial", theme.hues[1], "-"), ("stopped early", theme.hues[0], "--")]
    for text, color, style in lines:
        axes.plot([], [], color=color, linestyle=style, label=text)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
    return figure


def importance_bars(shares: Mapping[str, float], n_trials: int, theme: Theme) -> Figure:
    """Draw how much each field decides the score.

    Args:
        shares: A share for each field.
        n_trials: Finished trials on which they rest.
        theme: Colors.
    """
    figure = Figure(figsize=(7, 0.9 + 0.34 * len(shares)))
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh([label_text(name, 40) for name in names], [shares[name] for name in names])
    for bar in axes.patches:
        bar.set_color(theme.hues[0])
    axes.set(xlim=(0, 1), xlabel="share of the importance")
    axes.set_title(f"Importance of the fields, from {n_trials} finished trials")
    axes.grid(axis="x")
    return figure


def _last_score(one: Tried) -> float | None:
    """The score of a finished trial, or that of the last epoch of a trial that was stopped."""
    if one.score is not None:
        return one.score
    return one.course[max(one.course)] if one.course else None


def _marks(dimension: Dimension) -> list[tuple[float, str]]:
    """Heights and texts at the axis of a field."""
    if dimension.choices is not None:
        every = -(-len(dimension.choices) // MOST_LABELS)
        values = dimension.choices[::every]
    else:
        assert dimension.low is not None
        assert dimension.high is not None
        values = (dimension.low, dimension.high)
    return [(dimension.position(value), label_text(dimension.text(value), 18)) for value in values]


def _write_axis(
    axes: Axes, place: int, name: str, marks: Sequence[tuple[float, str]], theme: Theme
) -> None:
    """Draw the axis of a field with its marks, and its name above it."""
    axes.axvline(place, color=theme.faint, linewidth=1, zorder=0)
    name_text = label_text(name, 28)
    axes.text(place, 1.1, name_text, ha="center", fontsize=9, color=theme.ink)
    for height, text in marks:
        axes.annotate(
            text, (place, height), (3, 3), textcoords="offset points", fontsize=8, color=theme.ink
        )
