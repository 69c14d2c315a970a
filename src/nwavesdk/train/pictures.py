"""Pictures of a run, each one function from arrays to a figure.

Picture: which class is taken for which.

Picture: loss, accuracy and firing rates over the epochs of a run.

Picture: the membranes of a few neurons with their threshold and their spikes.

Picture: one recording on its way through the net, input on top and every layer's spikes below.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nwavesdk.train.theme import DARK, LIGHT, Theme, render

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "Trace",
    "confusion_matrix",
    "learning_curves",
    "membrane_traces",
    "render",
    "spike_raster",
]


def confusion_matrix(counts: npt.NDArray[np.int64], classes: Sequence[str], theme: Theme) -> Figure:
    """Draw counts by true and predicted class; the colour is the share of the true class.

    Args:
        counts: Recordings, `[C, C]`, rows the truth.
        classes: Name of each class.
        theme: Colours.
    """
    side = float(np.clip(1.6 + 0.42 * len(classes), 3.4, 12))
    figure = Figure(figsize=(side + 0.6, side))
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Mistakes are few: a colour in proportion to the root of the share keeps a single one visible.
    shade = np.sqrt(share)
    axes.imshow(shade, cmap=theme.ramp, vmin=0, vmax=1)
    shades = theme.ramp
    if len(classes) <= 24:
        for row, column in np.argwhere(counts > 0):
            red, green, blue, _ = shades(float(shade[row, column]))
            bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.55
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                color="#14181d" if bright else "#ffffff",
            )  # fmt: skip
    wrong = int(counts.sum() - np.trace(counts))
    axes.set(
        title=f"{wrong} of {counts.sum()} test recordings mistaken",
        xlabel="the net says",
        ylabel="truth",
    )
    places = np.arange(len(classes))
    axes.set_xticks(places, classes, rotation=0 if max(map(len, classes)) <= 3 else 60)
    axes.set_yticks(places, classes)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    return figure


Row = dict[str, float]


def learning_curves(rows: Sequence[Row], best_epoch: int, theme: Theme) -> Figure:
    """Draw the course of a run.

    Args:
        rows: One for each epoch, as in `metrics.csv`.
        best_epoch: Epoch whose weights were kept, from 1.
        theme: Colours.
    """
    figure = Figure(figsize=(10, 3.2))
    loss, accuracy, rate = figure.subplots(1, 3)
    layers = sorted(
        (name for name in rows[0] if name.startswith("rate_")), key=lambda name: int(name[5:])
    )
    _lines(loss, rows, {"train_loss": "training", "val_loss": "validation"}, theme)
    loss.set(title="Loss", yscale="log")
    _lines(accuracy, rows, {"train_accuracy": "training", "val_accuracy": "validation"}, theme)
    accuracy.set_title("Accuracy")
    names = [f"hidden {name[5:]}" for name in layers[:-1]] + ["output"]
    _lines(rate, rows, dict(zip(layers, names, strict=True)), theme)
    rate.set(title="Firing rate [spikes a step and neuron]", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.axvline(best_epoch, color=theme.ink, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.legend()
    accuracy.annotate(
        "selected", (best_epoch, 0.02), xycoords=("data", "axes fraction"), xytext=(-4, 0), textcoords="offset points",
        rotation=90, ha="right", fontsize=8,
    )  # fmt: skip
    return figure


def _lines(axes: Axes, rows: Sequence[Row], columns: dict[str, str], theme: Theme) -> None:
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) == 1 else ""
    for (column, name), hue in zip(columns.items(), theme.hues * len(columns), strict=False):
        axes.plot(
            epochs,
            [row[column] for row in rows],
            color=hue,
            label=name,
            linewidth=1.6,
            marker=marker,
        )


Array = npt.NDArray[np.float32]
Trace = tuple[Array, Array, Array]
"""Spikes s, membrane before reset u and after reset v of a layer, each `[T, N]`."""


def membrane_traces(layers: Sequence[Trace], dt: float, threshold: float, theme: Theme) -> Figure:
    """Draw a busy and an ordinary neuron of each layer, chosen among those that spike.

    Args:
        layers: The neuron layers in order of depth.
        dt: Time step [s].
        threshold: Membrane above which a neuron spikes.
        theme: Colours.
    """
    figure = Figure(figsize=(10, 0.8 + 2.0 * len(layers)))
    axes = figure.subplots(len(layers), 2, sharex=True, squeeze=False)
    for depth, ((s, u, v), row) in enumerate(zip(layers, axes, strict=True), 1):
        name = "output" if depth == len(layers) else f"hidden {depth}"
        for panel, neuron in zip(row, _chosen(s), strict=True):
            _panel(panel, s[:, neuron], u[:, neuron], v[:, neuron], dt, threshold, theme)
            panel.set_title(f"{name}, neuron {neuron}: {int(s[:, neuron].sum())} spikes")
        row[0].set_ylabel("membrane")
    for panel in axes[-1]:
        panel.set(xlabel="time [ms]", xlim=(0, len(layers[0][0]) * dt * 1e3))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4)
    return figure


def _chosen(s: Array) -> tuple[int, int]:
    """Of the neurons that spike, one that is busier than three quarters, and the one in the middle."""
    counts = s.sum(0)
    order = np.argsort(-counts, kind="stable")
    active = max(int((counts > 0).sum()), 1)
    return int(order[active // 4]), int(order[active // 2])


def _panel(
    axes: Axes, s: Array, u: Array, v: Array, dt: float, threshold: float, theme: Theme
) -> None:
    time = (np.arange(len(s)) + 0.5) * dt * 1e3
    axes.axhline(threshold, color=theme.ink, linewidth=0.8, linestyle="--", label="threshold")
    axes.plot(time, u, color=theme.hues[1], linewidth=0.9, label="u, before reset")
    axes.plot(time, v, color=theme.hues[0], linewidth=1.5, label="v, after reset")
    high = max(float(u.max()), threshold)
    low = min(float(v.min()), 0.0)
    top = high + 0.12 * (high - low)
    axes.scatter(
        time[s > 0],
        np.full(int((s > 0).sum()), top),
        marker="|",
        s=40,
        color=theme.ink,
        label="spike",
    )
    axes.grid(axis="y")


def spike_raster(
    x: Array, spikes: Sequence[Array], dt: float, classes: Sequence[str], label: int, theme: Theme
) -> Figure:
    """Draw the spikes of one recording.

    Args:
        x: Input, `[T, F]`.
        spikes: Spikes of each neuron layer in order of depth, `[T, N]`; those of the last lie in one group a class.
        dt: Time step [s].
        classes: Name of each class.
        label: The true class.
        theme: Colours.
    """
    figure = Figure(figsize=(9, 2.2 + 2.1 * len(spikes)))
    axes = figure.subplots(1 + len(spikes), 2, sharex="col", width_ratios=(12, 1.6), squeeze=False)
    end = len(x) * dt * 1e3
    reach = float(np.abs(x).max()) or 1.0
    axes[0, 0].imshow(
        x.T, aspect="auto", origin="lower", interpolation="nearest", extent=(0, end, -0.5, x.shape[1] - 0.5),
        cmap=theme.diverging, vmin=-reach, vmax=reach,
    )  # fmt: skip
    axes[0, 0].set(
        title=f"A recording of {classes[label]!r}: input features, scaled", ylabel="feature"
    )
    axes[0, 1].axis("off")
    for depth, (layer, (raster, rates)) in enumerate(zip(spikes, axes[1:], strict=True), 1):
        last = depth == len(spikes)
        hue = theme.hues[(depth - 1) % len(theme.hues)]
        _raster(raster, layer, dt, hue)
        name = "output" if last else f"hidden {depth}"
        title = f"{name}: {layer.shape[1]} neurons, {layer.mean():.3f} spikes a step and neuron"
        raster.set_ylabel("neuron")
        rates.barh(np.arange(layer.shape[1]), layer.mean(0), height=1.0, color=hue, linewidth=0)
        rates.set(ylim=raster.get_ylim(), yticks=[])
        if last:
            predicted = _classes(raster, rates, layer, classes, label, theme)
            verdict = "right" if predicted == label else "wrong"
            title += f"; the net says {classes[predicted]!r} ({verdict}), band: the truth"
        raster.set_title(title)
    axes[-1, 0].set(xlabel="time [ms]", xlim=(0, end))
    axes[-1, 1].set(xlabel="spikes a step", xlim=(0, None))
    return figure


def _raster(axes: Axes, layer: Array, dt: float, hue: str) -> None:
    step, neuron = np.nonzero(layer)
    size = float(np.clip(600 / layer.shape[1], 1.5, 12))
    axes.scatter((step + 0.5) * dt * 1e3, neuron, s=size, marker="|", color=hue, linewidths=0.9)
    axes.set_ylim(-0.5, layer.shape[1] - 0.5)


def _classes(
    raster: Axes, rates: Axes, layer: Array, classes: Sequence[str], label: int, theme: Theme
) -> int:
    """Mark each class's neurons; the class with the most spikes."""
    size = layer.shape[1] // len(classes)
    predicted = int(layer.sum(0).reshape(len(classes), size).sum(1).argmax())
    for axes in (raster, rates):
        for edge in range(size, layer.shape[1], size):
            axes.axhline(edge - 0.5, color=theme.faint, linewidth=0.6)
        axes.axhspan(
            label * size - 0.5,
            (label + 1) * size - 0.5,
            color=theme.hues[0],
            alpha=0.15,
            linewidth=0,
        )
    raster.set_yticks(np.arange(len(classes)) * size + (size - 1) / 2, classes)
    raster.set_ylabel("class")
    return predicted
