"""The one report of comparisons, cross-validations and searches: a page, JSON, and lines.

A study provides its cells, tables and pictures. Nothing here depends on the kind of study.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nwavesdk.analysis.study.study import Study
from nwavesdk.analysis.study.tune import RunSearch
from nwavesdk.internal.files import one_line, write_atomically
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.report.page import CellValue, Details, ReportPage, Table, course_plot
from nwavesdk.train.run_folder import lock

__all__ = ["AnyStudy", "result_of", "write_study_report"]

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


# Both have the attributes that a report needs: `path`, `file`, `content`, `cells`, `title`,
# `summary`, `headline`, `tables` (by their key in `result.json`) and `sections`.
AnyStudy = Study | RunSearch


def result_of(study: AnyStudy) -> dict[str, Any]:
    """The content of `result.json`: all cells, and the tables. Undefined numbers are null.

    Raises:
        FileError: If a file of a cell is damaged.
    """
    tables = {
        key: [_defined(dict(zip(table.columns, row, strict=True))) for row in table.rows]
        for key, table in study.tables.items()
    }

    cells = []
    for cell in study.cells:
        identity = {"name": cell.name, "arm": cell.arm, "run": str(cell.path)}
        error = {"error": cell.error} if cell.error else {}
        numbers = {name: value for name, value in cell.numbers.items() if name != "confusion"}
        cells.append({**identity, **cell.values, **cell.facts, **numbers, **error})
    return {"study": str(study.path), **tables, "cells": cells}


def _defined(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with None for NaN, which JSON lacks."""
    return {name: None if value != value else value for name, value in row.items()}


def write_study_report(study: AnyStudy) -> Path:
    """Write `result.json`, `pictures` and `report.html` of a finished study.

    Returns:
        The path of the page. If the page cannot be written, prints a warning and returns the path
        of `result.json`.

    Raises:
        FileError: If a file of a cell is damaged; nothing is written.
        BrokenRunError: If another process works on the study.
    """
    content = json.dumps(result_of(study), indent=2) + "\n"
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
                    _cell_table(study),
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


def _courses(study: AnyStudy) -> dict[str, dict[str, list[list[float]]]]:
    """For each quantity and arm, the values over epochs of every run."""
    courses: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for prefix in QUANTITIES:
        for cell in study.cells:
            epochs = cell.metrics()
            for name in epochs[0] if epochs else ():
                if name.startswith(prefix):
                    courses[name][cell.arm].append([epoch[name] for epoch in epochs])
    return courses


def _cell_table(study: AnyStudy) -> Table:
    """A table with a row for each cell. Values that a cell lacks are empty."""
    rows: list[dict[str, CellValue]] = []
    for cell in study.cells:
        error = {"error": cell.error[:300]} if cell.error else {}
        texts = {**cell.values, **cell.facts, **error}
        numbers = {name: cell.numbers[name] for name in COLUMNS if name in cell.numbers}
        rows.append({"run": cell.name, **{n: _text(v) for n, v in texts.items()}, **numbers})

    # The columns of all cells, in the order in which they first occur.
    columns = dict.fromkeys(name for row in rows for name in row)
    empty: dict[str, CellValue] = {name: math.nan if name in COLUMNS else "" for name in columns}
    return Table(
        "Runs",
        "A run that has not finished has the numbers of its last epoch.",
        [*columns],
        [[*{**empty, **row}.values()] for row in rows],
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
