"""The prediction of a trained run for a recording, and predictions as files and as JSON.

Files are `.csv`, `.npz` or `.json`, by the end of the name.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.source import TaskName
from nwavesdk.internal.files import write_atomically

__all__ = [
    "WRITERS",
    "Prediction",
    "check_suffix",
    "prediction_json",
    "write_predictions",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """The prediction for a recording: its class, the class of each step, or values of each step.

    Args:
        key: Name of the recording.
        task: The task of the run.
        steps: Time steps of the net, T.
        classes: Name of each class; none for values.
        predicted: Index of the class, int64 `[]`; of each step, int64 `[T]`; or values in the units
            of the targets, float32 `[T, D]`.
        probabilities: Probability of each class, `[C]` or `[T, C]`; None for values.
        step_seconds: Time between steps in the recording [s]; None if steps have no duration.
        counts: Output spikes of each class or value, `[C]` or `[D]`; None if the outputs of the net
            are membranes, or spikes were not requested.
        spikes: Step and output neuron of each spike, int32 `[n, 2]`, in the order of steps; None if
            they were not requested.
        is_cut: Whether the recording is longer, and only its first T steps were used, as in
            training.

    Example:
        >>> prediction = Prediction(
        ...     key="words/1.wav",
        ...     task="classification",
        ...     steps=100,
        ...     classes=("no", "yes"),
        ...     predicted=np.array(1),
        ...     probabilities=np.array([0.25, 0.75], np.float32),
        ...     step_seconds=10e-3,
        ... )
        >>> prediction.class_name, prediction.ranking
        ('yes', [('yes', 0.75), ('no', 0.25)])
    """

    key: str
    task: TaskName
    steps: int
    classes: tuple[str, ...]
    predicted: Array
    probabilities: Array | None
    step_seconds: float | None
    counts: Array | None = None
    spikes: Array | None = None
    is_cut: bool = False

    @property
    def is_per_step(self) -> bool:
        """Whether the net has a prediction for each step."""
        return self.task != "classification"

    @property
    def scores(self) -> Array:
        """The probabilities of classes; or the values, if there are no classes."""
        return self.predicted if self.probabilities is None else self.probabilities

    @property
    def class_name(self) -> str:
        """The class of the recording.

        Raises:
            ValueError: If the net has a prediction for each step.
        """
        if self.is_per_step:
            raise ValueError(
                f"{self.key} has a prediction for each of its steps, not one class: use "
                "`predicted`, or `spans()` for the classes of steps."
            )
        return self.classes[int(self.predicted)]

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Classes of the recording with their probabilities, the most probable first."""
        pairs = zip(self.classes, self.scores.tolist(), strict=True)
        # If rounding made probabilities equal, the predicted class still comes first.
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0] != self.class_name))

    def spans(self) -> list[tuple[str, int, int]]:
        """Runs of steps with the same class: its name, the first and the last step."""
        changes = np.flatnonzero(np.diff(self.predicted)) + 1
        borders = [0, *changes.tolist(), self.steps]
        return [
            (self.classes[int(self.predicted[first])], first, after - 1)
            for first, after in pairwise(borders)
        ]


def check_suffix(path: Path) -> None:
    """Reject a file name with an unknown suffix.

    Raises:
        ValueError: If the suffix is not a key of `WRITERS`.
    """
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"expected a name that ends in {', '.join(WRITERS)}, got {str(path)!r}")


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions of one run to a file.

    - `.csv`: a row for each recording, or for each step of each recording: file, step, time, and
      class with probabilities, or values.
    - `.npz`: `files`, `steps` and `is_cut` `[R]`, `classes`; `predicted` and `probabilities` of all
      recordings, or of all steps of all recordings one after the other. With spikes, `spikes`
      `[n, 3]`: recording, step and neuron of each spike.
    - `.json`: a list with an object for each recording.

    Args:
        path: The file; its name ends in one of `WRITERS`.
        predictions: The predictions, at least one.

    Raises:
        ValueError: If the name has another end.
        FileWriteError: If the file cannot be written.
    """
    check_suffix(path)
    write_atomically(path, WRITERS[path.suffix.lower()](predictions))


def prediction_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction for JSON: class or values of the recording or of each step, and each spike."""
    scores = prediction.scores.tolist()
    content: dict[str, Any] = {
        "file": prediction.key,
        "steps": prediction.steps,
        "is_cut": prediction.is_cut,
        "step_seconds": prediction.step_seconds,
    }

    # A class for the recording, classes of steps, or values of steps.
    if not prediction.is_per_step:
        content |= {"class": prediction.class_name, "probability": max(scores)}
        content["probabilities"] = dict(zip(prediction.classes, scores, strict=True))
    elif prediction.classes:
        content |= {"spans": prediction.spans(), "probabilities": scores}
    else:
        content["values"] = scores

    if prediction.spikes is not None and prediction.counts is not None:
        content["spike_counts"] = prediction.counts.tolist()
        content["spikes"] = prediction.spikes.tolist()
    return content


def _json_bytes(predictions: Sequence[Prediction]) -> bytes:
    return (json.dumps(list(map(prediction_json, predictions))) + "\n").encode()


def _csv_bytes(predictions: Sequence[Prediction]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_columns(predictions[0]))
    for prediction in predictions:
        table.writerows(zip(*_columns(prediction).values(), strict=True))
    return text.getvalue().encode()


def _columns(prediction: Prediction) -> dict[str, Sequence[object]]:
    """The columns of a prediction: one row for a recording with a class, or one for each step."""
    scores = np.atleast_2d(prediction.scores)
    columns: dict[str, Sequence[object]] = {"file": [prediction.key] * len(scores)}
    if prediction.is_per_step:
        columns["step"] = range(prediction.steps)
        if prediction.step_seconds is not None:
            times = np.arange(prediction.steps) * prediction.step_seconds
            columns["time [s]"] = np.char.mod("%.9g", times).tolist()
    else:
        columns["steps"] = [prediction.steps]

    names = [f"value {column}" for column in range(1, scores.shape[1] + 1)]
    if prediction.classes:
        columns["class"] = [prediction.classes[i] for i in np.atleast_1d(prediction.predicted)]
        names = [f"p({name})" for name in prediction.classes]
    # Nine digits are all digits of float32.
    return columns | dict(zip(names, np.char.mod("%.9g", scores.T).tolist(), strict=True))


def _npz_bytes(predictions: Sequence[Prediction]) -> bytes:
    # Predictions of steps are joined one after the other, classes of recordings are stacked.
    first = predictions[0]
    join = np.concatenate if first.is_per_step else np.stack
    columns: dict[str, Any] = {
        field.name: [getattr(prediction, field.name) for prediction in predictions]
        for field in fields(Prediction)
    }

    arrays: dict[str, Any] = {
        "files": columns["key"],
        "steps": np.array(columns["steps"], np.int64),
        "is_cut": columns["is_cut"],
        "predicted": join(columns["predicted"]),
        "step_seconds": first.step_seconds,
    }
    if first.classes:
        arrays |= {"classes": first.classes, "probabilities": join(columns["probabilities"])}
    if first.spikes is not None:
        # A column before step and neuron has the recording.
        spikes = [np.insert(pairs, 0, n, axis=1) for n, pairs in enumerate(columns["spikes"])]
        arrays |= {"spikes": np.concatenate(spikes), "spike_counts": np.stack(columns["counts"])}

    content = io.BytesIO()
    known = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(content, **known)
    return content.getvalue()


# How predictions are written, by the end of the name of the file.
WRITERS = {".csv": _csv_bytes, ".npz": _npz_bytes, ".json": _json_bytes}
