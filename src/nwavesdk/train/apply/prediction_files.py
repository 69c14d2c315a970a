"""Predictions as files and as JSON: `.csv`, `.npz` or `.json`, by the end of the name."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.internal.files import write_atomically
from nwavesdk.train.apply.predictions import Prediction

__all__ = ["SUFFIXES", "check_suffix", "prediction_json", "write_predictions"]

SUFFIXES = (".csv", ".npz", ".json")


def check_suffix(path: Path) -> None:
    """Reject a name of none of the formats.

    Raises:
        ValueError: If it is one.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"expected a name that ends in {', '.join(SUFFIXES)}, got {str(path)!r}")


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions of one run to a file.

    - `.csv`: a row for each recording, or for each step of each recording: file, step, time, and
      class with probabilities, or values.
    - `.npz`: `files`, `steps` and `is_cut` `[R]`, `classes`; `predicted` and `probabilities` of all
      recordings, or of all steps of all recordings one after the other. With spikes, `spikes`
      `[n, 3]`: recording, step and neuron of each.
    - `.json`: a list with an object for each recording.

    Args:
        path: The file; its name ends in one of `SUFFIXES`.
        predictions: At least one.

    Raises:
        ValueError: If the name ends in something else.
        FileWriteError: If it cannot be written.
    """
    check_suffix(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        content = _csv_text(predictions).encode()
    elif suffix == ".npz":
        content = _npz_bytes(predictions)
    else:
        objects = [prediction_json(one, in_full=True) for one in predictions]
        content = (json.dumps(objects) + "\n").encode()
    write_atomically(path, content)


def prediction_json(prediction: Prediction, *, in_full: bool) -> dict[str, Any]:
    """A prediction for JSON.

    Args:
        prediction: The prediction.
        in_full: Whether to include what there is for each step, and each spike. Otherwise values
            are summed up by their least, mean and largest one.
    """
    content: dict[str, Any] = {"file": prediction.key, "steps": prediction.steps}
    content["is_cut"] = prediction.is_cut
    if prediction.step_seconds is not None:
        content["step_seconds"] = prediction.step_seconds
    if prediction.task == "classification":
        ranking = prediction.ranking
        content |= {"class": ranking[0][0], "probability": ranking[0][1]}
        content["probabilities"] = dict(sorted(ranking, key=lambda pair: _place(prediction, pair)))
    elif prediction.task == "labels":
        content["spans"] = [list(span) for span in prediction.spans()]
        if in_full and prediction.probabilities is not None:
            content["probabilities"] = prediction.probabilities.tolist()
    else:
        values = prediction.predicted
        content |= {
            "min": values.min(axis=0).tolist(),
            "mean": values.mean(axis=0).tolist(),
            "max": values.max(axis=0).tolist(),
        }
        if in_full:
            content["values"] = values.tolist()
    if prediction.spikes is not None:
        assert prediction.counts is not None
        content["spike_counts"] = prediction.counts.tolist()
        if in_full:
            content["spikes"] = prediction.spikes.tolist()
    return content


def _place(prediction: Prediction, pair: tuple[str, float]) -> int:
    return prediction.classes.index(pair[0])


def _csv_text(predictions: Sequence[Prediction]) -> str:
    first = predictions[0]
    is_per_step = first.task != "classification"
    names = [f"p({name})" for name in first.classes]
    if not first.classes:
        names = [f"value {column}" for column in range(1, first.predicted.shape[1] + 1)]
    time = ["time [s]"] if first.step_seconds is not None else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [
            "file",
            *(["step", *time] if is_per_step else ["steps"]),
            *(["class"] if first.classes else []),
            *names,
        ]
    )
    for one in predictions:
        table.writerows(_csv_rows(one) if is_per_step else [_csv_row(one)])
    return text.getvalue()


def _csv_row(prediction: Prediction) -> list[object]:
    """The row of a recording with a class."""
    assert prediction.probabilities is not None
    shares = [_digits(value) for value in prediction.probabilities]
    return [prediction.key, prediction.steps, prediction.class_name, *shares]


def _csv_rows(prediction: Prediction) -> list[list[object]]:
    """The rows of the steps of a recording."""
    times = prediction.times
    values = prediction.predicted
    if prediction.probabilities is not None:
        values = prediction.probabilities
    rows: list[list[object]] = []
    for step in range(prediction.steps):
        row: list[object] = [prediction.key, step]
        if times is not None:
            row.append(f"{times[step]:.9g}")
        if prediction.classes:
            row.append(prediction.classes[int(prediction.predicted[step])])
        rows.append(row + [_digits(value) for value in values[step]])
    return rows


def _digits(value: object) -> str:
    """All digits of a float32."""
    return f"{value:.9g}"


def _npz_bytes(predictions: Sequence[Prediction]) -> bytes:
    first = predictions[0]
    join = np.stack if first.task == "classification" else np.concatenate
    arrays: dict[str, Any] = {
        "files": np.array([one.key for one in predictions]),
        "steps": np.array([one.steps for one in predictions], np.int64),
        "is_cut": np.array([one.is_cut for one in predictions]),
        "predicted": join([one.predicted for one in predictions]),
    }
    if first.classes:
        arrays["classes"] = np.array(first.classes)
        arrays["probabilities"] = join([np.asarray(one.probabilities) for one in predictions])
    if first.step_seconds is not None:
        arrays["step_seconds"] = np.float64(first.step_seconds)
    if first.spikes is not None:
        arrays["spikes"] = np.concatenate(
            [
                np.insert(one.spikes, 0, index, axis=1)
                for index, one in enumerate(predictions)
                if one.spikes is not None
            ]
        )
        arrays["spike_counts"] = np.stack([np.asarray(one.counts) for one in predictions])
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()
