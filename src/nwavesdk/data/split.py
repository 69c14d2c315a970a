"""Training, validation and test set: which recordings are learned from, selected on and reported.

Every order is that of SHA-256 hashes. So the set of a recording does not depend on a seed, on the
machine or on the order of files, and a recording that is added later moves few others.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, Recordings, hash_order

__all__ = ["Split", "SplitBy", "check_shares", "speakers_of", "split_indices", "split_recordings"]

# What to keep together; "auto" is by speaker if file names show enough speakers.
SplitBy = Literal["auto", "speaker", "recording"]

# File names of Speech Commands (a speaker is a hexadecimal number) and of the Free Spoken Digit
# Dataset.
PATTERNS = {
    "<speaker>_nohash_<n>.wav": re.compile(r"([0-9a-f]+)_nohash_[0-9]+\.wav", re.IGNORECASE),
    "<digit>_<speaker>_<index>.wav": re.compile(r"[0-9]_([^\W_]+)_[0-9]+\.wav", re.IGNORECASE),
}

# The sets of a split, as integers.
TRAIN = 0
VAL = 1
TEST = 2

Goals = npt.NDArray[np.float64]

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
    sets, and shares are met as well as whole speakers allow; see `_assign_speakers`.

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
            set_of = _assign_speakers(speakers, labels, classes, val, test)
            return _group(set_of), speakers
        except ValueError:
            if by == "speaker":
                raise
    return _group(_assign_recordings(keys, labels, classes, val, test)), ()


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


def speakers_of(keys: Sequence[str]) -> tuple[str, ...]:
    """The speaker of each recording.

    Args:
        keys: Paths whose last part is a file name.

    Returns:
        One name for each key.

    Raises:
        ValueError: If the names do not all follow one pattern. The message has the first name that
            does not follow the most common pattern.

    Example:
        >>> speakers_of(["no/03401e93_nohash_0.wav", "yes/0c40e715_nohash_1.wav"])
        ('03401e93', '0c40e715')
        >>> speakers_of(["7/7_george_12.wav"])
        ('george',)

    References:
        Speech Commands: Warden, 2018, arXiv 1804.03209. Spoken digits: Jackson et al.,
        doi:10.5281/zenodo.1342401.
    """
    names = [key.rpartition("/")[2] for key in keys]
    matches = [[pattern.fullmatch(name) for name in names] for pattern in PATTERNS.values()]
    best = max(matches, key=lambda of_pattern: sum(match is not None for match in of_pattern))
    for key, match in zip(keys, best, strict=True):
        if match is None:
            raise ValueError(
                f"The file names do not show who speaks: got {key!r}, expected all like "
                f"{' or all like '.join(PATTERNS)}: rename the files, or split by recording."
            )
    return tuple(match[1] for match in best if match)


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


def _assign_speakers(
    speakers: Sequence[str], labels: Indices, classes: Sequence[str], val: float, test: float
) -> Indices:
    """Assign every speaker, with all their recordings, to one of three sets.

    Speakers are taken in the order of their names' hashes. A speaker is assigned to the test set
    if that brings its number of recordings of each class, summed over classes, closer to `test`;
    otherwise to the validation set by the same rule; otherwise to the training set. If a class is
    then missing in a set, the speaker whose move changes the shares least is moved there.

    Args:
        speakers: Who speaks in each recording, `B` names.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: Name of each class.
        val: Share of each class in the validation set.
        test: Share of each class in the test set.

    Returns:
        The set of each recording, `[B]`: `TRAIN`, `VAL` or `TEST`. Each set has every class. The
        shares are met as well as whole speakers allow.

    Raises:
        ValueError: If there are too few speakers for every class in each set.
    """
    names = sorted(set(speakers))
    order = hash_order(names, np.arange(len(names)))
    number = {names[index]: rank for rank, index in enumerate(order)}
    number_of = np.array([number[speaker] for speaker in speakers], np.int64)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (number_of, labels), 1)
    # Goals of the validation and the test set: recordings of each class, [2, classes].
    goals = np.maximum(1, np.round(np.array([[val], [test]]) * counts.sum(0)))
    set_of = _assign_in_order(counts, goals)
    _bring_missing_classes(counts, goals, set_of, classes)
    return set_of[number_of]


def _assign_in_order(counts: Indices, goals: Goals) -> Indices:
    """The set of each speaker, from `counts` of recordings `[speakers, classes]`."""
    set_of = np.full(len(counts), TRAIN, np.int64)
    # Recordings of each set and class; those of the training set are not needed.
    sums = np.zeros((3, counts.shape[1]), np.int64)
    for speaker, count in enumerate(counts):
        for subset in (TEST, VAL):
            if _move_gain(count, sums, goals, TRAIN, subset) > 0:
                set_of[speaker] = subset
                sums[subset] += count
                break
    return set_of


def _bring_missing_classes(
    counts: Indices, goals: Goals, set_of: Indices, classes: Sequence[str]
) -> None:
    """Move speakers, in place, until each set has every class; no move takes a class from a set."""
    while True:
        sums = np.stack([counts[set_of == subset].sum(0) for subset in (TRAIN, VAL, TEST)])
        missing = np.argwhere(sums == 0)
        if not len(missing):
            return
        subset, label = (int(index) for index in missing[-1])
        candidates = [
            speaker
            for speaker in np.flatnonzero((set_of != subset) & (counts[:, label] > 0))
            if (sums[set_of[speaker]] > counts[speaker])[counts[speaker] > 0].all()
        ]
        if not candidates:
            raise ValueError(
                f"{len(counts)} speakers are too few for three sets that each have every class and "
                f"no speaker in two of them (class {classes[label]!r} is missing in one): add "
                "speakers, or split by recording."
            )
        gains = [
            _move_gain(counts[speaker], sums, goals, int(set_of[speaker]), subset)
            for speaker in candidates
        ]
        set_of[candidates[int(np.argmax(gains))]] = subset


def _move_gain(count: Indices, sums: Indices, goals: Goals, source: int, target: int) -> float:
    """By how many recordings the sets come closer to their goals when a speaker is moved."""
    moved = sums.copy()
    moved[source] -= count
    moved[target] += count
    # The training set, which is the first one, has no goal.
    return float((np.abs(sums[VAL:] - goals) - np.abs(moved[VAL:] - goals)).sum())
