"""Three parts of a set of recordings: to learn from, to select on, to report once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, Recordings, hash_order

__all__ = ["Split", "stratified_split"]


class Split(NamedTuple):
    """The three parts."""

    train: Recordings
    val: Recordings
    test: Recordings


def stratified_split(recordings: Recordings, val: float = 0.15, test: float = 0.15) -> Split:
    """Part recordings class by class, by the hash of their keys.

    Nothing random is involved: not the seed of a run, nor the machine, nor the order of files in a folder changes a
    recording's part, and a recording that is added later moves at most a few others.

    Args:
        recordings: The whole set.
        val: Share of each class to select on.
        test: Share of each class to report.

    Returns:
        The parts; each holds at least one recording of every class.

    Raises:
        ValueError: The shares leave nothing to learn from, or a class has less than three recordings.
    """
    if min(val, test) <= 0 or val + test >= 1:
        raise ValueError(f"The shares of validation and test must be positive and sum below 1, got {val} and {test}.")
    parts: tuple[list[Indices], ...] = ([], [], [])
    for label, name in enumerate(recordings.classes):
        order = hash_order(recordings.keys, np.flatnonzero(recordings.labels == label))
        if len(order) < 3:
            raise ValueError(
                f"Class {name!r} has {len(order)} recordings, expected at least 3 (train, validation, test): "
                f"add recordings or leave the class out."
            )
        n_test, n_val = (max(1, round(share * len(order))) for share in (test, val))
        cuts: Sequence[npt.NDArray[np.int64]] = np.split(order, [n_test, n_test + n_val])
        for part, indices in zip(parts, (cuts[2], cuts[1], cuts[0]), strict=True):
            part.append(indices)
    return Split(*(recordings.take(np.sort(np.concatenate(part))) for part in parts))
