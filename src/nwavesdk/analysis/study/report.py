"""The one report of comparisons, cross-validations and searches: a page, its pictures, and JSON."""

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nwavesdk.analysis.statistics import Summary
from nwavesdk.analysis.study.cells import Cell
from nwavesdk.internal.files import one_line, write_atomically
from nwavesdk.internal.formats import json_text
from nwavesdk.plot.theme import Theme, label_text
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.report.page import (
    CellValue,
    Details,
    ReportPage,
    Section,
    Table,
    course_plot,
)
from nwavesdk.train.run_folder import lock

__all__ = [
    "ReportedStudy",
    "cell_table",
    "draw_optuna",
    "draw_values",
    "result_of",
    "write_study_report",
]

# Columns of the table of cells, and prefixes of the metrics that are plotted over epochs.
COLUMNS = (
    "test_accuracy",
    "test_r2",
    "test_misses",
    "val_accuracy",
    "val_r2",
    "val_misses",
    "val_loss",
    "epochs",
    "seconds",
)
QUANTITIES = ("val_", "train_loss", "train_rate", "grad_", "rate_")


class ReportedStudy(Protocol):
    """The data of a study that a report needs. A page reads sections once: they may be slow."""

    @property
    def path(self) -> Path:
        """The folder."""

    @property
    def file(self) -> Path:
        """The file that describes the study."""

    @property
    def content(self) -> Mapping[str, Any]:
        """The content of this file."""

    @property
    def cells(self) -> Sequence[Cell]:
        """The runs."""

    @property
    def title(self) -> str:
        """The title of the page."""

    @property
    def summary(self) -> str:
        """The description of the study, in a sentence or two."""

    @property
    def headline(self) -> tuple[str, str]:
        """The main result, and its name."""

    @property
    def tables(self) -> Mapping[str, Table]:
        """The tables of results, by their key in `result.json`."""

    @property
    def sections(self) -> Sequence[Section]:
        """The other sections of the page."""


def result_of(study: ReportedStudy) -> dict[str, Any]:
    """The content of `result.json`: all cells, and the tables.

    Raises:
        FileError: If a file of a cell is damaged.
    """
    tables = {
        key: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        for key, table in study.tables.items()
    }

    cells = []
    for cell in study.cells:
        identity = {"name": cell.name, "arm": cell.arm, "run": str(cell.path)}
        error = {"error": cell.error} if cell.error else {}
        numbers = {name: value for name, value in cell.numbers.items() if name != "confusion"}
        cells.append({**identity, **cell.values, **cell.facts, **numbers, **error})
    return {"study": str(study.path), **tables, "cells": cells}


def write_study_report(study: ReportedStudy) -> Path:
    """Write `result.json`, `pictures` and `report.html` of a finished study.

    Returns:
        The path of the page. If the page cannot be written, prints a warning and returns the path
        of `result.json`.

    Raises:
        FileError: If a file of a cell is damaged; nothing is written.
        BrokenRunError: If another process works on the study.
    """
    content = json_text(result_of(study), indent=2) + "\n"
    courses = _courses(study)
    numbers, page = study.path / "result.json", study.path / "report.html"

    with lock(study.file, "works on the study"):
        write_atomically(numbers, content.encode())
        try:
            ReportPage(
                title=study.title,
                summary=study.summary,
                headline=study.headline,
                sections=[
                    *study.tables.values(),
                    *study.sections,
                    course_plot(courses, "One line per run."),
                    cell_table(
                        study.cells,
                        "Runs",
                        "A run that has not finished has the numbers of its last epoch.",
                    ),
                    Details(study.file.name, json.dumps(study.content, indent=2)),
                ],
            ).write(page)
        except Exception as error:  # the study is finished even if its page fails
            print_line(
                f"nwave: warning: the study is finished, but {page} was not written "
                f"({one_line(error)}): the same command writes it again."
            )
            return numbers
    return page


def _courses(study: ReportedStudy) -> dict[str, dict[str, list[list[float]]]]:
    """For each quantity and arm, the values over epochs of every run."""
    courses: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for prefix in QUANTITIES:
        for cell in study.cells:
            epochs = cell.metrics()
            for name in epochs[0] if epochs else ():
                if name.startswith(prefix):
                    courses[name][cell.arm].append([epoch[name] for epoch in epochs])
    return courses


def cell_table(cells: Sequence[Cell], heading: str, text: str) -> Table:
    """A table with a row for each cell. Values that a cell lacks are empty.

    Args:
        cells: The cells.
        heading: The heading of the table.
        text: The explanation above the table.
    """
    rows: list[dict[str, CellValue]] = []
    for cell in cells:
        error = {"error": cell.error[:300]} if cell.error else {}
        values = {**cell.values, **cell.facts, **error}
        numbers = {name: cell.numbers[name] for name in COLUMNS if name in cell.numbers}
        rows.append({"run": cell.name, **{n: _plain(v) for n, v in values.items()}, **numbers})

    # The columns of all cells, in the order in which they first occur.
    columns = dict.fromkeys(name for row in rows for name in row)
    empty: dict[str, CellValue] = {name: math.nan if name in COLUMNS else "" for name in columns}
    return Table(heading, text, [*columns], [[*{**empty, **row}.values()] for row in rows])


def _plain(value: Any) -> CellValue:
    return value if isinstance(value, int | float | str) else json.dumps(value)


def draw_values(
    arms: Mapping[str, Sequence[float]], means: Mapping[str, Summary], label: str, theme: Theme
) -> Figure:
    """Draw the scores of all cells, in a row for each arm, with the mean and its 95 % interval.

    Args:
        arms: The scores of the cells, by arm.
        means: Mean and interval, by arm.
        label: Name of the score.
        theme: Colors.
    """
    figure = Figure(figsize=(9, 1.4 + 0.5 * len(arms)))
    axes = figure.subplots()
    for row, (arm, values) in enumerate(arms.items()):
        mean = means[arm]
        reach = np.nan_to_num([[mean.mean - mean.low], [mean.high - mean.mean]])
        axes.errorbar(mean.mean, row, xerr=reach, fmt="|", color=theme.hues[0], capsize=4, ms=16)
        axes.plot(values, [row] * len(values), "o", color=theme.hues[1], markersize=5, alpha=0.7)

    axes.set_yticks(range(len(arms)), [label_text(arm, 40) for arm in arms])
    axes.set(xlabel=label, ylim=(len(arms) - 0.5, -0.5))
    axes.grid(axis="x")
    return figure


def draw_optuna(plot: Callable[..., Any], study: Any, label: str, theme: Theme) -> Figure:
    """Draw a plot of Optuna in the colors of a theme.

    Args:
        plot: A function of `optuna.visualization.matplotlib`.
        study: The study.
        label: Name of the score.
        theme: Colors.
    """
    with warnings.catch_warnings(action="ignore"):  # these functions of Optuna are experimental
        figure: Figure = plot(study, target_name=label).figure
    pyplot.close(figure)  # otherwise pyplot keeps the figure in memory

    # Replace Optuna's style. Lines are darker for higher scores, as in Optuna.
    scores = LinearSegmentedColormap.from_list("scores", [theme.faint, theme.hues[0]])
    figure.set_facecolor(theme.paper)
    for axes in figure.axes:
        axes.set_facecolor(theme.paper)
        axes.grid(color=theme.faint)
        axes.tick_params(labelcolor=theme.ink)
        for lines in axes.collections:
            lines.set_cmap(scores)
    return figure
