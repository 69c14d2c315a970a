"""Pictures of predictions over time, next to what is right: classes of steps, and values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nwavesdk.data import Indices
from nwavesdk.plot.theme import Theme, label_text
from nwavesdk.train.report.pictures import draw_input

__all__ = ["Example", "label_bands", "value_courses", "value_scatter"]

Array = npt.NDArray[np.float32]

# Outputs that get their own panel; a table has the numbers of all.
MOST_OUTPUTS = 4
# Points of a scatter plot: more hide each other.
MOST_POINTS = 4000
# Classes that get their own color.
MOST_COLORS = 12


@dataclass(frozen=True, eq=False)
class Example:
    """A recording with its prediction.

    Args:
        name: What it is an example of, such as "best".
        predicted: Values of each step, `[T, D]`.
        target: In the same shape.
        r2: Its R², the mean over the outputs.
    """

    name: str
    predicted: Array
    target: Array
    r2: float


def label_bands(
    x: Array,
    predicted: Indices,
    target: Indices,
    dt: float,
    classes: Sequence[str],
    theme: Theme,
) -> Figure:
    """Draw one recording: its input, and its true and predicted classes as colored bands.

    Args:
        x: Input, `[T, F]`.
        predicted: Class of each step, `[T]`.
        target: The true ones, `[T]`; a negative class is drawn in the color of the paper.
        dt: Time step [s].
        classes: Name of each class.
        theme: Colors.
    """
    figure = Figure(figsize=(10, 4.2))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
    duration = len(x) * dt * 1e3
    draw_input(top, x, duration, theme)
    top.set_title("A recording of the usual accuracy: input features, scaled")
    colors = _class_colors(len(classes), theme)
    # Row 0 is at the bottom; class -1 is the first color.
    bands = np.stack([predicted, target]) + 1
    bottom.imshow(
        bands,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, duration, -0.5, 1.5),
        cmap=ListedColormap([theme.paper, *colors]),
        vmin=0,
        vmax=len(classes),
    )
    bottom.axhline(0.5, color=theme.paper, linewidth=3)
    bottom.set_yticks([0, 1], ["predicted", "true"])
    is_labeled = target >= 0
    share = (predicted == target)[is_labeled].mean() if is_labeled.any() else 0.0
    bottom.set(xlabel="time [ms]", xlim=(0, duration))
    bottom.set_title(f"class of each step: {100 * share:.1f} % are right")
    present = np.unique(np.concatenate([predicted, target[is_labeled]]))[:MOST_COLORS]
    keys = [Patch(facecolor=colors[k], label=label_text(classes[k])) for k in present]
    figure.legend(handles=keys, loc="outside lower center", ncols=min(6, len(keys)))
    return figure


def _class_colors(n_classes: int, theme: Theme) -> list[str]:
    """A color for each class: the hues, then the same ones nearer to the paper."""
    paper = np.array(_channels(theme.paper))
    colors: list[str] = []
    for k in range(n_classes):
        hue = np.array(_channels(theme.hues[k % len(theme.hues)]))
        share = 0.6 ** (k // len(theme.hues))
        mixed = np.round(share * hue + (1 - share) * paper).astype(int)
        colors.append("#" + "".join(f"{channel:02x}" for channel in mixed))
    return colors


def _channels(color: str) -> list[int]:
    """Red, green and blue of a color such as "#1f66c1", each from 0 to 255."""
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def value_courses(
    examples: Sequence[Example], dt: float, theme: Theme, names: Sequence[str] = ()
) -> Figure:
    """Draw predictions and targets of some recordings over time, a row per output.

    Args:
        examples: The recordings, a column each.
        dt: Time step [s].
        theme: Colors.
        names: Name of each output. [output 1, output 2, …]
    """
    n_outputs = examples[0].target.shape[1]
    n_rows = min(n_outputs, MOST_OUTPUTS)
    width = 10 if len(examples) > 1 else 9
    figure = Figure(figsize=(width, 0.9 + 1.9 * n_rows))
    panels = figure.subplots(n_rows, len(examples), sharex="col", sharey="row", squeeze=False)
    for column, example in enumerate(examples):
        time = (np.arange(len(example.target)) + 0.5) * dt * 1e3
        for output, axes in enumerate(panels[:, column]):
            _draw_course(axes, time, example, output, theme)
        panels[0, column].set_title(f"{example.name}: R² = {example.r2:.3f}")
        panels[-1, column].set(xlabel="time [ms]", xlim=(0, len(time) * dt * 1e3))
    for output, axes in enumerate(panels[:, 0]):
        axes.set_ylabel(_output_name(output, n_outputs, names))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def _draw_course(
    axes: Axes, time: npt.NDArray[np.floating], example: Example, output: int, theme: Theme
) -> None:
    target, predicted = example.target[:, output], example.predicted[:, output]
    axes.plot(time, target, color=theme.ink, linewidth=1.6, label="target")
    axes.plot(time, predicted, color=theme.hues[1], linewidth=1.1, label="prediction")
    axes.grid(axis="y")


def _output_name(output: int, n_outputs: int, names: Sequence[str]) -> str:
    if names:
        return label_text(names[output])
    return "value" if n_outputs == 1 else f"output {output + 1}"


def value_scatter(
    predicted: Array,
    target: Array,
    measures: Sequence[dict[str, float]],
    theme: Theme,
    names: Sequence[str] = (),
) -> Figure:
    """Draw predictions over targets, a panel per output; a perfect prediction lies on the line.

    Args:
        predicted: Values of all steps, `[steps, D]`.
        target: In the same shape.
        measures: `r2` and `correlation` of each output.
        theme: Colors.
        names: Name of each output. [output 1, output 2, …]
    """
    n_outputs = target.shape[1]
    shown = min(n_outputs, MOST_OUTPUTS)
    figure = Figure(figsize=(max(4.2, 3.0 * shown), 3.9))
    # Every so many steps, so that all recordings and all phases of a period have points.
    chosen = np.linspace(0, len(target) - 1, min(len(target), MOST_POINTS)).astype(np.int64)
    for output, axes in enumerate(figure.subplots(1, shown, squeeze=False)[0]):
        x, y = target[chosen, output], predicted[chosen, output]
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        axes.plot([low, high], [low, high], color=theme.ink, linewidth=0.8, linestyle="--")
        axes.scatter(x, y, s=5, alpha=0.25, color=theme.hues[0], linewidths=0, rasterized=True)
        name = _output_name(output, n_outputs, names)
        values = measures[output]
        numbers = f"R² = {values['r2']:.3f}, correlation {values['correlation']:.3f}"
        axes.set_title(f"{name}\n{numbers}")
        axes.set_xlabel("target")
        axes.grid()
        if output == 0:
            axes.set_ylabel("prediction")
    return figure
