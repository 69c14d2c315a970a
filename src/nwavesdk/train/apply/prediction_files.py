"""Predictions as files and as JSON: `.csv`, `.npz` or `.json`, by the end of the name."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    formats = {".csv": _csv_bytes, ".npz": _npz_bytes, ".json": _json_bytes}
    write_atomically(path, formats[path.suffix.lower()](predictions))


def prediction_json(prediction: Prediction, *, in_full: bool) -> dict[str, Any]:
    """A prediction for JSON.

    Args:
        prediction: The prediction.
        in_full: Whether to include what there is for each step, and each spike. Otherwise values
            are summed up by their least, mean and largest one.
    """
    content: dict[str, Any] = {
        "file": prediction.key,
        "steps": prediction.steps,
        "is_cut": prediction.is_cut,
        "step_seconds": prediction.step_seconds,
    }
    scores = prediction.scores
    if prediction.task == "classification":
        content["class"], content["probability"] = prediction.ranking[0]
        content["probabilities"] = dict(zip(prediction.classes, scores.tolist(), strict=True))
    elif prediction.classes:
        content["spans"] = [list(span) for span in prediction.spans()]
    else:
        content |= {name: getattr(scores, name)(axis=0).tolist() for name in ("min", "mean", "max")}
    if in_full and prediction.is_per_step:
        content["probabilities" if prediction.classes else "values"] = scores.tolist()
    if prediction.spikes is not None and prediction.counts is not None:
        content["spike_counts"] = prediction.counts.tolist()
        content["spikes"] = prediction.spikes.tolist() if in_full else None
    return {name: value for name, value in content.items() if value is not None}


def _json_bytes(predictions: Sequence[Prediction]) -> bytes:
    objects = [prediction_json(prediction, in_full=True) for prediction in predictions]
    return (json.dumps(objects) + "\n").encode()


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
        if prediction.times is not None:
            columns["time [s]"] = _digits(prediction.times)
    else:
        columns["steps"] = [prediction.steps]
    names = [f"value {column}" for column in range(1, scores.shape[1] + 1)]
    if prediction.classes:
        columns["class"] = [prediction.classes[i] for i in np.atleast_1d(prediction.predicted)]
        names = [f"p({name})" for name in prediction.classes]
    return columns | dict(zip(names, map(_digits, scores.T), strict=True))


def _digits(values: npt.NDArray[np.floating]) -> list[str]:
    """All digits of float32 values."""
    return [f"{value:.9g}" for value in values]


def _npz_bytes(predictions: Sequence[Prediction]) -> bytes:
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
        spikes = [np.insert(pairs, 0, n, axis=1) for n, pairs in enumerate(columns["spikes"])]
        arrays |= {"spikes": np.concatenate(spikes), "spike_counts": np.stack(columns["counts"])}
    content = io.BytesIO()
    known = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(content, **known)
    return content.getvalue()
