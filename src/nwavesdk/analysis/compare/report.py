"""The results of a study: JSON for scripts, lines for a terminal, and a page."""

import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from nwavesdk.analysis.cells import open_cell
from nwavesdk.analysis.compare.study import Study
from nwavesdk.analysis.run_batch import busiest_neuron
from nwavesdk.analysis.tested import MEASURE_TEXTS
from nwavesdk.internal.files import one_line, write_atomically
from nwavesdk.layers import ChipInstance
from nwavesdk.net.preparation import prepared
from nwavesdk.surrogate import parse
from nwavesdk.train import RunFolder
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.report.page import Page, Table, course_plot, gradient_plot, surrogate_plot
from nwavesdk.train.run_folder import lock

__all__ = ["comparison_json", "comparison_lines", "write_comparison"]

# Numbers of a run's result that `comparison.json` repeats for each cell, next to its measures.
RESULT_KEYS = ("rates", "dead", "saturated", "seconds")

# Columns of `metrics.csv` that the page plots, next to rates and gradient norms of each layer.
PLOTTED_COLUMNS = ("val_loss", "train_loss", "train_rate")


def comparison_json(study: Study) -> dict[str, Any]:
    """Cells, arms and pairs of a finished study; null where a number is not defined."""
    keys = (f"test_{study.measure}", f"val_{study.measure}", *RESULT_KEYS)
    cells = [
        {
            "arm": cell.arm,
            "surrogate": cell.surrogate,
            "seed": cell.seed,
            **{key: result[key] for key in keys},
            "weights_sha256": cell.weights_sha256,
            "run": str(cell.path),
        }
        for cell, result in ((cell, cell.result) for cell in study.cells)
    ]
    arms = {
        arm: {
            "mean": summary.mean,
            "interval": [_defined(summary.low), _defined(summary.high)],
            "deviation": _defined(summary.deviation),
        }
        for arm, summary in study.summaries().items()
    }
    pairs = [
        {
            "first": pair.first,
            "second": pair.second,
            "difference": pair.difference,
            "interval": [_defined(pair.low), _defined(pair.high)],
            "p": _defined(pair.p),
            "conclusion": pair.conclusion,
        }
        for pair in study.pairs()
    ]
    return {
        "study": str(study.path),
        "threads": study.threads,
        "cells": cells,
        "arms": arms,
        "pairs": pairs,
    }


def comparison_lines(study: Study) -> list[str]:
    """Arms and pairs of a finished study, for a terminal."""
    width = max(len(arm) for arm in study.arms)
    text = MEASURE_TEXTS[study.measure]
    arms = [
        f"{arm:<{width}}  {summary.mean:.4f}  {_interval_text(summary.low, summary.high)}"
        for arm, summary in study.summaries().items()
    ]
    pairs = [
        f"{pair.first} - {pair.second}: {pair.difference:+.4f} "
        f"{_interval_text(pair.low, pair.high)} p {pair.p:.3g}: {pair.conclusion}"
        for pair in study.pairs()
    ]
    return [
        f"{'surrogate':<{width}}   mean  95 % interval      test {text}, {_seeds_text(study)}",
        *arms,
        "paired differences; intervals and p hold for all pairs jointly (Bonferroni, Holm)",
        *pairs,
    ]


def write_comparison(study: Study) -> Path:
    """Write `comparison.json` and `report.html` of a finished study.

    Returns:
        The page; `comparison.json` if the page cannot be written, which a line reports.

    Raises:
        FileError: If a file of a cell is damaged; nothing is written.
        BrokenRunError: If another process works on the study.
    """
    numbers = study.path / "comparison.json"
    content = json.dumps(comparison_json(study), indent=2) + "\n"
    for folder in (RunFolder(cell.path) for cell in study.cells):
        folder.read_config()
        folder.read_metrics()
    page = study.path / "report.html"
    with lock(study.file, "works on the study"):
        write_atomically(numbers, content.encode())
        try:
            _write_page(study, page)
        except Exception as error:  # Whatever a page raises, the study is finished.
            print_line(
                f"nwave: warning: the study is finished, but {page} was not written "
                f"({one_line(error)}): the same command writes it again."
            )
            return numbers
    return page


def _seeds_text(study: Study) -> str:
    return "1 seed" if study.seeds == 1 else f"{study.seeds} seeds"


def _write_page(study: Study, path: Path) -> None:
    surrogates = {arm: parse(surrogate) for arm, surrogate in study.arms.items()}
    run = open_cell(study.cells[0].path, study.choices)
    net = run.model().eval()
    with ChipInstance(None).on(net), prepared(net):
        trace = busiest_neuron(net, run.data.val.whole().x)
    measure = MEASURE_TEXTS[study.measure]
    cells = Table(
        "Cells",
        "All runs. Equal hashes mean weights that are equal bit by bit.",
        ["surrogate", "seed", f"test {measure}", "weights"],
        [
            [cell.arm, cell.seed, cell.result[f"test_{study.measure}"], cell.weights_sha256[:12]]
            for cell in study.cells
        ],
    )
    page = Page(
        title=f"{len(study.arms)} surrogates, {_seeds_text(study)}",
        summary="For a given seed, all arms share initial weights, order of data, dropout and "
        "mismatch. Spikes of a forward pass do not depend on the surrogate, only what the net "
        "learns does.",
        sections=[
            _arms(study, measure),
            _differences(study),
            course_plot(_courses(study)),
            surrogate_plot(surrogates),
            gradient_plot(surrogates, *trace),
            cells,
        ],
    )
    page.write(path)


def _arms(study: Study, measure: str) -> Table:
    def mean_over_cells(arm: str, key: str) -> float:
        """Mean over layers, then over seeds."""
        return fmean(fmean(cell.result[key]) for cell in study.cells if cell.arm == arm)

    return Table(
        "Arms",
        f"Test {measure} over seeds with its 95 % interval (Student's t); on "
        "the test set, the mean rate and the shares of neurons that never fire or fire nearly "
        "always.",
        ["surrogate", "mean", "low", "high", "rate", "dead", "saturated"],
        [
            [
                *(arm, s.mean, s.low, s.high),
                *(mean_over_cells(arm, key) for key in ("rates", "dead", "saturated")),
            ]
            for arm, s in study.summaries().items()
        ],
    )


def _differences(study: Study) -> Table:
    return Table(
        "Differences",
        "Paired by seed. Intervals hold for all pairs jointly (Bonferroni), p values are corrected "
        "for the number of pairs (Holm).",
        ["first", "second", "difference", "low", "high", "p", "conclusion"],
        [[*vars(pair).values(), pair.conclusion] for pair in study.pairs()],
    )


def _courses(study: Study) -> dict[str, dict[str, list[list[float]]]]:
    """For each quantity and arm, the values over epochs of every run."""
    courses: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for cell in study.cells:
        epochs = RunFolder(cell.path).read_metrics()
        by_layer = [name for name in epochs[0] if name.startswith(("grad_", "rate_"))]
        for name in (f"val_{study.measure}", *PLOTTED_COLUMNS, *by_layer):
            courses[name][cell.arm].append([epoch[name] for epoch in epochs])
    return courses


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _interval_text(low: float, high: float) -> str:
    return "[      -      ]" if math.isnan(low) else f"[{low:.4f}, {high:.4f}]"
