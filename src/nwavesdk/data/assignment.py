"""Sets of recordings and of whole groups, such as speakers, in shares or in folds.

Every order is that of SHA-256 hashes. So the set of a recording does not depend on a seed, on the
machine or on the order of files, and a recording that is added later moves few others.

The functions here return the number of a set for each recording, `[B]`. With shares, set 0 is the
rest, from which a net learns; the further ones have the shares, in their order. Folds are counted
from 0.
"""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, hash_order

__all__ = [
    "OR_BY_RECORDING",
    "CannotSplitError",
    "assign_groups",
    "assign_recordings",
    "assign_validation",
    "fold_groups",
    "fold_recordings",
    "require_rest",
]

# Recordings of each class that each set should have, `[sets, classes]`; NaN for no goal.
Goals = npt.NDArray[np.float64]

# What can be done if groups, such as speakers, are not known or are too few.
OR_BY_RECORDING = ", or split by recording"

# A class with this many recordings or more gives at least one to a validation set.
LEAST_OF_CLASS = 4

# How much larger a group may be than the one whose move changes shares least.
MOST_LARGER = 1.5

# Numbers of sets in words.
SETS = {2: "two sets", 3: "three sets"}


class CannotSplitError(ValueError):
    """Recordings cannot be split in this way, such as by speaker.

    Args:
        what: Why.
        remedy: What makes it possible.
        otherwise: What can be done instead, such as ", or split by recording".
    """

    def __init__(self, what: str, remedy: str, otherwise: str = "") -> None:
        super().__init__(f"{what}: {remedy}{otherwise}.")
        self.what = what
        self.remedy = remedy


def assign_recordings(
    keys: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    shares: Sequence[float],
    start: Fraction | None = None,
) -> Indices:
    """Assign each recording to the rest or to a share, by the hashes of the keys of its class.

    Args:
        keys: A name for each recording, B of them.
        labels: Class index of each recording, `[B]`.
        classes: Name of each class.
        shares: Share of each class in sets 1, 2, …; the rest is set 0.
        start: Where the order of each class begins; see `hash_order`.

    Returns:
        The set of each recording, `[B]`; each set has every class.

    Raises:
        CannotSplitError: If a class has fewer recordings than there are sets.
    """
    set_of = np.zeros(len(keys), np.int64)
    n_sets = 1 + len(shares)
    for label, name in enumerate(classes):
        order = hash_order(keys, np.flatnonzero(labels == label), start)
        _require_recordings(name, len(order), n_sets, SETS[n_sets])
        counts = [max(1, round(share * len(order))) for share in shares]
        while sum(counts) >= len(order):  # large shares of few recordings leave nothing to learn
            counts[int(np.argmax(counts))] -= 1
        # The last share is first in the order, the rest is last.
        numbers = np.repeat(np.arange(n_sets), [len(order) - sum(counts), *counts])
        set_of[order] = numbers[::-1]
    return set_of


def assign_validation(
    keys: Sequence[str], labels: Indices, classes: Sequence[str], share: float
) -> Indices:
    """Assign recordings of a given training set to it or to its validation set.

    As `assign_recordings`, but a class with fewer than `LEAST_OF_CLASS` recordings gives at most
    one. Such classes give one in the order of the hashes of their names, until they have given
    their share together. Each class keeps at least one recording to learn from.

    Args:
        keys: A name for each recording, B of them.
        labels: Class index of each recording, `[B]`.
        classes: Name of each class.
        share: Share of the validation set.

    Returns:
        The set of each recording, `[B]`: 0 to learn from, 1 to validate.

    Raises:
        CannotSplitError: If no class has two recordings.
    """
    counts = np.bincount(labels, minlength=len(classes))
    is_small = counts < LEAST_OF_CLASS
    quotas = np.clip(np.round(share * counts), 1, np.maximum(1, counts - 1))
    # Of small classes, only some give one; one at least if there are no others.
    quotas[is_small] = 0
    wanted = max(round(share * counts[is_small].sum()), int(is_small.all()))
    able = hash_order(list(classes), np.flatnonzero(is_small & (counts > 1)))
    quotas[able[:wanted]] = 1
    if not quotas.any():
        largest = int(counts.argmax())
        _require_recordings(classes[largest], int(counts[largest]), 2, SETS[2])
    set_of = np.zeros(len(keys), np.int64)
    for label, quota in enumerate(quotas.astype(np.int64)):
        set_of[hash_order(keys, np.flatnonzero(labels == label))[:quota]] = 1
    return set_of


def fold_recordings(
    keys: Sequence[str], labels: Indices, classes: Sequence[str], folds: int
) -> Indices:
    """Assign each recording to a fold, by the hashes of the keys of its class.

    Folds of a class differ by at most one recording.

    Args:
        keys: A name for each recording, B of them.
        labels: Class index of each recording, `[B]`.
        classes: Name of each class.
        folds: Number of folds.

    Returns:
        The fold of each recording, `[B]`; each fold has every class.

    Raises:
        CannotSplitError: If a class has too few recordings for a test set in each fold, and a
            training and a validation set outside of it.
    """
    fold_of = np.zeros(len(keys), np.int64)
    # A fold of 2 has up to half of the recordings, and the rest needs two of each class.
    least = max(folds, 4 if folds == 2 else 3)
    for label, name in enumerate(classes):
        order = hash_order(keys, np.flatnonzero(labels == label))
        _require_recordings(name, len(order), least, f"{folds} folds")
        # Each class begins at another fold: otherwise the larger ones of all classes would be the
        # same folds.
        first = int.from_bytes(sha256(name.encode()).digest()[:4], "big")
        ranks = np.arange(len(order))
        fold_of[order] = (first + ranks * folds // max(1, len(order))) % folds
    return fold_of


def assign_groups(
    groups: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    shares: Sequence[float],
    noun: str = "group",
    start: Fraction | None = None,
) -> Indices:
    """Assign every group, with all its recordings, to the rest or to a share.

    Groups are taken in the order of their names' hashes. A group is assigned to the last share if
    that brings its number of recordings of each class, summed over classes, closer to the share;
    otherwise to the share before it by the same rule; otherwise to the rest. If a class is then
    missing in a set, the group whose move changes the shares least is moved there. With a start, it
    is the first one in the order that is at most half again as large: otherwise, the smallest of
    few groups would be in the same set wherever the order starts.

    Args:
        groups: The group of each recording, B names.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: Name of each class.
        shares: Share of each class in sets 1, 2, …; the rest is set 0.
        noun: What a group is, for errors.
        start: Where the order begins; see `hash_order`.

    Returns:
        The set of each recording, `[B]`. No group is in two sets, each set has every class, and
        shares are met as well as whole groups allow.

    Raises:
        CannotSplitError: If there are too few groups for every class in each set.
    """
    number_of, counts = _count_by_group(groups, labels, len(classes), start)
    goals = np.full((1 + len(shares), len(classes)), np.nan)
    goals[1:] = np.maximum(1, np.round(np.array(shares)[:, None] * counts.sum(0)))
    set_of = _assign_in_order(counts, goals)
    sets = SETS[len(goals)]
    _bring_missing_classes(counts, goals, set_of, classes, noun, sets, is_ordered=start is not None)
    return set_of[number_of]


def fold_groups(
    groups: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    folds: int,
    noun: str = "group",
) -> Indices:
    """Assign every group, with all its recordings, to a fold.

    The groups lie side by side in the order of their names' hashes, each as long as it has
    recordings. They are cut into folds of equal length; the middle of a group decides its fold. If
    a class is then missing in a fold, the group whose move changes the sizes least is moved there.

    Args:
        groups: The group of each recording, B names.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: Name of each class.
        folds: Number of folds.
        noun: What a group is, for errors.

    Returns:
        The fold of each recording, `[B]`. No group is in two folds, and each fold has every class.

    Raises:
        CannotSplitError: If there are too few groups for every class in each fold.
    """
    number_of, counts = _count_by_group(groups, labels, len(classes))
    sizes = counts.sum(1)
    middles = sizes.cumsum() - sizes / 2
    fold_of: Indices = (middles * folds / max(1, sizes.sum())).astype(np.int64)
    goals = np.tile(counts.sum(0) / folds, (folds, 1))
    _bring_missing_classes(counts, goals, fold_of, classes, noun, f"{folds} folds")
    assigned: Indices = fold_of[number_of]
    return assigned


def require_rest(
    fold_of: Indices, labels: Indices, classes: Sequence[str], names: Sequence[str]
) -> None:
    """Reject folds outside of which a class has too few recordings to train and to validate.

    Args:
        fold_of: The fold of each recording, `[B]`, from 0.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: Name of each class.
        names: Name of each fold, for the error.

    Raises:
        CannotSplitError: If there is such a fold.
    """
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (fold_of, labels), 1)
    rest = counts.sum(0) - counts
    for fold, label in np.argwhere(rest < 2):
        owner = f"class {classes[label]!r}" if classes[label] else "the data set"
        raise CannotSplitError(
            f"Without {names[fold]}, {owner} has {rest[fold, label]} recordings, expected at least "
            "2, to train and to validate",
            "add recordings",
        )


def _require_recordings(name: str, count: int, least: int, sets: str) -> None:
    if count < least:
        subject = f"Class {name!r}" if name else "The data set"
        raise CannotSplitError(
            f"{subject} has {count} recordings, expected at least {least} for {sets}",
            "add recordings or leave the class out" if name else "add recordings",
        )


def _count_by_group(
    groups: Sequence[str], labels: Indices, n_classes: int, start: Fraction | None = None
) -> tuple[Indices, Indices]:
    """The number of each recording's group, `[B]`, and recordings by class, `[groups, classes]`.

    Groups are numbered in the order of their names' hashes, which begins at `start`.
    """
    names = sorted(set(groups))
    order = hash_order(names, np.arange(len(names)), start)
    number = {names[index]: rank for rank, index in enumerate(order)}
    number_of = np.array([number[group] for group in groups], np.int64)
    counts = np.zeros((len(names), n_classes), np.int64)
    np.add.at(counts, (number_of, labels), 1)
    return number_of, counts


def _assign_in_order(counts: Indices, goals: Goals) -> Indices:
    """The set of each group, from `counts` of recordings `[groups, classes]`."""
    set_of = np.zeros(len(counts), np.int64)
    sums = np.zeros(goals.shape, np.int64)
    for group, count in enumerate(counts):
        for subset in range(len(goals) - 1, 0, -1):
            if _move_gain(count, sums, goals, 0, subset) > 0:
                set_of[group] = subset
                sums[subset] += count
                break
    return set_of


def _bring_missing_classes(
    counts: Indices,
    goals: Goals,
    set_of: Indices,
    classes: Sequence[str],
    noun: str,
    sets: str,
    *,
    is_ordered: bool = False,
) -> None:
    """Move groups, in place, until each set has every class; no move takes a class from a set.

    The group whose move changes the shares least is moved, or, if groups are ordered, the first one
    that is about as large.
    """
    n_sets = len(goals)
    sums = np.stack([counts[set_of == subset].sum(0) for subset in range(n_sets)])
    has_too_few = (counts > 0).sum(0) < n_sets
    while True:
        missing = np.argwhere((sums == 0) | has_too_few)
        if not len(missing):
            return
        subset, label = (int(index) for index in missing[-1])
        candidates = [
            group
            for group in np.flatnonzero((set_of != subset) & (counts[:, label] > 0))
            if (sums[set_of[group]] > counts[group])[counts[group] > 0].all()
        ]
        if has_too_few[label] or not candidates:
            where = f" (class {classes[label]!r} is missing in one)" if classes[label] else ""
            raise CannotSplitError(
                f"{len(counts)} {noun}s are too few for {sets} that each have every class and no "
                f"{noun} in two of them{where}",
                f"add {noun}s",
                OR_BY_RECORDING,
            )
        gains = [
            _move_gain(counts[group], sums, goals, int(set_of[group]), subset)
            for group in candidates
        ]
        best = candidates[int(np.argmax(gains))]
        if is_ordered:
            largest = MOST_LARGER * counts[best].sum()
            best = next(group for group in candidates if counts[group].sum() <= largest)
        sums[set_of[best]] -= counts[best]
        sums[subset] += counts[best]
        set_of[best] = subset


def _move_gain(count: Indices, sums: Indices, goals: Goals, source: int, target: int) -> float:
    """By how many recordings two sets come closer to their goals when a group is moved."""
    before = np.abs(sums[[source, target]] - goals[[source, target]])
    after = np.abs(np.stack([sums[source] - count, sums[target] + count]) - goals[[source, target]])
    # A set without a goal is NaN.
    return float(np.nansum(before - after))
