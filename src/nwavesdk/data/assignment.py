"""Assign recordings, alone or in whole groups such as speakers, to sets or to folds.

Recordings are assigned in the order of their SHA-256 hashes. So the set of a recording does not
depend on a seed, on the machine or on the order of files, and a later recording moves few others.

Goals are the numbers of recordings that sets should have, int64 `[sets, classes]`.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from nwavesdk.data.recordings import Indices, hash_order

__all__ = [
    "SPLIT_VERSION",
    "CannotSplitError",
    "assign",
    "fold_goals",
    "share_goals",
]

# Version of the rules that assign recordings to sets. It rises when the same recordings get other
# sets, and tables of accuracy name it.
SPLIT_VERSION = 2

# A class with this many recordings or more gives at least one to a validation set.
MIN_OF_CLASS = 4

# A group that is moved may be larger than the smallest movable group by this factor.
MAX_LARGER = 1.5


class CannotSplitError(ValueError):
    """Recordings cannot be split in this way, such as by speaker; its arguments are texts.

    Args:
        reason: The reason.
        remedy: A remedy, as a command such as "add recordings".
    """

    def __str__(self) -> str:
        return "{}: {}.".format(*self.args)


def share_goals(counts: Indices, shares: Sequence[float], may_lack_small: bool = False) -> Indices:
    """How many recordings of each class each set should get: a row for each set.

    The last row is the remaining set.

    Args:
        counts: Recordings of each class, `[classes]`.
        shares: The share of each set except the last.
        may_lack_small: Whether the first set may lack small classes. A class with fewer than
            `MIN_OF_CLASS` recordings then gives it one or none: all such classes together give
            their share, and each keeps a recording to learn from.

    Returns:
        `[1 + len(shares), classes]`, at least 1 where no class may be lacking.

    Example:
        >>> share_goals(np.array([20, 3]), [0.15, 0.15]).tolist()
        [[3, 1], [3, 1], [14, 1]]
        >>> share_goals(np.array([20, 3, 3, 2]), [0.15], may_lack_small=True).tolist()
        [[3, 0, 1, 0], [17, 3, 2, 2]]
    """
    goals = np.maximum(1, np.round(np.outer(shares, counts)).astype(np.int64))
    for class_goals, count in zip(goals.T, counts, strict=True):
        # Large shares of a small class would leave no recording for the last set.
        while class_goals.sum() >= count and class_goals.max() > 1:
            class_goals[class_goals.argmax()] -= 1

    if may_lack_small:
        # Rounding the cumulative sum spreads the share of all small classes over some of them.
        small = counts < MIN_OF_CLASS
        quotas = np.diff(np.round(shares[0] * counts[small].cumsum()), prepend=0)
        goals[0, small] = np.minimum(quotas, counts[small] > 1)
        if not goals[0].any():
            goals[0, counts.argmax()] = 1  # if each class has one recording, this is impossible

    return np.vstack([goals, np.maximum(1, counts - goals.sum(0))])


def fold_goals(counts: Indices, folds: int) -> Indices:
    """The goals of folds, `[folds, classes]`, which differ by at most 1 within a class.

    Each class begins at the next fold. Otherwise, the same folds would get the larger goals of all
    classes.

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
    goals: Callable[[Indices], Indices] | None,
    noun: str = "recording",
    start: Fraction | None = None,
    are_folds: bool = False,
) -> Indices:
    """Assign each group, with all its recordings, to a set.

    Groups are taken in the order of the hashes of their names. A group is assigned to the first set
    that still has room for all of its recordings within the goals. If there is no such set, it is
    assigned to the set that it brings closest to the goals, measured as fractions of the goals and
    summed over classes.

    If a set then lacks a class that it has a goal for, the smallest group with this class that its
    set can spare is moved there. With a start, the moved group is the first in the order that is at
    most half again as large as the smallest. Otherwise, the smallest of few groups would be in the
    same set wherever the order starts.

    Args:
        groups: The group of each recording, `B` names. A single recording is a group by itself.
        labels: Class index of each recording, `[B]`; all 0 if there are no classes.
        classes: The title of each class in errors, such as "Class 'yes'".
        goals: The goals of the sets for the recordings of each class; if None, each group is a set,
            in the order of names.
        noun: The word for a group in errors, such as "speaker".
        start: Where the order begins; see `hash_order`.
        are_folds: Whether enough of each class must remain outside of each set, to train and to
            validate.

    Returns:
        The set of each recording, `[B]`, from 0. No group is in two sets, each set has every class
        that it has a goal for, and goals are met as well as whole groups allow.

    Raises:
        CannotSplitError: If there are too few groups for this.
    """
    names, group_of = np.unique(np.array(groups, object), return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)  # [groups, classes]
    np.add.at(counts, (group_of, labels), 1)

    # The recordings that each set should have and has, `[sets, classes]`.
    wanted = counts if goals is None else goals(counts.sum(0))
    filled = np.zeros_like(wanted)

    order = hash_order(names.tolist(), np.arange(len(names)), start)
    set_of = np.zeros(len(names), np.int64)
    for group in order:
        present = np.flatnonzero(counts[group])
        count = counts[group, present]
        lack = (wanted - filled)[:, present]
        gains = (np.abs(lack) - np.abs(lack - count)) / np.maximum(1, wanted[:, present])
        # A set with room for the whole group comes before all others.
        gains[(lack >= count).all(1)] = np.inf
        set_of[group] = group if goals is None else gains.sum(1).argmax()
        filled[set_of[group]] += counts[group]

    while len(missing := np.argwhere((wanted > 0) & (filled == 0))):
        target, label = missing[0]
        has_class = counts[:, label] > 0

        # A set can spare a group if it keeps every class that it has a goal for.
        keeps_class = (filled[set_of] > counts) | (wanted[set_of] == 0) | (counts == 0)
        spare = order[(has_class & keeps_class.all(1))[order]]
        if not len(spare):
            count = int(has_class.sum())
            raise CannotSplitError(
                f"{classes[label]} has {count} {noun}{'s' * (count != 1)}, too few for "
                f"{len(wanted)} sets with every class",
                f"add {noun}s, or remove small classes",
            )

        sizes = counts[spare].sum(1)
        largest = sizes.min() * (1 if start is None else MAX_LARGER)
        moved = spare[(sizes <= largest).argmax()]
        filled[set_of[moved]] -= counts[moved]
        filled[target] += counts[moved]
        set_of[moved] = target

    rest = filled.sum(0) - filled
    for fold, label in np.argwhere(rest < (2 if are_folds else 0)):
        raise CannotSplitError(
            f"{classes[label]} has {rest[fold, label]} recordings without fold {fold + 1}, "
            "expected at least 2, to train and to validate",
            "add recordings",
        )
    return set_of[group_of]
