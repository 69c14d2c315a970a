"""Recordings as frames of features, with the classes or targets that a net learns from them.

Every source of data ends in `Recordings`: frames of different lengths, which may be in a file that
is larger than memory. `Standard` is the scale of their features.
"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.data.source import Array, Part, StepTarget, TaskName
from nwavesdk.metrics.detection import Event

__all__ = [
    "STEPS",
    "Array",
    "Frames",
    "Indices",
    "Recordings",
    "Standard",
    "fit_hold",
    "fit_length",
    "generator_of",
    "hash_order",
    "moments_of",
    "target_at",
]

Frames = npt.NDArray[np.float32]
"""The frames of a recording, float32 `[L, F]`: L frames of F features."""

# Step and place of each event of a recording, int32 `[n, 2]`.
Pairs = npt.NDArray[np.int32]

Indices = npt.NDArray[np.int64]
"""Whole numbers, int64 `[n]`: indices of recordings, their classes, or lengths."""

# A series should have about this many time steps.
STEPS = 100

# The mean and the deviation of a standardized recording are within this distance of 0 and 1, since
# some programs divide by n, others by n - 1, and all round.
STANDARDIZED_WITHIN = 0.1

# A relative deviation from the mean below this is the rounding noise of a constant in float32. It
# must not become a divisor.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings as frames: all recordings of a data set, or one set of a split.

    Args:
        frames: One array `[L, F]` per recording: L frames of F features; L differs, F does not.
        labels: Class index of each recording, `[B]`; all 0 if recordings have no class.
        classes: Name of each class; of the steps if the task is `"labels"`.
        keys: A name for each recording, which decides its set and does not depend on the machine.
        fingerprint: Hash of the source's content.
        sample_rate: Rate of the sound behind the features [Hz], if it is known.
        skipped: Path inside the folder and fault of each skipped file.
        task: The task of a net on these recordings.
        targets: The class of each frame, int64 `[L]`, or its values, float32 `[L, D]`; none if
            recordings have classes.
        parts: The set of each recording in an official split; otherwise empty.
        groups: The group of each recording, such as its speaker; empty if unknown.
        feature_shape: Shape of the features of a frame, if they have more than one axis.
        feature_names: Names of the features of a series, if files have them.
        events: The events in each recording, by a table of times; empty without a table.

    Raises:
        ValueError: If the fields differ in length.

    Example:
        >>> frames = (np.ones((3, 2), np.float32), np.zeros((5, 2), np.float32))
        >>> keys = ("no/1", "yes/1")
        >>> labels = np.array([0, 1])
        >>> recordings = Recordings(frames, labels, ("no", "yes"), keys, fingerprint="none")
        >>> len(recordings), recordings.lengths, recordings.n_features
        (2, array([3, 5]), 2)
        >>> recordings.take(np.array([1])).keys
        ('yes/1',)
    """

    frames: Sequence[Frames]
    labels: Indices
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    _: KW_ONLY
    fingerprint: str
    sample_rate: int | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    task: TaskName = "classification"
    targets: Sequence[StepTarget] = ()
    parts: tuple[Part | Literal[""], ...] = ()
    groups: tuple[str, ...] = ()
    feature_shape: tuple[int, ...] = ()
    feature_names: tuple[str, ...] = ()
    events: tuple[tuple[Event, ...], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.labels) == len(self.keys):
            raise ValueError(
                f"Recordings need one label and one key each, got {len(self.frames)} recordings, "
                f"{len(self.labels)} labels and {len(self.keys)} keys."
            )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def stored(self) -> Any:
        """The frames of each recording; of events, their bins."""
        return getattr(self.frames, "bins", self.frames)

    @property
    def n_features(self) -> int:
        """Number of features of a frame."""
        return int(self.stored[0].shape[1])

    @property
    def n_targets(self) -> int:
        """Values of the target of a frame; 0 if the target is a class."""
        return int(self.targets[0].shape[1]) if self.task in ("regression", "pattern") else 0

    @property
    def are_events(self) -> bool:
        """Whether `stored` has the events of each recording in bins."""
        return self.stored is not self.frames

    @cached_property
    def lengths(self) -> Indices:
        """Number of frames of each recording, `[B]`."""
        return np.array([frames.shape[0] for frames in self.stored], np.int64)

    def take(self, indices: Indices) -> "Recordings":
        """The recordings at `indices`, in that order, with the same classes."""

        def chosen(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[index] for index in indices) if len(values) else ()

        # Events are selected as bins, and stay in a sequence of the same class.
        frames = chosen(self.stored)
        return replace(
            self,
            frames=type(self.frames)(frames) if self.are_events else frames,  # type: ignore[call-arg]  # see the class
            labels=self.labels[indices],
            keys=chosen(self.keys),
            targets=chosen(self.targets),
            parts=chosen(self.parts),
            groups=chosen(self.groups),
            events=chosen(self.events),
        )

    def limit(self, count: int) -> "Recordings":
        """About `count` recordings, equally many of each class; the same on every machine.

        Raises:
            ValueError: If `count` leaves fewer than three recordings of each class.
        """
        labels = np.unique(self.labels)
        per_class = count // len(labels)
        if per_class < 3:
            raise ValueError(
                f"limit: got {count} recordings, expected at least {3 * len(labels)}: three sets "
                "need three recordings of each class, or three in all without classes."
            )

        return self.take(self.first_of_classes(np.arange(len(self)), per_class))

    def first_of_classes(self, members: Indices, per_class: int) -> Indices:
        """The first recordings of each class in the order of hashes, as rising indices.

        Args:
            members: The indices that are chosen from.
            per_class: Number of recordings of each class.
        """
        labels = self.labels[members]
        firsts = [
            hash_order(self.keys, members[labels == label])[:per_class]
            for label in np.unique(labels)
        ]
        return np.sort(np.concatenate(firsts))


def hash_order(keys: Sequence[str], indices: Indices, start: Fraction | None = None) -> Indices:
    """`indices` in the order of their keys' SHA-256: arbitrary, but the same everywhere.

    Args:
        keys: The keys that indices point to.
        indices: The indices to sort.
        start: Fraction of the order to skip; the skipped part comes at the end. [0]

    Example:
        >>> hash_order(["a", "b", "c"], np.arange(3)).tolist()
        [2, 1, 0]
        >>> hash_order(["a", "b", "c"], np.arange(3), Fraction(1, 3)).tolist()
        [1, 0, 2]
    """
    order = np.array(sorted(indices, key=lambda i: sha256(keys[i].encode()).digest()), np.int64)
    return np.roll(order, -math.ceil((start or 0) * len(order)))


def generator_of(seed: int, key: str) -> np.random.Generator:
    """Random numbers of one recording, the same on every machine."""
    digest = sha256(f"{seed}:{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


@dataclass(frozen=True, eq=False)
class Standard:
    """`z = (f - mean) / deviation` for each feature, the same for all sets.

    Args:
        mean: Mean of each feature over all frames of the training set, `[F]`.
        deviation: Standard deviation of each feature, `[F]`; 1 if a feature does not vary.
        least_change: Least deviation over time by which a recording is divided, so that silence
            stays small.

    Example:
        >>> frames = (np.ones((3, 2), np.float32), np.zeros((5, 2), np.float32))
        >>> keys = ("no/1", "yes/1")
        >>> labels = np.array([0, 1])
        >>> recordings = Recordings(frames, labels, ("no", "yes"), keys, fingerprint="none")
        >>> standard = Standard.fit(recordings)
        >>> standard.mean, standard.apply(np.ones((1, 2), np.float32)).round(2)
        (array([0.375, 0.375], dtype=float32), array([[1.29, 1.29]], dtype=float32))
    """

    mean: Frames
    deviation: Frames
    least_change: float = 0.0

    @classmethod
    def fit(cls, recordings: Recordings) -> "Standard":
        """The mean and the deviation of the training set.

        Args:
            recordings: The training set only.
        """
        mean, deviation = moments_of(recordings.frames, int(recordings.lengths.sum()))
        deviation[deviation == 0] = 1
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def of_recording(self, frames: Frames, *, center: bool, standardize: bool) -> "Standard":
        """The scale of a recording with its own mean or deviation.

        Args:
            frames: The whole recording, cut, `[L, F]`.
            center: Whether its mean replaces the mean of the training set.
            standardize: Whether its deviation over all steps and features becomes 1.
        """
        recording_mean, spread = moments_of([frames], len(frames))
        mean = recording_mean.astype(np.float32) if center else self.mean
        if not standardize:
            return Standard(mean, self.deviation)

        # The deviation over all features, in units of the training set; and the least change, in
        # the same units.
        factor = math.sqrt(np.square(spread / self.deviation).mean()) or 1.0
        least = self.least_change * math.sqrt(np.square(1 / self.deviation).mean())
        return Standard(mean, (self.deviation * max(factor, least)).astype(np.float32))

    def apply(self, frames: Frames) -> Frames:
        """Frames `[L, F]` on the scale of the training set."""
        return (frames - self.mean) / self.deviation


def standardized(frames: Frames) -> Frames:
    """Scale each feature of a recording `[L, F]` to mean 0 and deviation 1; constants become 0."""
    mean, deviation = moments_of([frames], len(frames))
    return np.asarray((frames - mean) / np.where(deviation > 0, deviation, np.inf), np.float32)


def is_standardized(values: Frames) -> bool:
    """Whether each feature of a recording `[L, ...]` has about the mean 0 and the deviation 1.

    Constant features are ignored.
    """
    mean, deviation = moments_of([values], len(values))
    distance = np.maximum(np.abs(mean), np.abs(deviation - 1))
    return bool(np.all((distance < STANDARDIZED_WITHIN) | (deviation == 0)))


def moments_of(recordings: Sequence[Frames], n_frames: int) -> tuple[Array, ...]:
    """The mean and the deviation of each feature over all frames of recordings.

    The deviation of a feature that is constant, such as a silent mel band, is 0.
    """
    # Two passes, recording by recording, because they may not fit into memory together.
    mean = np.asarray(sum(frames.sum(axis=0, dtype=np.float64) for frames in recordings)) / n_frames
    squares = sum(np.square(frames - mean).sum(axis=0) for frames in recordings)
    deviation = np.sqrt(squares / n_frames)
    return mean, np.where(deviation > ROUNDING * np.abs(mean), deviation, 0.0)


def target_at(target: StepTarget, steps: Array) -> StepTarget:
    """The target between its steps.

    Args:
        target: `[T]` or `[T, D]`.
        steps: From 0 to T - 1, `[n]`.

    Returns:
        The classes of the nearest steps, `[n]`, or values by linear interpolation, `[n, D]`.
    """
    if target.dtype.kind == "i":
        return target[np.rint(steps).astype(np.int64)]
    columns = [np.interp(steps, np.arange(len(target)), column) for column in target.T]
    return np.stack(columns, axis=1).astype(np.float32)


def fit_length(train: Recordings) -> int:
    """The number of frames with which nine of ten recordings are not cut.

    Args:
        train: The training set.

    Example:
        >>> frames = tuple(np.zeros((length, 1), np.float32) for length in (50, 60, 70, 400))
        >>> keys = tuple("abcd")
        >>> labels = np.zeros(4, np.int64)
        >>> fit_length(Recordings(frames, labels, ("yes",), keys, fingerprint="none"))
        400
    """
    return int(np.quantile(train.lengths, 0.9, method="higher"))


def fit_hold(length: int) -> int:
    """The number of steps to hold a frame for, so that `length` frames take about `STEPS` steps.

    Example:
        >>> fit_hold(25), fit_hold(98), fit_hold(400)
        (4, 1, 1)
    """
    return max(1, round(STEPS / length))
