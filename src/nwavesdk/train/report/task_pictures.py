"""Pictures of a task: classes or values over time next to the targets, and detections."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice, product

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nwavesdk import plot
from nwavesdk.data import Indices
from nwavesdk.metrics import Detection, DetectionScore, Event
from nwavesdk.plot.theme import Theme, label_text, label_time, time_unit
from nwavesdk.train.apply.decision import Decision
from nwavesdk.train.report.pictures import Array

__all__ = ["detection_curves", "label_bands", "stream_part", "value_courses", "value_scatter"]

# Number of outputs with a panel; a table has the numbers of all outputs.
MAX_OUTPUTS = 4

# Points of a scatter plot: more points would hide each other.
MAX_POINTS = 4000

# Classes in the legend.
MAX_NAMED_CLASSES = 12

# Lowest number of false alarms per hour of the axis: none are drawn there.
MIN_ALARMS = 0.1


def label_bands(
    x: Array,
    predicted: Indices,
    target: Indices,
    dt: float | None,
    classes: Sequence[str],
    theme: Theme,
) -> Figure:
    """Draw one recording: its input, and its true and predicted classes as colored bands.

    Args:
        x: Input, `[T, F]`.
        predicted: Class of each step, `[T]`.
        target: True class of each step, `[T]`; a negative class has the color of the paper.
        dt: Time step [s]; None is an axis in steps.
        classes: Name of each class.
        theme: Colors.
    """
    figure = Figure(figsize=(10, 4.2))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
    unit = time_unit("label_bands", dt)
    plot.series(x, top, dt=dt, name="input", theme=theme)
    top.set(xlabel="", title="input features, scaled")

    hues = cycle((*theme.hues, *colormaps["tab20"].colors))  # type: ignore[attr-defined]  # a list of colors
    colors = [theme.paper, *islice(hues, len(classes))]

    # Row 0 is at the bottom; class -1 is the first color.
    bands = np.stack([predicted, target]) + 1
    bottom.imshow(
        bands,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, len(x) * unit, -0.5, 1.5),
        cmap=ListedColormap(colors),
        vmin=0,
        vmax=len(classes),
    )
    bottom.axhline(0.5, color=theme.paper, linewidth=3)
    bottom.set_yticks([0, 1], ["predicted", "true"])
    bottom.set_title("class of each step")
    label_time(bottom, len(x), unit, dt)

    present = np.unique(bands[bands > 0])[:MAX_NAMED_CLASSES]
    keys = [Patch(facecolor=colors[k], label=label_text(classes[k - 1])) for k in present]
    figure.legend(handles=keys, loc="outside lower center", ncols=6)
    return figure


def value_courses(
    examples: Mapping[str, tuple[Array, Array]], dt: float | None, theme: Theme
) -> Figure:
    """Draw predictions and targets of some recordings over time, a row per output.

    Args:
        examples: Prediction and target of each recording, `[T, D]`, by its title; one column per
            recording.
        dt: Time step [s]; None is an axis in steps.
        theme: Colors.
    """
    unit = time_unit("value_courses", dt)
    n_outputs = min(next(iter(examples.values()))[0].shape[1], MAX_OUTPUTS)
    figure = Figure(figsize=(10, 0.9 + 1.9 * n_outputs))
    panels = figure.subplots(n_outputs, len(examples), sharex="col", sharey="row", squeeze=False)

    for column, (title, (predicted, target)) in zip(panels.T, examples.items(), strict=True):
        time = (np.arange(len(target)) + 0.5) * unit
        for output, axes in enumerate(column):
            axes.plot(time, target[:, output], color=theme.ink, linewidth=1.6, label="target")
            axes.plot(time, predicted[:, output], color=theme.hues[1], label="prediction")
            axes.grid(axis="y")
        column[0].set_title(title)
        label_time(column[-1], len(time), unit, dt)

    for output, axes in enumerate(panels[:, 0]):
        axes.set_ylabel(f"output {output + 1}")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def value_scatter(predicted: Array, target: Array, scores: Sequence[float], theme: Theme) -> Figure:
    """Draw predictions over targets, a panel per output; a perfect prediction lies on the line.

    Args:
        predicted: Values of all steps, `[steps, D]`.
        target: Targets in the same shape.
        scores: R² of each output.
        theme: Colors.
    """
    n_panels = min(target.shape[1], MAX_OUTPUTS)
    figure = Figure(figsize=(max(4.2, 3.0 * n_panels), 3.9))
    panels = figure.subplots(1, n_panels, squeeze=False)[0]

    # Steps at equal distances, so that all recordings have points.
    steps = np.linspace(0, len(target) - 1, min(len(target), MAX_POINTS)).astype(np.int64)
    for output, axes in enumerate(panels):
        x, y = target[steps, output], predicted[steps, output]
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, color=theme.ink, linewidth=0.8, linestyle="--")
        axes.scatter(x, y, s=5, alpha=0.25, color=theme.hues[0], linewidths=0, rasterized=True)
        axes.set(xlabel="target", title=f"output {output + 1}: R² = {scores[output]:.3f}")
        axes.grid()
    panels[0].set_ylabel("prediction")
    return figure


def detection_curves(
    curves: Mapping[str, Sequence[DetectionScore]],
    chosen: Mapping[str, DetectionScore],
    budget: float,
    theme: Theme,
) -> Figure:
    """Draw misses over false alarms per hour.

    Args:
        curves: The scores at falling thresholds, by name of the streams.
        chosen: The score at the threshold of the detector, by name of the streams.
        budget: The false alarms per hour for which the threshold was chosen.
        theme: Colors.
    """
    figure = Figure(figsize=(8, 4.4))
    axes = figure.subplots()
    styles = product(("-", "--"), theme.hues)
    for (style, hue), (name, scores) in zip(styles, curves.items(), strict=False):
        alarms = [max(score.false_alarms_per_hour, MIN_ALARMS) for score in scores]
        axes.step(
            alarms,
            [100 * score.misses for score in scores],
            where="post",
            color=hue,
            linestyle=style,
            label=name,
            linewidth=1.6,
        )
        at = chosen[name]
        axes.plot(max(at.false_alarms_per_hour, MIN_ALARMS), 100 * at.misses, marker="o", color=hue)

    axes.axvline(budget, color=theme.ink, linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        xlabel=f"false alarms per hour ({MIN_ALARMS:g} is {MIN_ALARMS:g} or fewer)",
        ylabel="misses [%]",
        title="dots: the threshold of the detector; dotted: the budget",
    )
    axes.set_ylim(0, None)
    axes.grid()
    axes.legend(title="signal to noise", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def stream_part(
    x: Array,
    spikes: Array,
    scores: npt.NDArray[np.float64],
    decision: Decision,
    events: Sequence[Event],
    detections: Sequence[Detection],
    times: npt.NDArray[np.floating],
    theme: Theme,
) -> Figure:
    """Draw a part of a stream: input, spikes of a layer, and scores with events and detections.

    Args:
        x: Input of the net, `[T, F]`.
        spikes: Spikes of the last hidden layer, `[T, N]`.
        scores: The smoothed score of each event, `[T, E]`.
        decision: The decision.
        events: The events in the part.
        detections: The detections in the part.
        times: The begin of each step in the stream, and the end of the last [s], `[T + 1]`.
        theme: Colors.
    """
    figure = Figure(figsize=(10, 6.6))
    top, middle, bottom = figure.subplots(3, 1, height_ratios=(1.2, 1.2, 1.4))
    span = (times[0], times[-1])
    plot.series(x, top, name="input", theme=theme)
    top.set(xlabel="", xticks=[], title="input features, scaled")

    steps, neurons = np.nonzero(spikes)
    middle.scatter(times[steps], neurons, s=1.5, color=theme.ink, linewidths=0, rasterized=True)
    middle.set(ylabel="neuron", title="spikes of the last hidden layer", xlim=span, xticks=[])

    colors = dict(zip(decision.events, cycle(theme.hues), strict=False))
    for name, values in zip(decision.events, scores.T, strict=True):
        bottom.plot(times[1:], values, color=colors[name], label=label_text(name), linewidth=1.2)
    bottom.axhline(decision.threshold, color=theme.ink, linewidth=0.8, linestyle="--")
    for event in events:
        bottom.axvspan(event.start, event.end, color=colors[event.name], alpha=0.18, linewidth=0)
    for name, when, *_ in detections:
        bottom.plot(when, decision.threshold, marker="v", markersize=9, color=colors[name])
    bottom.set(
        xlabel="time in the stream [s]",
        ylabel="log-odds",
        xlim=span,
        title="smoothed scores; bands: events; triangles: detections; dashed: threshold",
    )
    bottom.legend(loc="upper right", ncols=4)
    return figure
