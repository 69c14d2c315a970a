"""A support vector machine with a Gaussian kernel on the frames of recordings, for comparison."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from nwavesdk.data import Series
from nwavesdk.data.batches import PADDING_LABEL

__all__ = ["FittedSvm", "fit_svm"]

# What the validation set chooses from: frames to which a recording is resampled, and the cost of
# errors.
FRAMES = (16, 32)
COSTS = (1.0, 10.0)

# Recordings, or steps with a class of their own, that an SVM is fitted to at most.
MAX_SAMPLES = 10_000
MAX_STEPS = 5_000

# Steps before and after a step that its class is decided by, every fourth of them.
CONTEXT = 40
STRIDE = 4

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FittedSvm:
    """A fitted machine.

    Attributes:
        model: The scaler and the machine.
        frames: Frames to which a recording is resampled; None if each step has a class.
        validation: The fraction of right decisions on the validation set.
        parameters: Numbers of the machine: support vectors and their coefficients.
        macs: Multiplications with additions for one decision.
    """

    model: Pipeline
    frames: int | None
    validation: float
    parameters: int
    macs: int

    def score(self, series: Series) -> float:
        """The fraction of right decisions."""
        rows, labels = rows_of(series, self.frames)
        return float(self.model.score(rows, labels))


def fit_svm(train: Series, val: Series) -> FittedSvm:
    """Fit a machine for each choice; the best one on the validation set.

    Args:
        train: The training set.
        val: The validation set.
    """
    best: FittedSvm | None = None
    is_per_step = train.recordings.task == "labels"
    longest = int(train.lengths.max())
    choices = [None] if is_per_step else sorted({min(n, longest) for n in FRAMES})
    for frames in choices:
        rows, labels = rows_of(train, frames, MAX_STEPS if is_per_step else MAX_SAMPLES)
        val_rows, val_labels = rows_of(val, frames, MAX_STEPS)
        for cost in COSTS:
            model = make_pipeline(StandardScaler(), SVC(C=cost)).fit(rows, labels)
            validation = float(model.score(val_rows, val_labels))
            if best is None or validation > best.validation:
                vectors = model[-1].support_vectors_
                coefficients = model[-1].dual_coef_.size
                best = FittedSvm(
                    model=model,
                    frames=frames,
                    validation=validation,
                    parameters=vectors.size + coefficients,
                    macs=vectors.size + coefficients,
                )
    assert best is not None
    return best


def rows_of(series: Series, frames: int | None, most: int | None = None) -> tuple[Rows, Labels]:
    """One row of features and one label for each recording, or for each step with a class.

    Args:
        series: A set.
        frames: Frames to which a recording is resampled; None if each step has a class.
        most: Number of rows, about; they are chosen evenly. [all]
    """
    if frames is None:
        return step_rows(series, most)
    chosen = evenly(len(series), most)
    rows = np.stack([resampled(series.input_of(int(i)), frames).ravel() for i in chosen])
    return rows, series.recordings.labels[chosen]


def step_rows(series: Series, most: int | None) -> tuple[Rows, Labels]:
    """Features of the steps around a step, and its class."""
    offsets = np.arange(-CONTEXT, CONTEXT + 1, STRIDE)
    per_recording = None if most is None else max(1, most // len(series))
    rows: list[Rows] = []
    labels: list[Labels] = []
    for index in range(len(series)):
        frames = np.pad(series.input_of(index), ((CONTEXT, CONTEXT), (0, 0)))
        target = series.recordings.targets[index][: series.input.length].astype(np.int64)
        valid = np.flatnonzero(target != PADDING_LABEL)
        # Another phase in each recording, so that all steps are seen.
        steps = np.roll(valid, -index)[evenly(len(valid), per_recording)]
        places = steps[:, None] + CONTEXT + offsets
        rows.append(frames[places].reshape(len(steps), -1))
        labels.append(target[steps])
    return np.concatenate(rows), np.concatenate(labels)


def evenly(count: int, most: int | None) -> Labels:
    """At most `most` of `count` indices, at equal distances."""
    if most is None or count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def resampled(frames: Rows, count: int) -> Rows:
    """Frames `[L, F]` as `[count, F]`: means of as many equal parts of the recording.

    Example:
        >>> resampled(np.array([[1.0], [3.0], [5.0], [7.0]], np.float32), 2).ravel().tolist()
        [2.0, 6.0]
        >>> resampled(np.array([[1.0], [2.0]], np.float32), 4).ravel().tolist()
        [1.0, 1.0, 2.0, 2.0]
    """
    sums = np.zeros((len(frames) + 1, frames.shape[1]))
    np.cumsum(frames, axis=0, out=sums[1:])
    edges = np.linspace(0, len(frames), count + 1)
    whole = np.minimum(edges.astype(np.int64), len(frames) - 1)
    at_edges = sums[whole] + (edges - whole)[:, None] * frames[whole]
    means: Rows = (np.diff(at_edges, axis=0) * count / len(frames)).astype(np.float32)
    return means
