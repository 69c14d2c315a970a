"""Picture: loss, accuracy and firing rates over the epochs of a run."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nwavesdk.train.pictures.theme import Theme

__all__ = ["learning_curves"]

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
    layers = sorted((name for name in rows[0] if name.startswith("rate_")), key=lambda name: int(name[5:]))
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
        axes.plot(epochs, [row[column] for row in rows], color=hue, label=name, linewidth=1.6, marker=marker)
