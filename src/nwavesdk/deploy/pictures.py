"""Pictures of a net on a chip: where its neurons lie, and what a series of chips makes of it."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nwavesdk.deploy.chip_series import ChipSeries
from nwavesdk.deploy.placement import Placement
from nwavesdk.train.pictures.theme import Theme

__all__ = ["placement_picture", "series_picture"]

COLUMNS = 10
"""Neurons in a row of a drawn core."""


def placement_picture(placement: Placement, sizes: Mapping[str, int], theme: Theme) -> Figure:
    """Each core a grid of neurons, in the colour of the layer that uses them.

    Args:
        placement: Where neurons go.
        sizes: Neurons of each layer, in order.
        theme: Colours.
    """
    hues = {name: theme.hues[i % len(theme.hues)] for i, name in enumerate(sizes)}
    rows = [-(-size // COLUMNS) for size in placement.cores]
    figure = Figure(figsize=(1 + 2.1 * len(rows), 1.3 + 0.2 * max(rows)))
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    for core, (size, ax) in enumerate(zip(placement.cores, axes, strict=True)):
        owners = [""] * size
        for piece in placement.pieces:
            if piece.core == core:
                owners[piece.start : piece.start + piece.size] = [piece.layer] * piece.size
        for place, owner in enumerate(owners):
            corner = (place % COLUMNS, place // COLUMNS)
            face = hues[owner] if owner else theme.paper
            ax.add_patch(Rectangle(corner, 0.82, 0.82, facecolor=face, edgecolor=theme.faint, linewidth=0.6))
        ax.set(xlim=(-0.3, COLUMNS), ylim=(max(rows), -0.3), aspect="equal", xticks=[], yticks=[])
        ax.set_title(f"core {core}: {placement.used(core)} of {size}")
        for side in ax.spines.values():
            side.set_visible(False)
    labels = [f"layer {name}: {size} neurons" for name, size in sizes.items()]
    keys = [Rectangle((0, 0), 1, 1, facecolor=hue) for hue in hues.values()]
    figure.legend(keys, labels, loc="outside lower center", ncols=min(4, len(labels)))
    figure.suptitle(f"{sum(sizes.values())} neurons on {placement.chip}", fontsize=10)
    return figure


def series_picture(series: ChipSeries, chip: str, theme: Theme) -> Figure:
    """The histogram of accuracies, with quantiles, the wanted accuracy and the chip as designed.

    Args:
        series: Accuracies of drawn chips.
        chip: Name of the chip.
        theme: Colours.
    """
    figure = Figure(figsize=(7, 3.4))
    ax = figure.subplots()
    values, chips = np.unique(series.accuracy, return_counts=True)
    width = 0.8 * float(np.diff(values).min()) if len(values) > 1 else 0.01
    colors = [theme.hues[0] if value >= series.wanted else theme.faint for value in values]
    ax.bar(values, chips, width, color=colors)
    for share, value in ((5, series.q05), (50, series.q50), (95, series.q95)):
        ax.axvline(value, color=theme.ink, linewidth=1, linestyle=":")
        ax.text(value, 1.01, f"{share} %", transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=8)
    ax.axvline(series.wanted, color=theme.hues[1], linewidth=1.4, label=f"wanted {series.wanted:g}")
    ax.axvline(series.designed, color=theme.hues[2], linewidth=1.4, label=f"as designed {series.designed:.3f}")
    ax.set(xlabel="test accuracy", ylabel="chips", ylim=(0, 1.05 * chips.max()))
    ax.set_title(f"{chips.sum()} chips of {chip}: {series.share:.0%} are good enough (blue)", pad=16)
    ax.legend(loc="upper left")
    return figure
