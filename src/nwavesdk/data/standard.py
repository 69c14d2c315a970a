"""The scale of features: zero mean and unit deviation on the training part, the same map for every other part."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Frames, Recordings

__all__ = ["Standard"]


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
        return cls(frames.mean(axis=0).astype(np.float32), np.where(constant, 1.0, deviation).astype(np.float32))

    def apply(self, frames: Frames) -> Frames:
        """Frames `[L, F]` on the training part's scale."""
        return (frames - self.mean) / self.deviation
