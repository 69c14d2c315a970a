"""Assign recordings, alone or in whole groups such as speakers, to sets or to folds.

Every order is that of SHA-256 hashes. So the set of a recording does not depend on a seed, on the
machine or on the order of files, and a recording that is added later moves few others.

Goals are the numbers of recordings that sets should have, int64 `[sets, classes]`.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from nwavesdk.data.recordings import Indices, hash_order

__all__ = [
    "OR_BY_RECORDING",
    "SPLIT_VERSION",
    "CannotSplitError",
    "assign",
    "fold_goals",
    "require_rest",
    "share_goals",
    "validation_goals",
]

# Version of the rules that assign recordings to sets. It rises when the same recordings get other
# sets, and tables of accuracy name it.
SPLIT_VERSION = 2

# What can be done if groups, such as speakers, are not known or are too few.
OR_BY_RECORDING = ", or split by recording"

# A class with this many recordings or more gives at least one to a validation set.
MIN_OF_CLASS = 4

# How much larger a group may be than the smallest one that can be moved.
MAX_LARGER = 1.5


class CannotSplitError(ValueError):
    """Recordings cannot be split in this way, such as by speaker.

    Args:
        reason: Why.
        remedy: What makes it possible.
        otherwise: What can be done instead, such as ", or split by recording".
    """

    def __init__(self, reason: str, remedy: str, otherwise: str = "") -> None:
        super().__init__(f"{reason}: {remedy}{otherwise}.")
        self.reason = reason
        self.remedy = remedy


def share_goals(counts: Indices, shares: Sequence[float]) -> Indices:
    """The goals of sets with these shares of each class, and of the rest, which comes last.

    Args:
        counts: Recordings of each class, `[classes]`.
        shares: The share of each set but the last.

    Returns:
        `[1 + len(shares), classes]`, at least 1.

    Example:
        >>> share_goals(np.array([20, 3]), [0.15, 0.15]).tolist()
        [[3, 1], [3, 1], [14, 1]]
    """
    goals = np.maximum(1, np.round(np.outer(shares, counts)).astype(np.int64))
    for of_class, count in zip(goals.T, counts, strict=True):
        while of_class.sum() >= count and of_class.max() > 1:  # large shares leave no rest
            of_class[of_class.argmax()] -= 1
    rest = np.maximum(1, counts - goals.sum(0))
    return np.vstack([goals, rest])


def validation_goals(counts: Indices, share: float) -> Indices:
    """The goals of a validation set that may lack small classes, and of the rest.

    As `share_goals`, but a class with fewer than `MIN_OF_CLASS` recordings gives one or none, so
    that such classes give their share together, and each keeps a recording to learn from.

    Args:
        counts: Recordings of each class, `[classes]`.
        share: Share of the validation set.

    Returns:
        `[2, classes]`.

    Example:
        >>> validation_goals(np.array([20, 3, 3, 2]), 0.15).tolist()
        [[3, 0, 1, 0], [17, 3, 2, 2]]
    """
    validation, rest = share_goals(counts, [share])
    small = counts < MIN_OF_CLASS
    quotas = np.diff(np.round(share * counts[small].cumsum()), prepend=0)
    validation[small] = np.minimum(quotas, counts[small] > 1)
    if not validation.any():
        validation[counts.argmax()] = 1  # if each class has one recording, this is impossible
    return np.stack([validation, np.maximum(rest, counts - validation)])


def fold_goals(counts: Indices, folds: int) -> Indices:
    """The goals of folds, `[folds, classes]`, which differ by at most 1 within a class.

    Each class begins at another fold: otherwise, the same folds would get the larger goal of all.

    Args:
        counts: Recordings of each class, `[classes]`.
        folds: Number of folds.

    Example:
        >>> fold_goals(np.array([5, 5]), 3).tolist()
        [[1, 2], [2, 2], [2, 1]]
    """
    offsets = (np.arange(folds)[:, None] + np.arange(len(counts))) % folds
    goals: Indices = np.maximum(1, (counts + offsets) // folds)
    return goals


def assign(
    groups: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    goals: Indices,
    noun: str = "recording",
    start: Fraction | None = None,
) -> Indices:
    """Assign each group, with all its recordings, to a set.

    Groups are taken in the order of their names' hashes. A group is assigned to the first set that
    lacks all of its recordings to the goals, if there is one, otherwise to the set that it brings
    closest to its goals, as fractions of them, summed over classes. If a set then lacks a class
    that it has a goal for, the smallest group with this class that its set can spare is moved
    there. With a start, it is the first one in the order that is at most half again as large:
    otherwise, the smallest of few groups would be in the same set wherever the order starts.

    Args:
        groups: The group of each recording, `B` names. A recording without others is a group.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: Name of each class.
        goals: How many recordings of each class each set should have, `[sets, classes]`.
        noun: What a group is, for errors.
        start: Where the order begins; see `hash_order`.

    Returns:
        The set of each recording, `[B]`, from 0. No group is in two sets, each set has every class
        that it has a goal for, and goals are met as well as whole groups allow.

    Raises:
        CannotSplitError: If there are too few groups for this.
    """
    names = sorted(set(groups))
    index_of = {name: index for index, name in enumerate(names)}
    group_of = np.array([index_of[group] for group in groups], np.int64)

    # One number for group and class, by which recordings are sorted and counted.
    cells, sizes = np.unique(group_of * len(classes) + labels, return_counts=True)
    spans = pairwise(np.searchsorted(cells, np.arange(len(names) + 1) * len(classes)))
    members = [(cells[first:end] % len(classes), sizes[first:end]) for first, end in spans]

    order = hash_order(names, np.arange(len(names)), start)
    lacks = goals.copy()  # recordings that are missing to the goals
    set_of = np.zeros(len(names), np.int64)
    for group in order:
        said, counts = members[group]
        lack = lacks[:, said]
        fits = (lack >= counts).all(1)
        set_of[group] = fits.argmax()
        if not fits[set_of[group]]:
            gains = (np.abs(lack) - np.abs(lack - counts)) / np.maximum(1, goals[:, said])
            set_of[group] = gains.sum(1).argmax()
        lacks[set_of[group], said] -= counts

    while len(missing := np.argwhere((goals > 0) & (lacks == goals))):
        target, label = missing[0]
        able = [group for group in order if label in members[group][0]]
        spare = [
            group for group in able if _can_spare(goals, lacks, set_of[group], *members[group])
        ]
        if not spare:
            raise _too_few(classes[label], len(able), noun, len(goals))

        sizes_of = {group: members[group][1].sum() for group in spare}
        largest = min(sizes_of.values()) * (1 if start is None else MAX_LARGER)
        moved = next(group for group, size in sizes_of.items() if size <= largest)
        said, counts = members[moved]
        lacks[set_of[moved], said] += counts
        lacks[target, said] -= counts
        set_of[moved] = target
    return set_of[group_of]


def _can_spare(goals: Indices, lacks: Indices, source: int, said: Indices, counts: Indices) -> bool:
    """Whether a set keeps every class that it has a goal for without a group."""
    goal = goals[source, said]
    rest = goal - lacks[source, said] - counts
    return bool(((rest > 0) | (goal == 0)).all())


def _too_few(class_name: str, count: int, noun: str, n_sets: int) -> CannotSplitError:
    subject = f"Class {class_name!r}" if class_name else "The data set"
    return CannotSplitError(
        f"{subject} has {count} {noun}s, too few for {n_sets} sets with every class",
        f"add {noun}s or leave the class out" if class_name else f"add {noun}s",
        "" if noun == "recording" else OR_BY_RECORDING,
    )


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
    counts = np.array(
        [np.bincount(labels[fold_of == i], minlength=len(classes)) for i in range(len(names))]
    )
    rest = counts.sum(0) - counts
    for fold, label in np.argwhere(rest < 2):
        owner = f"class {classes[label]!r}" if classes[label] else "the data set"
        raise CannotSplitError(
            f"Without {names[fold]}, {owner} has {rest[fold, label]} recordings, expected at least "
            "2, to train and to validate",
            "add recordings",
        )
