"""Recordings as one array [B, T, F] for a net: standardized, cut or padded to one length, each frame held for steps."""

from dataclasses import dataclass

import numpy as np

from nwavesdk.data.recordings import Frames, Indices, Recordings
from nwavesdk.data.standard import Standard

__all__ = ["STEPS", "Series", "fit_hold", "fit_length"]

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
