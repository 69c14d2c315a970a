"""Who speaks in a recording, if file names show it, and which set each speaker is assigned to."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, hash_order

__all__ = ["TEST", "TRAIN", "VAL", "assign_speakers", "speakers_of"]

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

Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]


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


def assign_speakers(
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
    names = [names[index] for index in hash_order(names, np.arange(len(names)))]
    number = {name: index for index, name in enumerate(names)}
    number_of = np.array([number[speaker] for speaker in speakers], np.int64)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (number_of, labels), 1)
    # Each speaker is offered to the test set first, then to the validation set.
    goals: dict[int, Counts] = {
        TEST: np.maximum(1, np.round(test * counts.sum(0))),
        VAL: np.maximum(1, np.round(val * counts.sum(0))),
    }
    set_of = _assign_in_order(counts, goals)
    _bring_missing_classes(counts, goals, set_of, classes)
    return set_of[number_of]


def _assign_in_order(counts: Indices, goals: dict[int, Counts]) -> Indices:
    """The set of each speaker, from `counts` of recordings `[speakers, classes]`."""
    set_of = np.full(len(counts), TRAIN, np.int64)
    sums: dict[int, Counts] = {subset: np.zeros(counts.shape[1]) for subset in goals}
    for speaker, count in enumerate(counts):
        for subset, goal in goals.items():
            if _distance_gain(sums[subset], count, goal) > 0:
                set_of[speaker] = subset
                sums[subset] = sums[subset] + count
                break
    return set_of


def _bring_missing_classes(
    counts: Indices, goals: dict[int, Counts], set_of: Indices, classes: Sequence[str]
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


def _move_gain(
    count: Indices, sums: Indices, goals: dict[int, Counts], source: int, target: int
) -> float:
    """By how many recordings the sets come closer to their goals when a speaker is moved."""
    gain = 0.0
    if target in goals:
        gain += _distance_gain(sums[target], count, goals[target])
    if source in goals:
        gain -= _distance_gain(sums[source] - count, count, goals[source])
    return gain


def _distance_gain(sums: Counts, count: Indices, goal: Counts) -> float:
    """By how many recordings a set comes closer to its goal when a speaker is added."""
    return float(np.abs(sums - goal).sum() - np.abs(sums + count - goal).sum())
