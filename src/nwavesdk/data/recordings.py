"""Labelled recordings as frames of features, each as long as it was spoken; every source of data ends in this form.

The scale of features: zero mean and unit deviation on the training part, the same map for every other part.

Recordings as one array [B, T, F] for a net: standardized, cut or padded to one length, each frame held for steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import numpy.typing as npt

__all__ = ["STEPS", "Recordings", "Series", "Standard", "fit_hold", "fit_length", "hash_order"]

Frames = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings of several classes, before any part is set aside.

    Args:
        frames: One array `[L, F]` a recording: L frames of F features; L differs, F does not.
        labels: Class index of each recording, `[B]`.
        classes: Name of each class.
        keys: A name for each recording that does not depend on the machine; it decides the part it belongs to.
        fingerprint: Hash of the source's content, to notice data that have changed since a run began.
        sample_rate: Rate of the sound that the features were made from [Hz], where it is known.

    Raises:
        ValueError: The fields disagree in length, or the recordings in their number of features.
    """

    frames: tuple[Frames, ...]
    labels: Indices
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    fingerprint: str
    sample_rate: int | None = None

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
        """Features a frame."""
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
        """About `count` recordings, as even over the classes as they are there; the same ones on every machine.

        Raises:
            ValueError: `count` leaves less than three recordings a class, too few for three parts.
        """
        share = count // len(self.classes)
        if share < 3:
            raise ValueError(
                f"A limit of {count} recordings leaves {share} for each of {len(self.classes)} classes, expected at "
                f"least 3 (train, validation, test): use {3 * len(self.classes)} or more."
            )
        kept = [
            hash_order(self.keys, np.flatnonzero(self.labels == c))[:share]
            for c in range(len(self.classes))
        ]
        return self.take(np.sort(np.concatenate(kept)))


def hash_order(keys: Sequence[str], indices: Indices) -> Indices:
    """`indices` in the order of their keys' SHA-256: an arbitrary order that is the same everywhere.

    Example:
        >>> hash_order(["a", "b", "c"], np.arange(3)).tolist()
        [2, 1, 0]
    """
    return np.array(
        sorted(indices, key=lambda i: sha256(keys[i].encode()).digest()), dtype=np.int64
    )


@dataclass(frozen=True, eq=False)
class Standard:
    """`z = (f - mean) / deviation`, feature by feature.

    Args:
        mean: Mean of each feature over all frames of the training part, `[F]`.
        deviation: Standard deviation of each feature, `[F]`; 1 where a feature does not vary.
    """

    mean: Frames
    deviation: Frames

    @classmethod
    def fit(cls, recordings: Recordings) -> "Standard":
        """Measure the training part.

        Args:
            recordings: The training part, and nothing else.
        """
        frames: npt.NDArray[np.float64] = np.concatenate(recordings.frames).astype(np.float64)
        deviation = frames.std(axis=0)
        # A constant feature (a silent mel band) has a deviation of rounding noise; dividing by it would blow it up.
        constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(frames.mean(axis=0)))
        return cls(
            frames.mean(axis=0).astype(np.float32),
            np.where(constant, 1.0, deviation).astype(np.float32),
        )

    def apply(self, frames: Frames) -> Frames:
        """Frames `[L, F]` on the training part's scale."""
        return (frames - self.mean) / self.deviation


STEPS = 100
"""Time steps a sequence should have, about."""


@dataclass(frozen=True, eq=False)
class Series:
    """What a net sees.

    Args:
        x: Input, `[B, T, F]`, on the training part's scale.
        labels: Class index of each recording, `[B]`.
    """

    x: Frames
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, recordings: Recordings, standard: Standard, length: int, hold: int) -> "Series":
        """Line recordings up.

        A recording that is longer than `length` frames is cut behind them. A shorter one is followed by zeros, the
        training part's mean frame: no charge flows, so the net falls silent instead of hearing a made-up sound.

        Args:
            recordings: Any part.
            standard: The scale, measured on the training part.
            length: Frames that are kept.
            hold: Time steps for which a frame stays.

        Returns:
            Series with `T = length * hold`.
        """
        x = np.zeros((len(recordings), length, recordings.n_features), np.float32)
        for row, frames in zip(x, recordings.frames, strict=True):
            kept = frames[:length]
            row[: len(kept)] = standard.apply(kept)
        return cls(np.repeat(x, hold, axis=1), recordings.labels)


def fit_length(train: Recordings) -> int:
    """Frames to keep, so that nine of ten recordings stay whole.

    Args:
        train: The training part.
    """
    return int(np.quantile([len(frames) for frames in train.frames], 0.9, method="higher"))


def fit_hold(length: int) -> int:
    """Steps to hold a frame for, so that `length` frames take about `STEPS`.

    Example:
        >>> fit_hold(25), fit_hold(98), fit_hold(400)
        (4, 1, 1)
    """
    return max(1, round(STEPS / length))
