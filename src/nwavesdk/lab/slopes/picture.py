"""Picture: the gradient by layer and by time, for each slope."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.data import write_atomically
from nwavesdk.lab.slopes.grid import told
from nwavesdk.lab.slopes.report import SlopeReport
from nwavesdk.lab.slopes.scan import SlopeScan
from nwavesdk.train.pictures import LIGHT, Theme, render

__all__ = ["plot_slopes", "slopes_picture"]

Points = npt.NDArray[Any]

LOWEST = 1e-30
"""What a norm of zero is drawn as, out of sight."""


def plot_slopes(path: Path, report: SlopeReport) -> None:
    """Write the picture as a PNG.

    Args:
        path: The file; its folder is made if it is not there.
        report: What was found.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(lambda theme: slopes_picture(report, theme), LIGHT))


def slopes_picture(report: SlopeReport, theme: Theme) -> Figure:
    """Draw the gradient's norm by layer, and by time in the first layer and in the last.

    Candidates are those of the class that is recommended for the first layer, from gentle (pale) to steep.

    Args:
        report: What was found.
        theme: Colours.
    """
    scan, kind = report.scan, type(report.advice[0].surrogate)
    rows = [row for row, chosen in enumerate(scan.surrogates) if type(chosen[0]) is kind and len({*chosen}) == 1]
    rows.sort(key=lambda row: scan.surrogates[row][0].constants)
    figure = Figure(figsize=(11, 4))
    deep, first, last = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    layers = np.arange(1, len(scan.layers) + 1)
    for place, row in enumerate(rows):
        hue = theme.ramp(0.25 + 0.75 * place / max(len(rows) - 1, 1))
        label = told(scan.surrogates[row][0]) + (", now" if row == scan.own_row else "")
        _line(deep, layers, scan.norm[row], color=hue, label=label, marker="o", markersize=3)
        for axes, layer in ((first, 0), (last, -1)):
            _line(axes, None, scan.by_time[row, layer], color=hue)
    _recommended(report.checked, deep, first, last, layers, theme)
    deep.set(title="Norm of ∂L/∂charge by layer", xlabel="layer", yscale="log", xticks=layers)
    deep.legend(fontsize=7)
    first.set(title="First layer, by time", xlabel="step", yscale="log")
    last.set(title="Last layer, by time", xlabel="step", yscale="log")
    for axes in (deep, first, last):
        axes.grid(axis="y")
    return figure


def _recommended(scan: SlopeScan, deep: Axes, first: Axes, last: Axes, layers: Points, theme: Theme) -> None:
    style: dict[str, Any] = {"color": theme.hues[1], "linestyle": "--"}
    _line(deep, layers, scan.norm[0], label="as recommended", marker="s", markersize=4, **style)
    _line(first, None, scan.by_time[0, 0], **style)
    _line(last, None, scan.by_time[0, -1], **style)


def _line(axes: Axes, x: Points | None, y: Points, **style: Any) -> None:
    place = np.arange(len(y)) if x is None else x
    axes.plot(place, np.where(y > LOWEST, y, np.nan), linewidth=1.6, **style)
