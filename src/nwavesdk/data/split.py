"""Training, validation and test set: which recordings are learned from, selected on and reported.

Every order is that of SHA-256 hashes. So the set of a recording does not depend on a seed, on the
machine or on the order of files, and a recording that is added later moves few others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from nwavesdk.data.recordings import Indices, Recordings, hash_order
from nwavesdk.data.speakers import TEST, TRAIN, VAL, assign_speakers, speakers_of

__all__ = [
    "Split",
    "SplitBy",
    "check_shares",
    "split_indices",
    "split_recordings",
]

SplitBy = Literal["auto", "speaker", "recording"]
"""What to keep together; `"auto"` is by speaker if file names show enough speakers."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, eq=False)
class Split(Generic[T]):
    """One value for each of the three sets; iteration gives them in this order.

    Args:
        train: For the training set, to learn from.
        val: For the validation set, to select on.
        test: For the test set, to report once.

    Example:
        >>> Split(70, 15, 15).map(float).as_dict()
        {'train': 70.0, 'val': 15.0, 'test': 15.0}
    """

    train: T
    val: T
    test: T

    def __iter__(self) -> Iterator[T]:
        yield from (self.train, self.val, self.test)

    def map(self, function: Callable[[T], U]) -> "Split[U]":
        """The function of each value."""
        return Split(*map(function, self))

    def as_dict(self) -> dict[str, T]:
        """The values by the name of their set."""
        return {"train": self.train, "val": self.val, "test": self.test}


def check_shares(val: float, test: float) -> None:
    """Raise unless both shares are positive and leave recordings to learn from.

    Raises:
        ValueError: If a share is not positive, or both sum to 1 or more.
    """
    if not (val > 0 and test > 0 and val + test < 1):
        raise ValueError(
            "The shares of the validation and the test set must be positive and sum below 1, got "
            f"{val} and {test}."
        )


def split_indices(
    keys: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    by: SplitBy = "auto",
    val: float = 0.15,
    test: float = 0.15,
) -> tuple[Split[Indices], tuple[str, ...]]:
    """Split recordings by speaker or by recording.

    By recording, each class is split by the hashes of its keys. By speaker, no speaker is in two
    sets, and shares are met as well as whole speakers allow; see `assign_speakers`.

    Args:
        keys: A name for each recording, which shows the speaker for a split by speaker; see
            `speakers_of`.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: Name of each class.
        by: What to keep together.
        val: Share of each class in the validation set.
        test: Share of each class in the test set.

    Returns:
        Rising indices, where each set has every class, and who speaks in each recording; no
        speakers if the split is by recording.

    Raises:
        ValueError: If the shares leave nothing to learn from, a class is too small, or `by` is
            `"speaker"` and file names do not show who speaks or there are too few speakers.
    """
    check_shares(val, test)
    if by != "recording":
        try:
            speakers = speakers_of(keys)
            return _group(assign_speakers(speakers, labels, classes, val, test)), speakers
        except ValueError:
            if by == "speaker":
                raise
    return _group(_assign_recordings(keys, labels, classes, val, test)), ()


def _assign_recordings(
    keys: Sequence[str], labels: Indices, classes: Sequence[str], val: float, test: float
) -> Indices:
    """The set of each recording, in the order of the hashes of the keys of a class."""
    set_of = np.full(len(keys), TRAIN, np.int64)
    for label, name in enumerate(classes):
        order = hash_order(keys, np.flatnonzero(labels == label))
        if len(order) < 3:
            raise ValueError(
                f"Class {name!r} has {len(order)} recordings, expected at least 3 (train, "
                "validation, test): add recordings or leave the class out."
            )
        n_test = max(1, round(test * len(order)))
        n_val = max(1, round(val * len(order)))
        set_of[order[:n_test]] = TEST
        set_of[order[n_test : n_test + n_val]] = VAL
    return set_of


def _group(set_of: Indices) -> Split[Indices]:
    return Split(*(np.flatnonzero(set_of == subset) for subset in (TRAIN, VAL, TEST)))


def split_recordings(
    recordings: Recordings, by: SplitBy = "auto", val: float = 0.15, test: float = 0.15
) -> tuple[Split[Recordings], Literal["speaker", "recording"]]:
    """Split a set of recordings; see `split_indices`.

    Returns:
        The three sets, and what was kept together.
    """
    indices, speakers = split_indices(
        recordings.keys, recordings.labels, recordings.classes, by, val, test
    )
    return indices.map(recordings.take), "speaker" if speakers else "recording"
