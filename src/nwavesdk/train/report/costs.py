"""Costs of the net of a finished run, scores of simple models to compare with, and notes on both.

The simple models are the largest class and a linear model. The linear model is ridge regression,
with one output per class or value, and the penalty that is best on the validation set. Its inputs
are the mean and the deviation over time of each feature, or, for targets of each step, the features
of the step.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from nwavesdk.data import Indices, Series
from nwavesdk.data.recordings import ROUNDING
from nwavesdk.data.source import TaskName
from nwavesdk.internal.files import one_line
from nwavesdk.metrics import OperationCounter, Operations, r2
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.evaluation import Evaluation
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.fit.progress import print_line

__all__ = [
    "MAX_INPUT_VALUES",
    "count_on_series",
    "counted_recordings",
    "describe_run",
    "linear_note",
    "loss_note",
    "simple_scores",
]

# Recordings on which operations are counted, so that it takes about a second. Recordings of
# different lengths run one by one, so they are fewer.
MAX_COUNTED = 256
MAX_OF_DIFFERENT_LENGTHS = 64

# Values of a batch of inputs: 64 MB.
MAX_INPUT_VALUES = 2**24

# Rows of the training set that the linear model is fitted to, so that it takes about a second.
MAX_RECORDINGS = 3000
MAX_STEPS = 200_000

# The model solves a system with the smaller number of inputs and recordings, which is at most this.
MAX_SYSTEM = 1500

# Penalties, relative to the variance of an input.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# A loss is clearly higher above this factor of the lowest validation loss.
CLEAR = 1.2

# A score is better above the first difference, and clearly better above the second.
BETTER = 0.01
CLEARLY_BETTER = 0.1

# Weights and offset of a linear model.
Linear = tuple[Tensor, Tensor]


def describe_run(
    data: RunData, task: TrainingTask, net: nn.Module, evaluated: Series, evaluation: Evaluation
) -> tuple[dict[str, Any], Operations | None]:
    """The fields of `result.json` that follow from the net, and its operations.

    If an error occurs, it is printed and all of them are missing, because the run is finished.

    Args:
        data: The data of the run.
        task: The task.
        net: The net with the selected weights.
        evaluated: The set on which it was evaluated.
        evaluation: Its evaluation.
    """
    try:
        operations = count_on_series(net, evaluated)
        # A linear model of single steps detects nothing.
        has_models = task.name != "detect"
        scores = simple_scores(data.train, data.val, evaluated, task.name) if has_models else {}
    except Exception as error:  # whatever a net of the user raises
        print_line(
            "nwave: warning: the run is finished, but costs of the net or scores of simple models "
            f"are missing ({one_line(error)})."
        )
        return {}, None

    rates = list(evaluation.neuron_rates.values())
    hidden = rates if task.is_readout else rates[:-1]
    fields = {
        "dense_macs": round(operations.dense, 1),
        "effective_macs": round(operations.effective_macs, 1),
        "effective_acs": round(operations.effective_acs, 1),
        "neuron_updates": round(operations.updates, 1),
        "counted_recordings": operations.recordings,
        "not_counted": list(operations.not_counted),
        **scores,
    }
    if hidden:
        fields["hidden_rate"] = round(torch.cat(hidden).mean().item(), 6)
    return fields, operations


def loss_note(result: Mapping[str, Any], config: CompletedConfig) -> str | None:
    """A note if the last epoch is kept, but the validation loss was clearly lower before, or None.

    Args:
        result: The content of `result.json`.
        config: The config of the run.
    """
    lowest = result["lowest_loss"]
    if config.learning.keep == "best" or result["val_loss"] <= CLEAR * lowest:
        return None
    return (
        f"the validation loss was clearly lower after epoch {result['lowest_loss_epoch']} "
        f"({lowest:.4f}) than after the last epoch, which is kept ({result['val_loss']:.4f}): try "
        "fewer --epochs, or --keep best"
    )


def linear_note(result: Mapping[str, Any], config: CompletedConfig) -> str | None:
    """A note with what to try if a linear model is better than the net, or None.

    Args:
        result: The content of `result.json`.
        config: The config of the run.
    """
    score = "r2" if "val_r2" in result else "accuracy"
    linear = result.get(f"linear_{score}")  # missing if the net cannot be counted
    value = result.get(f"test_{score}", result.get(f"val_{score}"))
    if linear is None or linear < value + BETTER:
        return None

    if linear >= value + CLEARLY_BETTER and getattr(config.data, "center", False):
        return (
            "the linear model uses the mean of each recording, which the net does not get: "
            "try --no-center"
        )
    return (
        "a linear model is better than the net: try more --epochs or a larger net, or look for "
        "silent neurons with nwave diagnose"
    )


def count_on_series(net: nn.Module, series: Series) -> Operations:
    """Count the operations of a net on recordings from the whole of a set.

    Args:
        net: A net from input `[B, T, F]`.
        series: The set.
    """
    indices = counted_recordings(series)
    largest = int(series.lengths.max()) * series.recordings.n_features
    per_batch = max(1, MAX_INPUT_VALUES // largest)

    counter = OperationCounter(net)
    device = next(net.parameters()).device
    for first in range(0, len(indices), per_batch):
        batch = series.batch(indices[first : first + per_batch])
        counter.count(batch.x.to(device), batch.lengths)
    return counter.result()


def counted_recordings(series: Series) -> Indices:
    """The recordings of a set on which operations are counted, from long to short.

    In this order, recordings of one length run together.

    Args:
        series: The set.
    """
    has_one_length = bool((series.lengths == series.lengths[0]).all())
    limit = MAX_COUNTED if has_one_length else MAX_OF_DIFFERENT_LENGTHS
    indices = np.linspace(0, len(series) - 1, min(limit, len(series))).astype(np.int64)
    return indices[np.argsort(-series.lengths[indices], kind="stable")]


def simple_scores(
    train: Series, val: Series, evaluated: Series, task: TaskName
) -> dict[str, float]:
    """The scores of simple models on the set on which the net was evaluated.

    Args:
        train: The training set.
        val: The validation set.
        evaluated: The set on which scores are measured.
        task: The task of the net.

    Returns:
        `majority_accuracy` and `linear_accuracy`, or `linear_r2`.
    """
    x, y = _rows(train, task, is_fitted_to=True)
    x_val, y_val = _rows(val, task)
    x_test, y_test = _rows(evaluated, task)

    n_classes = len(train.recordings.classes)
    models = _ridge(x, one_hot(y, n_classes) if n_classes else y)
    best = max(models, key=lambda model: _score(model, x_val, y_val))
    score = round(_score(best, x_test, y_test), 6)

    if not n_classes:
        return {"linear_r2": score}
    majority = (y_test == y.bincount().argmax()).double().mean().item()
    return {"majority_accuracy": round(majority, 6), "linear_accuracy": score}


def _rows(series: Series, task: TaskName, *, is_fitted_to: bool = False) -> tuple[Tensor, Tensor]:
    """Inputs [R, D] in float64, and classes [R] or values [R, D'], of all rows or of a subset.

    Args:
        series: The set.
        task: The task of the net.
        is_fitted_to: Whether the model is fitted to the rows, which limits their number.
    """
    recordings, n_rows = series.recordings, len(series)
    if is_fitted_to and task == "classification":
        is_wide = 2 * recordings.n_features > MAX_SYSTEM
        n_rows = min(n_rows, MAX_SYSTEM if is_wide else MAX_RECORDINGS)
    elif is_fitted_to:
        n_steps = recordings.lengths.clip(0, series.input.length).mean()
        n_rows = min(n_rows, max(1, int(MAX_STEPS / n_steps)))

    indices = np.linspace(0, len(series) - 1, n_rows).astype(np.int64)
    frames = (np.asarray(recordings.frames[int(index)][: series.input.length]) for index in indices)
    if task == "classification":
        x = torch.from_numpy(np.stack([_moments(part) for part in frames]))
        return x, torch.from_numpy(recordings.labels[indices])

    x = torch.from_numpy(np.concatenate(list(frames))).double()
    targets = [recordings.targets[int(index)][: series.input.length] for index in indices]
    y = torch.from_numpy(np.concatenate(targets))
    if task == "labels":
        return x[y >= 0], y[y >= 0].long()
    return x, y


def _moments(frames: np.ndarray) -> np.ndarray:
    """Mean and deviation of each feature of a recording, `[2 F]`, in float64."""
    mean = frames.mean(0, dtype=np.float64)
    deviation = frames.std(0, dtype=np.float64)

    # Moments that are only rounding errors become 0. Otherwise they would reveal the number of
    # steps, which may differ by class.
    has_mean = np.abs(mean) > ROUNDING * deviation
    has_deviation = deviation > ROUNDING * np.abs(mean)
    return np.concatenate([np.where(has_mean, mean, 0), np.where(has_deviation, deviation, 0)])


def _ridge(x: Tensor, y: Tensor) -> list[Linear]:
    """For each penalty, the model that minimizes the squared error plus the penalty."""
    mean, scale = x.mean(0), x.std(0, correction=0)
    # An input that differs only by rounding errors is a constant, which the model must not use.
    scale = torch.where(scale > ROUNDING * mean.abs(), scale, torch.inf)
    inputs, center = (x - mean) / scale, y.double().mean(0)

    # Two systems have the same solution: the model solves the smaller one.
    is_wide = x.shape[1] > len(x)
    gram = inputs @ inputs.T if is_wide else inputs.T @ inputs
    right = y - center if is_wide else inputs.T @ (y - center)

    models = []
    for penalty in PENALTIES:
        ridge = penalty * len(x) * torch.eye(len(gram), dtype=torch.float64)
        solution = torch.linalg.solve(gram + ridge, right)
        weights = (inputs.T @ solution if is_wide else solution) / scale[:, None]
        models.append((weights, center - mean @ weights))
    return models


def _score(model: Linear, x: Tensor, y: Tensor) -> float:
    """The accuracy of classes, or R² of values, the mean over outputs."""
    weights, offset = model
    outputs = x @ weights + offset
    if y.is_floating_point():
        return r2(outputs[None], y[None].double()).mean().item()
    return (outputs.argmax(1) == y).double().mean().item()
