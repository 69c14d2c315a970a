"""What the report of a run shows about its task: numbers, pictures and tables, by task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nwavesdk.data import Series
from nwavesdk.data.source import Task
from nwavesdk.layers import H1v1Frontend, H1v2Frontend, find_edges
from nwavesdk.metrics import Operations, r2
from nwavesdk.metrics.intervals import accuracy_interval
from nwavesdk.net.layer_names import layer_names, module_layer_names
from nwavesdk.plot.theme import Draw
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.facts import Facts
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.evaluation import Evaluation
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.tasks import Regression, TrainingTask
from nwavesdk.train.report.pictures import confusion_matrix
from nwavesdk.train.report.prediction_pictures import (
    Example,
    label_bands,
    value_courses,
    value_scatter,
)
from nwavesdk.train.run_folder import RunFolder

__all__ = ["REPORTS", "FinishedRun", "Table", "TaskReport"]

# A heading, a text, names of columns, and rows; see `Page.add_table`.
Table = tuple[str, str, Sequence[str], Sequence[Sequence[str | int | float]]]


# Steps of a recording that pictures show: more would be narrower than a pixel.
MOST_STEPS_DRAWN = 20_000

FRONT_ENDS = (H1v1Frontend, H1v2Frontend)


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run with its results.

    Args:
        folder: The folder of the run.
        config: The config of the run, with facts.
        data: The data of the run.
        net: The net with the selected weights.
        task: The task, fitted.
        history: The metrics of each epoch, as in `metrics.csv`.
        evaluation: Predictions on the test set; on the validation set if the former is not read.
        result: The content of `result.json`.
        operations: What an inference costs; None if it could not be counted.
        notes: What to know of the data and of the chip, as training printed it.
    """

    folder: RunFolder
    config: CompletedConfig
    data: RunData
    net: RunNet
    task: TrainingTask
    history: Sequence[dict[str, float]]
    evaluation: Evaluation
    result: Mapping[str, Any]
    operations: Operations | None = None
    notes: Sequence[str] = ()

    @property
    def facts(self) -> Facts:
        """What the data were when the run began."""
        return self.config.facts

    @property
    def layer_titles(self) -> list[str]:
        """Names of the layers that spike, by depth."""
        n_layers, net = len(self.result["rates"]), find_edges(self.net)
        if self.config.chip is None or len(net.layers) != n_layers:
            return layer_names(n_layers, has_output=not self.task.output.is_readout)
        has_front_end = any(isinstance(edge.module, FRONT_ENDS) for edge in net.edges)
        modules = [name.removeprefix("net.") for name in net.layers]
        return list(module_layer_names(modules, has_front_end=has_front_end).values())

    @property
    def part(self) -> str:
        """The set that was evaluated."""
        return "test" if self.config.data.test else "validation"

    @property
    def evaluated(self) -> Series:
        """That set."""
        return self.data.test if self.config.data.test else self.data.val

    @property
    def source(self) -> str:
        """The name of the data."""
        source = self.config.data.source
        return "spoken digits" if source == "digits" else source


@dataclass(frozen=True, eq=False)
class TaskReport:
    """What a report shows about the task.

    Args:
        headline: The most important number, and its name.
        summary: What was learned from which data.
        facts: Numbers, by name.
        pictures: Captions and pictures, by the name of their file.
        tables: Tables.
        raster_classes: Classes of a recording, which the spike raster marks.
    """

    headline: tuple[str, str]
    summary: str
    facts: dict[str, str]
    pictures: dict[str, tuple[str, Draw]]
    tables: tuple[Table, ...] = ()
    raster_classes: tuple[str, ...] = ()


def _report_classes(run: FinishedRun) -> TaskReport:
    classes = run.facts.classes
    counts = run.evaluation.tally.numpy()
    caption = f"All recordings of the {run.part} set by true class and predicted class."
    decisions = f"{run.part} recordings"
    return TaskReport(
        headline=_accuracy_headline(run, f"{run.part} accuracy"),
        summary=f"{len(classes)} classes of {run.source}; {_use_of_test(run)}.",
        facts=_class_facts(run, "accuracy"),
        pictures={
            "confusion_matrix": (
                caption,
                lambda theme: confusion_matrix(counts, classes, theme, decisions),
            )
        },
        raster_classes=classes,
    )


def _report_step_labels(run: FinishedRun) -> TaskReport:
    classes = run.facts.classes
    evaluation = run.evaluation
    counts = evaluation.tally.numpy()
    index = _usual_recording(evaluation)
    predicted, target = (
        values[:MOST_STEPS_DRAWN].numpy() for values in evaluation.recording(index)
    )
    x = run.evaluated.batch([index]).x[0].to_dense()[: len(predicted)].numpy()
    dt = run.config.net.dt
    decisions = f"steps of the {run.part} set"
    name = "accuracy, of all steps"
    return TaskReport(
        headline=_accuracy_headline(run, f"of the steps of the {run.part} set are right"),
        summary=f"A class for each step, {len(classes)} classes, from {run.source}; "
        f"{_use_of_test(run)}. {_look_ahead_text(run.config.option('task.look_ahead', 0))}",
        facts=_class_facts(run, name),
        pictures={
            "step_labels": (
                f"A recording of the {run.part} set with the classes of its steps.",
                lambda theme: label_bands(x, predicted, target, dt, classes, theme),
            ),
            "confusion_matrix": (
                f"All steps of the {run.part} set by true class and predicted class.",
                lambda theme: confusion_matrix(counts, classes, theme, decisions),
            ),
        },
    )


def _look_ahead_text(steps: int) -> str:
    if not steps:
        return "The class of a step depends on no later step."
    return f"The net gives the class of a step {steps} steps later, so it depends on these, too."


def _report_values(run: FinishedRun) -> TaskReport:
    return _report_of_values(
        run,
        summary=f"{_values_text(run)} for each step from {run.source}; {_use_of_test(run)}.",
        headline_name=f"R² on the {run.part} set",
    )


def _report_pattern(run: FinishedRun) -> TaskReport:
    return _report_of_values(
        run,
        summary=f"A pattern of {_values_text(run)} for each step, {run.source}, from "
        "noise that is always the same. Training, validation and test set are this same pattern: "
        "the numbers describe how well the net reproduces it, not how it would do on other data.",
        headline_name="R² on the pattern that it was trained on",
    )


def _report_of_values(run: FinishedRun, summary: str, headline_name: str) -> TaskReport:
    evaluation, task = run.evaluation, run.task
    assert isinstance(task, Regression)
    by_output = task.output_measures(evaluation.tally)
    measures = [
        {name: values[output].item() for name, values in by_output.items()}
        for output in range(run.facts.n_targets)
    ]
    examples = _examples(evaluation)
    dt = run.config.net.dt
    predicted, target = evaluation.predicted.numpy(), evaluation.targets.numpy()
    rows = [[output + 1, *values.values()] for output, values in enumerate(measures)]
    table = (
        "Outputs",
        f"Each value of a step, on the {run.part} set.",
        ("output", "R²", "mean squared error", "correlation"),
        rows,
    )
    return TaskReport(
        headline=(f"{evaluation.measures['r2']:.3f}", headline_name),
        summary=summary,
        facts=_value_facts(run),
        pictures={
            "predictions": (
                "Prediction and target over time: the recordings with the highest, the median and "
                f"the lowest R² of the {run.part} set.",
                lambda theme: value_courses(examples, dt, theme),
            ),
            "scatter": (
                f"Prediction over target, steps of the {run.part} set. Dashed: perfect.",
                lambda theme: value_scatter(predicted, target, measures, theme),
            ),
        },
        tables=(table,) if len(rows) > 1 else (),
    )


def _values_text(run: FinishedRun) -> str:
    count = run.facts.n_targets
    return f"{count} value{'s' * (count > 1)}"


def _accuracy_headline(run: FinishedRun, name: str) -> tuple[str, str]:
    low, high = (100 * end for end in _accuracy_interval(run.evaluation))
    return (
        f"{100 * run.evaluation.measures['accuracy']:.2f} %",
        f"{name}; 95 % interval {low:.1f} to {high:.1f} %",
    )


def _accuracy_interval(evaluation: Evaluation) -> tuple[float, float]:
    """The interval over the recordings of the set."""
    is_right = (evaluation.predicted == evaluation.targets).double()
    is_labeled = (evaluation.targets >= 0).double()
    sizes = evaluation.lengths.tolist()
    right, labeled = (
        torch.stack([part.sum() for part in torch.split(values, sizes)])
        for values in (is_right * is_labeled, is_labeled)
    )
    return accuracy_interval(right, labeled)


def _use_of_test(run: FinishedRun) -> str:
    if not run.config.data.test:
        text = "the test set was not read, and all numbers are those of the validation set"
        if run.config.learning.keep == "best":
            text += ", on which the epoch was selected"
        return text
    return f"{run.facts.recordings[2]:,} test recordings, used once"


def _class_facts(run: FinishedRun, name: str) -> dict[str, str]:
    labels = {"accuracy": name, "balanced_accuracy": "balanced accuracy", "f1": "F1, macro"}
    return _measure_facts(run, labels)


def _value_facts(run: FinishedRun) -> dict[str, str]:
    labels = {
        "r2": "R²",
        "mse": "mean squared error [unit of the target squared]",
        "correlation": "correlation",
    }
    return _measure_facts(run, labels)


def _measure_facts(run: FinishedRun, labels: Mapping[str, str]) -> dict[str, str]:
    """The measures of the test and of the validation set; the first one has the epoch."""
    result = run.result
    facts: dict[str, str] = {}
    if not run.config.data.test:
        command = f"`nwave eval {run.folder.path.name}` reads it"
        facts["test set"] = f"not read (--no-test); {command}"
    for measure, label in labels.items():
        for part, word in (("test", "test"), ("val", "validation")):
            if f"{part}_{measure}" in result:
                facts[f"{word} {label}"] = f"{result[f'{part}_{measure}']:.4g}"
    first = f"validation {next(iter(labels.values()))}"
    facts[first] += f" (epoch {result['best_epoch']} of {result['epochs']})"
    return facts


def _usual_recording(evaluation: Evaluation) -> int:
    """The recording of median accuracy."""
    shares = []
    for index in range(len(evaluation.lengths)):
        predicted, target = evaluation.recording(index)
        is_labeled = target >= 0
        right = (predicted == target)[is_labeled].double()
        shares.append(right.sum().item() / max(len(right), 1))
    return int(np.argsort(shares, kind="stable")[len(shares) // 2])


def _examples(evaluation: Evaluation) -> list[Example]:
    """The recordings with the highest, the median and the lowest R²; one if there is one."""
    scores = []
    for index in range(len(evaluation.lengths)):
        predicted, target = evaluation.recording(index)
        scores.append(r2(predicted[None], target[None]).mean().item())
    order = np.argsort(scores, kind="stable")
    chosen = {int(order[-1]): "best", int(order[len(order) // 2]): "median"}
    chosen.setdefault(int(order[0]), "worst")
    names = chosen if len(order) > 1 else {0: "the recording"}
    examples = []
    for index, name in names.items():
        predicted, target = evaluation.recording(index)
        course = predicted[:MOST_STEPS_DRAWN].numpy()
        aim = target[:MOST_STEPS_DRAWN].numpy()
        examples.append(Example(name, course, aim, scores[index]))
    return examples


REPORTS: Mapping[Task, Callable[[FinishedRun], TaskReport]] = {
    "classification": _report_classes,
    "labels": _report_step_labels,
    "regression": _report_values,
    "pattern": _report_pattern,
}
