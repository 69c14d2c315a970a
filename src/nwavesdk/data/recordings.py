"""Labeled recordings as frames of features, and what a net gets from them.

`Recordings` holds frames of different lengths: every source of data ends in this form. `Standard`
is the scale of their features, and `Series` has them as one array `[B, T, F]`: standardized, cut or
padded to one length, with each frame held for several time steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import numpy.typing as npt

__all__ = [
    "STEPS",
    "Frames",
    "Indices",
    "Recordings",
    "Series",
    "Standard",
    "fit_hold",
    "fit_length",
    "hash_order",
]

Frames = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Number of time steps that a series should have, about.
STEPS = 100


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings of several classes, before they are split.

    Args:
        frames: One array `[L, F]` per recording: L frames of F features; L differs, F does not.
        labels: Class index of each recording, `[B]`.
        classes: Name of each class.
        keys: A name for each recording that does not depend on the machine; it decides the set that
            the recording is assigned to.
        fingerprint: Hash of the source's content, to detect data that changed after a run began.
        sample_rate: Rate of the sound that the features were computed from [Hz], if it is known.
        skipped: Path inside the folder and fault of each file that was left out.

    Raises:
        ValueError: If the fields differ in length, or the recordings in their number of features.
    """

    frames: tuple[Frames, ...]
    labels: Indices
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    fingerprint: str
    sample_rate: int | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.labels) == len(self.keys):
            raise ValueError(
                f"Recordings need one label and one key each, got {len(self.frames)} recordings, "
                f"{len(self.labels)} labels and {len(self.keys)} keys."
            )
        widths = {frames.shape[1] for frames in self.frames}
        if len(widths) > 1:
            raise ValueError(
                f"Recordings need the same features in every frame, got widths {sorted(widths)}."
            )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def n_features(self) -> int:
        """Number of features of a frame."""
        return int(self.frames[0].shape[1])

    def take(self, indices: Indices) -> "Recordings":
        """The recordings at `indices`, in that order, with the same classes."""
        return replace(
            self,
            frames=tuple(self.frames[i] for i in indices),
            labels=self.labels[indices],
            keys=tuple(self.keys[i] for i in indices),
        )

    def limit(self, count: int) -> "Recordings":
        """About `count` recordings, equally many of each class; the same ones on every machine.

        Raises:
            ValueError: If `count` leaves fewer than three recordings of each class, too few for
                three sets.
        """
        per_class = count // len(self.classes)
        if per_class < 3:
            raise ValueError(
                f"limit: {count} recordings leave {per_class} for each of "
                f"{len(self.classes)} classes, expected at least 3 (train, validation, test): use "
                f"{3 * len(self.classes)} or more."
            )
        chosen = [
            hash_order(self.keys, np.flatnonzero(self.labels == label))[:per_class]
            for label in range(len(self.classes))
        ]
        return self.take(np.sort(np.concatenate(chosen)))


def hash_order(keys: Sequence[str], indices: Indices) -> Indices:
    """`indices` in the order of their keys' SHA-256: arbitrary, but the same everywhere.

    Example:
        >>> hash_order(["a", "b", "c"], np.arange(3)).tolist()
        [2, 1, 0]
    """
    return np.array(sorted(indices, key=lambda i: sha256(keys[i].encode()).digest()), np.int64)


@dataclass(frozen=True, eq=False)
class Standard:
    """`z = (f - mean) / deviation` for each feature, the same for all sets.

    Args:
        mean: Mean of each feature over all frames of the training set, `[F]`.
        deviation: Standard deviation of each feature, `[F]`; 1 if a feature does not vary.
    """

    mean: Frames
    deviation: Frames

    @classmethod
    def fit(cls, recordings: Recordings) -> "Standard":
        """The mean and the deviation of the training set.

        Args:
            recordings: The training set only.
        """
        frames: npt.NDArray[np.float64] = np.concatenate(recordings.frames).astype(np.float64)
        mean = frames.mean(axis=0)
        deviation = frames.std(axis=0)
        # The deviation of a constant feature (a silent mel band) is rounding noise, which must not
        # become a divisor.
        is_constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(mean))
        deviation = np.where(is_constant, 1.0, deviation)
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def apply(self, frames: Frames) -> Frames:
        """Frames `[L, F]` on the scale of the training set."""
        return (frames - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class Series:
    """The input of a net.

    Args:
        x: Features on the scale of the training set, `[B, T, F]`.
        labels: Class index of each recording, `[B]`.
    """

    x: Frames
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, recordings: Recordings, standard: Standard, length: int, hold: int) -> "Series":
        """Bring recordings to one length.

        A recording that is longer than `length` frames loses its end. A shorter one is followed by
        zeros, the mean frame of the training set: no charge flows, so the net becomes silent and
        gets no invented sound.

        Args:
            recordings: A training, validation or test set.
            standard: The scale, measured on the training set.
            length: Number of frames of each recording.
            hold: Number of time steps that a frame is held for.

        Returns:
            Series with `T = length * hold`.
        """
        x = np.zeros((len(recordings), length, recordings.n_features), np.float32)
        for padded, frames in zip(x, recordings.frames, strict=True):
            cut = frames[:length]
            padded[: len(cut)] = standard.apply(cut)
        return cls(np.repeat(x, hold, axis=1), recordings.labels)


def fit_length(train: Recordings) -> int:
    """The number of frames with which nine of ten recordings are not cut.

    Args:
        train: The training set.
    """
    return int(np.quantile([len(frames) for frames in train.frames], 0.9, method="higher"))


def fit_hold(length: int) -> int:
    """The number of steps to hold a frame for, so that `length` frames take about `STEPS` steps.

    Example:
        >>> fit_hold(25), fit_hold(98), fit_hold(400)
        (4, 1, 1)
    """
    return max(1, round(STEPS / length))
