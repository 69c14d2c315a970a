"""The pictures of a run, each a function from arrays to a figure."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nwavesdk.data import Indices
from nwavesdk.net.layer_names import layer_names
from nwavesdk.plot import recordings
from nwavesdk.plot.theme import Theme, label_text

__all__ = [
    "Trace",
    "confusion_matrix",
    "draw_input",
    "learning_curves",
    "membrane_traces",
    "spike_raster",
]

Array = npt.NDArray[np.float32]
# Spikes s, u = z + threshold (of LIF neurons, the membrane before reset) and membrane after reset v
# of a layer, each `[T, N]`.
Trace = tuple[Array, Array, Array]

# Bands up to which each one has its frequency next to a raster.
MOST_BANDS_NAMED = 8

# A confusion matrix of more classes shows colors without numbers.
MOST_CLASSES_WITH_COUNTS = 24

# Classes up to which each one has its name next to a confusion matrix.
MOST_NAMES = 50


# Length of the part of a recording that membrane traces show [s]: spikes stay apart.
TRACE_SECONDS = 0.15

# Titles of the measures that are drawn over the epochs.
SCORE_TITLES = {"accuracy": "Accuracy", "r2": "R²"}
# R² of a net that has not learned yet can be far below 0, where it says nothing.
LOWEST_R2 = -1.0


def learning_curves(
    history: Sequence[dict[str, float]],
    best_epoch: int,
    theme: Theme,
    measure: str = "accuracy",
    *,
    has_output: bool = True,
    layers: Sequence[str] = (),
) -> Figure:
    """Draw loss, score and firing rates over the epochs of a run.

    Args:
        history: The metrics of each epoch, as in `metrics.csv`.
        best_epoch: The epoch whose weights are kept, from 1.
        theme: Colors.
        measure: The score: `"accuracy"` or `"r2"`.
        has_output: See `layer_names`.
        layers: Names of the layers that spike. [`layer_names`]
    """
    figure = Figure(figsize=(10, 3.2))
    loss, score, rate = figure.subplots(1, 3)
    n_layers = sum(name.startswith("rate_") for name in history[0])
    names = layers or layer_names(n_layers, has_output=has_output)
    rates = {f"rate_{k}": name for k, name in enumerate(names, 1)}
    columns = {"train_loss": "training", "val_loss": "validation"}
    _plot_columns(loss, history, columns, theme)
    # The loss may be 0, such as that of values that never change.
    has_logarithm = any(row[column] > 0 for row in history for column in columns)
    loss.set(title="Loss", yscale="log" if has_logarithm else "linear")
    columns = {f"train_{measure}": "training", f"val_{measure}": "validation"}
    _plot_columns(score, history, columns, theme)
    score.set_title(SCORE_TITLES[measure])
    lowest = min(row[column] for row in history for column in columns)
    if measure == "r2" and lowest < LOWEST_R2:
        score.set_ylim(LOWEST_R2, 1.05)
    _plot_columns(rate, history, rates, theme)
    rate.set(title="Firing rate [spikes per step and neuron]", ylim=(0, None))
    for axes in (loss, score, rate):
        axes.axvline(best_epoch, color=theme.ink, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.legend()
    score.annotate(
        "kept",
        (best_epoch, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        fontsize=8,
    )
    return figure


def _plot_columns(
    axes: Axes, history: Sequence[dict[str, float]], columns: dict[str, str], theme: Theme
) -> None:
    """Plot columns of the history, given as column name and label."""
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) == 1 else ""
    hues = theme.hues * len(columns)
    for (column, label), hue in zip(columns.items(), hues, strict=False):
        values = [row[column] for row in history]
        axes.plot(epochs, values, color=hue, label=label, linewidth=1.6, marker=marker)


def spike_raster(
    x: Array,
    spikes: Sequence[Array],
    dt: float,
    classes: Sequence[str],
    label: int,
    theme: Theme,
    *,
    has_output: bool = True,
    layers: Sequence[str] = (),
    bands: Sequence[float] = (),
) -> Figure:
    """Draw one recording: the input at the top, the spikes of each layer below.

    Args:
        x: Input, `[T, F]`.
        spikes: Spikes of each neuron layer, by depth, `[T, N]`; the last layer has one group of
            neurons per class.
        dt: Time step [s].
        classes: Name of each class; none if recordings have no class.
        label: The true class.
        theme: Colors.
        has_output: See `layer_names`.
        layers: Names of the layers that spike. [`layer_names`]
        bands: Center of the frequency band of each feature [Hz], if they are known.
    """
    names = [label_text(name) for name in classes]
    layers = layers or layer_names(len(spikes), has_output=has_output)
    figure = Figure(figsize=(9, 2.2 + 2.1 * len(spikes)))
    axes = figure.subplots(1 + len(spikes), 2, sharex="col", width_ratios=(12, 1.6), squeeze=False)
    duration = len(x) * dt * 1e3
    draw_input(axes[0, 0], x, duration, theme)
    if len(bands):
        shown = range(0, len(bands), 1 + len(bands) // MOST_BANDS_NAMED)
        axes[0, 0].set_yticks(shown, [f"{bands[band]:,.0f}" for band in shown])
        axes[0, 0].set_ylabel("center of the band [Hz]")
    time_label = "time [ms]"
    recording = f"A recording of '{names[label]}'" if names else "A recording"
    axes[0, 0].set_title(f"{recording}: input features, scaled")
    axes[0, 1].axis("off")
    for depth, (layer, (raster, rates)) in enumerate(zip(spikes, axes[1:], strict=True), 1):
        hue = theme.hues[(depth - 1) % len(theme.hues)]
        recordings.raster(layer, raster, dt=dt, color=hue)
        recordings.rates(layer, rates, color=hue)
        raster.set(xlabel="")
        rates.set(xlabel="", ylabel="", yticks=[])
        rate = f"{layer.mean():.3f} spikes per step and neuron"
        title = f"{layers[depth - 1]}: {layer.shape[1]} neurons, {rate}"
        if names and has_output and depth == len(spikes):
            predicted, counts = _mark_classes((raster, rates), layer, names, label, theme)
            if len(names) <= MOST_CLASSES_WITH_COUNTS:
                by_class = zip(names, counts, strict=True)
                texts = [f"{name} {count}" for name, count in by_class]
                time_label += f"\noutput spikes: {', '.join(texts)}"
            verdict = "correct" if predicted == label else "wrong"
            title += f"; predicted '{names[predicted]}' ({verdict}), band: true class"
        raster.set_title(title)
    highest = max(float(layer.mean(0).max()) for layer in spikes)
    axes[-1, 0].set(xlabel=time_label, xlim=(0, duration))
    # All panels of rates share this axis.
    axes[-1, 1].set(xlabel="spikes per step", xlim=(0, 1.05 * highest or 1.0))
    return figure


def draw_input(axes: Axes, x: Array, duration: float, theme: Theme) -> None:
    """Draw the input of a recording as colors.

    Args:
        axes: Where to draw.
        x: Input, `[T, F]`.
        duration: Length of the recording [ms].
        theme: Colors.
    """
    largest = float(np.abs(x).max()) or 1.0
    axes.imshow(
        x.T,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, duration, -0.5, x.shape[1] - 0.5),
        cmap=theme.diverging,
        vmin=-largest,
        vmax=largest,
    )
    axes.set_ylabel("feature")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _mark_classes(
    both_axes: Sequence[Axes], layer: Array, classes: Sequence[str], label: int, theme: Theme
) -> tuple[int, list[int]]:
    """Mark the neurons of each class; return the class with the most spikes, and all counts."""
    size = layer.shape[1] // len(classes)
    for axes in both_axes:
        for edge in range(size, layer.shape[1], size):
            axes.axhline(edge - 0.5, color=theme.faint, linewidth=0.6)
        low = label * size - 0.5
        axes.axhspan(low, low + size, color=theme.hues[0], alpha=0.15, linewidth=0)
    centers = np.arange(len(classes)) * size + (size - 1) / 2
    both_axes[0].set_yticks(centers, classes)
    both_axes[0].set_ylabel("class")
    counts = layer.sum(0).reshape(len(classes), size).sum(1)
    return int(counts.argmax()), [int(count) for count in counts]


def membrane_traces(
    layers: Sequence[Trace],
    dt: float,
    thresholds: Sequence[float],
    theme: Theme,
    *,
    has_output: bool = True,
    names: Sequence[str] = (),
) -> Figure:
    """Draw membranes and spikes of a busy and an average neuron of each layer, in a short part.

    Args:
        layers: The neuron layers by depth.
        dt: Time step [s].
        thresholds: The threshold of each layer.
        theme: Colors.
        has_output: See `layer_names`.
        names: Names of the layers. [`layer_names`]
    """
    names = names or layer_names(len(layers), has_output=has_output)
    figure = Figure(figsize=(10, 0.8 + 2.0 * len(layers)))
    axes = figure.subplots(len(layers), 2, sharex=True, squeeze=False)
    rows = zip(names, layers, thresholds, axes, strict=True)
    for name, (s, u, v), threshold, row in rows:
        for panel, neuron in zip(row, _busy_and_average(s), strict=True):
            spikes, before = s[:, neuron], u[:, neuron]
            recordings.membranes(
                v[:, neuron],
                panel,
                spikes=spikes,
                before=before,
                threshold=threshold,
                dt=dt,
                theme=theme,
            )
            title = f"{name}, neuron {neuron}: {int(spikes.sum())} spikes in {len(s)} steps"
            panel.set_title(title)
            panel.set(xlabel="", ylabel="")
        row[0].set_ylabel("membrane")
    begin, end = _busiest_part([s for s, _, _ in layers], dt)
    for panel in axes[-1]:
        panel.set(xlabel="time [ms]", xlim=(begin * dt * 1e3, end * dt * 1e3))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4)
    return figure


def _busiest_part(layers: Sequence[Array], dt: float) -> tuple[int, int]:
    """First step and end of the part of `TRACE_SECONDS` with the most spikes of the last layer."""
    n_steps = len(layers[0])
    length = min(n_steps, max(100, round(TRACE_SECONDS / dt)))
    counts = np.concatenate([[0], layers[-1].sum(1).cumsum()])
    begin = int((counts[length:] - counts[: n_steps + 1 - length]).argmax())
    return begin, begin + length


def _busy_and_average(s: Array) -> tuple[int, int]:
    """Of the neurons that spike, the one at the upper quartile and the median one."""
    counts = s.sum(0)
    order = np.argsort(-counts, kind="stable")
    n_active = max(int((counts > 0).sum()), 1)
    return int(order[n_active // 4]), int(order[n_active // 2])


def confusion_matrix(
    counts: Indices,
    classes: Sequence[str],
    theme: Theme,
    decisions: str = "test recordings",
) -> Figure:
    """Draw counts by true and predicted class; the color is the fraction of the true class.

    Args:
        counts: Decisions, `[C, C]`; rows are true classes.
        classes: Name of each class.
        theme: Colors.
        decisions: What is counted.
    """
    names = [label_text(name) for name in classes]
    side = float(np.clip(1.6 + 0.42 * len(classes), 3.4, 12))
    figure = Figure(figsize=(side + 0.6, side))
    axes = figure.subplots()
    # Errors are few: with the square root of the fraction as color, a single one is still visible.
    shade = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))
    axes.imshow(shade, cmap=theme.ramp, vmin=0, vmax=1)
    if len(classes) <= MOST_CLASSES_WITH_COUNTS:
        _write_counts(axes, counts, shade, theme)
    errors = int(counts.sum() - np.trace(counts))
    axes.set(
        title=f"{errors} {'error' if errors == 1 else 'errors'} in {counts.sum()} {decisions}",
        xlabel="predicted class",
        ylabel="true class",
    )
    # Of many classes, some have their names.
    places = np.arange(0, len(classes), 1 + len(classes) // MOST_NAMES)
    shown = [names[place] for place in places]
    axes.set_xticks(places, shown, rotation=0 if max(map(len, shown)) <= 3 else 60)
    axes.set_yticks(places, shown)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    return figure


def _write_counts(
    axes: Axes, counts: Indices, shade: npt.NDArray[np.float64], theme: Theme
) -> None:
    for row, column in np.argwhere(counts > 0):
        red, green, blue, _ = theme.ramp(float(shade[row, column]))
        is_bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.55
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=8,
            color="#14181d" if is_bright else "#ffffff",
        )
