"""The results of a cross-validation: JSON, lines for a terminal, pictures and a page."""

import json
import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from nwavesdk.analysis.folds.pictures import fold_values
from nwavesdk.analysis.folds.study import Fold, FoldStudy
from nwavesdk.analysis.statistics import Summary
from nwavesdk.analysis.tested import MEASURE_TEXTS
from nwavesdk.internal.files import one_line, write_atomically
from nwavesdk.train import RunFolder
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.report.page import Details, FactList, Page, Picture, Table, course_plot
from nwavesdk.train.report.pictures import confusion_matrix
from nwavesdk.train.run_folder import lock

__all__ = ["folds_json", "folds_lines", "write_folds"]

# Columns of `metrics.csv` that the page plots, next to those of each layer.
PLOTTED_COLUMNS = ("val_loss", "train_loss", "train_rate")

SET_TEXTS = {"test": "test", "val": "validation"}
MEASURE_NAMES = {
    **MEASURE_TEXTS,
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "mse": "mean squared error",
    "correlation": "correlation",
}

CAPTIONS = {
    "folds": "No net has learned from the recordings that it is measured on. The interval is "
    "that of Student's t over folds. Folds share training recordings, so it is approximate.",
    "confusion_matrix": "All decisions by true class and predicted class: each recording is tested "
    "in one fold.",
}


def folds_json(study: FoldStudy) -> dict[str, Any]:
    """Means, folds and the summed confusion matrix of a finished study."""
    facts = study.folds[0].facts
    summaries = study.summaries()
    confusion = study.confusion()
    return {
        "study": str(study.path),
        "n_folds": study.n_folds,
        "split_by": facts.split_by,
        "threads": study.threads,
        **{name: summary.mean for name, summary in summaries.items()},
        "intervals": {
            name: [_defined(summary.low), _defined(summary.high)]
            for name, summary in summaries.items()
        },
        "deviations": {name: _defined(summary.deviation) for name, summary in summaries.items()},
        "classes": list(facts.classes),
        "confusion": confusion.tolist(),
        "folds": [_fold_json(fold) for fold in study.folds],
    }


def _fold_json(fold: Fold) -> dict[str, Any]:
    facts = fold.facts
    return {
        "fold": fold.number,
        "tested": list(facts.tested),
        "recordings": list(facts.recordings),
        "split": facts.split_reason,
        **fold.result,
        "run": str(fold.path),
    }


def folds_lines(study: FoldStudy) -> list[str]:
    """The folds and their mean, for a terminal."""
    name = study.headline
    label = measure_text(name)
    summary = study.summaries()[name]
    width = max(len(fold.name) for fold in study.folds)
    folds = [f"{fold.name:<{width}}  {fold.result[name]:.4f}" for fold in study.folds]
    return [
        f"{'':<{width}}  {label}",
        *folds,
        f"{'mean':<{width}}  {summary.mean:.4f}  {_interval_text(summary)}",
    ]


def write_folds(study: FoldStudy) -> Path:
    """Write `result.json`, `pictures` and `report.html` of a finished study.

    Returns:
        The page; `result.json` if the page cannot be written, which a line reports.

    Raises:
        FileError: If a file of a fold is damaged; nothing is written.
        BrokenRunError: If another process works on the study.
    """
    numbers = study.path / "result.json"
    content = json.dumps(folds_json(study), indent=2) + "\n"
    for fold in study.folds:
        RunFolder(fold.path).read_metrics()
    page = study.path / "report.html"
    with lock(study.file, "works on the study"):
        write_atomically(numbers, content.encode())
        try:
            _write_page(study, page)
        except Exception as error:  # Whatever a page raises, the study is finished.
            print_line(
                f"nwave: warning: all folds are finished, but {page} was not written "
                f"({one_line(error)}): the same command writes it again."
            )
            return numbers
    return page


def measure_text(name: str) -> str:
    """A number of a result in words.

    Example:
        >>> measure_text("test_balanced_accuracy")
        'test balanced accuracy'
    """
    part, _, measure = name.partition("_")
    return f"{SET_TEXTS[part]} {MEASURE_NAMES.get(measure, measure)}"


def _write_page(study: FoldStudy, path: Path) -> None:
    facts = study.folds[0].facts
    summaries = study.summaries()
    summary = summaries[study.headline]
    label = measure_text(study.headline)
    by = f"by {facts.split_by}"
    is_share = study.measure == "accuracy"
    headline = f"{100 * summary.mean:.2f} %" if is_share else f"{summary.mean:.4f}"
    texts = {
        **{measure_text(name): _summary_text(value) for name, value in summaries.items()},
        "folds": f"{study.n_folds}, {by}",
        "split of the first fold": facts.split_reason,
        "training time of all folds": f"{sum(f.result['seconds'] for f in study.folds):.1f} s",
    }
    page = Page(
        title=f"{study.n_folds} folds {by}",
        summary="Each fold is a separate run, in the folder next to this page. "
        f"{_tested_text(study)}",
        headline=(headline, f"mean {label}"),
        sections=[
            FactList(texts),
            *_pictures(study, summary),
            _table(study),
            course_plot(_courses(study), "One line per fold."),
            Details(study.file.name, json.dumps(study.content(), indent=2)),
        ],
    )
    page.write(path)


def _tested_text(study: FoldStudy) -> str:
    if not study.has_test:
        return "No test set has been read: all numbers are of validation sets."
    total = sum(fold.facts.recordings[2] for fold in study.folds)
    return f"Together, their test sets are all {total:,} recordings, each of them once."


def _pictures(study: FoldStudy, summary: Summary) -> list[Picture]:
    names = [_short_name(fold) for fold in study.folds]
    values = [fold.result[study.headline] for fold in study.folds]
    label = measure_text(study.headline)
    draw = partial(fold_values, values, names, label, summary)
    pictures = [Picture("folds", CAPTIONS["folds"], draw)]
    confusion = study.confusion()
    if len(confusion):
        facts = study.folds[0].facts
        decisions = "steps" if study.folds[0].config.task.name == "labels" else "recordings"
        draw = partial(confusion_matrix, confusion, facts.classes, decisions=decisions)
        pictures.append(Picture("confusion_matrix", CAPTIONS["confusion_matrix"], draw))
    return pictures


def _short_name(fold: Fold) -> str:
    """The speaker that is tested, if it is a single one, or the number of the fold."""
    tested = fold.facts.tested
    return tested[0] if len(tested) == 1 else str(fold.number)


def _table(study: FoldStudy) -> Table:
    names = [*study.summaries(), *(["val_" + study.measure] if study.has_test else [])]
    has_tested = any(fold.facts.tested for fold in study.folds)
    columns = [
        "fold",
        *(["tested on"] if has_tested else []),
        *("training", "validation", "test"),
        *map(measure_text, names),
        *("epochs", "best", "seconds"),
    ]
    rows: list[list[str | int | float]] = []
    for fold in study.folds:
        result, facts = fold.result, fold.facts
        rows.append(
            [
                fold.number,
                *([", ".join(facts.tested)] if has_tested else []),
                *facts.recordings,
                *(result[name] for name in names),
                *(result["epochs"], result["best_epoch"], result["seconds"]),
            ]
        )
    return Table("Folds", "All runs, with the recordings of each set.", columns, rows)


def _courses(study: FoldStudy) -> dict[str, dict[str, list[list[float]]]]:
    """For each quantity, the values over epochs of every fold."""
    courses: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: {"folds": []})
    for fold in study.folds:
        epochs = RunFolder(fold.path).read_metrics()
        by_layer = [name for name in epochs[0] if name.startswith("rate_")]
        for name in (f"val_{study.measure}", *PLOTTED_COLUMNS, *by_layer):
            courses[name]["folds"].append([epoch[name] for epoch in epochs])
    return courses


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _interval_text(summary: Summary) -> str:
    if math.isnan(summary.low):
        return "(one fold has no interval)"
    return f"95 % interval [{summary.low:.4f}, {summary.high:.4f}]"


def _summary_text(summary: Summary) -> str:
    return f"{summary.mean:.4f}, {_interval_text(summary)}"
