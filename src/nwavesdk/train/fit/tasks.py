"""The tasks of a run, one class each: output layer, loss, score, measures and predictions.

Nothing else asks which task a run has. A task is data plus pure functions; what it takes from the
training set, the scale of the targets or the weights of the classes, is added by `fitted`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nwavesdk.data import Series, Standard
from nwavesdk.data.source import Task
from nwavesdk.encoding import RateDecoder
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.metrics import balanced_accuracy, confusion_matrix, macro_f1
from nwavesdk.metrics.values import correlation_of, mse_of, r2_of, value_sums
from nwavesdk.presets import LAYERED
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.decoders import (
    ClassDecoder,
    GivenDecoder,
    MembraneDecoder,
)

__all__ = [
    "TASKS",
    "Classification",
    "OutputLayer",
    "Pattern",
    "Regression",
    "StepLabels",
    "TrainingTask",
    "class_counts",
    "fit_targets",
    "task_of",
]

# Value, in deviations of the target, for each spike per step by which the positive half of a
# population fires more than the negative one. With ten neurons in each half and a rate of 0.1, a
# half adds or subtracts two deviations; more neurons have a wider range with the same resolution.
VALUE_PER_SPIKE = 2.0

# Ratio of the largest and the smallest class above which they count as unbalanced.
UNBALANCED = 1.5


@dataclass(frozen=True)
class OutputLayer:
    """The output layer of a net.

    Args:
        n_outputs: Number of outputs: classes, or values of a step.
        population: Neurons of each output.
        is_readout: Whether its neurons only integrate, and their membranes are the outputs.
        tau: Membrane time constant [s].
        dt: Time step [s].
        is_given: Whether the net is one that a file of the user builds, which may give scores.
    """

    n_outputs: int
    population: int
    is_readout: bool
    tau: float
    dt: float
    is_given: bool = False

    @classmethod
    def of(cls, config: CompletedConfig) -> "OutputLayer":
        """The output layer of a run."""
        net: Any = config.net
        n_outputs = len(config.facts.classes) or config.facts.n_targets
        if net.name not in LAYERED:
            return cls(n_outputs, 1, True, net.dt, net.dt, is_given=True)
        is_readout = net.name == "lif" and config.task.name != "classification"
        population = 1 if is_readout else net.population
        return cls(n_outputs, population, is_readout, net.tau, net.dt)

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return self.n_outputs * self.population

    def step_decoder(self, scale: float, *, is_signed: bool) -> nn.Module:
        """The decoder of outputs for each step: the membranes, or the filtered rates.

        Args:
            scale: Output per spike and step, for neurons that spike.
            is_signed: Whether an output can be negative, for neurons that spike.
        """
        if self.is_given:
            return GivenDecoder()
        if self.is_readout:
            return MembraneDecoder(self.tau, self.dt)
        return RateDecoder(self.n_outputs, self.tau, self.dt, scale, is_signed=is_signed)


class TrainingTask(Protocol):
    """What a net learns.

    Attributes:
        name: Its name in configs.
        is_recurrent: Whether hidden layers are recurrent unless the config decides.
        score: The measure whose highest value on the validation set selects the epoch.
        batch_score_name: The measure that `batch_score` gives.
        output: The output layer.
        targets: The scale of the targets, or None for classes.
    """

    name: ClassVar[Task]
    is_recurrent: ClassVar[bool]
    batch_score_name: ClassVar[str]

    @property
    def score(self) -> str: ...

    @property
    def output(self) -> OutputLayer: ...

    @property
    def targets(self) -> Standard | None: ...

    @classmethod
    def of(cls, config: CompletedConfig) -> Self:
        """The task of a run, before it is fitted; `task_of` chooses the class."""

    def fitted(self, train: Series, *, is_balanced: bool = False) -> Self:
        """The task with what it takes from the training set.

        Args:
            train: The training set.
            is_balanced: Whether rare classes get larger weights.
        """

    def advice(self, train: Series) -> str | None:
        """What to know about the training set before a run, or None."""

    def scaled(self, targets: Standard | None) -> Self:
        """The task with a scale of the targets that was fitted earlier."""

    def decoder(self) -> nn.Module:
        """A decoder of outputs; see `nwavesdk.train.fit.decoders`."""

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            outputs: What the decoder gives.
            y: Targets of the batch; see `Batch`.
            lengths: Steps of each recording, `[B]`; None for all.
        """

    def batch_score(
        self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """The score of a training batch, and its weight in the mean over batches."""

    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sums of a batch from which the measures follow; those of batches are added."""

    def measures(self, tally: Tensor) -> dict[str, float]:
        """The measures of all batches in a tally."""

    def predict(self, outputs: Tensor) -> Tensor:
        """Classes, int64 `[B]` or `[B, T]`; or values in the units of the targets, `[B, T, D]`."""


@dataclass(frozen=True, eq=False)
class _Classes:
    """What tasks with classes share.

    Args:
        output: The output layer.
        sharpness: Logit per spike and step.
        weights: Weight of each class in the loss; None for equal ones.
        smoothing: Probability that the loss expects of the wrong classes together.
    """

    is_recurrent: ClassVar[bool] = False
    batch_score_name: ClassVar[str] = "accuracy"

    output: OutputLayer
    sharpness: float
    weights: tuple[float, ...] | None = None
    smoothing: float = 0.0

    @property
    def score(self) -> str:
        return "accuracy" if self.weights is None else "balanced_accuracy"

    @property
    def targets(self) -> Standard | None:
        return None

    @property
    def n_classes(self) -> int:
        return self.output.n_outputs

    @classmethod
    def of(cls, config: CompletedConfig) -> Self:
        net: Any = config.net
        task: Any = config.task
        sharpness = getattr(net, "sharpness", 1.0)  # of nets with spikes as outputs
        return cls(OutputLayer.of(config), sharpness, smoothing=task.label_smoothing)

    def fitted(self, train: Series, *, is_balanced: bool = False) -> Self:
        if not is_balanced:
            return self
        counts = class_counts(train, self.n_classes)
        # n / (C n_c); a class that the training set lacks has no weight.
        weights = counts.sum() / (self.n_classes * np.maximum(counts, 1)) * (counts > 0)
        return replace(self, weights=tuple(weights.tolist()))

    def advice(self, train: Series) -> str | None:
        """A note on classes that are not balanced, if the loss does not make up for it."""
        counts = class_counts(train, self.n_classes)
        present = counts[counts > 0]
        if self.weights is not None or present.max() <= UNBALANCED * present.min():
            return None
        names = train.recordings.classes
        most, fewest = (
            int(counts.argmax()),
            int(np.where(counts > 0, counts, counts.max()).argmin()),
        )
        return (
            f"the classes are not balanced: of the training set, {counts[most] / counts.sum():.1%} "
            f"are {names[most]!r} and {counts[fewest] / counts.sum():.1%} {names[fewest]!r}. "
            "Balanced accuracy and F1 are in the result; --class-weights balanced makes errors in "
            "rare classes cost more."
        )

    def scaled(self, targets: Standard | None) -> Self:
        del targets
        return self

    def batch_score(
        self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, int]:
        del lengths
        is_labeled = y >= 0
        is_right = (self.predict(outputs) == y)[is_labeled].float()
        return is_right.sum() / max(len(is_right), 1), len(is_right)

    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Decisions by true and predicted class, `[C, C]`."""
        del lengths
        return confusion_matrix(self.predict(outputs).cpu(), y.cpu(), self.n_classes)

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

    def _cross_entropy(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Mean over decisions, each multiplied by the weight of its class."""
        smoothing = self.smoothing
        if self.weights is None:
            return cross_entropy(logits, classes, label_smoothing=smoothing)
        weights = logits.new_tensor(self.weights)[classes]
        errors = cross_entropy(logits, classes, reduction="none", label_smoothing=smoothing)
        return (weights * errors).mean()


class Classification(_Classes):
    """A class for each recording: the population that fires most, over all of its steps."""

    name: ClassVar[Task] = "classification"

    def decoder(self) -> nn.Module:
        decoder = ClassDecoder(self.n_classes, self.sharpness)
        return GivenDecoder(decoder) if self.output.is_given else decoder

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Cross-entropy of the firing rates; see `nwavesdk.loss.rate_cross_entropy`."""
        del lengths
        return self._cross_entropy(outputs, y)


class StepLabels(_Classes):
    """A class for each step: the largest membrane of a read-out, or the largest filtered rate."""

    name: ClassVar[Task] = "labels"

    def decoder(self) -> nn.Module:
        return self.output.step_decoder(self.sharpness, is_signed=False)

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mean cross-entropy over all steps that have a class."""
        del lengths
        is_labeled = y >= 0
        if not is_labeled.any():
            return 0.0 * outputs.sum()
        return self._cross_entropy(outputs[is_labeled], y[is_labeled])


@dataclass(frozen=True, eq=False)
class Regression:
    """Values of each step: the membranes of a read-out, or filtered rates of signed populations.

    The net learns targets without units, `(target - mean) / deviation`.

    Args:
        output: The output layer.
        targets: Mean and deviation of the targets of the training set; None until `fitted`.
    """

    name: ClassVar[Task] = "regression"
    is_recurrent: ClassVar[bool] = False
    batch_score_name: ClassVar[str] = "r2"

    output: OutputLayer
    targets: Standard | None = None

    @property
    def score(self) -> str:
        return "r2"

    @classmethod
    def of(cls, config: CompletedConfig) -> Self:
        return cls(OutputLayer.of(config))

    def fitted(self, train: Series, *, is_balanced: bool = False) -> Self:
        del is_balanced  # there are no classes
        return replace(self, targets=fit_targets(train))

    def advice(self, train: Series) -> str | None:
        del train
        return None

    def scaled(self, targets: Standard | None) -> Self:
        return replace(self, targets=targets)

    def decoder(self) -> nn.Module:
        # The decoder takes the mean of each half.
        scale = VALUE_PER_SPIKE * self.output.population / 2
        return self.output.step_decoder(scale, is_signed=True)

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mean squared error of the values without units, over all steps within the lengths."""
        errors = (outputs - self._standardized(y)).square()
        if lengths is None:
            return errors.mean()
        return errors[valid_steps(lengths, errors.shape[1])].mean()

    def batch_score(
        self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """R² if the variance of the batch were that of the training set.

        The mean of all batches is then R² of the training set.
        """
        n_steps = y.shape[0] * y.shape[1] if lengths is None else int(lengths.sum())
        return 1 - self.loss(outputs, y, lengths), n_steps

    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The sums of `nwavesdk.metrics.values.value_sums`, of values without units."""
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
        mean, deviation = self.targets.mean, self.targets.deviation
        return like.new_tensor(mean), like.new_tensor(deviation)


class Pattern(Regression):
    """Values of each step from frozen noise: one pattern, which all sets share."""

    name: ClassVar[Task] = "pattern"
    is_recurrent: ClassVar[bool] = True


TASKS: Mapping[Task, type[TrainingTask]] = {
    task.name: task for task in (Classification, StepLabels, Regression, Pattern)
}


def task_of(config: CompletedConfig) -> TrainingTask:
    """The task of a run, before it is fitted.

    Args:
        config: The config of the run.
    """
    return TASKS[config.task.name].of(config)


def class_counts(train: Series, n_classes: int) -> npt.NDArray[np.int64]:
    """Recordings of each class, or frames of each class if frames have classes, `[C]`."""
    recordings = train.recordings
    if recordings.task == "classification":
        return np.bincount(recordings.labels, minlength=n_classes)
    counts = np.zeros(n_classes, np.int64)
    for target in recordings.targets:
        classes = target[: train.input.length].astype(np.int64)
        counts += np.bincount(classes[classes >= 0], minlength=n_classes)
    return counts


def fit_targets(train: Series) -> Standard:
    """Mean and deviation of each value over all steps of a training set."""
    recordings = train.recordings
    values = tuple(target[: train.input.length] for target in recordings.targets)
    return Standard.fit(replace(recordings, frames=values, targets=()))  # type: ignore[arg-type]  # values, not classes
