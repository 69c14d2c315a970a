"""What a trained run predicts about one recording."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nwavesdk.data.source import Task

__all__ = ["Prediction", "Span"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# A class, and the first and the last step of those in a row that have it.
Span = tuple[str, int, int]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for a recording: its class, the class of each step, or values of each step.

    Args:
        key: Name of the recording.
        task: What the net has learned.
        steps: Time steps of the net, T.
        classes: Name of each class; none for values.
        predicted: Index of the class, int64 `[]`; of each step, int64 `[T]`; or values in the units
            of the targets, float32 `[T, D]`.
        probabilities: Probability of each class, `[C]` or `[T, C]`; None for values.
        step_seconds: Time from a step to the next one in the recording [s]; None if steps have no
            duration, as those of series and images.
        counts: Output spikes of each class or value, `[C]` or `[D]`; None if the outputs of the net
            are membranes.
        spikes: Step and output neuron of each spike, int32 `[n, 2]`, in the order of steps; None if
            they were not asked for.
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
    task: Task
    steps: int
    classes: tuple[str, ...]
    predicted: Integers | Floats
    probabilities: Floats | None
    step_seconds: float | None
    counts: Integers | None = None
    spikes: npt.NDArray[np.int32] | None = None
    is_cut: bool = False

    @property
    def is_per_step(self) -> bool:
        """Whether the net predicts something for each step."""
        return self.task != "classification"

    @property
    def scores(self) -> Floats:
        """The probabilities of classes; or the values, if there are no classes."""
        return self.predicted if self.probabilities is None else self.probabilities  # type: ignore[return-value]  # values

    @property
    def class_name(self) -> str:
        """The class of the recording.

        Raises:
            ValueError: If the net predicts something for each step.
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
        assert self.probabilities is not None
        # Of equal probabilities, which rounding can make, the predicted class comes first.
        is_other = np.arange(len(self.classes)) != self.predicted
        order = np.lexsort((is_other, -self.probabilities))
        return [(self.classes[i], float(self.probabilities[i])) for i in order]

    @property
    def times(self) -> npt.NDArray[np.float64] | None:
        """When each step begins [s], `[T]`; None if steps have no duration."""
        if self.step_seconds is None:
            return None
        return np.arange(self.steps, dtype=np.float64) * self.step_seconds

    def spans(self) -> list[Span]:
        """The classes of steps, those in a row together: name, first and last step."""
        changes = np.flatnonzero(np.diff(self.predicted)) + 1
        borders = [0, *changes.tolist(), self.steps]
        return [
            (self.classes[int(self.predicted[first])], first, after - 1)
            for first, after in pairwise(borders)
        ]
