"""The tasks of a run, one class each: output layer, loss, score, measures and predictions.

No other module of training distinguishes tasks. To add a task, write its fields in
`train/config/learning.py`, a subclass of `TrainingTask` in `TASKS`, and a function for its report
in `train/report/task_reports.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nwavesdk.data import Series, Standard
from nwavesdk.data.source import TaskName
from nwavesdk.layers.lengths import sum_over_steps, valid_steps
from nwavesdk.loss import rate_logits
from nwavesdk.metrics import balanced_accuracy, confusion_matrix, macro_f1
from nwavesdk.metrics.values import correlation_of, mse_of, r2_of, value_sums
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.objective import TrainingTask

__all__ = [
    "TASKS",
    "ClassDecoder",
    "Classification",
    "EventDetection",
    "Pattern",
    "Regression",
    "StepLabels",
    "class_counts",
    "task_of",
]

# Value, in deviations of the target, for each spike per step that the positive half of a population
# fires more than the negative half. With ten neurons in each half and a rate of 0.1, a half adds or
# subtracts two deviations; more neurons have a wider range with the same resolution.
VALUE_PER_SPIKE = 2.0

# Classes are unbalanced if the ratio of the largest to the smallest is above this.
UNBALANCED = 1.5


class ClassDecoder(nn.Module):
    """Logits of the classes: the firing rates of their populations over the recording.

    Args:
        n_classes: Number of populations.
        sharpness: Logit per spike and step; see `nwavesdk.loss.rate_logits`.
        takes_scores: Whether the net may return scores instead of spikes, as one tensor that is
            both `spk` and `mem`.
    """

    def __init__(self, n_classes: int, sharpness: float, *, takes_scores: bool = False) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.sharpness = sharpness
        self.takes_scores = takes_scores

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits `[B, C]`; for scores of each step, their mean over valid steps."""
        if mem is not spk or not self.takes_scores:
            return rate_logits(spk, self.n_classes, self.sharpness, lengths)
        if mem.ndim == 2:
            return mem
        if lengths is None:
            return mem.mean(dim=1)
        return sum_over_steps(mem, lengths) / lengths[:, None]


@dataclass(frozen=True, eq=False)
class _Classes(TrainingTask):
    """A task with classes; a step or recording without a class has the label -1.

    Args:
        weights: Weight of each class in the loss; None: equal weights.
    """

    batch_score_name = "accuracy"

    weights: tuple[float, ...] | None = None

    @property
    def sharpness(self) -> float:
        """Logit per spike and step, of nets with spikes as outputs."""
        return getattr(self.config.net, "sharpness", 1.0)

    @property
    def score(self) -> str:
        return "accuracy" if self.weights is None else "balanced_accuracy"

    def fitted(self, train: Series, *, is_balanced: bool = False) -> Self:
        if not is_balanced:
            return self

        # The weight of a class is n / (C n_c), or 0 if the training set lacks the class.
        counts = class_counts(train, self.n_outputs)
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1)) * (counts > 0)
        return replace(self, weights=tuple(weights.tolist()))

    def advice(self, train: Series) -> str | None:
        """A note on unbalanced classes, unless the loss has weights for them."""
        counts = class_counts(train, self.n_outputs)
        present = np.flatnonzero(counts)
        most, fewest = (int(present[pick(counts[present])]) for pick in (np.argmax, np.argmin))
        if self.weights is not None or counts[most] <= UNBALANCED * counts[fewest]:
            return None

        names, shares = train.recordings.classes, counts / counts.sum()
        return (
            f"the classes are not balanced: of the training set, {shares[most]:.1%} are "
            f"{names[most]!r} and {shares[fewest]:.1%} {names[fewest]!r}. Balanced accuracy and F1 "
            "are in the result; --class-weights balanced makes errors in rare classes cost more."
        )

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Mean cross-entropy of all decisions with a class, multiplied by its weight."""
        is_labeled = y >= 0
        if not is_labeled.any():
            return 0.0 * outputs.sum()

        logits, classes = outputs[is_labeled], y[is_labeled]
        smoothing = getattr(self.config.task, "label_smoothing", 0.0)
        if self.weights is None:
            return cross_entropy(logits, classes, label_smoothing=smoothing)

        weights = logits.new_tensor(self.weights)[classes]
        errors = cross_entropy(logits, classes, reduction="none", label_smoothing=smoothing)
        return (weights * errors).mean()

    def batch_score(
        self,
        outputs: Tensor,
        y: Tensor,
        lengths: Tensor | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, int]:
        is_right = (self.predict(outputs) == y)[y >= 0].float()
        return is_right.sum() / max(len(is_right), 1), len(is_right)

    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Decisions by true and predicted class, `[C, C]`."""
        return confusion_matrix(self.predict(outputs).cpu(), y.cpu(), self.n_outputs)

    def measures(self, tally: Tensor) -> dict[str, float]:
        """Accuracy, balanced accuracy and F1; see `nwavesdk.metrics`."""
        return {
            "accuracy": (tally.diagonal().sum().double() / tally.sum()).item(),
            "balanced_accuracy": round(balanced_accuracy(tally).item(), 6),
            "f1": round(macro_f1(tally).item(), 6),
        }

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(dim=-1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Probability of each class, in the shape of the outputs."""
        return outputs.float().softmax(dim=-1)


class Classification(_Classes):
    """A class for each recording: the population that fires most, over all of its steps."""

    name: ClassVar[TaskName] = "classification"

    def decoder(self) -> nn.Module:
        return ClassDecoder(self.n_outputs, self.sharpness, takes_scores=not self.config.is_layered)


class StepLabels(_Classes):
    """A class for each step: the largest membrane of a read-out, or the largest filtered rate."""

    name: ClassVar[TaskName] = "labels"

    def decoder(self) -> nn.Module:
        return self.step_decoder(self.sharpness, is_signed=False)


class EventDetection(StepLabels):
    """A class for each step of a stream: the event that ends about now, or the background."""

    name: ClassVar[TaskName] = "detect"
    batch_score_name = "balanced_accuracy"
    score = "balanced_accuracy"

    def advice(self, train: Series) -> None:
        """No note: events are always rare."""

    def batch_score(
        self,
        outputs: Tensor,
        y: Tensor,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, int]:
        tally = self.tally(outputs, y, lengths)
        if not tally.any():  # all steps are near an event
            return outputs.new_zeros(()), 0
        return balanced_accuracy(tally).to(outputs.device), int(tally.sum())

    def measures(self, tally: Tensor) -> dict[str, float]:
        """The balanced accuracy of steps; `nwavesdk.train.apply.detections` measures events."""
        return {"balanced_accuracy": round(balanced_accuracy(tally).item(), 6)}


class Regression(TrainingTask):
    """Values of each step: the membranes of a read-out, or filtered rates of signed populations.

    The net learns targets without units, `(target - mean) / deviation`, with mean and deviation
    over all steps of the training set.
    """

    name: ClassVar[TaskName] = "regression"
    batch_score_name = "r2"

    def fitted(self, train: Series, *, is_balanced: bool = False) -> Self:  # noqa: ARG002
        values: Any = tuple(target[: train.input.length] for target in train.recordings.targets)
        return self.scaled(Standard.fit(replace(train.recordings, frames=values, targets=())))

    def decoder(self) -> nn.Module:
        # The decoder takes the mean over each half of a population, not the sum.
        scale = VALUE_PER_SPIKE * self.population / 2
        return self.step_decoder(scale, is_signed=True)

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mean squared error of the values without units, over all steps within the lengths."""
        errors = (outputs - self._standardized(y)).square()
        if lengths is None:
            return errors.mean()
        return errors[valid_steps(lengths, errors.shape[1])].mean()

    def batch_score(
        self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """R² relative to the variance of the training set, not of the batch.

        So the mean over all batches is R² of the training set.
        """
        n_steps = y.shape[0] * y.shape[1] if lengths is None else int(lengths.sum())
        return 1 - self.loss(outputs, y, lengths), n_steps

    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The sums of `nwavesdk.metrics.values.value_sums` over values without units."""
        return value_sums(outputs.detach(), self._standardized(y), lengths)

    def measures(self, tally: Tensor) -> dict[str, float]:
        """R², mean squared error [unit of the target squared] and correlation, of all outputs."""
        return {name: values.mean().item() for name, values in self.output_measures(tally).items()}

    def output_measures(self, tally: Tensor) -> dict[str, Tensor]:
        """The measures of each output, `[D]`."""
        _, deviation = self._scale(tally)
        return {
            "r2": r2_of(tally),
            "mse": mse_of(tally) * deviation.square(),
            "correlation": correlation_of(tally),
        }

    def predict(self, outputs: Tensor) -> Tensor:
        mean, deviation = self._scale(outputs)
        return mean + deviation * outputs

    def _standardized(self, y: Tensor) -> Tensor:
        mean, deviation = self._scale(y)
        return (y - mean) / deviation

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the targets, `[D]`, with the dtype and device of a tensor."""
        assert self.targets is not None, "fitted() or scaled() comes first"
        return like.new_tensor(self.targets.mean), like.new_tensor(self.targets.deviation)


class Pattern(Regression):
    """Values of each step from frozen noise: one pattern, the same in all sets."""

    name: ClassVar[TaskName] = "pattern"


TASKS: Mapping[TaskName, type[TrainingTask]] = {
    task.name: task for task in (Classification, StepLabels, EventDetection, Regression, Pattern)
}


def task_of(config: CompletedConfig) -> TrainingTask:
    """The task of a run, before it is fitted.

    Args:
        config: The config of the run.
    """
    return TASKS[config.task.name](config)


def class_counts(train: Series, n_classes: int) -> npt.NDArray[np.int64]:
    """Recordings of each class, or steps of each class if steps have classes, `[C]`."""
    recordings = train.recordings
    labels = [recordings.labels]
    if recordings.task == "labels":
        labels = [target[: train.input.length].astype(np.int64) for target in recordings.targets]
    counts = [np.bincount(classes[classes >= 0], minlength=n_classes) for classes in labels]
    return sum(counts, start=np.zeros(n_classes, np.int64))
