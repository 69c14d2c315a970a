"""The part of a report that depends on the task of the run: numbers, pictures and tables."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nwavesdk.data.source import TaskName
from nwavesdk.metrics import r2
from nwavesdk.metrics.classes import accuracy_interval
from nwavesdk.plot.theme import label_text
from nwavesdk.train.fit.evaluation import Evaluation
from nwavesdk.train.fit.tasks import Regression
from nwavesdk.train.report.detection_report import page_of_detector
from nwavesdk.train.report.finished import FinishedRun
from nwavesdk.train.report.page import Card, Picture, ReportPage, Section, Table
from nwavesdk.train.report.pictures import Array, confusion_picture
from nwavesdk.train.report.task_pictures import label_bands, value_courses, value_scatter

__all__ = ["MAX_STEPS_DRAWN", "MEASURE_NAMES", "TASK_PAGES"]

# Pictures show this many steps of a recording: more would be narrower than a pixel.
MAX_STEPS_DRAWN = 20_000

# Rows of the table of confused classes, and recordings named in a row.
MAX_PAIRS = 20
MAX_NAMED_RECORDINGS = 4

MEASURE_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1, macro",
    "r2": "R²",
    "mse": "mean squared error",
    "correlation": "correlation",
    "loss": "loss",
}


def _page_of_classes(run: FinishedRun) -> ReportPage:
    """The page of a task with a class for each recording, or for each step."""
    unit = "recording" if run.task.name == "classification" else "step"
    classes, tally = run.facts.classes, run.evaluation.tally
    low, high = accuracy_interval(*_right_decisions(run.evaluation))
    accuracy = f"{100 * run.evaluation.measures['accuracy']:.2f} %"
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"

    summary = f"A class for each {unit}, {len(classes)} classes, from {run.source}."
    pictures = [
        Picture(
            "confusion_matrix",
            f"All {unit}s of the {run.part} set by true class and predicted class.",
            partial(
                confusion_picture,
                tally.numpy(),
                classes,
                decisions=f"{unit}s of the {run.part} set",
            ),
        )
    ]
    if unit == "step":
        later = getattr(run.config.task, "look_ahead", 0) or "no"
        summary += f" The class of a step depends on {later} later steps."
        pictures.insert(0, _picture_of_labels(run))

    # The share of a class without recordings is NaN, which is sorted last and not equal to 1.
    totals = tally.sum(1)
    shares = tally.diagonal().double() / totals
    rows = [
        (classes[label], shares[label].item(), int(totals[label]))
        for label in shares.argsort(stable=True).tolist()
        if shares[label] != 1
    ]
    by_class = Table(
        "Accuracy by class",
        f"Classes with errors on the {run.part} set: the share that is right, the lowest first.",
        ("class", "accuracy", f"{unit}s"),
        rows,
    )

    card, tables = _confusions(run, f"{unit}s")
    return ReportPage(
        title=f"Run {run.folder.path.name}",
        summary=summary,
        headline=(accuracy, f"{run.part} accuracy of {unit}s; {interval}{run.split_caveat}"),
        cards=[card],
        sections=[*pictures, *([by_class] if rows else []), *tables],
    )


def _confusions(run: FinishedRun, units: str) -> tuple[Card, list[Table]]:
    """A card with the most frequent confusion, and, if there are errors, a table of confusions."""
    classes = run.facts.classes
    errors = run.evaluation.tally.clone().fill_diagonal_(0)
    if not errors.any():
        return Card("What confuses it", "nothing", f"No errors on the {run.part} set."), []

    pairs = sorted(errors.nonzero().tolist(), key=lambda pair: -int(errors[tuple(pair)]))
    rows = [
        (
            classes[true],
            classes[predicted],
            int(errors[true, predicted]),
            _recordings_of(run, true, predicted),
        )
        for true, predicted in pairs[:MAX_PAIRS]
    ]

    true_name, predicted_name, count, _ = rows[0]
    text = f"Errors of this kind: {count:,} of {int(errors.sum()):,}."
    card = Card("What confuses it", f"{true_name} taken for {predicted_name}", text)
    columns = ("class", "taken for", units, "such as")
    return card, [Table("Most confused classes", f"Errors on the {run.part} set.", columns, rows)]


def _recordings_of(run: FinishedRun, true: int, predicted: int) -> str:
    """Names of some recordings of a true class with decisions for another class."""
    evaluation = run.evaluation
    is_pair = (evaluation.targets == true) & (evaluation.predicted == predicted)
    indices = np.unique(_owners(evaluation)[is_pair].numpy())
    names = [run.evaluated.recordings.keys[index] for index in indices[:MAX_NAMED_RECORDINGS]]
    return ", ".join([*names, *(["…"] if len(indices) > len(names) else [])])


def _owners(evaluation: Evaluation) -> Tensor:
    """The recording of each decision."""
    return torch.arange(len(evaluation.lengths)).repeat_interleave(evaluation.lengths)


def _right_decisions(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """The numbers of right decisions and of decisions with a class per recording, `[R]` each."""
    owners, n_recordings = _owners(evaluation), len(evaluation.lengths)
    is_labeled = evaluation.targets >= 0
    is_right = is_labeled & (evaluation.predicted == evaluation.targets)
    right = owners.bincount(is_right.double(), n_recordings)
    return right, owners.bincount(is_labeled.double(), n_recordings)


def _picture_of_labels(run: FinishedRun) -> Picture:
    """The classes of the steps of the recording of median accuracy."""
    right, labeled = _right_decisions(run.evaluation)
    shares = right / labeled.clamp(min=1)
    median = int(shares.argsort(stable=True)[len(shares) // 2])

    predicted, target = (
        values[:MAX_STEPS_DRAWN].numpy() for values in run.evaluation.recording(median)
    )
    x = run.evaluated.batch([median]).x[0].to_dense()[: len(predicted)].numpy()
    share = 100 * shares[median].item()
    return Picture(
        "step_labels",
        f"The recording of median accuracy in the {run.part} set: {share:.1f} % of its steps.",
        partial(label_bands, x, predicted, target, run.config.step_seconds, run.facts.classes),
    )


def _page_of_values(run: FinishedRun) -> ReportPage:
    """The page of a task with values for each step."""
    evaluation, task, count = run.evaluation, run.task, run.facts.n_targets
    assert isinstance(task, Regression)

    summary = f"{count} value{'s' * (count > 1)} for each step, from {run.source}."
    score = f"R² on the {run.part} set{run.split_caveat}"
    if task.name == "pattern":
        summary = (
            f"A pattern: {summary} Its input is noise that is always the same. Training, "
            "validation and test set are this same pattern: the numbers describe how well the net "
            "reproduces it, not how it would do on other data."
        )
        score = "R² on the pattern that it was trained on"

    measures = {
        MEASURE_NAMES[name]: values.tolist()
        for name, values in task.output_measures(evaluation.tally).items()
    }
    rows = list(zip(range(1, count + 1), *measures.values(), strict=True))
    text = f"Each value of a step, on the {run.part} set."
    outputs = Table("Outputs", text, ("output", *measures), rows)

    predicted, target = evaluation.predicted.numpy(), evaluation.targets.numpy()
    pictures: list[Section] = [
        Picture(
            "predictions",
            "Prediction and target over time: the recordings with the highest, the median and "
            f"the lowest R² of the {run.part} set.",
            partial(value_courses, _examples(run), run.config.step_seconds),
        ),
        Picture(
            "scatter",
            f"Prediction over target, steps of the {run.part} set. Dashed: perfect.",
            partial(value_scatter, predicted, target, measures["R²"]),
        ),
    ]
    return ReportPage(
        title=f"Run {run.folder.path.name}",
        summary=summary,
        headline=(f"{evaluation.measures['r2']:.3f}", score),
        sections=[*pictures, outputs] if count > 1 else pictures,
    )


def _examples(run: FinishedRun) -> dict[str, tuple[Array, Array]]:
    """Predictions and targets of the recordings with the highest, median and lowest R², by name."""
    recordings = [run.evaluation.recording(index) for index in range(len(run.evaluated))]
    scores = [r2(predicted[None], target[None]).mean().item() for predicted, target in recordings]
    order = np.argsort(scores, kind="stable").tolist()

    examples = {}
    for index in (order[-1], order[len(order) // 2], order[0]):
        name = f"{label_text(run.evaluated.recordings.keys[index])}: R² = {scores[index]:.3f}"
        predicted, target = (values[:MAX_STEPS_DRAWN].numpy() for values in recordings[index])
        examples[name] = predicted, target
    return examples


TASK_PAGES: Mapping[TaskName, Callable[[FinishedRun], ReportPage]] = {
    "classification": _page_of_classes,
    "labels": _page_of_classes,
    "detect": page_of_detector,
    "regression": _page_of_values,
    "pattern": _page_of_values,
}
"""The page of each task, with its own summary, headline, cards, pictures and tables."""
