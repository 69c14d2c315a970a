"""Picture: which class is taken for which."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nwavesdk.train.pictures.theme import Theme

__all__ = ["confusion_matrix"]


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
    axes.set(title=f"{wrong} of {counts.sum()} test recordings mistaken", xlabel="the net says", ylabel="truth")
    places = np.arange(len(classes))
    axes.set_xticks(places, classes, rotation=0 if max(map(len, classes)) <= 3 else 60)
    axes.set_yticks(places, classes)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    return figure
