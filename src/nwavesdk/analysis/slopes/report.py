"""The report of `nwave slopes`: JSON for scripts, lines for a terminal, a picture and a page."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.analysis.run_batch import RunBatch, surrogate_sections
from nwavesdk.analysis.slopes.candidates import surrogate_label
from nwavesdk.analysis.slopes.recorded_pass import RecordedPass
from nwavesdk.analysis.slopes.scan import (
    USABLE_SHARE,
    Advice,
    SlopeScan,
    percent,
    scan_recorded_pass,
)
from nwavesdk.analysis.text_table import text_table
from nwavesdk.plot.theme import Theme
from nwavesdk.surrogate import Surrogate
from nwavesdk.train.report.page import CellValue, ReportPage, Table

__all__ = ["SlopeReport", "slopes_picture", "write_page"]

RECOMMENDED = "recommended"

# Norms up to this value are not drawn, because the axis is logarithmic.
INVISIBLE_NORM = 1e-30

# Number of curves that a reader can distinguish in one plot.
MAX_CURVES = 12


@dataclass(frozen=True, eq=False, kw_only=True)
class SlopeReport:
    """A scan, the recommendation that follows from it, and a scan of this recommendation.

    Attributes:
        recorded: The pass of the net.
        scan: Scan of the candidates.
        advice: The recommendation, by layer.
        checked: Scan of the recommended surrogates as the only candidate.
        seconds: Duration of pass and scan [s].
    """

    recorded: RecordedPass
    scan: SlopeScan
    advice: tuple[Advice, ...]
    checked: SlopeScan
    seconds: float

    @classmethod
    def of(
        cls,
        batch: RunBatch,
        surrogates: Sequence[Surrogate] | None = None,
        kind: type[Surrogate] | None = None,
    ) -> "SlopeReport":
        """Scan a batch of a run.

        Args:
            batch: The batch.
            surrogates: Candidates for all layers. The net's present surrogate is added if all
                layers have the same. [the default grid]
            kind: Class of the recommended surrogates. [the class of the net's surrogates]
        """
        start = time.perf_counter()
        recorded = batch.record_pass()
        if surrogates is not None:
            present = {*recorded.surrogates}
            surrogates = [*dict.fromkeys([*surrogates, *(present if len(present) == 1 else ())])]
        scan = scan_recorded_pass(recorded, surrogates)
        seconds = time.perf_counter() - start

        advice = scan.recommend(kind)
        checked = scan_recorded_pass(recorded, {RECOMMENDED: [entry.surrogate for entry in advice]})
        return cls(recorded=recorded, scan=scan, advice=advice, checked=checked, seconds=seconds)

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        scan = self.scan
        return {
            "layers": list(scan.layers),
            "rates": list(scan.rates),
            "loss": self.recorded.loss.item(),
            "usable_floor": USABLE_SHARE,
            "seconds": self.seconds,
            "uncovered": list(self.recorded.uncovered),
            "candidates": [_candidate_json(scan, row) for row in range(len(scan.candidates))],
            RECOMMENDED: {
                **_candidate_json(self.checked, 0),
                "advice": [
                    {**vars(entry), "surrogate": surrogate_label(entry.surrogate)}
                    for entry in self.advice
                ],
            },
        }

    def table(self) -> Table:
        """The table of all candidates, with the recommendation in the last row."""
        rows: list[list[CellValue]] = []
        for scan in (self.scan, self.checked):
            for row, name in enumerate(scan.candidates):
                mark = " *" if scan is self.scan and row == scan.current_row else ""
                numbers = [*scan.share[row, :-1], scan.norm[row, -1], scan.usable[row].min()]
                rows.append([name + mark, *map(float, numbers)])

        heads = [f"layer {name}" for name in self.scan.layers[:-1]]
        text = (
            "Norm of ∂L/∂charge in each layer, relative to the last layer; * marks the net's "
            "present surrogates.\nUsable: share of neurons that receive at least "
            f"{USABLE_SHARE:g} of the average in the last layer, least over layers."
        )
        if self.recorded.uncovered:
            text += f"\nNot examined, without neurons: {', '.join(self.recorded.uncovered)}."
        return Table("Candidates", text, ["candidate", *heads, "last, norm", "usable, least"], rows)

    def lines(self) -> list[str]:
        """The table for a terminal, and the reasons for the recommendation."""
        table = self.table()
        lines = [["", *table.columns[1:]]]
        for name, *numbers in table.rows:
            *shares, norm, usable = map(float, numbers)
            texts = [percent(share) if math.isfinite(share) else "none" for share in shares]
            lines.append([str(name), *texts, f"{norm:.3g}", f"{100 * usable:.0f} %"])

        reasons = [f"{surrogate_label(entry.surrogate)}: {entry.reason}" for entry in self.advice]
        return [*text_table(lines), *table.text.splitlines(), "", *reasons]


def _candidate_json(scan: SlopeScan, row: int) -> dict[str, Any]:
    return {
        "name": scan.candidates[row],
        "surrogates": [surrogate_label(surrogate) for surrogate in scan.surrogates[row]],
        "norm": scan.norm[row].tolist(),
        "by_time": scan.by_time[row].tolist(),
        "usable": scan.usable[row].tolist(),
        "transfer": scan.transfer[row].tolist(),
        "ratio": float(scan.ratio[row]),
    }


def slopes_picture(report: SlopeReport, theme: Theme) -> Figure:
    """Draw the gradient's norm by layer, and by time in the first and in the last layer.

    The curves are the recommendation, and the candidates of the class that is recommended for the
    first layer, from gentle (pale) to steep.

    Args:
        report: The report.
        theme: Colors.
    """
    scan = report.scan
    rows = scan.uniform_rows(type(report.advice[0].surrogate))
    rows.sort(key=lambda row: scan.surrogates[row][0].constants)
    figure = Figure(figsize=(11, 4))
    panels = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))

    for rank, row in enumerate(rows):
        color = theme.ramp(0.25 + 0.75 * rank / max(len(rows) - 1, 1))
        label = surrogate_label(scan.surrogates[row][0])
        label += ", now" if row == scan.current_row else ""
        _draw_candidate(panels, scan, row, color=color, label=label)
    recommended = {"color": theme.hues[1], "linestyle": "--", "label": RECOMMENDED}
    _draw_candidate(panels, report.checked, 0, **recommended)

    titles = ("Norm of ∂L/∂charge by layer", "First layer, by time", "Last layer, by time")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlabel="step", yscale="log")
        axes.grid(axis="y")

    # The first panel has layers in place of steps on its axis.
    by_layer = panels[0]
    by_layer.set_xticks(range(len(scan.layers)), scan.layers)
    by_layer.set_xlabel("layer")
    by_layer.legend(fontsize=7)
    return figure


def _draw_candidate(panels: Sequence[Axes], scan: SlopeScan, row: int, **style: Any) -> None:
    curves = (scan.norm[row], scan.by_time[row, 0], scan.by_time[row, -1])
    for axes, norms, marker in zip(panels, curves, ("o", "", ""), strict=True):
        visible = np.where(norms > INVISIBLE_NORM, norms, np.nan)
        axes.plot(visible, marker=marker, linewidth=1.6, markersize=3, **style)


def write_page(path: Path, report: SlopeReport, batch: RunBatch) -> None:
    """Write the page of a report.

    Args:
        path: The file.
        report: The report.
        batch: The batch that was scanned.
    """
    recommended = Table(
        "Recommended",
        "For each layer, with the reason.",
        ["layer", "surrogate", "reason"],
        [[entry.layer, surrogate_label(entry.surrogate), entry.reason] for entry in report.advice],
    )

    surrogates = {surrogate_label(s): s for chosen in report.scan.surrogates for s in chosen}
    shown = dict(list(surrogates.items())[:MAX_CURVES])
    page = ReportPage(
        title="How much gradient reaches each layer",
        summary=f"{len(batch.recordings.y)} training recordings, {batch.weights} weights, "
        f"loss {report.recorded.loss:.4g}. Spikes do not depend on the surrogate, so all "
        "candidates share one forward pass.",
        sections=[
            recommended,
            report.table(),
            *surrogate_sections(shown, batch, report.recorded.recording),
        ],
    )
    page.write(path)
