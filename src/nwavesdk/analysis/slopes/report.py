"""Picture: the gradient by layer and by time, for each slope.

What `nwave slopes` tells: one object, and the same for the eye.

The page of a scan: what reaches each layer under which surrogate, what is recommended, a membrane to try it on.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.analysis.run_batch import RunBatch
from nwavesdk.analysis.slopes.advice import Advice, percent, surrogate_label
from nwavesdk.analysis.slopes.scan import RecordedPass, SlopeScan, scan_recorded_pass
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import prepare_net
from nwavesdk.surrogate import Surrogate
from nwavesdk.train.page import Page
from nwavesdk.train.theme import LIGHT, Theme, render_png

__all__ = ["SlopeReport", "plot_slopes", "slopes_picture", "write_page"]


@dataclass(frozen=True, eq=False)
class SlopeReport:
    """A scan, what follows from it, and what that gives when it is measured in turn.

    Attributes:
        scan: Of the candidates.
        advice: By layer.
        checked: A scan of the one candidate that is recommended.
        loss: Of the batch.
        seconds: What pass and scan took.
    """

    scan: SlopeScan
    advice: tuple[Advice, ...]
    checked: SlopeScan
    loss: float
    seconds: float

    @classmethod
    def of(
        cls,
        batch: RunBatch,
        surrogates: Sequence[Surrogate] | None = None,
        kind: type[Surrogate] | None = None,
    ) -> "SlopeReport":
        """Scan a run's batch.

        Args:
            batch: Net, input, loss.
            surrogates: Candidates for all layers, beside the net as it is. [the default grid]
            kind: Of what class the recommendation is. [that of the net's own surrogates]
        """
        began = time.perf_counter()
        recorded = RecordedPass(batch.net, batch.x, batch.loss, batch.chip)
        if surrogates is not None:
            own = recorded.surrogates
            surrogates = [*dict.fromkeys([*surrogates, *([own[0]] if len({*own}) == 1 else [])])]
        scan = scan_recorded_pass(recorded, surrogates)
        seconds = time.perf_counter() - began
        advice = scan.recommend(kind)
        checked = scan_recorded_pass(recorded, {RECOMMENDED: [one.surrogate for one in advice]})
        return cls(scan, advice, checked, recorded.loss.item(), seconds)

    def as_json(self) -> dict[str, Any]:
        """All numbers; null stands for what is not defined."""
        scan = self.scan
        return {
            "layers": list(scan.layers),
            "rates": list(scan.rates),
            "loss": self.loss,
            "usable_floor": scan.floor,
            "seconds": self.seconds,
            "candidates": [_candidate(scan, row) for row in range(len(scan.candidates))],
            RECOMMENDED: {
                **_candidate(self.checked, 0),
                "advice": [_advice(one) for one in self.advice],
            },
        }

    def lines(self) -> list[str]:
        """A table of what of the last layer's gradient reaches each layer, and the reasons."""
        scan, L = self.scan, len(self.scan.layers)
        heads = [f"layer {k}" for k in range(1, L)] + ["last, norm", "usable, least"]
        names = [*scan.candidates, RECOMMENDED]
        width = max(map(len, names)) + 2
        table = [" " * width + "".join(head.rjust(15 if "," in head else 10) for head in heads)]
        rows = [*((scan, row) for row in range(len(scan.candidates))), (self.checked, 0)]
        for name, (source, row) in zip(names, rows, strict=True):
            last = float(source.norm[row, -1])
            shares = [
                percent(float(norm) / last) if last else "none" for norm in source.norm[row, :-1]
            ]
            mark = " *" if source is scan and row == scan.own_row else ""
            numbers = f"{last:>15.3g}" + f"{100 * source.usable[row].min():.0f} %".rjust(15)
            table.append(
                (name + mark).ljust(width) + "".join(share.rjust(10) for share in shares) + numbers
            )
        what = [
            "What of the last layer's gradient reaches each layer, as norms of ∂L/∂charge; * is the net as it is.",
            f"Usable: neurons that get at least {scan.floor:g} of what one of the last gets; the layer with least.",
        ]
        return [
            *table,
            *what,
            "",
            *(f"{surrogate_label(one.surrogate)}: {one.reason}" for one in self.advice),
        ]


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
    write_atomically(path, render_png(lambda theme: slopes_picture(report, theme), LIGHT))


def slopes_picture(report: SlopeReport, theme: Theme) -> Figure:
    """Draw the gradient's norm by layer, and by time in the first layer and in the last.

    Candidates are those of the class that is recommended for the first layer, from gentle (pale) to steep.

    Args:
        report: What was found.
        theme: Colours.
    """
    scan, kind = report.scan, type(report.advice[0].surrogate)
    rows = [
        row
        for row, chosen in enumerate(scan.surrogates)
        if type(chosen[0]) is kind and len({*chosen}) == 1
    ]
    rows.sort(key=lambda row: scan.surrogates[row][0].constants)
    figure = Figure(figsize=(11, 4))
    deep, first, last = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    layers = np.arange(1, len(scan.layers) + 1)
    for place, row in enumerate(rows):
        hue = theme.ramp(0.25 + 0.75 * place / max(len(rows) - 1, 1))
        label = surrogate_label(scan.surrogates[row][0]) + (", now" if row == scan.own_row else "")
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


def _recommended(
    scan: SlopeScan, deep: Axes, first: Axes, last: Axes, layers: Points, theme: Theme
) -> None:
    style: dict[str, Any] = {"color": theme.hues[1], "linestyle": "--"}
    _line(deep, layers, scan.norm[0], label="as recommended", marker="s", markersize=4, **style)
    _line(first, None, scan.by_time[0, 0], **style)
    _line(last, None, scan.by_time[0, -1], **style)


def _line(axes: Axes, x: Points | None, y: Points, **style: Any) -> None:
    place = np.arange(len(y)) if x is None else x
    axes.plot(place, np.where(y > LOWEST, y, np.nan), linewidth=1.6, **style)


RECOMMENDED = "recommended"


def _candidate(scan: SlopeScan, row: int) -> dict[str, Any]:
    return {
        "name": scan.candidates[row],
        "surrogates": [surrogate_label(surrogate) for surrogate in scan.surrogates[row]],
        "norm": scan.norm[row].tolist(),
        "by_time": scan.by_time[row].tolist(),
        "usable": scan.usable[row].tolist(),
        "transfer": [_number(value) for value in scan.transfer[row]],
        "ratio": _number(scan.ratio[row]),
    }


def _advice(one: Advice) -> dict[str, Any]:
    numbers = {
        name: _number(getattr(one, name)) for name in ("share", "share_now", "transfer", "usable")
    }
    return {
        "layer": one.layer,
        "surrogate": surrogate_label(one.surrogate),
        **numbers,
        "reason": one.reason,
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


MOST = 12
"""Curves that can be told apart on one plot."""


@torch.no_grad()
def write_page(path: Path, report: SlopeReport, batch: RunBatch) -> None:
    """Write the page of a scan.

    Args:
        path: The file.
        report: The scan.
        batch: What was scanned.
    """
    scan, L = report.scan, len(report.scan.layers)
    page = Page(
        "How much gradient reaches each layer",
        f"{len(batch.labels)} recordings of the training part, {batch.weights} weights, loss {report.loss:.4g}. "
        "Spikes do not depend on the surrogate: all candidates are from one forward pass.",
    )
    page.add_table(
        "Recommended",
        "For each layer, with the reason.",
        ["layer", "surrogate", "reason"],
        [
            [depth, surrogate_label(one.surrogate), one.reason]
            for depth, one in enumerate(report.advice, 1)
        ],
    )
    rows = [(scan, row, name) for row, name in enumerate(scan.candidates)] + [
        (report.checked, 0, RECOMMENDED)
    ]
    page.add_table(
        "Candidates",
        "Norm of ∂L/∂charge of each layer over that of the last; usable: the least share, over layers, of neurons with "
        f"at least {scan.floor:g} of what one of the last layer has.",
        ["candidate", *(f"layer {k}" for k in range(1, L)), "last, norm", "usable"],
        [
            [
                name + (" (own)" if source is scan and row == scan.own_row else ""),
                *(float(source.norm[row, k] / source.norm[row, -1]) for k in range(L - 1)),
                float(source.norm[row, -1]),
                float(source.usable[row].min()),
            ]
            for source, row, name in rows
        ],
    )
    surrogates = {surrogate_label(s): s for candidate in scan.surrogates for s in candidate}
    shown = dict(list(surrogates.items())[:MOST])
    page.add_curves(shown)
    prepare_net(batch.net, seed=batch.chip)
    name, record = next(iter(batch.net.record(batch.x[:1]).layers.items()))
    neuron = int(record.spk[0].sum(0).argmax())
    layer = batch.net.get_submodule(name)
    threshold = float(layer.constants()[1][neuron])  # type: ignore[operator]  # a neuron layer
    page.add_trace(shown, record.u[0, :, neuron], record.spk[0, :, neuron], threshold, float(layer.dt))  # type: ignore[arg-type]  # as above
    page.write(path)
