"""The pictures of a run, each a function from arrays to a figure."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nwavesdk.data import Indices
from nwavesdk.plot import recordings
from nwavesdk.plot.theme import Theme, label_text, label_time, time_unit

__all__ = [
    "LayerTrace",
    "confusion_picture",
    "learning_curves",
    "membrane_traces",
    "spike_raster",
]

Array = npt.NDArray[np.float32]

# A confusion matrix of more classes shows colors without numbers.
MAX_CLASSES_WITH_COUNTS = 24

# A confusion matrix of more classes names only some of them.
MAX_NAMED_CLASSES = 50

# Membrane traces show a part of this length [s], in which single spikes are visible.
TRACE_SECONDS = 0.15

# Titles of the measures that are drawn over the epochs.
SCORE_TITLES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "r2": "R²"}

# Lower end of the axis of R², which can be far below 0 before a net has learned.
MIN_R2 = -1.0


class LayerTrace(NamedTuple):
    """Spikes and membranes of a layer in one recording.

    Args:
        name: Name of the layer.
        threshold: Its threshold, as the mean over its neurons.
        spikes: Spikes, `[T, N]`.
        before: z + threshold, `[T, N]`; of LIF neurons, the membrane before reset.
        after: The membrane after reset, `[T, N]`.
    """

    name: str
    threshold: float
    spikes: Array
    before: Array
    after: Array


def learning_curves(
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
    measure: str,
    layers: Sequence[str],
    theme: Theme,
) -> Figure:
    """Draw loss, score and firing rates over the epochs of a run.

    Args:
        history: The metrics of each epoch, as in `metrics.csv`.
        best_epoch: The epoch whose weights are kept, from 1.
        measure: The score: `"accuracy"` or `"r2"`.
        layers: Names of the layers that spike.
        theme: Colors.
    """
    curves = {
        "Loss": {"train_loss": "training", "val_loss": "validation"},
        SCORE_TITLES[measure]: {f"train_{measure}": "training", f"val_{measure}": "validation"},
        "Firing rate [spikes per step and neuron]": {
            f"rate_{depth}": name for depth, name in enumerate(layers, 1)
        },
    }

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 3.2))
    loss, score, rate = panels = figure.subplots(1, 3)
    for axes, (title, columns) in zip(panels, curves.items(), strict=True):
        for hue, (column, label) in zip(cycle(theme.hues), columns.items(), strict=False):
            values = [row[column] for row in history]
            axes.plot(epochs, values, color=hue, label=label, linewidth=1.6, marker=".")
        axes.axvline(best_epoch, color=theme.ink, linewidth=0.8, linestyle=":")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.legend()

    # The loss may be 0, as for values that never change.
    if any(row[column] > 0 for row in history for column in curves["Loss"]):
        loss.set_yscale("log")
    if measure == "r2" and score.get_ylim()[0] < MIN_R2:
        score.set_ylim(MIN_R2, 1.05)
    rate.set_ylim(0, None)
    return figure


def spike_raster(
    x: Array,
    layers: Sequence[LayerTrace],
    dt: float | None,
    theme: Theme,
    *,
    classes: Sequence[str] = (),
    label: int = 0,
) -> Figure:
    """Draw one recording: the input at the top, the spikes of each layer below.

    Args:
        x: Input, `[T, F]`.
        layers: The layers that spike, by depth.
        dt: Time step [s]; None is an axis in steps.
        theme: Colors.
        classes: Name of each class, if the last layer has a group of neurons for each.
        label: The true class.
    """
    figure = Figure(figsize=(9, 2.2 + 2.1 * len(layers)))
    axes = figure.subplots(1 + len(layers), 2, sharex="col", width_ratios=(12, 1.6), squeeze=False)
    unit = time_unit("spike_raster", dt)
    recordings.series(x, axes[0, 0], dt=dt, name="input", theme=theme)
    axes[0, 0].set(xlabel="", title="input features, scaled")
    axes[0, 1].axis("off")

    for layer, (raster, rates), hue in zip(layers, axes[1:], cycle(theme.hues), strict=False):
        recordings.raster(layer.spikes, raster, dt=dt, color=hue)
        recordings.rates(layer.spikes, rates, color=hue)
        raster.set(xlabel="", title=f"{layer.name}: {layer.spikes.mean():.3f} spikes per step")
        rates.set(xlabel="", ylabel="", yticks=[])
    if classes:
        _mark_classes(axes[-1], layers[-1].spikes, classes, label, theme)

    label_time(axes[-1, 0], len(x), unit, dt)
    axes[-1, 1].set_xlabel("spikes per step")
    return figure


def _mark_classes(
    panels: Sequence[Axes], spikes: Array, classes: Sequence[str], label: int, theme: Theme
) -> None:
    """Mark the neurons of the true class, and add the class with the most spikes to the title."""
    size = spikes.shape[1] // len(classes)
    first = label * size - 0.5
    for axes in panels:
        axes.axhspan(first, first + size, color=theme.hues[0], alpha=0.15, linewidth=0)

    raster = panels[0]
    centers = (np.arange(len(classes)) + 0.5) * size - 0.5
    raster.set_yticks(centers, [label_text(name) for name in classes])
    raster.set_ylabel("class")

    counts = spikes.sum(0).reshape(len(classes), size).sum(1)
    predicted = label_text(classes[int(counts.argmax())])
    raster.set_title(f"{raster.get_title('left')}; predicted '{predicted}', band: true class")


def membrane_traces(layers: Sequence[LayerTrace], dt: float | None, theme: Theme) -> Figure:
    """Draw membranes and spikes of a busy and an average neuron of each layer, for a short time.

    Args:
        layers: The layers that spike, by depth.
        dt: Time step [s]; None is an axis in steps.
        theme: Colors.
    """
    figure = Figure(figsize=(10, 0.8 + 2.0 * len(layers)))
    axes = figure.subplots(len(layers), 2, sharex=True, squeeze=False)
    for layer, row in zip(layers, axes, strict=True):
        for panel, neuron in zip(row, _busy_and_average(layer.spikes), strict=True):
            spikes = layer.spikes[:, neuron]
            recordings.membranes(
                layer.after[:, neuron],
                panel,
                spikes=spikes,
                before=layer.before[:, neuron],
                threshold=layer.threshold,
                dt=dt,
                theme=theme,
            )
            title = f"{layer.name}, neuron {neuron}: {int(spikes.sum())} spikes"
            panel.set(xlabel="", ylabel="", title=title)
        row[0].set_ylabel("membrane")

    unit = time_unit("membrane_traces", dt)
    begin, end = _busiest_part(layers[-1].spikes, dt)
    for panel in axes[-1]:
        label_time(panel, end, unit, dt)
        panel.set_xlim(left=begin * unit)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


def _busiest_part(spikes: Array, dt: float | None) -> tuple[int, int]:
    """First and last step (exclusive) of the `TRACE_SECONDS` with the most spikes of a layer.

    Without `dt`, of 100 steps, which is also the least.
    """
    length = min(len(spikes), max(100, round(TRACE_SECONDS / (dt or TRACE_SECONDS))))
    begin = int(np.convolve(spikes.sum(1), np.ones(length), "valid").argmax())
    return begin, begin + length


def _busy_and_average(spikes: Array) -> tuple[int, int]:
    """The neurons with the upper quartile and the median of the spike counts above 0."""
    counts = spikes.sum(0)
    order = np.argsort(-counts, kind="stable")
    n_active = max(int((counts > 0).sum()), 1)
    return int(order[n_active // 4]), int(order[n_active // 2])


def confusion_picture(
    counts: Indices, classes: Sequence[str], theme: Theme, decisions: str = "test recordings"
) -> Figure:
    """Draw counts by true and predicted class; the color is the fraction of the true class.

    Args:
        counts: Decisions, `[C, C]`; rows are true classes.
        classes: Name of each class.
        theme: Colors.
        decisions: The counted decisions in words, for the title.
    """
    side = float(np.clip(1.6 + 0.42 * len(classes), 3.4, 12))
    figure = Figure(figsize=(side + 0.6, side))
    axes = figure.subplots()

    # The color is the square root of the fraction, so that a single error is visible.
    shades = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))
    axes.imshow(shades, cmap=theme.ramp, vmin=0, vmax=1)
    if len(classes) <= MAX_CLASSES_WITH_COUNTS:
        for true, predicted in np.argwhere(counts > 0):
            color = theme.paper if shades[true, predicted] > 0.5 else theme.ink
            text = str(counts[true, predicted])
            axes.text(predicted, true, text, ha="center", va="center", fontsize=8, color=color)

    title = f"errors: {counts.sum() - np.trace(counts)} of {counts.sum()} {decisions}"
    axes.set(title=title, xlabel="predicted class", ylabel="true class")

    # If there are many classes, every second, third and so on is named.
    shown = range(0, len(classes), 1 + len(classes) // MAX_NAMED_CLASSES)
    names = [label_text(classes[label]) for label in shown]
    axes.set_xticks(shown, names, rotation=0 if max(map(len, names)) <= 3 else 60)
    axes.set_yticks(shown, names)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    return figure
