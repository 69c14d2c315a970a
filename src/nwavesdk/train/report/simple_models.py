"""What simple models reach on the data of a run: the largest class, and a linear model.

A net is judged against them. The linear model is ridge regression, to one number per class for
classes, with the penalty that is best on the validation set. Its inputs are the mean and the
deviation over time of each feature, or, for targets of each step, the features of the step.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nwavesdk.data import Series
from nwavesdk.data.recordings import ROUNDING
from nwavesdk.data.source import Task
from nwavesdk.metrics import r2

__all__ = ["simple_scores"]

# Rows of the training set that the linear model is fitted to, so that it takes about a second.
MOST_RECORDINGS = 3000
MOST_STEPS = 200_000

# Numbers of inputs and recordings that are not both exceeded: the model solves a system of the
# smaller one.
LARGEST_SYSTEM = 1500

# Penalties, relative to the variance of an input.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# Inputs [R, D] and targets: classes [R], or values [R, D'].
Rows = tuple[Tensor, Tensor]


def simple_scores(
    train: Series, val: Series, evaluated: Series, task: Task, n_classes: int
) -> dict[str, float]:
    """The scores of simple models on the set on which the net was evaluated.

    Args:
        train: The training set.
        val: The validation set.
        evaluated: The set on which scores are measured.
        task: What is learned.
        n_classes: Number of classes; 0 for values.

    Returns:
        `majority_accuracy` and `linear_accuracy`, or `linear_r2`.
    """
    has_classes = task in ("classification", "labels")
    x, targets = _rows(train, task, is_fitted_to=True)
    x_val, targets_val = _rows(val, task)
    x_test, targets_test = _rows(evaluated, task)
    y = one_hot(targets, n_classes).double() if has_classes else targets.double()
    fitted = [_ridge(x, y, penalty) for penalty in PENALTIES]
    best = max(fitted, key=lambda model: _score(_predict(model, x_val), targets_val))
    score = round(_score(_predict(best, x_test), targets_test), 6)
    if not has_classes:
        return {"linear_r2": score}
    largest = targets.bincount(minlength=n_classes).argmax()
    majority = (targets_test == largest).double().mean().item()
    return {"majority_accuracy": round(majority, 6), "linear_accuracy": score}


def _rows(series: Series, task: Task, *, is_fitted_to: bool = False) -> Rows:
    """Inputs and targets of a set; of a large one that a model is fitted to, a part."""
    recordings = series.recordings
    lengths = np.minimum(recordings.lengths, series.input.length or recordings.lengths.max())
    indices = np.arange(len(series))
    if task == "classification":
        most = LARGEST_SYSTEM if 2 * recordings.n_features > LARGEST_SYSTEM else MOST_RECORDINGS
    else:
        most = max(1, int(MOST_STEPS / lengths.mean()))
    if is_fitted_to and len(indices) > most:
        indices = np.linspace(0, len(indices) - 1, most).astype(np.int64)
    if task == "classification":
        x = np.stack([_moments(frames) for frames in _frames(series, indices)])
        return torch.from_numpy(x), torch.from_numpy(recordings.labels[indices])
    x = np.concatenate(list(_frames(series, indices)))
    targets = np.concatenate([recordings.targets[int(i)][: series.input.length] for i in indices])
    y = torch.from_numpy(targets)
    if task == "labels":
        is_labeled = y >= 0
        return torch.from_numpy(x)[is_labeled], y[is_labeled].long()
    return torch.from_numpy(x), y


def _frames(series: Series, indices: np.ndarray) -> Iterator[np.ndarray]:
    for index in indices:
        yield np.asarray(series.recordings.frames[int(index)][: series.input.length], np.float32)


def _moments(frames: np.ndarray) -> np.ndarray:
    """Mean and deviation of each feature of a recording, `[2 F]`, in float64."""
    mean = frames.mean(0, dtype=np.float64)
    deviation = frames.std(0, dtype=np.float64)
    # Rounding errors depend on the number of steps, which may differ by class: of a constant, and
    # of a recording with the mean 0.
    has_mean = np.abs(mean) > ROUNDING * deviation
    has_deviation = deviation > ROUNDING * np.abs(mean)
    return np.concatenate([np.where(has_mean, mean, 0), np.where(has_deviation, deviation, 0)])


# Mean and scale of the inputs, weights, and mean of the targets.
_Model = tuple[Tensor, Tensor, Tensor, Tensor]


def _ridge(x: Tensor, y: Tensor, penalty: float) -> _Model:
    """The weights that minimize the squared error plus the penalty, by the smaller system."""
    x = x.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    # An input that differs by rounding errors alone is a constant, and gets no scale.
    scale = torch.where(scale > ROUNDING * mean.abs(), scale, torch.inf)
    inputs = (x - mean) / scale
    targets = y - y.mean(0)
    n_rows, n_inputs = inputs.shape
    ridge = penalty * n_rows
    if n_inputs <= n_rows:
        gram = inputs.T @ inputs + ridge * torch.eye(n_inputs, dtype=torch.float64)
        weights = torch.linalg.solve(gram, inputs.T @ targets)
    else:
        gram = inputs @ inputs.T + ridge * torch.eye(n_rows, dtype=torch.float64)
        weights = inputs.T @ torch.linalg.solve(gram, targets)
    return mean, scale, weights, y.mean(0)


def _predict(model: _Model, x: Tensor) -> Tensor:
    mean, scale, weights, offset = model
    return ((x.double() - mean) / scale) @ weights + offset


def _score(outputs: Tensor, targets: Tensor) -> float:
    """The accuracy of classes, or R² of values, the mean over outputs."""
    if targets.is_floating_point():
        return r2(outputs[None], targets[None].double()).mean().item()
    return (outputs.argmax(1) == targets).double().mean().item()
